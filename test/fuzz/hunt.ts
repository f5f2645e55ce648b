/**
 * Mutates valid records and gives them to a reader, looking for what must not happen: an error of another kind than it
 * documents, a second without an answer, prototypes that changed, memory that is gone. What it finds it makes smaller.
 *
 * Guided by novelty, not by coverage: a record that a reader answered in a way it had not answered before is mutated
 * further. The same seed gives the same records and the same findings.
 */
import process from "node:process";
import { Rolls } from "../mixed/plans.ts";
import { mutate, type Pieces, smaller, written } from "./mutate.ts";
import type { Reader } from "./readers.ts";

export interface Hunt {
  readonly reader: Reader;
  readonly inputs: number;
  readonly seed: number;
  /** A slower answer is a finding. @default a second */
  readonly longestMs?: number;
  /** Told before each input: whoever watches sees what does not come back. */
  readonly onInput?: (pieces: Pieces) => void;
}

export interface Finding {
  readonly reader: string;
  readonly seed: number;
  /** Which input of its seed it was. */
  readonly input: number;
  readonly what: string;
  /** As a test can have it. */
  readonly pieces: string;
}

export interface Hunted {
  readonly inputs: number;
  /** Answers that differed. */
  readonly answers: number;
  readonly slowestMs: number;
  readonly findings: readonly Finding[];
}

const LONGEST_MS = 1_000;
const MOST_BYTES = 400_000_000;
const CORPUS = 400;
const MOST_ANSWERS = 5_000;
const MOST_FINDINGS = 5;
const MOST_SHRINKS = 3_000;
/** Reading how much memory is used costs as much as reading a record. */
const MEMORY_EVERY = 16;

const BUILT_IN = [Object.prototype, Array.prototype, Function.prototype, Map.prototype];
const known = BUILT_IN.map((prototype) => Object.getOwnPropertyNames(prototype).length);

function checkPrototypes(): void {
  BUILT_IN.forEach((prototype, i) => {
    if (Object.getOwnPropertyNames(prototype).length === known[i]) return;
    delete (prototype as { polluted?: unknown }).polluted;
    throw new Error("a prototype was changed");
  });
}

/** What the reader answers. @throws {Error} whatever must not happen */
async function answer({ read }: Reader, pieces: Pieces): Promise<{ said: string; ms: number }> {
  const begun = performance.now();
  const said = await read(pieces);
  const ms = performance.now() - begun;
  checkPrototypes();
  return { said, ms };
}

/** Others may use this machine: only what is slow twice, and not by waiting for a processor, is slow. */
async function isSlow(
  reader: Reader,
  pieces: Pieces,
  ms: number,
  longestMs: number,
): Promise<boolean> {
  if (ms <= longestMs) return false;
  const before = process.cpuUsage();
  const again = await answer(reader, pieces);
  const { user, system } = process.cpuUsage(before);
  return again.ms > longestMs && (user + system) / 1_000 > longestMs;
}

async function whatIsWrong(reader: Reader, pieces: Pieces): Promise<string | undefined> {
  try {
    await answer(reader, pieces);
    return undefined;
  } catch (error) {
    return String((error as Error)?.stack ?? error).split("\n").slice(0, 6).join("\n");
  }
}

export async function hunt(
  { reader, inputs, seed, longestMs = LONGEST_MS, onInput }: Hunt,
): Promise<Hunted> {
  const samples = await reader.samples();
  const rolls = new Rolls(seed);
  const corpus = [...samples];
  const answers = new Set<string>();
  const findings: Finding[] = [];
  let slowestMs = 0;
  let usedBefore = 0;
  for (const sample of samples) answers.add((await answer(reader, sample)).said);
  let input = 0;
  for (; input < inputs && findings.length < MOST_FINDINGS; input++) {
    const parent = rolls.often(30) ? rolls.pick(samples) : rolls.pick(corpus);
    const pieces = mutate(parent, samples, rolls);
    onInput?.(pieces);
    const isMeasured = input % MEMORY_EVERY === 0;
    if (isMeasured) usedBefore = process.memoryUsage.rss();
    let wrong: string | undefined;
    try {
      const { said, ms } = await answer(reader, pieces);
      slowestMs = Math.max(slowestMs, ms);
      if (!answers.has(said) && answers.size < MOST_ANSWERS) {
        answers.add(said);
        if (corpus.length < CORPUS) corpus.push(pieces);
        else corpus[samples.length + rolls.roll(CORPUS - samples.length)] = pieces;
      }
      if (await isSlow(reader, pieces, ms, longestMs)) wrong = `it took ${Math.round(ms)} ms`;
    } catch {
      wrong = await whatIsWrong(reader, pieces) ?? "only the first time";
    }
    if (isMeasured && process.memoryUsage.rss() - usedBefore > MOST_BYTES) {
      wrong ??= `it took ${process.memoryUsage.rss() - usedBefore} bytes`;
    }
    if (wrong === undefined) continue;
    const shrunk = await shrink(reader, pieces, wrong, onInput);
    findings.push({ reader: reader.name, seed, input, what: wrong, pieces: written(shrunk) });
  }
  return { inputs: input, answers: answers.size, slowestMs, findings };
}

/** The smallest pieces found that fail in the same way. */
async function shrink(
  reader: Reader,
  pieces: Pieces,
  wrong: string,
  onTry: Hunt["onInput"],
): Promise<Pieces> {
  const kind = (what: string) => what.replace(/\d+/g, "").slice(0, 60);
  if (wrong.startsWith("it took")) return pieces;
  let smallest = pieces;
  let tries = 0;
  for (let found = true; found && tries < MOST_SHRINKS;) {
    found = false;
    for (const candidate of smaller(smallest)) {
      if (tries++ >= MOST_SHRINKS) break;
      onTry?.(candidate);
      const what = await whatIsWrong(reader, candidate);
      if (what === undefined || kind(what) !== kind(wrong)) continue;
      smallest = candidate;
      found = true;
      break;
    }
  }
  return smallest;
}
