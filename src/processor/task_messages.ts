/** Puts task messages together: a node's signature from the definition, and of its inputs what is at hand. */
import { type Definition, hasInputs, labelOf, policyOfNode } from "../core/definition.ts";
import type { Rate } from "../core/lanes.ts";
import { LIMITS } from "../core/limits.ts";
import {
  type InlineResult,
  type MessageExtras,
  parseRecord,
  writeTaskContext,
  writeTaskMessage,
} from "../core/records.ts";
import type { Scheduler } from "../core/scheduler.ts";
import { failureNodes, type Input, inputNodes } from "../core/template.ts";
import { LARGEST_RESULT, Results } from "./results.ts";

/** Messages carry at most so many bytes of inputs; the worker reads the rest. */
const LARGEST_INLINE = 524_288;
/** And of those that other nodes have yet to take too: a large list would be written with each of them. */
const LARGEST_SHARED = 16_384;
/** What a message spends on an input besides its value: the node's number and punctuation. */
const INLINE_OVERHEAD = 12;

const NULL = new TextEncoder().encode("null");
const strict = new TextDecoder("utf-8", { fatal: true });

export class TaskMessages {
  readonly #definition: Definition;
  readonly #submittedAt: number;
  readonly #maxRecord: number;
  readonly #context: { readonly own: Uint8Array; readonly cleanup: Uint8Array };
  readonly #results = new Results();

  /** @param maxRecord bytes of the largest message. */
  constructor(definition: Definition, submittedAt: number, maxRecord: number) {
    this.#definition = definition;
    this.#submittedAt = submittedAt;
    this.#maxRecord = maxRecord;
    const { name, payload, parent } = definition;
    const depth = parent?.depth ?? 0;
    this.#context = {
      own: writeTaskContext(name, payload, { depth, cleanup: false }),
      cleanup: writeTaskContext(name, payload, { depth, cleanup: true }),
    };
  }

  /** A node's result, for the dependents that take it. */
  keep(node: number, data: Uint8Array): void {
    if (node >= this.#definition.graph.size || !this.#isTaken(node)) return;
    // It becomes part of messages as it is. The worker reads the others, and sees what they are.
    if (data.length > LARGEST_RESULT || !isJson(data)) return;
    const { offsets } = this.#definition.graph.down;
    this.#results.keep(node, data, offsets[node + 1]! - offsets[node]!);
  }

  /** Whether some dependent may take its result: those that only wait for it do not, those behind a join may. */
  #isTaken(node: number): boolean {
    const { graph: { down }, signatures } = this.#definition;
    for (let e = down.offsets[node]!; e < down.offsets[node + 1]!; e++) {
      const signature = signatures.bytes(down.nodes[e]!);
      if (signature.length === 0 || hasInputs(signature)) return true;
    }
    return false;
  }

  /**
   * The message of this attempt; after a node's first one its inputs are not kept for it any longer.
   * @returns undefined when the node's signature cannot be read. Other signatures show it only where they are worked on.
   */
  write(
    node: number,
    attempt: number,
    scheduler: Scheduler,
    expiresAt?: number,
  ): Uint8Array | undefined {
    const message = this.#write(node, scheduler, expiresAt);
    if (attempt === 1) this.#results.release(this.#definition, node);
    return message;
  }

  #write(
    node: number,
    scheduler: Scheduler,
    expiresAt: number | undefined,
  ): Uint8Array | undefined {
    const signature = this.#definition.signatures.bytes(node);
    const { cleanup, limit } = policyOfNode(this.#definition, node);
    const context = cleanup === true ? this.#context.cleanup : this.#context.own;
    const inputs = inputsOf(signature);
    const { size } = this.#definition.graph;
    const needed = inputs && inputNodes(inputs, size);
    if (inputs === undefined || needed === undefined) return undefined;
    if (needed.some((upstream) => upstream >= size)) return undefined;
    const inline: InlineResult[] = [];
    const attempts: [number, number][] = [];
    const most = this.#maxRecord - signature.length - context.length;
    const room = new Room(Math.min(LARGEST_INLINE, most), Math.min(LARGEST_SHARED, most));
    const upstreams = new Set(needed);
    for (const upstream of upstreams) {
      // A skipped node has no record that a worker could read: its result is null, and always comes along.
      const isSkipped = scheduler.stateOf(upstream) !== "SUCCESS";
      const data = isSkipped ? NULL : this.#results.get(upstream);
      const isShared = this.#results.isShared(upstream);
      if (data !== undefined && (room.take(data.length + INLINE_OVERHEAD, isShared) || isSkipped)) {
        inline.push({ node: upstream, data });
      } else {
        const attempt = scheduler.attemptOf(upstream);
        if (attempt !== 1) attempts.push([upstream, attempt]);
      }
    }
    const extras = this.#extras(inputs, scheduler, expiresAt, limit?.rate);
    const isComplete = inline.length === upstreams.size;
    return writeTaskMessage(
      signature,
      context,
      inline,
      attempts,
      isComplete ? extras : { ...extras, submittedAt: this.#submittedAt },
    );
  }

  /** What the worker cannot know, for those few that want it. */
  #extras(
    inputs: readonly Input[],
    scheduler: Scheduler,
    expiresAt: number | undefined,
    rate: Rate | undefined,
  ): MessageExtras | undefined {
    const wantsSummary = inputs.some((input) => "summary" in input);
    const failed = wantsSummary ? scheduler.failures(LIMITS.namedFailures) : failureNodes(inputs);
    const isPlain = !wantsSummary && failed.length === 0;
    if (isPlain && expiresAt === undefined && rate === undefined) return undefined;
    const { ownState: state, reason } = scheduler;
    return {
      ...(expiresAt === undefined ? {} : { expiresAt }),
      ...(rate === undefined ? {} : { rate }),
      failures: failed.map((node) => ({
        node,
        label: labelOf(this.#definition, node),
        attempt: scheduler.attemptOf(node),
      })),
      ...(wantsSummary
        ? {
          summary: {
            state,
            counts: scheduler.counts(),
            ...(reason === undefined ? {} : { reason }),
          },
        }
        : {}),
    };
  }
}

/** What a message may still carry. */
class Room {
  #left: number;
  #leftForShared: number;

  constructor(most: number, mostShared: number) {
    this.#left = most;
    this.#leftForShared = mostShared;
  }

  /** @returns whether there is room for so many bytes; then they are taken. */
  take(bytes: number, isShared: boolean): boolean {
    if (bytes > this.#left || (isShared && bytes > this.#leftForShared)) return false;
    this.#left -= bytes;
    if (isShared) this.#leftForShared -= bytes;
    return true;
  }
}

function isJson(data: Uint8Array): boolean {
  try {
    JSON.parse(strict.decode(data));
    return true;
  } catch {
    return false;
  }
}

/** Only when a signature has inputs is it looked into. Undefined: it says that it has, and is none. */
function inputsOf(signature: Uint8Array): readonly Input[] | undefined {
  if (!hasInputs(signature)) return [];
  const inputs = parseRecord(signature)?.["inputs"];
  return Array.isArray(inputs) ? inputs : undefined;
}
