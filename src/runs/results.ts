/** Results of nodes and runs, read from the facts wherever they are: in an outcome, or in what another run gave. */
import { decodeHead } from "../core/definition_codec.ts";
import { definitionKey, endKey, outcomeKey, outcomesOf, parseKey } from "../core/keys.ts";
import { LIMITS } from "../core/limits.ts";
import { wholeDefinition } from "../core/recorded.ts";
import { readOutcomeNote } from "../core/records.ts";
import { fill, inputNodes, type Template } from "../core/template.ts";
import type { Facts, Stored } from "../ports.ts";

/** Reads under way at once. */
const READ_BATCH = 1_024;
/** From so many nodes on, one scan is cheaper than a read for each. */
const SCAN_FROM = 2_000;

const decoder = new TextDecoder();

/** The result that an outcome stands for. @throws when it is not there, or cannot be read. */
export async function resultOf(facts: Facts, outcome: Stored): Promise<unknown> {
  const elsewhere = readOutcomeNote(outcome.note)?.elsewhere;
  return elsewhere === undefined
    ? JSON.parse(decoder.decode(outcome.data))
    : await outputOf(facts, elsewhere.run);
}

/** What a finished run gives. */
export async function outputOf(facts: Facts, run: string): Promise<unknown> {
  const stored = await facts.readRecorded(definitionKey(run));
  if (stored === undefined) throw new Error(`the run ${run} is not there any more`);
  const head = decodeHead(stored.data);
  const output = head.output ??
    (await wholeDefinition(run, stored.data, (key) => facts.readRecorded(key))).output;
  return fillFrom(facts, run, output);
}

/** A template of a run, with its nodes' results; `null` for those without. */
export async function fillFrom(
  facts: Facts,
  run: string,
  { json, inputs }: Template,
): Promise<unknown> {
  const nodes = [...new Set(inputNodes(inputs, LIMITS.nodes))];
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
        results.set(node, success === undefined ? null : await resultOf(facts, success));
      }),
    );
  }
  return fill(JSON.parse(json), inputs, { resultOf: (node) => results.get(node) });
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
