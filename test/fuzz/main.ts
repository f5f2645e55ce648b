/**
 * A long look for records that break a reader, on all cores: what readers and hunts are is said there. A hunter that gives no
 * answer for a minute, or runs out of memory, is ended, and what it was given last is shown.
 *
 *     npm run fuzz -- [--inputs 1000000] [--seed 1] [--only <reader>]
 */
import { availableParallelism } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Finding, hunt, type Hunted } from "./hunt.ts";
import { type Pieces, written } from "./mutate.ts";
import { READERS } from "./readers.ts";

/** A part of the work: so many inputs for one reader. */
interface Job {
  readonly reader: string;
  readonly inputs: number;
  readonly seed: number;
}

const JOB_INPUTS = 10_000;
const STUCK_MS = 60_000;
const SLOT_BYTES = 4_000_000;
/** Characters of what was found. */
const SHOWN = 1_500;
const HEAP_MB = 1_024;

/** What a hunter is busy with, where its watcher sees it: a counter, a length, and the bytes. */
class Slot {
  readonly #counts: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(shared: SharedArrayBuffer) {
    this.#counts = new Int32Array(shared, 0, 2);
    this.#bytes = new Uint8Array(shared, 8);
  }

  show(pieces: Pieces): void {
    let at = 0;
    for (const piece of pieces) {
      const part = piece.subarray(0, this.#bytes.length - at);
      this.#bytes.set(part, at);
      at += part.length;
    }
    this.#counts[1] = at;
    Atomics.add(this.#counts, 0, 1);
  }

  get count(): number {
    return Atomics.load(this.#counts, 0);
  }

  get last(): string {
    return written([this.#bytes.slice(0, Math.min(this.#counts[1]!, 2_000))]);
  }
}

async function beHunter(): Promise<void> {
  const slot = new Slot(workerData.shared);
  for (const { reader: name, inputs, seed } of workerData.jobs as Job[]) {
    const reader = READERS.find((one) => one.name === name)!;
    const onInput = (pieces: Pieces) => slot.show(pieces);
    parentPort!.postMessage({ name, hunted: await hunt({ reader, inputs, seed, onInput }) });
  }
}

function jobsFor(inputs: number, seed: number, only: string | undefined): Job[] {
  const readers = READERS.filter(({ name }) => only === undefined || name === only);
  const shares = readers.reduce((sum, { share }) => sum + share, 0);
  return readers.flatMap(({ name, share }) => {
    let left = Math.ceil(inputs * share / shares);
    const jobs: Job[] = [];
    for (let part = 0; left > 0; part++, left -= JOB_INPUTS) {
      jobs.push({ reader: name, inputs: Math.min(left, JOB_INPUTS), seed: seed * 1_000 + part });
    }
    return jobs;
  });
}

interface Total {
  inputs: number;
  answers: number;
  slowestMs: number;
}

/** Runs the jobs in one thread. @returns what it found; what ended it is a finding too. */
function startHunter(jobs: Job[], onHunted: (name: string, hunted: Hunted) => void) {
  const shared = new SharedArrayBuffer(SLOT_BYTES);
  const slot = new Slot(shared);
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { shared, jobs },
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
  });
  let done = 0;
  return new Promise<Finding[]>((resolve) => {
    const ended = (what: string): Finding => {
      const { reader, seed } = jobs[Math.min(done, jobs.length - 1)]!;
      return { reader, seed, input: -1, what, pieces: slot.last };
    };
    let count = -1;
    const watch = setInterval(() => {
      if (slot.count === count) {
        void worker.terminate();
        finish([ended(`no answer for ${STUCK_MS} ms`)]);
      }
      count = slot.count;
    }, STUCK_MS);
    const finish = (findings: Finding[]) => {
      clearInterval(watch);
      resolve(findings);
    };
    worker.on("message", ({ name, hunted }) => {
      done++;
      onHunted(name, hunted);
    });
    worker.on("error", (error) => finish([ended(String(error.stack))]));
    worker.on("exit", () => finish([]));
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      inputs: { type: "string", default: "1000000" },
      seed: { type: "string", default: "1" },
      only: { type: "string" },
    },
  });
  const seed = Number(values.seed);
  const jobs = jobsFor(Number(values.inputs), seed, values.only);
  if (jobs.length === 0) throw new Error(`readers are: ${READERS.map(({ name }) => name)}`);
  const begun = performance.now();
  const totals = new Map<string, Total>();
  const findings: Finding[] = [];
  const onHunted = (name: string, hunted: Hunted) => {
    const total = totals.get(name) ?? { inputs: 0, answers: 0, slowestMs: 0 };
    totals.set(name, {
      inputs: total.inputs + hunted.inputs,
      answers: Math.max(total.answers, hunted.answers),
      slowestMs: Math.max(total.slowestMs, hunted.slowestMs),
    });
    findings.push(...hunted.findings);
  };
  const threads = availableParallelism();
  const shares = Array.from(
    { length: threads },
    (_, i) => jobs.filter((_, k) => k % threads === i),
  ).filter(({ length }) => length > 0);
  const ends = await Promise.all(shares.map((share) => startHunter(share, onHunted)));
  findings.push(...ends.flat());
  for (const [name, { inputs, answers, slowestMs }] of [...totals].sort()) {
    console.log(
      `${name.padEnd(16)} ${String(inputs).padStart(8)} inputs  ` +
        `${String(answers).padStart(5)} answers  slowest ${slowestMs.toFixed(1)} ms`,
    );
  }
  for (const { reader, seed, input, what, pieces } of findings) {
    console.log(
      `\nFOUND in ${reader}, seed ${seed}, input ${input}: ${what}\n  ${pieces.slice(0, SHOWN)}`,
    );
  }
  const inputs = [...totals.values()].reduce((sum, total) => sum + total.inputs, 0);
  const seconds = Math.round((performance.now() - begun) / 1_000);
  console.log(`\n${inputs} inputs in ${seconds} s, seed ${seed}: ${findings.length} findings`);
  process.exitCode = findings.length > 0 ? 1 : 0;
}

await (isMainThread ? main() : beHunter());
