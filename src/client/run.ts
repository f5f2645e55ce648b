/** A handle on a submitted workflow: its result, its state, and what can be asked of it. Holds nothing but the id. */
import type { Definition } from "../core/definition.ts";
import { findNode, labelOf } from "../core/definition.ts";
import { decodeHead, type Head } from "../core/definition_codec.ts";
import { NotFoundError, TaskError, WorkflowFailedError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import {
  controlKey,
  controlsOf,
  definitionKey,
  endKey,
  outcomeKey,
  parseKey,
} from "../core/keys.ts";
import { wholeDefinition } from "../core/recorded.ts";
import {
  type EndRecord,
  readControl,
  readEnd,
  readFailure,
  readOutcomeNote,
  readStatus,
  type RunStatus,
  writeControl,
} from "../core/records.ts";
import { type Control, noCounts, type WorkflowState } from "../core/scheduler.ts";
import { fill, inputNodes, type Template } from "../core/template.ts";
import { LIMITS } from "../core/limits.ts";
import { Node } from "../core/workflow.ts";
import type { Ports, Stored } from "../ports.ts";
import { waitFor } from "./wait.ts";
import { type RunEvent, watch } from "./watch.ts";

/** What came of a control request. */
export interface ControlAnswer {
  /** False when it changes nothing: the run has ended (or, for a retry, has not failed). */
  readonly applied: boolean;
  /** The run's state when it was asked. */
  readonly state: WorkflowState;
}

/** A node: its handle, its number, its name, or the label that errors and events show. */
export type NodeReference = Node | string | number;

/** Reads under way at once. */
const READ_BATCH = 1_024;

export class Run<Out = unknown> {
  readonly id: string;
  readonly #ports: Ports;

  constructor(ports: Ports, id: string) {
    this.#ports = ports;
    this.id = id;
  }

  /**
   * The workflow's result, or a node's, as soon as there is one. Waiting costs nothing: the server tells when it ends.
   * @throws {WorkflowFailedError} when the workflow did not succeed; {TaskError} for a node that failed; {NotFoundError}
   */
  async result(): Promise<Out>;
  async result<T>(node: Node<T>): Promise<T>;
  async result(node: NodeReference): Promise<unknown>;
  async result(node?: NodeReference): Promise<unknown> {
    if (node !== undefined) return this.#nodeResult(node);
    const head = await this.#head();
    const { end } = await this.#waitForEnd();
    if (end.state !== "SUCCESS") throw await this.#failure(end);
    const output = head.output ?? (await this.#definition()).output;
    return this.#fillOutput(output);
  }

  /** Resolves when the run has ended, however it ended. */
  async ended(): Promise<RunStatus> {
    await this.status();
    await this.#waitForEnd();
    return this.status();
  }

  /** How it stands. While it runs, counts are up to a second old. */
  async status(): Promise<RunStatus> {
    const [view, last, stored] = await Promise.all([
      this.#ports.views.get(`wf.${this.id}`),
      this.#lastEnd(),
      this.#ports.facts.read(definitionKey(this.id)),
    ]);
    if (stored === undefined) throw this.#notFound();
    const shown = view === undefined ? undefined : readStatus(view.data);
    const head = headOrNothing(stored);
    const base: RunStatus = shown ?? {
      id: this.id,
      name: head?.name ?? "",
      state: "INITIAL",
      counts: noCounts(),
      round: 1,
      submittedAt: stored.at,
      ...(head?.payload === undefined ? {} : { payload: head.payload }),
    };
    if (last === undefined || last.retried) {
      return shown?.finishedAt === undefined
        ? base
        : { ...base, state: "RUNNING", finishedAt: undefined };
    }
    const { state, counts, at } = last.end;
    return { ...base, state, counts, round: last.round, submittedAt: stored.at, finishedAt: at };
  }

  /** Changes of nodes and of the workflow, from its beginning, as they are recorded; ends when the run has ended. */
  watch(): AsyncGenerator<RunEvent, void, void> {
    return watch(this.#ports, this.id, () => this.#definition());
  }

  /** Stops the run: what has not begun never will, what runs is told by its signal; `finally` still runs. */
  cancel(reason?: string): Promise<ControlAnswer> {
    return this.#control({ is: "cancel", ...(reason === undefined ? {} : { reason }) });
  }

  /** Starts nothing new until {@link resume}. What runs goes on. */
  pause(): Promise<ControlAnswer> {
    return this.#control({ is: "pause" });
  }

  resume(): Promise<ControlAnswer> {
    return this.#control({ is: "resume" });
  }

  /** Runs what failed, and what depends on it, again. Only for a run that has ended without success. */
  async retryFailed(): Promise<ControlAnswer> {
    // A definition that cannot be read will not be readable in the next round either: say so to the caller.
    await this.#definition();
    return this.#control({ is: "retry" });
  }

  /** Nodes that have not ended are not run: what depends on them runs with `null` for their results. */
  async skip(nodes: readonly NodeReference[]): Promise<ControlAnswer> {
    const definition = await this.#definition();
    return this.#control({ is: "skip", nodes: nodes.map((node) => this.#find(definition, node)) });
  }

  /** Recorded under the next free number, so that all control facts have one order. */
  async #control(control: Control): Promise<ControlAnswer> {
    const { facts, ticks, clock, random } = this.#ports;
    const { state } = await this.status();
    const ended = state !== "INITIAL" && state !== "RUNNING" && state !== "PAUSED";
    if (control.is === "retry" ? !ended || state === "SUCCESS" : ended) {
      return { applied: false, state };
    }
    const id = random.id();
    const record = writeControl({ id, at: clock.now(), control });
    let n = (await facts.keys(controlsOf(this.id))).length;
    while (await facts.create(controlKey(this.id, ++n), record) === "exists") {
      // Ours after all, when only the answer was lost.
      const stored = await facts.read(controlKey(this.id, n));
      if (stored !== undefined && readControl(stored.data)?.id === id) break;
    }
    await ticks.wake(this.id);
    return { applied: true, state };
  }

  async #nodeResult(reference: NodeReference): Promise<unknown> {
    const definition = await this.#definition();
    const node = this.#find(definition, reference);
    const label = labelOf(definition, node);
    const found = await waitFor(
      this.#ports,
      [`${this.id}.r.${node}.*`, `${this.id}.end.*`],
      async () => {
        const success = await this.#successOf(node);
        if (success !== undefined) return { is: "success" as const, success };
        const last = await this.#lastEnd();
        return last === undefined || last.retried
          ? undefined
          : { is: "ended" as const, end: last.end };
      },
    );
    if (found.is === "success") return parse(found.success.data);
    // It may have been recorded just before the end.
    const success = await this.#successOf(node);
    if (success !== undefined) return parse(success.data);
    const failed = await this.#lastOutcome(node);
    if (failed !== undefined) {
      throw new TaskError(label, failed.attempt, readFailure(failed.stored.data));
    }
    if (found.end.state === "SUCCESS") return null;
    throw await this.#failure(found.end);
  }

  async #successOf(node: number): Promise<Stored | undefined> {
    const last = await this.#lastOutcome(node);
    return readOutcomeNote(last?.stored.note)?.is === "succeeded" ? last!.stored : undefined;
  }

  async #lastOutcome(node: number): Promise<{ stored: Stored; attempt: number } | undefined> {
    let last: { stored: Stored; attempt: number } | undefined;
    for (let seq = 0;;) {
      const stored = await this.#ports.facts.next(`${this.id}.r.${node}.*`, seq);
      const key = stored === undefined ? undefined : parseKey(stored.key);
      if (stored === undefined || key?.is !== "outcome") return last;
      last = { stored, attempt: key.attempt };
      seq = stored.seq + 1;
    }
  }

  async #fillOutput({ json, inputs }: Template): Promise<unknown> {
    const nodes = [...new Set(inputNodes(inputs, LIMITS.nodes))];
    const results = new Map<number, unknown>();
    for (let i = 0; i < nodes.length; i += READ_BATCH) {
      await Promise.all(
        nodes.slice(i, i + READ_BATCH).map(async (node) => {
          const first = await this.#ports.facts.readRecorded(outcomeKey(this.id, node, 1));
          const success = readOutcomeNote(first?.note)?.is === "succeeded"
            ? first
            : await this.#successOf(node);
          results.set(node, success === undefined ? null : parse(success.data));
        }),
      );
    }
    return fill(JSON.parse(json), inputs, (node) => results.get(node));
  }

  async #failure(end: EndRecord): Promise<WorkflowFailedError> {
    if (end.failed.length === 0) return new WorkflowFailedError(this.id, end.state, [], end.reason);
    const definition = await this.#definition();
    const failures = await Promise.all(end.failed.map(async ({ node, attempt }) => {
      const stored = await this.#ports.facts.readRecorded(outcomeKey(this.id, node, attempt));
      return new TaskError(
        labelOf(definition, node),
        attempt,
        readFailure(stored?.data ?? new Uint8Array()),
      );
    }));
    return new WorkflowFailedError(this.id, end.state, failures, end.reason);
  }

  async #waitForEnd(): Promise<{ end: EndRecord; round: number }> {
    return await waitFor(this.#ports, [`${this.id}.end.*`], async () => {
      const last = await this.#lastEnd();
      return last === undefined || last.retried ? undefined : last;
    });
  }

  /** The latest round's end, and whether a retry was recorded after it. */
  async #lastEnd(): Promise<{ end: EndRecord; round: number; retried: boolean } | undefined> {
    const { facts } = this.#ports;
    for (let round = 1, last: { stored: Stored; end: EndRecord } | undefined;; round++) {
      const stored = await facts.read(endKey(this.id, round));
      if (stored !== undefined) {
        const end = readEnd(stored.data) ?? unreadableEnd(stored.at);
        last = { stored, end };
        if (end.state === "SUCCESS") return { end, round, retried: false };
        continue;
      }
      return last === undefined
        ? undefined
        : { end: last.end, round: round - 1, retried: await this.#isRetriedAfter(last.stored.seq) };
    }
  }

  async #isRetriedAfter(seq: number): Promise<boolean> {
    for (let from = seq + 1;;) {
      const control = await this.#ports.facts.next(controlsOf(this.id), from);
      if (control === undefined) return false;
      if (readControl(control.data)?.control.is === "retry") return true;
      from = control.seq + 1;
    }
  }

  async #head(): Promise<Head> {
    const stored = await this.#ports.facts.read(definitionKey(this.id));
    if (stored === undefined) throw this.#notFound();
    const head = headOrNothing(stored);
    if (head !== undefined) return head;
    const { end } = await this.#waitForEnd();
    throw await this.#failure(end);
  }

  async #definition(): Promise<Definition> {
    const { facts } = this.#ports;
    const head = await facts.read(definitionKey(this.id));
    if (head === undefined) throw this.#notFound();
    return wholeDefinition(this.id, head.data, (key) => facts.readRecorded(key));
  }

  #find(definition: Definition, reference: NodeReference): number {
    const node = findNode(definition, reference instanceof Node ? reference.index : reference);
    if (node !== undefined) return node;
    throw new NotFoundError(`Run "${this.id}" has no node ${quote(reference)}`, {
      hint:
        "Use a handle of the submitted workflow, a node's name, number, or the label that events show.",
    });
  }

  #notFound(): NotFoundError {
    return new NotFoundError(`There is no run "${this.id}"`, {
      hint: "See app.list(); finished runs are removed after their retention (a day by default).",
    });
  }
}

function headOrNothing(stored: Stored): Head | undefined {
  try {
    return decodeHead(stored.data);
  } catch {
    return undefined;
  }
}

/** What stands for a terminal record that cannot be read: it is there, and cannot be replaced. */
function unreadableEnd(at: number): EndRecord {
  const reason = "its terminal record cannot be read";
  return { state: "ERROR", at, counts: noCounts(), failed: [], reason };
}

function parse(data: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(data));
}
