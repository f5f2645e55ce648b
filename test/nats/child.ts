/** Runs a script of this folder as a process of its own, on the runtime that runs the tests. */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "./server.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const deno = (globalThis as { Deno?: { execPath(): string } }).Deno;

/** How to run a TypeScript file with all permissions, here. */
const here: readonly [string, ...string[]] = deno === undefined
  ? [process.execPath, "--import", "tsx"]
  : [deno.execPath(), "run", "-A"];

/** How to run a TypeScript file on Deno with no permission but the network's, from either runtime. */
export const denoWithNetOnly: readonly [string, ...string[]] = deno === undefined
  ? [process.execPath, "node_modules/deno/bin.cjs", "run", "--no-prompt", "--allow-net"]
  : [deno.execPath(), "run", "--no-prompt", "--allow-net"];

export interface Child extends AsyncDisposable {
  /** Resolves at the next line it prints that starts with this; rejects when it ends without. */
  said(start: string, boundMs?: number): Promise<string>;
  signal(name: "SIGSTOP" | "SIGCONT" | "SIGTERM" | "SIGKILL"): void;
  /** SIGKILL, and waits for its end. */
  kill(): Promise<void>;
  /** Resolves to its exit code, or the signal that ended it. */
  readonly ended: Promise<number | string>;
  /** Everything it printed so far. */
  output(): string;
}

/** Starts `script`, a file name in this folder. It dies with the test that started it. */
export function startChild(
  script: string,
  args: readonly string[],
  [program, ...options] = here,
): Child {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return new ScriptProcess(
    spawn(program, [...options, path, ...args], {
      cwd: root,
      env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );
}

class ScriptProcess implements Child {
  readonly ended: Promise<number | string>;
  readonly #process: ChildProcess;
  readonly #lines: string[] = [];
  #read = 0;
  #onLine = () => {};

  constructor(child: ChildProcess) {
    this.#process = child;
    this.ended = new Promise((resolve) => {
      child.on("close", (code, signal) => {
        this.#onLine();
        resolve(code ?? signal ?? "unknown");
      });
    });
    for (const stream of [child.stdout!, child.stderr!]) {
      createInterface({ input: stream }).on("line", (line) => {
        this.#lines.push(line);
        this.#onLine();
      });
    }
  }

  async said(start: string, boundMs?: number): Promise<string> {
    const line = async () => {
      for (;;) {
        while (this.#read < this.#lines.length) {
          const next = this.#lines[this.#read++]!;
          if (next.startsWith(start)) return next;
        }
        if (this.#process.exitCode !== null || this.#process.signalCode !== null) {
          throw new Error(`it ended without saying "${start}":\n${this.output()}`);
        }
        await new Promise<void>((resolve) => this.#onLine = resolve);
      }
    };
    return await within(`a child that says "${start}"`, line(), boundMs);
  }

  signal(name: "SIGSTOP" | "SIGCONT" | "SIGTERM" | "SIGKILL"): void {
    process.kill(this.#process.pid!, name);
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.ended;
  }

  output(): string {
    return this.#lines.join("\n");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }
}
