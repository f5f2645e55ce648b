/**
 * `npm run simulate`: many schedules, each of its own seed, on all cores. Ends with 1 when an invariant was broken; then the
 * smallest schedule that breaks it is told step by step.
 *
 *     npm run simulate -- --schedules 100000 --seed 1     seeds 1 to 100000
 *     npm run simulate -- --seed 4711 --story             one schedule, told
 *     npm run simulate -- --small-scope                   every small shape, every crash
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import "./synchronous_digest.ts";
import "./synchronous_storage.ts";
import { type Report, runSchedule } from "./schedule.ts";
import { shrink } from "./shrink.ts";
import { runSmallScope, SHAPES } from "./small_scope.ts";
import { addSums, noSums, type Sums, sumUp, tableOf } from "./sums.ts";

const { values: options } = parseArgs({
  options: {
    schedules: { type: "string", default: "10000" },
    seed: { type: "string" },
    story: { type: "boolean", default: false },
    "small-scope": { type: "boolean", default: false },
    /** Which part of the work this process does: "0/2". */
    part: { type: "string" },
    /** Ends with the first broken schedule. */
    first: { type: "boolean", default: false },
  },
});

/** So many broken schedules are enough. */
const MOST_BROKEN = 5;

interface Part {
  readonly sums: Sums;
  readonly broken: readonly { readonly name: string; readonly broken: readonly string[] }[];
}

async function tellOne(seed: number): Promise<void> {
  tell(await runSchedule({ seed, told: true }));
}

function tell({ story, plan, injected, broken }: Report): void {
  console.log(story.join("\n"));
  console.log(`\nplan    ${JSON.stringify(plan)}`);
  for (const { at, fault } of injected) console.log(`fault   ${fault}: ${at}`);
  for (const line of broken) console.log(`BROKEN  ${line}`);
  if (broken.length === 0) console.log("all invariants held");
}

/** What this process has to do: every n-th one. */
async function work(first: number, count: number, [own, of]: [number, number]): Promise<Part> {
  const sums = noSums();
  const broken: { name: string; broken: readonly string[] }[] = [];
  const take = (name: string, report: Report) => {
    addSums(sums, sumUp(report));
    if (report.broken.length > 0) broken.push({ name, broken: report.broken });
    return broken.length < (options.first ? 1 : MOST_BROKEN);
  };
  if (options["small-scope"]) {
    await runSmallScope(SHAPES.filter((_, i) => i % of === own), take);
  } else {
    for (let seed = first + own; seed < first + count; seed += of) {
      if (!take(String(seed), await runSchedule({ seed }))) break;
    }
  }
  return { sums, broken };
}

function workElsewhere(part: string): Promise<Part> {
  return new Promise((resolve, reject) => {
    const args = [...process.execArgv, process.argv[1]!, ...process.argv.slice(2), "--part", part];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => output += chunk);
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(output) as Part);
      else reject(new Error(`part ${part} of the simulation ended with ${code}`));
    });
  });
}

async function main(): Promise<void> {
  const first = options.seed === undefined ? Math.floor(Math.random() * 1e9) : Number(options.seed);
  const count = Number(options.schedules);
  if (options.story) return tellOne(first);
  if (options.part !== undefined) {
    const [own, of] = options.part.split("/").map(Number) as [number, number];
    process.stdout.write(JSON.stringify(await work(first, count, [own, of])));
    return;
  }
  const what = options["small-scope"] ? `${SHAPES.length} shapes` : `${count} schedules`;
  console.log(`${what}${options["small-scope"] ? "" : ` from seed ${first}`}`);
  // The parts must agree on where to begin.
  if (options.seed === undefined) process.argv.push("--seed", String(first));
  const began = performance.now();
  const of = availableParallelism();
  const parts = await Promise.all(
    Array.from({ length: of }, (_, i) => workElsewhere(`${i}/${of}`)),
  );
  const sums = noSums();
  for (const part of parts) addSums(sums, part.sums);
  console.log(tableOf(sums, (performance.now() - began) / 1_000));
  const broken = parts.flatMap((part) => part.broken);
  for (const { name, broken: lines } of broken) console.log(`BROKEN  ${name}: ${lines.join("; ")}`);
  if (broken.length === 0) return void console.log("all invariants held");
  process.exitCode = 1;
  if (options["small-scope"]) return;
  console.log(`\nthe smallest schedule like ${broken[0]!.name}:\n`);
  tell(await shrink(await runSchedule({ seed: Number(broken[0]!.name) })));
}

await main();
