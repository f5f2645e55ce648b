/** Results of nodes and runs, read wherever they are: in an outcome, in a blob that it names, or in what another run gave. */
import { decodeHead } from "../core/definition_codec.ts";
import { CodecError, InvalidWorkflowError, NotFoundError } from "../core/errors.ts";
import { exactJson } from "../core/json.ts";
import { definitionKey, endKey, outcomeKey, outcomesOf, parseKey } from "../core/keys.ts";
import { LIMITS } from "../core/limits.ts";
import { wholeDefinition } from "../core/recorded.ts";
import { blobIn, readBlobSize, readOutcomeNote } from "../core/records.ts";
import { unseal, unsealBytes } from "../core/sealing.ts";
import { fill, inputNodes, type Template } from "../core/template.ts";
import type { Facts, Ports, Stored } from "../ports.ts";

/** Reads under way at once. */
const READ_BATCH = 1_024;
/** From so many nodes on, one scan is cheaper than a read for each. */
const SCAN_FROM = 2_000;

/**
 * The result that an outcome stands for.
 * @param above the runs that it is read for: none of them can give it.
 * @throws {NotFoundError} when its blob or run is gone or damaged, {CodecError} when it cannot be unsealed, or read at all
 */
export async function resultOf(
  ports: Ports,
  outcome: Stored,
  above: readonly string[] = [],
): Promise<unknown> {
  const { key, note } = outcome;
  const elsewhere = readOutcomeNote(note)?.elsewhere;
  if (elsewhere?.is !== "run") return parseResult(key, await jsonOf(ports, outcome));
  if (!above.includes(elsewhere.run)) return await outputOf(ports, elsewhere.run, above);
  throw new UnreadableResultError(key, new Error(`run ${elsewhere.run} would give it to itself`));
}

/** What nobody can ever read: no key is missing, it is not JSON. */
export class UnreadableResultError extends CodecError {
  constructor(key: string, cause: unknown) {
    super(`Cannot read the result ${key}: ${(cause as Error).message}`, {
      cause,
      hint: "It was not written by this library, or is damaged. Submit the workflow again.",
    });
  }
}

/** @throws {UnreadableResultError} */
export function parseResult(key: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new UnreadableResultError(key, cause);
  }
}

async function unsealed({ codec }: Ports, key: string, data: Uint8Array): Promise<string> {
  try {
    return await unsealBytes(codec, data);
  } catch (cause) {
    if (cause instanceof CodecError) throw cause;
    throw new UnreadableResultError(key, cause);
  }
}

/** The same as text: JSON, if it was written by this library. */
export async function jsonOf(ports: Ports, outcome: Stored): Promise<string> {
  const elsewhere = readOutcomeNote(outcome.note)?.elsewhere;
  const { key } = outcome;
  switch (elsewhere?.is) {
    case undefined:
      return await unsealed(ports, key, outcome.data);
    case "run":
      try {
        return exactJson(await outputOf(ports, elsewhere.run), "result");
      } catch (cause) {
        throw cause instanceof InvalidWorkflowError ? new UnreadableResultError(key, cause) : cause;
      }
    case "blob": {
      const found = await ports.blobs.get(elsewhere.blob);
      if (typeof found !== "string") return await unsealed(ports, key, found);
      throw new NotFoundError(
        `The result ${key} is recorded, but its data ${elsewhere.blob} is ${found}`,
        { hint: "Somebody removed or changed it. Submit the workflow again to make it anew." },
      );
    }
  }
  return elsewhere satisfies never;
}

/** Bytes that are stored for a result; those of another run are not known before they are read. */
export function sizeOf({ note, data }: Stored): number {
  return blobIn(note) === undefined ? data.length : readBlobSize(data) ?? 0;
}

/** What a finished run gives. */
async function outputOf(
  ports: Ports,
  run: string,
  above: readonly string[] = [],
): Promise<unknown> {
  const { facts } = ports;
  const stored = await facts.readRecorded(definitionKey(run));
  if (stored === undefined) {
    throw new NotFoundError(`The run "${run}", whose result is asked for, is not there any more`, {
      hint: "It was removed after its retention: submit the workflow again to make it anew.",
    });
  }
  const head = decodeHead(stored.data);
  const output = head.output ??
    (await wholeDefinition(run, stored.data, (key) => facts.readRecorded(key))).output;
  return fillFrom(ports, run, output, above);
}

/** A template of a run, with its nodes' results; `null` for those without. */
export async function fillFrom(
  ports: Ports,
  run: string,
  { json, inputs }: Template,
  above: readonly string[] = [],
): Promise<unknown> {
  const { facts, codec } = ports;
  const nodes = [...new Set(inputNodes(inputs, LIMITS.nodes))];
  const runs = [...above, run];
  const results = new Map<number, unknown>();
  const latest = nodes.length >= SCAN_FROM ? await allSuccesses(facts, run) : undefined;
  // Only a later round can have replaced the success of a first attempt.
  const isFirstRound = await facts.read(endKey(run, 2)) === undefined;
  for (let i = 0; i < nodes.length; i += READ_BATCH) {
    await Promise.all(
      nodes.slice(i, i + READ_BATCH).map(async (node) => {
        const success = latest === undefined
          ? isFirstRound && await firstSuccessOf(facts, run, node) ||
            await successOf(facts, run, node)
          : latest.get(node);
        results.set(node, success && await resultOf(ports, success, runs));
      }),
    );
  }
  const value = await unseal(codec, JSON.parse(json));
  try {
    return fill(value, inputs, { resultOf: (node) => results.get(node) ?? null });
  } catch (cause) {
    throw new UnreadableResultError(run, cause);
  }
}

async function allSuccesses(facts: Facts, run: string): Promise<Map<number, Stored>> {
  const latest = new Map<number, Stored>();
  for (const stored of await facts.scan(outcomesOf(run), { bodies: true })) {
    const key = parseKey(stored.key);
    // In the order of the log: the last one counts.
    if (key?.is === "outcome" && readOutcomeNote(stored.note)?.is === "succeeded") {
      latest.set(key.node, stored);
    }
  }
  return latest;
}

async function firstSuccessOf(
  facts: Facts,
  run: string,
  node: number,
): Promise<Stored | undefined> {
  const first = await facts.readRecorded(outcomeKey(run, node, 1));
  return readOutcomeNote(first?.note)?.is === "succeeded" ? first : undefined;
}

/** The outcome with which a node succeeded last; undefined when its last one is none. */
export async function successOf(
  facts: Facts,
  run: string,
  node: number,
): Promise<Stored | undefined> {
  const last = await lastOutcome(facts, run, node);
  return readOutcomeNote(last?.stored.note)?.is === "succeeded" ? last!.stored : undefined;
}

export async function lastOutcome(
  facts: Facts,
  run: string,
  node: number,
): Promise<{ stored: Stored; attempt: number } | undefined> {
  let last: { stored: Stored; attempt: number } | undefined;
  for (let seq = 0;;) {
    const stored = await facts.next(`${run}.r.${node}.*`, seq);
    const key = stored === undefined ? undefined : parseKey(stored.key);
    if (stored === undefined || key?.is !== "outcome") return last;
    last = { stored, attempt: key.attempt };
    seq = stored.seq + 1;
  }
}
