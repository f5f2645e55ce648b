/** What a running task can ask about itself, wherever it is in its asynchronous calls: the handler stays a plain function. */
import { AsyncLocalStorage } from "node:async_hooks";
import type { TaskLogger } from "./task_log.ts";

/** The running attempt. */
export interface CurrentTask {
  readonly workflowId: string;
  readonly workflowName: string;
  /** The node's number in the workflow. */
  readonly node: number;
  readonly taskName: string;
  readonly queue: string;
  /** From 1. */
  readonly attempt: number;
  /** The same for every execution of this attempt: `<workflow>.<node>.<attempt>`. */
  readonly idempotencyKey: string;
  /** The same for all attempts: `<workflow>.<node>`. */
  readonly nodeKey: string;
  /** Aborts on time-out, cancel, and when the worker stops without waiting longer. Pass it on: `fetch(url, { signal })`. */
  readonly signal: AbortSignal;
  /** The signature's payload; undefined without one. */
  readonly payload: unknown;
  /** The workflow's payload; undefined without one. */
  readonly workflowPayload: unknown;
  /** Tells watchers how far it is: any JSON value, e.g. a share from 0 to 1. May get lost; nothing depends on it. */
  progress(value: unknown): void;
  /**
   * Logs with this run: `log.info("fetched", { bytes })`. Read with `run.logs()`. Bounded, and kept as long as the run;
   * best effort: nothing depends on it.
   */
  readonly log: TaskLogger;
}

const running = new AsyncLocalStorage<CurrentTask>();

/**
 * The attempt this code runs in.
 * @throws {Error} outside of a task.
 */
export function currentTask(): CurrentTask {
  const current = running.getStore();
  if (current !== undefined) return current;
  throw new Error(
    "currentTask() was called outside of a task: only code that a worker runs has one. In unit tests, pass what you need as arguments.",
  );
}

export function runAs<T>(current: CurrentTask, call: () => T): T {
  return running.run(current, call);
}
