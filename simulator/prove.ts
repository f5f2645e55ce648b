/**
 * `npm run mutants`: plants each bug of mutants.ts in a copy of the code and lets the simulator (or tests) look for
 * it. Ends with 1 when one is not caught. `--write` puts the table into docs/mutants.md; `--only <text>` tries some.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { type Mutant, MUTANTS } from "./mutants.ts";

const { values: options } = parseArgs({
  options: {
    schedules: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    write: { type: "boolean", default: false },
  },
});
const root = resolve(import.meta.dirname ?? ".", "..");
/** A test that hangs because of a bug has caught it too, but should say so soon. */
const MOST_MS = 600_000;

interface Caught {
  readonly mutant: Mutant;
  /** What said that something is wrong; undefined: nothing did. */
  readonly by: string | undefined;
  /** How many schedules it took. */
  readonly schedules?: number;
}

/** The code with one bug in it. */
function plant({ name, file, find, replace }: Mutant): string {
  const copy = mkdtempSync(join(tmpdir(), "nats-dyrygent-mutant-"));
  for (const part of ["src", "simulator", "test", "scripts", "mod.ts", "testing.ts"]) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  for (const part of ["package.json", "tsconfig.json"]) cpSync(join(root, part), join(copy, part));
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"), "junction");
  const source = readFileSync(join(copy, file), "utf8");
  const [before, after, ...more] = source.split(find);
  if (after === undefined || more.length > 0) {
    throw new Error(
      `"${name}" cannot be planted: its text is not exactly once in ${file}:\n${find}`,
    );
  }
  writeFileSync(join(copy, file), before + replace + after);
  return copy;
}

async function hunt(mutant: Mutant): Promise<Caught> {
  const copy = plant(mutant);
  try {
    const tests = ["scripts/test.ts", mutant.tests ?? ""];
    const simulation = [
      "simulator/main.ts",
      ...["--schedules", options.schedules, "--seed", options.seed, "--part", "0/1", "--first"],
    ];
    const { code, output } = await run(copy, mutant.tests === undefined ? simulation : tests);
    if (mutant.tests !== undefined) {
      const by = code === 0 ? undefined : `tests of ${mutant.tests}`;
      return { mutant, by };
    }
    if (code !== 0) {
      throw new Error(`the simulation of "${mutant.name}" ended with ${code}: ${output}`);
    }
    const { sums, broken: [broken] } = JSON.parse(output) as {
      sums: { schedules: number };
      broken: { name: string; broken: string[] }[];
    };
    if (broken !== undefined) await checkSound(broken.name);
    return { mutant, by: broken?.broken[0]?.split("\n")[0], schedules: sums.schedules };
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** What is said of a planted bug must not be true without it. */
async function checkSound(seed: string): Promise<void> {
  const args = ["simulator/main.ts", "--schedules", "1", "--seed", seed, "--part", "0/1"];
  const { output } = await run(root, args);
  if ((JSON.parse(output) as { broken: unknown[] }).broken.length === 0) return;
  throw new Error(`seed ${seed} breaks an invariant without any planted bug: see --story`);
}

function run(cwd: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--import", "tsx", ...args], {
      cwd,
      stdio: ["ignore", "pipe", "pipe"],
      timeout: MOST_MS,
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => output += chunk);
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => output += chunk);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

function tableOf(caught: readonly Caught[]): string {
  const rows = caught.map(({ mutant, by, schedules }) =>
    `| ${mutant.name} | \`${mutant.file}\` | ${cell(by ?? "**nothing**")} | ${schedules ?? ""} |`
  );
  return [
    "| planted bug | in | what said so first | schedules |",
    "| --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

function cell(text: string): string {
  const short = text.length > 90 ? `${text.slice(0, 89)}…` : text;
  return short.replaceAll("|", "\\|").replaceAll("*", "\\*");
}

async function main(): Promise<void> {
  const wanted = MUTANTS.filter(({ name }) => name.includes(options.only));
  const caught: Caught[] = [];
  const left = [...wanted];
  const work = async () => {
    for (let mutant = left.shift(); mutant !== undefined; mutant = left.shift()) {
      const one = await hunt(mutant);
      caught.push(one);
      const how = one.by === undefined ? "NOT CAUGHT" : `caught: ${one.by.slice(0, 100)}`;
      console.log(`${mutant.name}\n    ${how} ${one.schedules ?? ""}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  caught.sort((a, b) => MUTANTS.indexOf(a.mutant) - MUTANTS.indexOf(b.mutant));
  const missed = caught.filter(({ by }) => by === undefined);
  console.log(`${caught.length - missed.length} of ${caught.length} planted bugs were caught`);
  if (missed.length > 0) process.exitCode = 1;
  if (!options.write) return;
  const page = join(root, "docs/mutants.md");
  const [head] = readFileSync(page, "utf8").split("| planted bug");
  writeFileSync(page, `${head}${tableOf(caught)}\n`);
}

await main();
