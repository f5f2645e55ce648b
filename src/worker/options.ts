/** How a worker may be told to behave. */
import { InvalidOptionError } from "../core/errors.ts";
import { checkId, quote } from "../core/ids.ts";
import { DEFAULT_QUEUE, refuseUnknown } from "../core/options.ts";
import type { AnyTask } from "../core/task.ts";
import { BUILTIN_TASKS } from "./builtin.ts";
import type { Handler } from "./verdict.ts";

/** What a worker runs, and how much of it at once. */
export interface WorkerOptions {
  /** The tasks it can run. */
  tasks: readonly AnyTask[];
  /** The queues it serves. @default ["default"] */
  queues?: readonly string[];
  /** Tasks that run at the same time. @default 16 */
  concurrency?: number;
  /** Messages held ready beyond those that run, so that a slot never waits for the server. @default as many as run, at most 32 */
  prefetch?: number;
  /** Who it is, in records. @default a random id */
  id?: string;
  /**
   * An attempt that was begun again this often without an outcome is recorded as failed (WorkerLostError): it has cost
   * too many workers their lives. What a worker gives back before it began does not count. @default 5
   */
  maxCrashes?: number;
  /** Bytes of a result, as JSON; a larger one is a failure (PayloadTooLargeError). @default 64 MiB */
  maxResult?: number;
  /** Bytes of all results that one task takes and its message does not bring; more is a failure (PayloadTooLargeError). @default 256 MiB */
  maxInputs?: number;
  /** Bytes for results kept for other tasks that take them too, each with some 600 around it; 0: none. @default 64 MiB */
  inputCache?: number;
}

/** Options, complete. */
export interface CheckedOptions {
  readonly handlers: ReadonlyMap<string, Handler>;
  readonly queues: readonly string[];
  readonly concurrency: number;
  readonly prefetch: number;
  readonly maxCrashes: number;
  readonly maxResult: number;
  readonly maxInputs: number;
  readonly inputCache: number;
  readonly id: string | undefined;
}

const MIB = 1_048_576;
/** More than any text of this runtime may have. */
const MOST_BYTES = 1_024 * MIB;

/** @throws {InvalidOptionError} naming the option. */
export function checkOptions(options: WorkerOptions): CheckedOptions {
  refuseUnknown("worker option", options, [
    "tasks",
    "queues",
    "concurrency",
    "prefetch",
    "id",
    "maxCrashes",
    "maxResult",
    "maxInputs",
    "inputCache",
  ]);
  const { queues = [DEFAULT_QUEUE], id } = options;
  const concurrency = count("concurrency", options.concurrency ?? 16, 1);
  return {
    handlers: handlersOf(options.tasks),
    queues: [...new Set(queues.map((queue) => checkId("queue", queue)))],
    concurrency,
    prefetch: count("prefetch", options.prefetch ?? Math.min(concurrency, 32), 0),
    maxCrashes: count("maxCrashes", options.maxCrashes ?? 5, 1),
    maxResult: count("maxResult", options.maxResult ?? 64 * MIB, 1, MOST_BYTES),
    maxInputs: count("maxInputs", options.maxInputs ?? 256 * MIB, 1, MOST_BYTES),
    inputCache: count("inputCache", options.inputCache ?? 64 * MIB, 0, MOST_BYTES),
    id: id === undefined ? undefined : checkId("worker id", id),
  };
}

function handlersOf(tasks: readonly AnyTask[]): ReadonlyMap<string, Handler> {
  const handlers = new Map<string, Handler>(BUILTIN_TASKS as ReadonlyMap<string, Handler>);
  for (const task of tasks) {
    if (typeof task !== "function" || typeof task.taskName !== "string") {
      throw new InvalidOptionError(
        "tasks",
        `a worker's tasks contain ${quote(task)}, which is no task`,
        { hint: 'Make it with task("name", fn).' },
      );
    }
    const known = handlers.get(task.taskName);
    if (known !== undefined && known !== task) {
      throw new InvalidOptionError("tasks", `two tasks are called "${task.taskName}"`, {
        hint: "Give one of them another name.",
      });
    }
    handlers.set(task.taskName, task);
  }
  return handlers;
}

function count(option: string, value: number, least: number, most = 100_000): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new InvalidOptionError(
    option,
    `${option} = ${quote(value)} is not a whole number from ${least} to ${most}`,
    { hint: "Start with the default." },
  );
}
