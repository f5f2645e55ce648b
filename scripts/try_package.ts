/**
 * Tries the built package as a stranger would: packs `npm/`, installs the tarball into an empty project, and runs a real
 * workflow from it: from JavaScript on Node, from TypeScript (checked and compiled) on Node, on Deno, and with the command.
 *
 *     npm run build && npm run try-package
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { startNatsServer } from "./nats_server.ts";
import { EXPECTED, PROGRAM, TYPED } from "./package_program.ts";

/** What the command serves and submits. */
const MODULE = `
import { chain, task } from "nats-dyrygent";
export const add = task("add", (a, b) => a + b);
export default chain(add.s(20, 20), add.s(2));
`;

const root = process.cwd();

/** @throws {Error} with the command and all it said, when it fails. */
function run(cwd: string, env: Record<string, string>, program: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    env: { ...process.env, ...env },
    encoding: "utf8",
    timeout: 120_000,
  });
  if (status === 0) return stdout;
  throw new Error(
    `${program} ${args.join(" ")} in ${cwd} failed (${
      error?.message ?? `status ${status}`
    }):\n${stdout}\n${stderr}`,
  );
}

function expectResult(how: string, output: string): void {
  if (output.trim().split("\n").at(-1) !== EXPECTED) {
    throw new Error(`${how} printed ${JSON.stringify(output)}, not ${JSON.stringify(EXPECTED)}`);
  }
  console.log(`ok  ${how}`);
}

/** A worker and a processor of the command serve what it submits. */
function tryCommand(how: string, env: Record<string, string>, ...command: string[]): void {
  const [program, ...args] = command as [string, ...string[]];
  const serving = [["processor"], ["worker", "./tasks.js"]].map((words) =>
    spawn(program, [...args, ...words], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: "ignore",
    })
  );
  try {
    const printed = run(folder, env, program, ...args, "submit", "./tasks.js", "--wait", "--json");
    const { result } = JSON.parse(printed.trim().split("\n").at(-1)!) as { result: unknown };
    if (result !== 42) throw new Error(`${how} printed ${printed}`);
    console.log(`ok  ${how}`);
  } finally {
    for (const child of serving) child.kill("SIGKILL");
  }
}

const folder = mkdtempSync(join(tmpdir(), "nats-dyrygent-try-"));
const server = await startNatsServer();
try {
  const { version, ...manifest } = JSON.parse(readFileSync("package.json", "utf8"));
  const ranges = { ...manifest.dependencies, ...manifest.devDependencies };
  run(join(root, "npm"), {}, "npm", "pack", "--pack-destination", folder);
  const tarball = join(folder, `nats-dyrygent-${version}.tgz`);
  writeFileSync(
    join(folder, "package.json"),
    JSON.stringify({ name: "stranger", private: true, type: "module" }),
  );
  const others = ["@nats-io/transport-node", "typescript", "@types/node"].map((name) =>
    `${name}@${ranges[name]}`
  );
  run(folder, {}, "npm", "install", "--no-audit", "--no-fund", tarball, ...others);
  const env = (namespace: string) => ({ NATS_URL: server.url, NAMESPACE: namespace });

  writeFileSync(join(folder, "app.js"), PROGRAM);
  expectResult("JavaScript on Node", run(folder, env("js"), process.execPath, "app.js"));

  writeFileSync(join(folder, "typed.ts"), TYPED);
  const flags = [
    "--strict",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--types",
    "node",
    "--skipLibCheck",
    "--outDir",
    "out",
  ];
  run(folder, {}, process.execPath, "node_modules/typescript/bin/tsc", ...flags, "typed.ts");
  expectResult("TypeScript on Node", run(folder, env("ts"), process.execPath, "out/typed.js"));

  const deno = resolve(root, "node_modules/deno/bin.cjs");
  const typed = run(
    folder,
    env("deno"),
    process.execPath,
    deno,
    "run",
    "-A",
    "--node-modules-dir=manual",
    "typed.ts",
  );
  expectResult("TypeScript on Deno", typed);

  writeFileSync(join(folder, "tasks.js"), MODULE);
  const served = (namespace: string) => ({
    NATS_URL: server.url,
    DYRYGENT_NAMESPACE: namespace,
  });
  const main = "node_modules/nats-dyrygent/src/cli/main.js";
  tryCommand("the command on Node", served("node"), process.execPath, main);
  // Itself, not what starts it: that would leave it behind when it is killed.
  const program = resolve(root, "node_modules/deno/deno");
  const onDeno = ["run", "-A", "--node-modules-dir=manual", main];
  tryCommand("the command on Deno", served("deno"), program, ...onDeno);
  if (!run(folder, {}, "npx", "nats-dyrygent", "--help").includes("submit [module")) {
    throw new Error("npx nats-dyrygent --help does not help");
  }
} finally {
  await server.stop();
  if (process.exitCode === undefined) rmSync(folder, { recursive: true, force: true });
}
