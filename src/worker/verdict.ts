/** What to do with a task message, decided from the message alone. Nothing is done here. */
import type { Calls } from "../core/canvas.ts";
import type { SignatureRecord } from "../core/definition.ts";
import type { RecordedFailure } from "../core/errors.ts";
import { isCount, LIMITS } from "../core/limits.ts";
import { readTaskMessage, type TaskMessage } from "../core/records.ts";
import { isSealed } from "../core/sealing.ts";
import type { StandardSchema } from "../core/standard_schema.ts";
import { inputNodes } from "../core/template.ts";
import type { TaskAddress, TaskDelivery } from "../ports.ts";
import { BUILTIN_TASKS } from "./builtin.ts";

/** A task as a worker needs it. */
export interface Handler {
  // deno-lint-ignore no-explicit-any
  (...args: any[]): unknown;
  readonly input?: StandardSchema | undefined;
  readonly output?: StandardSchema | undefined;
}

export type Verdict =
  | {
    readonly is: "run";
    readonly address: TaskAddress;
    readonly handler: Handler;
    readonly signature: SignatureRecord;
    readonly message: TaskMessage;
    /** Upstreams whose results do not come with the message. */
    readonly missing: readonly number[];
    /** When it began matters to others: to whoever has to say that its time is up. */
    readonly isTimed: boolean;
  }
  /** It cannot run, here or anywhere: that is its outcome. */
  | {
    readonly is: "fail";
    readonly address: TaskAddress;
    readonly failure: RecordedFailure;
    readonly keep: boolean;
  }
  /** Somebody else, newer than this worker, can run it. */
  | { readonly is: "giveBack"; readonly why: string }
  /** Not a task at all: keep its bytes aside. */
  | { readonly is: "quarantine"; readonly why: string };

export function judge(
  task: TaskDelivery,
  handlers: ReadonlyMap<string, Handler>,
): Verdict {
  const { address } = task;
  if (address === undefined) return { is: "quarantine", why: "its subject is not a task's" };
  const read = readTaskMessage(task.data);
  if (read.is === "newer") return { is: "giveBack", why: `it has version ${read.version}` };
  if (read.is === "unreadable") {
    return fail(
      address,
      "BadMessageError",
      "the task message cannot be read; its bytes are kept in quarantine",
      true,
    );
  }
  const { message } = read;
  const signature = message.signature as unknown as SignatureRecord;
  const inputs = signature.inputs ?? [];
  const needed = Array.isArray(inputs) ? inputNodes(inputs, LIMITS.nodes) : undefined;
  if (needed === undefined || !isSound(signature)) {
    return fail(
      address,
      "BadMessageError",
      "the task message lacks a task, arguments or sound inputs; its bytes are kept in quarantine",
      true,
    );
  }
  const handler = handlers.get(signature.task);
  if (handler === undefined) {
    const names = [...handlers.keys()].filter((name) => !BUILTIN_TASKS.has(name));
    const known = names.slice(0, 20).join(", ");
    return fail(
      address,
      "UnknownTaskError",
      `no task "${signature.task}" in this worker of queue "${address.queue}"; it knows: ${known}`,
    );
  }
  const missing = needed.filter((node) => !Object.hasOwn(message.results, node));
  const isTimed = signature.timeoutMs !== undefined || message.expiresAt !== undefined;
  return { is: "run", address, handler, signature, message, missing, isTimed };
}

const CALLS: readonly unknown[] = [undefined, "once", "map", "starmap"] satisfies (
  | Calls
  | undefined
)[];

/** Whether a signature says what a worker goes by; its inputs apart. */
function isSound({ task, args, calls, timeoutMs, softTimeoutMs }: SignatureRecord): boolean {
  return typeof task === "string" && (Array.isArray(args) || isSealed(args)) &&
    CALLS.includes(calls) &&
    (timeoutMs === undefined || isCount(timeoutMs) && timeoutMs > 0) &&
    (softTimeoutMs === undefined || isCount(softTimeoutMs) && softTimeoutMs > 0);
}

function fail(address: TaskAddress, name: string, message: string, keep = false): Verdict {
  return { is: "fail", address, failure: { name, message, fatal: true }, keep };
}
