/** What stored records say, for whoever replays a log: its facts, and its definition. Where records come from is a parameter. */
import type { Definition } from "./definition.ts";
import { chunkName, decodeDefinition, decodeHead } from "./definition_codec.ts";
import { definitionKey, parseKey } from "./keys.ts";
import {
  type OutcomeNote,
  readControl,
  readExpansion,
  readFailure,
  readOutcomeNote,
} from "./records.ts";
import type { Fact } from "./fact.ts";

/** A record as it is stored or told. */
export interface Recorded {
  readonly key: string;
  readonly note?: string;
  readonly data: Uint8Array;
}

/**
 * What a record says; undefined when it cannot be understood: it is left alone and changes nothing.
 * @param read its note, for whoever has read that already.
 */
export function factOf(
  { key, note, data }: Recorded,
  read: OutcomeNote | undefined = readOutcomeNote(note),
): Fact | undefined {
  const parsed = parseKey(key);
  if (parsed?.is === "outcome") {
    if (read === undefined) return undefined;
    const { node, attempt } = parsed;
    const at = read.endedAt;
    return read.is === "succeeded"
      ? { is: "succeeded", node, attempt, at }
      : { is: "failed", node, attempt, at, failure: readFailure(data) };
  }
  if (parsed?.is === "expansion") {
    const expansion = readExpansion(data);
    if (expansion === undefined) return undefined;
    const { node, attempt } = parsed;
    return { is: "expanded", node, attempt, ...expansion };
  }
  if (parsed?.is === "control") {
    const control = readControl(data);
    return control === undefined ? undefined : { is: "control", ...control };
  }
  return undefined;
}

/**
 * Takes a log in, in its order: what a control fact means depends on whether a terminal record stands before it. Other
 * records may be left out.
 */
export class LogReader {
  #endedRound = 0;

  /** What the next record says; undefined when it is no fact, or cannot be understood. */
  take(recorded: Recorded): Fact | undefined {
    const parsed = parseKey(recorded.key);
    if (parsed?.is === "end") this.#endedRound = Math.max(this.#endedRound, parsed.round);
    const fact = factOf(recorded);
    return fact?.is === "control" ? { ...fact, endedRound: this.#endedRound } : fact;
  }
}

/** Whether a record's body says something to the scheduler, which its key and its note do not. */
export function saysMoreInBody({ key, note }: Omit<Recorded, "data">): boolean {
  switch (parseKey(key)?.is) {
    case "outcome":
      return readOutcomeNote(note)?.is === "failed";
    case "expansion":
    case "control":
    case "end":
      return true;
    default:
      return false;
  }
}

/**
 * The definition that `head` begins.
 * @param read gives the other records.
 * @throws {InvalidWorkflowError} when it cannot be read, or a record is missing: the head is written last.
 */
export async function wholeDefinition(
  workflow: string,
  head: Uint8Array,
  read: (key: string) => Promise<Recorded | undefined>,
): Promise<Definition> {
  const decoded = decodeHead(head);
  const records = [head];
  // One at a time: each comes in buffers that take several times its size until they are collected.
  while (records.length <= decoded.chunks) {
    const chunk = await read(definitionKey(workflow, chunkName(decoded.digest, records.length)));
    // A copy: what is read is part of a buffer that can be twice as large, and would stay with it.
    records.push(chunk?.data.slice() ?? new Uint8Array());
    // A head may claim any number: what is missing shows at the first.
    if (chunk === undefined) break;
  }
  return decodeDefinition(decoded, records);
}
