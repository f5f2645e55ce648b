/**
 * Results that tasks take and that did not come with their message. What many tasks of a run take is read once, also when
 * they ask at the same time, and kept while there is room. Kept as JSON: each task gets a value of its own to change.
 */
import { PayloadTooLargeError } from "../core/errors.ts";
import { decodeHead } from "../core/definition_codec.ts";
import { definitionKey, outcomeKey, outcomesOf } from "../core/keys.ts";
import { readOutcomeNote, type TaskMessage } from "../core/records.ts";
import type { Ports, Stored } from "../ports.ts";
import { jsonOf, parseResult, sizeOf, UnreadableResultError } from "../runs/results.ts";

export interface InputLimits {
  /** Bytes of all that one task takes. */
  readonly maxInputs: number;
  /** Bytes that are kept for other tasks. */
  readonly inputCache: number;
}

/** From so many results on it may be cheaper to read all of a run's. */
const SCAN_FROM = 2_000;
/** Unless it has so many more than are taken. */
const MOST_PER_TAKEN = 8;
/** What an entry takes besides its JSON: measured, in Node.js. Most results are smaller. */
const ENTRY_BYTES = 600;

/** The results by node, or why there are none for this task ever. */
export type Fetched =
  | { readonly is: "inputs"; readonly values: ReadonlyMap<number, unknown> }
  | { readonly is: "never"; readonly error: PayloadTooLargeError | UnreadableResultError };

export class Inputs {
  readonly #ports: Ports;
  readonly #limits: InputLimits;
  /** The one that was used last is the last. */
  readonly #kept = new Map<string, Input>();
  #bytes = 0;

  constructor(ports: Ports, limits: InputLimits) {
    this.#ports = ports;
    this.#limits = limits;
  }

  /** @throws {DyrygentError} when one cannot be read now. */
  async fetch(
    workflow: string,
    message: TaskMessage,
    missing: readonly number[],
  ): Promise<Fetched> {
    const nodes = [...new Set(missing)];
    const keys = nodes.map((node) => outcomeKey(workflow, node, message.attempts[node] ?? 1));
    const scanned = keys.length < SCAN_FROM ? undefined : await this.#scan(workflow, keys.length);
    const inputs = keys.map((key) => this.#input(key, message.submittedAt, scanned?.get(key)));
    try {
      // Before blobs are read; and what other runs give is not known before.
      const stored = sum(await Promise.all(inputs.map((input) => input.size)));
      if (stored > this.#limits.maxInputs) return this.#tooLarge(stored);
      const texts = await Promise.all(inputs.map((input) => input.json()));
      const total = sum(texts.map((text) => text.length));
      if (total > this.#limits.maxInputs) return this.#tooLarge(total);
      const values = new Map(nodes.map((node, i) => [node, parseResult(keys[i]!, texts[i]!)]));
      return { is: "inputs", values };
    } catch (error) {
      // Asking again, or asking another worker, would not help.
      if (error instanceof UnreadableResultError) return { is: "never", error };
      throw error;
    } finally {
      // What was not read to its end has no size to be kept by.
      for (const input of inputs) if (!input.isAsked) input.onGivenUp();
    }
  }

  #tooLarge(total: number): Fetched {
    const hint = "Take fewer or smaller results, or raise the worker's maxInputs.";
    const { maxInputs } = this.#limits;
    const error = new PayloadTooLargeError("What the task takes", total, maxInputs, hint);
    return { is: "never", error };
  }

  /** All that is recorded of a run, where most of it is taken: one scan instead of a read for each. */
  async #scan(workflow: string, taken: number): Promise<ReadonlyMap<string, Stored> | undefined> {
    const { facts } = this.#ports;
    const head = await facts.readRecorded(definitionKey(workflow));
    const nodes = head === undefined ? Infinity : nodesIn(head);
    if (nodes > MOST_PER_TAKEN * taken) return undefined;
    const outcomes = await facts.scan(outcomesOf(workflow), { bodies: true });
    return new Map(outcomes.map((stored) => [stored.key, stored]));
  }

  /**
   * @param submittedAt tells runs apart that had the same id one after the other; without it nothing is kept.
   * @param stored if it has been read already.
   */
  #input(key: string, submittedAt: number | undefined, stored: Stored | undefined): Input {
    if (submittedAt === undefined) return new Input(this.#ports, key, stored);
    const place = `${submittedAt} ${key}`;
    const known = this.#kept.get(place);
    const input = known ?? new Input(this.#ports, key, stored);
    this.#kept.delete(place);
    this.#kept.set(place, input);
    if (known === undefined) {
      input.onRead = (size) => this.#keep(place, input, size);
      input.onGivenUp = () => this.#drop(place, input);
    }
    return input;
  }

  #keep(place: string, input: Input, jsonBytes: number): void {
    if (this.#kept.get(place) !== input) return;
    input.kept = jsonBytes + ENTRY_BYTES;
    this.#bytes += input.kept;
    if (input.kept > this.#limits.inputCache) return this.#drop(place, input);
    for (const [oldest, other] of this.#kept) {
      if (this.#bytes <= this.#limits.inputCache) break;
      // What is being read takes no room yet.
      if (other.kept > 0) this.#drop(oldest, other);
    }
  }

  #drop(place: string, input: Input): void {
    if (this.#kept.get(place) === input) this.#kept.delete(place);
    this.#bytes -= input.kept;
    input.kept = 0;
  }
}

function nodesIn({ data }: Stored): number {
  try {
    return decodeHead(data).nodes;
  } catch {
    return Infinity;
  }
}

function sum(sizes: readonly number[]): number {
  return sizes.reduce((total, size) => total + size, 0);
}

/** One result: its record is read at once, its blob when it is asked for. */
class Input {
  readonly #ports: Ports;
  readonly size: Promise<number>;
  #stored: Promise<Stored> | undefined;
  #json: Promise<string> | undefined;
  /** Bytes it takes among those kept. */
  kept = 0;
  onRead: (size: number) => void = () => {};
  onGivenUp: () => void = () => {};

  constructor(ports: Ports, key: string, stored: Stored | undefined) {
    this.#ports = ports;
    this.#stored = this.#read(key, stored);
    this.size = this.#stored.then(sizeOf);
    this.size.catch(() => this.onGivenUp());
  }

  /** Its result was asked for, not only its size. */
  get isAsked(): boolean {
    return this.#json !== undefined;
  }

  json(): Promise<string> {
    return this.#json ??= this.#result();
  }

  async #result(): Promise<string> {
    try {
      const json = await jsonOf(this.#ports, await this.#stored!);
      this.#stored = undefined; // The bytes are part of a buffer with other messages.
      this.onRead(json.length);
      return json;
    } catch (error) {
      this.onGivenUp();
      throw error;
    }
  }

  async #read(key: string, known: Stored | undefined): Promise<Stored> {
    const stored = known ?? await this.#ports.facts.readRecorded(key);
    if (stored !== undefined && readOutcomeNote(stored.note)?.is === "succeeded") return stored;
    throw new Error(`the result ${key} that the task needs is not recorded`);
  }
}
