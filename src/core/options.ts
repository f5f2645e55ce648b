/** What can be said about a task, a signature or a whole workflow besides what to run. Checked where it is said. */
import { type Duration, durationMs } from "./duration.ts";
import { InvalidOptionError, PayloadTooLargeError } from "./errors.ts";
import { checkId, isId, quote } from "./ids.ts";
import { exactJson } from "./json.ts";
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
  /** Whether and how a failed attempt is tried again. @default no retries */
  retry?: RetryOptions;
}

/** Options of one signature, or of every signature inside a canvas. */
export interface SignatureOptions extends TaskOptions {
  /** Not before this long after everything it waits for (for the first nodes: after the submit). */
  countdown?: Duration;
  /** Not before this moment (a Date, or milliseconds since 1970). */
  eta?: Date | number;
  /** Any JSON value, readable in the task (`currentTask().payload`). At most 16 KiB. */
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
  /** Runs nothing: it only waits, so that many nodes can wait for many without an edge for each pair. */
  readonly join?: true;
  /** Belongs to `onError` or `finally`: neither counts for the workflow's own end nor is cancelled with it. */
  readonly cleanup?: true;
}

const TASK_OPTIONS = ["queue", "priority", "timeout", "retry"];
const SIGNATURE_OPTIONS = [...TASK_OPTIONS, "countdown", "eta", "payload"];
const RETRY_OPTIONS = ["max", "backoff", "base", "cap", "jitter", "on", "notOn"];

export const DEFAULT_QUEUE = "default";
export const DEFAULT_PRIORITY = 5;

/** @returns what `options` says. @throws {InvalidOptionError} for an unknown option or a bad value. */
export function checkTaskOptions<T extends TaskOptions>(options: T): T {
  refuseUnknown("task option", options, TASK_OPTIONS);
  return checkValues(options);
}

/** @returns what `options` says. @throws {InvalidOptionError} for an unknown option or a bad value. */
export function checkSignatureOptions<T extends SignatureOptions>(options: T): T {
  refuseUnknown("signature option", options, SIGNATURE_OPTIONS);
  if (options.countdown !== undefined) durationMs("countdown", options.countdown);
  if (options.eta !== undefined) etaMs(options.eta);
  if (options.payload !== undefined) payloadText("payload", options.payload);
  return checkValues(options);
}

function checkValues<T extends TaskOptions>(options: T): T {
  if (options.queue !== undefined) checkId("queue", options.queue);
  if (options.timeout !== undefined) durationMs("timeout", options.timeout, { least: 1 });
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

/** What a node's options, all layers merged, mean for the scheduler. */
export function policyOf(options: SignatureOptions, cleanup: boolean): Policy {
  return {
    queue: options.queue ?? DEFAULT_QUEUE,
    priority: options.priority ?? DEFAULT_PRIORITY,
    ...(options.retry === undefined ? {} : { retry: retryPolicy(options.retry) }),
    ...(options.countdown === undefined
      ? {}
      : { countdownMs: durationMs("countdown", options.countdown) }),
    ...(options.eta === undefined ? {} : { notBefore: etaMs(options.eta) }),
    ...(cleanup ? { cleanup: true as const } : {}),
  };
}

/** The field that keeps `value`, from wherever it comes, from being a policy; undefined when it is one. */
export function policyFlaw(value: unknown): string | undefined {
  const { queue, priority, retry, countdownMs, notBefore, join, cleanup } =
    (value ?? {}) as Partial<Record<keyof Policy, unknown>>;
  if (!isId(queue)) return "queue";
  if (!isCount(priority, 9)) return "priority";
  const inRetry = retry === undefined ? undefined : retryPolicyFlaw(retry);
  if (inRetry !== undefined) return `retry.${inRetry}`;
  if (countdownMs !== undefined && !isCount(countdownMs)) return "countdownMs";
  if (notBefore !== undefined && !isCount(notBefore)) return "notBefore";
  if (join !== undefined && join !== true) return "join";
  if (cleanup !== undefined && cleanup !== true) return "cleanup";
  return undefined;
}

function etaMs(eta: Date | number): number {
  const ms = typeof eta === "number" ? eta : eta instanceof Date ? eta.getTime() : NaN;
  if (Number.isFinite(ms) && ms >= 0 && ms <= 8.64e15) return Math.round(ms);
  throw new InvalidOptionError("eta", `eta = ${quote(eta)} is not a moment`, {
    hint: "Give a valid Date, or milliseconds since 1970.",
  });
}
