/** What can be said about a task, a signature or a whole workflow besides what to run. Checked where it is said. */
import { type Duration, durationMs } from "./duration.ts";
import { InvalidOptionError, PayloadTooLargeError } from "./errors.ts";
import { checkId, isId, quote } from "./ids.ts";
import { exactJson, isObject } from "./json.ts";
import {
  DEFAULT_PRIORITY,
  type LanePolicy,
  limitFlaw,
  limitOf,
  type RateLimit,
  type SharedLimit,
} from "./lanes.ts";
import { isCount, LIMITS } from "./limits.ts";
import { type RetryOptions, type RetryPolicy, retryPolicy, retryPolicyFlaw } from "./retry.ts";

/** Options of a task: they hold for each of its signatures unless these say otherwise. */
export interface TaskOptions {
  /** Which workers run it: those that serve this queue. @default "default" */
  queue?: string;
  /** 0 to 9; higher ones overtake lower ones of the same queue. @default 5 */
  priority?: number;
  /** An attempt that runs longer is recorded as failed (`TimeoutError`), its signal aborts. @default none */
  timeout?: Duration;
  /** The signal of an attempt that runs longer aborts; it may still end well before `timeout`. @default none */
  softTimeout?: Duration;
  /** Whether and how a failed attempt is tried again. @default no retries */
  retry?: RetryOptions;
  /** At most `max` attempts with this key run at the same time, whatever workflow and worker they belong to. @default no limit */
  concurrency?: SharedLimit;
  /** At most `max` attempts with this key (default: the task's name) begin in any `per`, across all workers. @default no limit */
  rateLimit?: RateLimit;
  /** Its result is not kept: whoever asks for it gets `null`. @default false */
  ignoreResult?: boolean;
}

/** Options of one signature, or of every signature inside a canvas. */
export interface SignatureOptions extends TaskOptions {
  /** Not before this long after everything it waits for (for the first nodes: after the submit). */
  countdown?: Duration;
  /** Not before this moment (a Date, or milliseconds since 1970). */
  eta?: Date | number;
  /** Not begun this long after it became ready, or at this moment: it never runs, and is CANCELLED. @default never */
  expires?: Duration | Date;
  /**
   * Any JSON value, readable in the task (`currentTask().payload`). At most 16 KiB. Where an outer canvas or the workflow's
   * defaults have one too and both are objects, they are merged, the inner one's keys first.
   */
  payload?: unknown;
}

/** What the scheduler and the processor need to know about a node besides its edges. Nodes share equal policies. */
export interface Policy {
  readonly queue: string;
  readonly priority: number;
  readonly retry?: RetryPolicy;
  readonly countdownMs?: number;
  /** Milliseconds since 1970. */
  readonly notBefore?: number;
  /** Milliseconds after it became ready. */
  readonly expiresMs?: number;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
  /** What it shares with other nodes across workflows and workers. */
  readonly limit?: LanePolicy;
  /** It runs as soon as one of its edges came true, instead of when all have. */
  readonly any?: true;
  /** Its failure does not fail the workflow. */
  readonly optional?: true;
  /** It stands beside the workflow, for a link or an error of one of its nodes: no part of what the workflow gives. */
  readonly side?: true;
  /** It is skipped from the beginning. */
  readonly skip?: true;
  /** It runs nothing: it waits for the event of this name. */
  readonly event?: string;
  /** How long it waits for its event, milliseconds; absent: as long as the workflow lives. */
  readonly eventMs?: number;
  /** Runs nothing: it only waits, so that many nodes can wait for many without an edge for each pair. */
  readonly join?: true;
  /** Belongs to `onError` or `finally`: neither counts for the workflow's own end nor is cancelled with it. */
  readonly cleanup?: true;
}

/** Whether a node with this policy has no task. */
export function runsNothing({ join, event }: Policy): boolean {
  return join === true || event !== undefined;
}

export const TASK_OPTIONS: readonly string[] = [
  "queue",
  "priority",
  "timeout",
  "softTimeout",
  "retry",
  "concurrency",
  "rateLimit",
  "ignoreResult",
];
const SIGNATURE_OPTIONS = [...TASK_OPTIONS, "countdown", "eta", "expires", "payload"];
const RETRY_OPTIONS = ["max", "backoff", "base", "cap", "jitter", "on", "notOn"];

export const DEFAULT_QUEUE = "default";

/** @returns what `options` says. @throws {InvalidOptionError} for an unknown option or a bad value. */
export function checkTaskOptions<T extends TaskOptions>(options: T): T {
  refuseUnknown("task option", options, TASK_OPTIONS);
  return checkValues(options);
}

/** @returns what `options` says. @throws {InvalidOptionError} for an unknown option or a bad value. */
export function checkSignatureOptions<T extends SignatureOptions>(options: T): T {
  refuseUnknown("signature option", options, SIGNATURE_OPTIONS);
  if (options.countdown !== undefined) durationMs("countdown", options.countdown);
  if (options.eta !== undefined) momentMs("eta", options.eta);
  if (options.expires !== undefined) expiry(options.expires);
  if (options.payload !== undefined) payloadText("payload", options.payload);
  return checkValues(options);
}

function checkValues<T extends TaskOptions>(options: T): T {
  if (options.queue !== undefined) checkId("queue", options.queue);
  if (options.timeout !== undefined) durationMs("timeout", options.timeout, { least: 1 });
  if (options.softTimeout !== undefined) {
    durationMs("softTimeout", options.softTimeout, { least: 1 });
  }
  limitOf(options, "task");
  const { ignoreResult } = options;
  if (ignoreResult !== undefined && typeof ignoreResult !== "boolean") {
    throw new InvalidOptionError(
      "ignoreResult",
      `ignoreResult = ${quote(ignoreResult)} is not a boolean`,
      { hint: "true: the result is not kept." },
    );
  }
  if (options.retry !== undefined) {
    refuseUnknown("retry option", options.retry, RETRY_OPTIONS);
    retryPolicy(options.retry);
  }
  const { priority } = options;
  if (priority !== undefined && !(Number.isInteger(priority) && priority >= 0 && priority <= 9)) {
    throw new InvalidOptionError(
      "priority",
      `priority = ${quote(priority)} is not a whole number from 0 to 9`,
      {
        hint: "9 is the most urgent, 5 the default.",
      },
    );
  }
  return withoutUndefined(options);
}

/** An undefined option says nothing: it must not hide what an outer level says. */
function withoutUndefined<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as T;
}

/** @throws {InvalidOptionError} naming the first key of `options` that is not in `known`. */
export function refuseUnknown(what: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new InvalidOptionError(what, `${what}s must be an object, got ${quote(options)}`, {
      hint: `Known: ${known.join(", ")}.`,
    });
  }
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue;
    throw new InvalidOptionError(key, `There is no ${what} ${quote(key)}`, {
      hint: `Known: ${known.join(", ")}.`,
    });
  }
}

/** The JSON text of a payload. @throws {PayloadTooLargeError} above 16 KiB. */
export function payloadText(what: string, payload: unknown): string {
  const text = exactJson(payload, what);
  const bytes = new TextEncoder().encode(text).length;
  if (bytes > LIMITS.payloadBytes) {
    throw new PayloadTooLargeError(
      what,
      bytes,
      LIMITS.payloadBytes,
      "A payload travels with every task message: put big data into an argument or a task's result.",
    );
  }
  return text;
}

/**
 * What a node's options, all layers merged, mean for the scheduler.
 * @param task its name: what a rate limit without a key is for.
 */
export function policyOf(
  options: SignatureOptions,
  { task, cleanup }: { task: string; cleanup: boolean },
): Policy {
  const { queue = DEFAULT_QUEUE, priority = DEFAULT_PRIORITY, retry, countdown, eta, expires } =
    options;
  const limit = limitOf(options, task);
  const isPlain = retry === undefined && countdown === undefined && eta === undefined &&
    expires === undefined && limit === undefined;
  if (isPlain) return cleanup ? { queue, priority, cleanup } : { queue, priority };
  return {
    queue,
    priority,
    ...(retry === undefined ? {} : { retry: retryPolicy(retry) }),
    ...(countdown === undefined ? {} : { countdownMs: durationMs("countdown", countdown) }),
    ...(eta === undefined ? {} : { notBefore: momentMs("eta", eta) }),
    ...(expires === undefined ? {} : expiry(expires)),
    ...(limit === undefined ? {} : { limit }),
    ...(cleanup ? { cleanup: true as const } : {}),
  };
}

/** Options of a canvas, as they hold for a member with options of its own: these win, payloads are merged. */
export function inherit(outer: SignatureOptions, own: SignatureOptions): SignatureOptions {
  const merged = { ...outer, ...own };
  return isObject(outer.payload) && isObject(own.payload)
    ? { ...merged, payload: { ...outer.payload, ...own.payload } }
    : merged;
}

/** The field that keeps `value`, from wherever it comes, from being a policy; undefined when it is one. */
export function policyFlaw(value: unknown): string | undefined {
  const policy = (value ?? {}) as Partial<Record<keyof Policy, unknown>>;
  if (!isId(policy.queue)) return "queue";
  if (!isCount(policy.priority, 9)) return "priority";
  const inRetry = policy.retry === undefined ? undefined : retryPolicyFlaw(policy.retry);
  if (inRetry !== undefined) return `retry.${inRetry}`;
  const inLimit = policy.limit === undefined ? undefined : limitFlaw(policy.limit);
  if (inLimit !== undefined) return `limit.${inLimit}`;
  for (const field of COUNT_FIELDS) {
    if (policy[field] !== undefined && !isCount(policy[field])) return field;
  }
  for (const field of FLAG_FIELDS) {
    if (policy[field] !== undefined && policy[field] !== true) return field;
  }
  if (policy.event !== undefined && !isId(policy.event)) return "event";
  return undefined;
}

const COUNT_FIELDS = ["countdownMs", "notBefore", "expiresMs", "expiresAt", "eventMs"] as const;
const FLAG_FIELDS = ["join", "cleanup", "any", "optional", "side", "skip"] as const;

/** A span counts from when the node is ready, a date is a date. */
export function expiry(expires: Duration | Date): { expiresAt: number } | { expiresMs: number } {
  return expires instanceof Date
    ? { expiresAt: momentMs("expires", expires) }
    : { expiresMs: durationMs("expires", expires, { least: 1 }) };
}

/** @returns milliseconds since 1970. @throws {InvalidOptionError} naming `option`. */
export function momentMs(option: string, moment: Date | number): number {
  const ms = typeof moment === "number" ? moment : moment instanceof Date ? moment.getTime() : NaN;
  if (Number.isFinite(ms) && ms >= 0 && ms <= 8.64e15) return Math.round(ms);
  throw new InvalidOptionError(option, `${option} = ${quote(moment)} is not a moment`, {
    hint: "Give a valid Date, or milliseconds since 1970.",
  });
}
