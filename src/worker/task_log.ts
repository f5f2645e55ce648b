/**
 * What one execution of an attempt logs: a bounded record that is written anew at most once a second, and at its end. Best
 * effort: failing to write it fails nothing. Costs nothing until the first line.
 */
import { LIMITS } from "../core/limits.ts";
import { logKey } from "../core/keys.ts";
import { sealJson } from "../core/sealing.ts";
import { bytesOf, type LogLevel, writeLogLine, writeTaskLog } from "../core/task_log.ts";
import type { Cancel, Ports, TaskAddress } from "../ports.ts";

/**
 * Logs a line with this run. `fields` is an object of what JSON can carry; errors in it are kept with name, message and
 * stack. Never throws. Of one execution the last 1,000 lines are kept, and 128 KiB; of a line 8 KiB.
 */
export type LogCall = (message: string, fields?: Readonly<Record<string, unknown>>) => void;

/** Logs of a task: `currentTask().log`. */
export interface TaskLogger {
  readonly debug: LogCall;
  readonly info: LogCall;
  readonly warn: LogCall;
  readonly error: LogCall;
}

const WRITE_EVERY_MS = 1_000;
const NOTHING = new Uint8Array();

export class TaskLog {
  readonly logger: TaskLogger = {
    debug: (message, fields) => this.#add("debug", message, fields),
    info: (message, fields) => this.#add("info", message, fields),
    warn: (message, fields) => this.#add("warn", message, fields),
    error: (message, fields) => this.#add("error", message, fields),
  };
  readonly #ports: Ports;
  readonly #address: TaskAddress;
  readonly #worker: string;
  /** With its length in bytes. */
  readonly #lines: { readonly json: string; readonly bytes: number }[] = [];
  readonly #mostBytes: number;
  #bytes = 0;
  #dropped = 0;
  #startedAt = 0;
  #key: string | undefined;
  #isChanged = false;
  #isOver = false;
  /** The write that is under way, or the timer of the next. */
  #next: Promise<void> | Cancel | undefined;

  constructor(ports: Ports, address: TaskAddress, worker: string) {
    this.#ports = ports;
    this.#address = address;
    this.#worker = worker;
    // Sealed, it takes up to half as much again; and it must be a record.
    this.#mostBytes = Math.min(LIMITS.logBytes, Math.floor(ports.maxRecord / 2));
  }

  #add(level: LogLevel, message: unknown, fields: unknown): void {
    if (this.#isOver) return;
    const at = this.#ports.clock.now();
    if (!this.#hasBegun) this.#startedAt = at;
    const json = writeLogLine(at, level, message, fields);
    const line = { json, bytes: bytesOf(json) + 1 };
    this.#lines.push(line);
    this.#bytes += line.bytes;
    while (this.#lines.length > LIMITS.logLines || this.#bytes > this.#mostBytes) {
      this.#bytes -= this.#lines.shift()!.bytes;
      this.#dropped++;
    }
    this.#isChanged = true;
    this.#writeSoon();
  }

  get #hasBegun(): boolean {
    return this.#lines.length + this.#dropped > 0;
  }

  /**
   * Nothing more is kept.
   * @returns what resolves when all of it is written, or cannot be; undefined when there is nothing to be written.
   */
  end(): Promise<void> | undefined {
    this.#isOver = true;
    if (typeof this.#next === "function") {
      this.#next();
      this.#next = undefined;
    }
    if (this.#next === undefined && !this.#isChanged) return undefined;
    return this.#finish(this.#next);
  }

  async #finish(writing: Promise<void> | undefined): Promise<void> {
    await writing;
    if (this.#isChanged) await this.#write();
  }

  #writeSoon(): void {
    if (this.#isOver || this.#next !== undefined) return;
    this.#next = this.#ports.clock.after(WRITE_EVERY_MS, () => {
      this.#next = this.#write().then(() => {
        this.#next = undefined;
        if (this.#isChanged) this.#writeSoon();
      });
    });
  }

  async #write(): Promise<void> {
    const { views, hints, codec, log, random } = this.#ports;
    const { workflow, node, attempt } = this.#address;
    // Its own: what an execution logged that died, or that goes on elsewhere, is not replaced.
    const key = this.#key ??= logKey(workflow, node, attempt, random.id());
    this.#isChanged = false;
    const lines = `[${this.#lines.map(({ json }) => json).join()}]`;
    const head = { worker: this.#worker, startedAt: this.#startedAt, dropped: this.#dropped };
    try {
      const kept = codec === undefined ? lines : await sealJson(codec, lines);
      await views.put(key, writeTaskLog(head, kept));
      hints.tell(key, NOTHING);
    } catch (error) {
      this.#isChanged = true;
      log("debug", `${key} cannot be written`, {
        event: "task-log-not-written",
        run: workflow,
        node,
        attempt,
        worker: this.#worker,
        error,
      });
    }
  }
}
