/**
 * A worker of a module that is being written: at a change a new process takes its place, and the old one ends what it has
 * begun. One that dies while it serves is started again; one that cannot begin waits for the next change.
 */
import { type ChildProcess, fork } from "node:child_process";
import { READY } from "../processes/until_stopped.ts";

/** One that dies of every task is not started again in a hot loop. */
const AGAIN_MS = 1_000;
/** Then whatever is left of them is killed. */
const STOP_MS = 5_000;

export class LiveWorker {
  readonly #script: URL;
  readonly #args: readonly string[];
  readonly #tell: (line: string) => void;
  /** With those that end what they have begun. */
  readonly #children = new Set<ChildProcess>();
  #current: ChildProcess | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;

  /** @param script what each process runs, with `args`; it says that it serves as {@link startProcesses} wants it. */
  constructor(script: URL, args: readonly string[], tell: (line: string) => void) {
    this.#script = script;
    this.#args = args;
    this.#tell = tell;
  }

  /** With the module as it is now. Whoever serves already ends what it has begun. */
  start(): void {
    if (this.#isStopped) return;
    clearTimeout(this.#again);
    this.#current?.kill("SIGTERM");
    const child = fork(this.#script, [...this.#args]);
    let serves = false;
    this.#current = child;
    this.#children.add(child);
    child.on("message", (message) => serves ||= message === READY);
    child.once("exit", (code, signal) => {
      this.#children.delete(child);
      if (this.#current !== child || this.#isStopped) return;
      this.#current = undefined;
      const how = signal ?? `exit code ${code}`;
      this.#tell(
        `the worker ended (${how}): it starts again ${
          serves ? "in a second" : "when a source file changes"
        }`,
      );
      if (serves) this.#again = setTimeout(() => this.start(), AGAIN_MS);
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearTimeout(this.#again);
    const children = [...this.#children];
    const ended = children.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of children) child.kill("SIGTERM");
    const late = setTimeout(() => {
      for (const child of children) child.kill("SIGKILL");
    }, STOP_MS);
    await Promise.all(ended);
    clearTimeout(late);
  }
}
