/**
 * Runs the uvu suites of `test/` in one process, on Node and on Deno alike, one file after the
 * other. It exists because uvu's own runner knows only Node and lets broken suites pass: a
 * throwing `before()`, a file that never calls `.run()`, an empty file. Here each of those is a
 * failure, and so are a suite that hangs and an error that nobody awaited.
 *
 *     node --import tsx scripts/test.ts [part of a path …]
 *     deno run -A scripts/test.ts [part of a path …]
 *
 * `--root=<folder>` looks for tests elsewhere, `--limit-ms=<n>` is the time one suite may take.
 * `--claims=<folder>` shares the files with other processes that are given the same folder: each
 * file is run by the one that claims it first.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { inspect, parseArgs, stripVTControlCharacters } from "node:util";
import fc from "fast-check";

/** What `suite.run()` queues: resolves to [error text or true, passed, skipped, total]. */
type QueuedSuite = () => Promise<[string | true, number, number, number]>;

const { values: options, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: {
    root: { type: "string", default: "test" },
    "limit-ms": { type: "string", default: "120000" },
    claims: { type: "string" },
  },
});
const runtime = "Deno" in globalThis ? "deno" : "node";
const limitMs = Number(options["limit-ms"]);
const totals = { passed: 0, failed: 0, skipped: 0 };
const brokenFiles: string[] = [];
let problems: string[] = []; // of the file that is running
let endedTests = 0; // of the suite that is running
let finished = false;

// uvu looks at these when it is first imported: it then queues suites instead of starting them.
const queue: QueuedSuite[][] = [];
Object.assign(globalThis, { UVU_DEFER: 1, UVU_QUEUE: queue });
// Else a failed property hides its reason in the error's cause, which uvu does not print.
fc.configureGlobal({ includeErrorInReport: true });

function fail(what: string, error?: unknown): void {
  totals.failed++;
  const why = error instanceof Error ? inspect(error) : error;
  problems.push(why === undefined ? what : `${what}\n${why}`);
}

async function withinLimit<T>(work: Promise<T>): Promise<T> {
  endedTests = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const alarm = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(`time is up: no end within ${limitMs} ms, after ${endedTests} of its tests`);
    }, limitMs);
  });
  try {
    return await Promise.race([work, alarm]);
  } finally {
    clearTimeout(timer);
  }
}

/** What uvu cannot notice: a suite that is never run, and an `only` that hides the others. */
function checkSource(source: string): void {
  const suites = [...source.matchAll(/\b(\w+) = suite[<(]/g)].map((match) => match[1]);
  if (/^test\(/m.test(source)) suites.push("test");
  for (const name of suites) {
    if (!source.includes(`${name}.run()`)) fail(`the suite is never run: add ${name}.run()`);
  }
  if (wanted.length === 0 && /^\s*\w+\.only\(/m.test(source)) {
    fail("only() hides the other tests: remove it, or name the file when you call the runner");
  }
}

async function runSuite(suite: QueuedSuite): Promise<void> {
  const [errors, passed, skipped, total] = await withinLimit(suite());
  totals.passed += passed;
  totals.skipped += skipped;
  if (errors !== true) problems.push(errors);
  else if (passed < total) {
    problems.push(
      `${total - passed} of ${total} tests did not end: a before() or each-hook threw, or a test ` +
        "threw something that is not an Error. uvu swallows which; do the set-up inside the test " +
        "to see it",
    );
  }
  totals.failed += total - passed;
  if (total + skipped === 0) fail("a suite has no tests");
}

/** @returns whether this process is the one that runs the file. */
function claim(file: string): boolean {
  if (options.claims === undefined) return true;
  try {
    writeFileSync(join(options.claims, file.replaceAll("/", "~")), "", { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

async function runFile(file: string, index: number): Promise<void> {
  Object.assign(globalThis, { UVU_INDEX: index });
  const suites: QueuedSuite[] = queue[index] = [];
  checkSource(readFileSync(file, "utf8"));
  try {
    await withinLimit(import(pathToFileURL(resolve(file)).href));
  } catch (error) {
    return fail("cannot load the file", error);
  }
  if (suites.length === 0) fail("no suite was run: end the file with test.run()");
  for (const suite of suites) {
    await runSuite(suite).catch((error) => fail("the suite broke outside of its tests", error));
  }
  await new Promise((later) => setTimeout(later)); // errors nobody awaited surface by now
}

function refuseEarlyExit(): void {
  if (finished) return;
  finished = true;
  console.error(`${runtime}: the process was ended before the last test; look for an exit()`);
  process.exitCode = 1;
}

/** Kinds of open handles, with how many more there are than before: a file that leaks says so. */
function leakedSince(before: string[]): string {
  const more = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) more.set(kind, (more.get(kind) ?? 0) + 1);
  for (const kind of before) more.set(kind, (more.get(kind) ?? 0) - 1);
  const leaks = [...more].filter(([kind, n]) => n > 0 && /Wrap$|Timeout/.test(kind));
  return leaks.length ? `, left open: ${leaks.map(([kind, n]) => `${n} ${kind}`).join(", ")}` : "";
}

// uvu draws a dot per test. They are counted and left out: a file is one line, and what a test
// prints stays readable.
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (chunk: string | Uint8Array, ...rest: never[]): boolean => {
  const text = typeof chunk === "string" ? stripVTControlCharacters(chunk) : "";
  if (/^[•✘] $/.test(text)) endedTests++;
  return /^(?:[•✘] | .+ {2}| {2}\(\d+ \/ \d+\)\n)$/.test(text) || write(chunk, ...rest);
};

process.on("unhandledRejection", (error) => fail("a rejection that nobody awaited", error));
process.on("uncaughtException", (error) => fail("an error that nobody caught", error));
process.on("exit", refuseEarlyExit);
globalThis.addEventListener?.("unload", refuseEarlyExit); // Deno.exit() skips "exit"

const files = readdirSync(options.root, { recursive: true, encoding: "utf8" })
  .map((name) => join(options.root, name).replaceAll("\\", "/"))
  .filter((file) => file.endsWith("_test.ts"))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();

for (const [index, file] of files.entries()) {
  if (!claim(file)) continue;
  const { passed, failed } = totals;
  const start = performance.now();
  const before = process.getActiveResourcesInfo();
  problems = [];
  await runFile(file, index);
  const ms = `${Math.round(performance.now() - start)} ms`.padStart(9);
  const failures = totals.failed - failed;
  if (failures > 0) brokenFiles.push(file);
  console.log(
    `${failures ? "FAIL" : "ok  "} ${ms}  ${file}  ${totals.passed - passed} passed` +
      (failures ? `, ${failures} failed` : "") + leakedSince(before),
  );
  for (const problem of problems) console.log(problem.trimEnd().replace(/^(?=.)/gm, "    "));
}

if (brokenFiles.length) console.log(`\nfailed: ${brokenFiles.join(" ")}`);
if (files.length === 0) console.log(`no *_test.ts below ${options.root} matches: ${wanted}`);
const { passed, failed, skipped } = totals;
console.log(`${runtime}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
finished = true;
// Not left to the event loop: a handle that a test forgot must not keep the gate waiting.
process.exit(failed > 0 || passed === 0 ? 1 : 0);
