/**
 * The demo's other processes: a processor and workers, on Node or Deno. They end when their stdin does, so that none
 * outlives this process however it ends. One that ends by itself raises the alarm.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Alarm, DemoError } from "./alarm.ts";

export interface Member {
  readonly role: "processor" | "worker";
  readonly runtime: "node" | "deno";
}

const project = fileURLToPath(new URL("../..", import.meta.url));
const isDeno = "Deno" in globalThis;
const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 5_000;
const KEPT_OUTPUT = 4_000;

export class Crew implements AsyncDisposable {
  readonly #alarm: Alarm;
  readonly #running = new Map<ChildProcess, Promise<void>>();
  #isLeaving = false;
  readonly #killAll = () => {
    for (const child of this.#running.keys()) kill(child);
  };

  constructor(alarm: Alarm) {
    this.#alarm = alarm;
    process.on("exit", this.#killAll);
  }

  /**
   * Starts one and waits until it is ready.
   * @returns its runtime's name and version.
   */
  async start({ role, runtime }: Member, args: readonly string[]): Promise<string> {
    const [program, ...before] = commandFor(runtime);
    const child = spawn(program!, [...before, "scripts/demo/member.ts", role, ...args], {
      cwd: project,
      stdio: ["pipe", "pipe", "pipe"],
      // Ctrl-C is for this process, which stops the others in order.
      detached: process.platform !== "win32",
      env: { ...process.env, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    });
    const who = `The ${role} on ${runtime === "node" ? "Node" : "Deno"}`;
    const started = this.#follow(child, who);
    return await this.#alarm.orElse(started, { ms: START_LIMIT_MS, what: `${who}: its start` });
  }

  /** @returns what it says when it is ready. */
  #follow(child: ChildProcess, who: string): Promise<string> {
    let said = "";
    let complaints = "";
    return new Promise((resolve) => {
      child.stdout!.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        const ready = /^ready (.*)$/m.exec(said)?.[1];
        if (ready !== undefined) resolve(ready);
      });
      child.stderr!.setEncoding("utf8").on("data", (text: string) => {
        complaints = (complaints + text).slice(-KEPT_OUTPUT);
      });
      child.stdin!.on("error", () => {}); // It has ended; that is reported below.
      const gone = new Promise<void>((ended) => {
        const end = (how: string) => {
          this.#running.delete(child);
          ended();
          if (this.#isLeaving) return;
          const last = complaints.trim().replaceAll("\n", "\n  ");
          this.#alarm.raise(new DemoError(`${who} ended by itself (${how}):\n  ${last}`));
        };
        child.once("error", (error) => end(error.message));
        child.once("close", (code, signal) => end(signal ?? `exit code ${code}`));
      });
      this.#running.set(child, gone);
    });
  }

  /** Lets all of them finish what they do; those that take too long are killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isLeaving = true;
    const all = [...this.#running];
    for (const [child] of all) child.stdin!.end();
    const killing = setTimeout(this.#killAll, STOP_LIMIT_MS);
    await Promise.all(all.map(([, gone]) => gone));
    clearTimeout(killing);
    process.off("exit", this.#killAll);
  }
}

/** Deno comes with `npm ci`; its package's launcher works before and without install scripts. */
function commandFor(runtime: Member["runtime"]): string[] {
  if (runtime === "node") return [isDeno ? "node" : process.execPath, "--import", "tsx"];
  const permissions = ["--no-prompt", "--allow-net=127.0.0.1", "--allow-read", "--allow-env"];
  const run = ["run", "--quiet", ...permissions];
  if (isDeno) return [process.execPath, ...run];
  const launcher = `${project}node_modules/deno/bin.cjs`;
  if (!existsSync(launcher)) {
    throw new DemoError(
      "Deno is not there: it is one of the development dependencies. Run npm ci first.",
    );
  }
  return [process.execPath, launcher, ...run];
}

/** Kills it and what it has started: Deno's launcher has Deno as its child. */
function kill({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  for (const target of process.platform === "win32" ? [pid] : [-pid, pid]) {
    try {
      process.kill(target, "SIGKILL");
    } catch { /* It has ended already. */ }
  }
}
