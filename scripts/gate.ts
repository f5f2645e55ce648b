/**
 * The one command that must be green: what `npm test` runs, here and in CI. Types (tsc and Deno),
 * format and lint side by side; then every test on Node and on Deno, each by two processes that
 * share the files: most tests wait for a server. The last two lines of a green run are the totals of
 * the two runtimes.
 *
 *     npm test            everything
 *     npm run check       all but the tests (--no-tests)
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
// By their files, not by name: works without a PATH, and on systems where a bin is a .cmd.
const node = [process.execPath];
const tsc = [...node, "node_modules/typescript/bin/tsc"];
const deno = [...node, "node_modules/deno/bin.cjs"];

const checks = {
  "tsc": [...tsc, "-p", "."],
  // What ships has explicit types. Tests and examples need not: they read as users write.
  "tsc, library": [...tsc, "-p", "tsconfig.library.json"],
  "deno check": [...deno, "check", "--quiet"],
  "deno fmt": [...deno, "fmt", "--check"],
  "deno lint": [...deno, "lint", "--quiet"],
};
const tests = {
  "node": [...node, "--import", "tsx", "scripts/test.ts"],
  "deno": [...deno, "run", "-A", "scripts/test.ts"],
};

/** Runs a command in the project's folder; `follow` sees its output as it comes. */
function run(
  [program = "", ...args]: string[],
  follow: (chunk: string) => void,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (chunk: string) => {
        output += chunk;
        follow(chunk);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output })); // null: ended by a signal
  });
}

/** @returns whether the check is green; prints what it said only when it is not. */
async function check(name: string, command: string[]): Promise<boolean> {
  const start = performance.now();
  const { code, output } = await run(command, () => {});
  const ms = `${Math.round(performance.now() - start)} ms`.padStart(9);
  console.log(`${code === 0 ? "ok  " : "FAIL"} ${ms}  ${name}`);
  if (code !== 0) console.log(output.trimEnd().replace(/^(?=.)/gm, "    "));
  return code === 0;
}

/** Of tests that are all green. */
interface Totals {
  readonly passed: number;
  readonly skipped: number;
}

/** @returns undefined when a test failed or there is no line with the totals. */
async function test(runtime: string, command: string[]): Promise<Totals | undefined> {
  let line = "";
  const { code, output } = await run(command, (chunk) => {
    const lines = (line + chunk).split("\n");
    line = lines.pop()!;
    for (const whole of lines) console.log(`${runtime} | ${whole}`);
  });
  const lastLine = output.trimEnd().split("\n").at(-1) ?? "";
  const totals = /^\w+: (\d+) passed, 0 failed, (\d+) skipped$/.exec(lastLine);
  if (code !== 0 || totals === null) return undefined;
  return { passed: Number(totals[1]), skipped: Number(totals[2]) };
}

/** All tests of one runtime. @returns the line with the totals, or undefined when not green. */
async function testAll(runtime: string, command: string[]): Promise<string | undefined> {
  const claims = mkdtempSync(join(tmpdir(), `claims-${runtime}-`));
  try {
    const sharing = [...command, `--claims=${claims}`];
    const halves = await Promise.all([1, 2].map(() => test(runtime, sharing)));
    let [passed, skipped] = [0, 0];
    for (const half of halves) {
      if (half === undefined) return undefined;
      passed += half.passed;
      skipped += half.skipped;
    }
    return `${runtime}: ${passed} passed, 0 failed, ${skipped} skipped`;
  } finally {
    rmSync(claims, { recursive: true });
  }
}

const failed: string[] = [];
const closing: string[] = [];

await Promise.all(
  Object.entries(checks).map(async ([name, command]) => {
    if (!await check(name, command)) failed.push(name);
  }),
);
if (!process.argv.includes("--no-tests")) {
  console.log("\ntests on Node and on Deno");
  const totals = await Promise.all(
    Object.entries(tests).map(async ([runtime, command]) => ({
      runtime,
      line: await testAll(runtime, command),
    })),
  );
  for (const { runtime, line } of totals) {
    if (line === undefined) failed.push(`tests on ${runtime}`);
    else closing.push(line);
  }
}
console.log(["", ...closing].join("\n"));
if (failed.length > 0) {
  console.error(`not green: ${failed.join(", ")}`);
  process.exitCode = 1;
}
