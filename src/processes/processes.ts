/**
 * A script in several processes at once. One that ends although nobody told it to is started again, later and later while
 * it ends at once. Knows nothing of what the script does.
 */
import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { type Duration, durationMs } from "../core/duration.ts";
import { InvalidOptionError, UnavailableError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import { refuseUnknown } from "../core/options.ts";
import { READY, type Stoppable } from "./until_stopped.ts";

export type { Stoppable } from "./until_stopped.ts";

/** How many processes, and what each is given. */
export interface ProcessesOptions {
  /** How many. @default as many as this machine runs at once */
  count?: number;
  /** Arguments of each. @default none */
  args?: readonly string[];
  /** How long one may take to end when it is told to; then it is killed. @default "35s", longer than a worker waits for its tasks */
  stopTimeout?: Duration;
  /** Told each time one ended by itself. @default a line to the console */
  onExit?: (
    exit: { readonly pid: number; readonly how: string; readonly restartMs: number },
  ) => void;
}

const FIRST_RESTART_MS = 500;
const LONGEST_RESTART_MS = 30_000;
/** One that served for so long is not to blame for an earlier end. */
const SOUND_MS = 60_000;

/**
 * Starts a script so many times; each calls `untilStopped` when it serves. Resolves when all do.
 * @param script its path or file URL: a module that this runtime can run.
 * @throws {InvalidOptionError}, {UnavailableError} when one of them ends before it serves: then none is left
 */
export async function startProcesses(
  script: string | URL,
  options: ProcessesOptions = {},
): Promise<Processes> {
  refuseUnknown("option", options, ["count", "args", "stopTimeout", "onExit"]);
  const { count = availableParallelism(), args = [], onExit = tell } = options;
  if (!Number.isInteger(count) || count < 1) {
    throw new InvalidOptionError("count", `count = ${quote(count)} is not a whole number from 1`, {
      hint: "Leave it out to use all cores.",
    });
  }
  const stopTimeoutMs = durationMs("stopTimeout", options.stopTimeout ?? "35s");
  const isUrl = script instanceof URL || script.startsWith("file:");
  const path = isUrl ? fileURLToPath(script) : script;
  const slots = Array.from({ length: count }, () => new Slot(path, args, stopTimeoutMs, onExit));
  const processes = new Processes(slots);
  try {
    await Promise.all(slots.map((slot) => slot.start()));
  } catch (error) {
    await processes.stop();
    throw error;
  }
  return processes;
}

/** Of {@link startProcesses}. */
export class Processes implements Stoppable, AsyncDisposable {
  readonly #slots: readonly Slot[];

  constructor(slots: readonly Slot[]) {
    this.#slots = slots;
  }

  /** Those that run now. */
  get pids(): number[] {
    return this.#slots.flatMap(({ pid }) => pid ?? []);
  }

  /** Whether all of them serve: none is away, to be started again. */
  get isServing(): boolean {
    return this.#slots.every(({ serves }) => serves);
  }

  /** Tells all of them to end, and waits until they have. */
  async stop(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** A place for one process after the other. */
class Slot {
  readonly #path: string;
  readonly #args: readonly string[];
  readonly #stopTimeoutMs: number;
  readonly #onExit: NonNullable<ProcessesOptions["onExit"]>;
  #child: ChildProcess | undefined;
  #serves = false;
  #ended: Promise<void> = Promise.resolve();
  #isStopping = false;
  #restartMs = FIRST_RESTART_MS;
  #restart: ReturnType<typeof setTimeout> | undefined;

  constructor(
    path: string,
    args: readonly string[],
    stopTimeoutMs: number,
    onExit: NonNullable<ProcessesOptions["onExit"]>,
  ) {
    this.#path = path;
    this.#args = args;
    this.#stopTimeoutMs = stopTimeoutMs;
    this.#onExit = onExit;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get serves(): boolean {
    return this.#serves;
  }

  /** Resolves when it serves. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      let isReady = false;
      this.#fork((how) => {
        if (isReady) return true;
        reject(
          new UnavailableError(`A process of ${this.#path} ended before it served: ${how}`, {
            hint: "Run the script by itself to see why; it calls untilStopped() when it serves.",
          }),
        );
        return false;
      }, () => {
        isReady = true;
        resolve();
      });
    });
  }

  /** @param onEnd whether it is to be started again. */
  #fork(onEnd: (how: string) => boolean, onReady: () => void): void {
    const child = fork(this.#path, [...this.#args]);
    const { pid = 0 } = child;
    const startedAt = performance.now();
    this.#child = child;
    child.on("message", (message) => {
      if (message !== READY) return;
      this.#serves = true;
      onReady();
    });
    this.#ended = new Promise((resolve) => {
      const end = (how: string) => {
        if (this.#child !== child) return;
        this.#child = undefined;
        this.#serves = false;
        resolve();
        if (this.#isStopping || !onEnd(how)) return;
        if (performance.now() - startedAt > SOUND_MS) this.#restartMs = FIRST_RESTART_MS;
        this.#onExit({ pid, how, restartMs: this.#restartMs });
        this.#forkLater();
      };
      child.once("error", (error) => end(error.message));
      child.once("exit", (code, signal) => end(signal ?? `exit code ${code}`));
    });
  }

  #forkLater(): void {
    this.#restart = setTimeout(() => this.#fork(() => true, () => {}), this.#restartMs);
    this.#restartMs = Math.min(2 * this.#restartMs, LONGEST_RESTART_MS);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined) return;
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), this.#stopTimeoutMs);
    await this.#ended;
    clearTimeout(late);
  }
}

function tell({ pid, how, restartMs }: Parameters<NonNullable<ProcessesOptions["onExit"]>>[0]) {
  console.warn(
    `nats-dyrygent: process ${pid} ended (${how}), and is started again in ${restartMs} ms`,
  );
}
