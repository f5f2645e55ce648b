/**
 * Runs a program of this project as plain JavaScript, compiled by tsc, as users run the package. For measurements: tsx
 * keeps the name of every function at run time, which costs a fifth of the speed.
 *
 *     node --import tsx scripts/run_compiled.ts bench/main.ts [arguments]
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";

const [program, ...args] = process.argv.slice(2);
if (program === undefined) {
  throw new Error("Say what to run: scripts/run_compiled.ts bench/main.ts");
}
const root = resolve(import.meta.dirname ?? ".", "..");
const out = mkdtempSync(join(tmpdir(), "nats-dyrygent-compiled-"));

/** Whoever ends this process means the program: it is told, and cleans up. */
function run(...command: string[]): Promise<number> {
  const child = spawn(process.execPath, command, { cwd: root, stdio: "inherit" });
  const tell = (signal: NodeJS.Signals) => void child.kill(signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, tell);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      for (const signal of signals) process.off(signal, tell);
      resolve(code ?? 1);
    });
  });
}

try {
  const config = join(out, "tsconfig.json");
  const compilerOptions = {
    noEmit: false,
    noCheck: true,
    declaration: false,
    isolatedDeclarations: false,
    rewriteRelativeImportExtensions: true,
    rootDir: root,
    outDir: out,
    typeRoots: [join(root, "node_modules/@types")],
  };
  writeFileSync(
    config,
    JSON.stringify({
      extends: join(root, "tsconfig.json"),
      compilerOptions,
      include: [],
      files: [
        join(root, program),
        join(root, "mod.ts"),
        join(root, "processes.ts"),
        join(root, "testing.ts"),
      ],
    }),
  );
  // The project's own name must lead to the compiled files.
  const exports = { ".": "./mod.js", "./processes": "./processes.js", "./testing": "./testing.js" };
  writeFileSync(
    join(out, "package.json"),
    JSON.stringify({ name: "nats-dyrygent", type: "module", exports }),
  );
  symlinkSync(join(root, "node_modules"), join(out, "node_modules"), "junction");
  const compiled = await run(join(root, "node_modules/typescript/bin/tsc"), "-p", config);
  process.exitCode = compiled !== 0
    ? compiled
    : await run(join(out, program.replace(/\.ts$/, ".js")), ...args);
} finally {
  rmSync(out, { recursive: true, force: true });
}
