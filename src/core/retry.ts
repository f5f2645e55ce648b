/** When a failed attempt is followed by another one. Pure: the random share of a delay is a parameter. */
import { type Duration, durationMs } from "./duration.ts";
import { InvalidOptionError, type RecordedFailure } from "./errors.ts";
import { quote } from "./ids.ts";
import { isCount, LIMITS } from "./limits.ts";

/** How delays grow from retry to retry: not at all, by the same span each time, or twofold. */
export type Backoff = "fixed" | "linear" | "exponential";

/** How a task is tried again. Giving any of it turns retries on. */
export interface RetryOptions {
  /** Retries after the first attempt. @default 3 */
  max?: number;
  /** How the delay grows from retry to retry. @default "exponential" */
  backoff?: Backoff;
  /** The first delay. @default "1s" */
  base?: Duration;
  /** No delay is longer. @default "1m" */
  cap?: Duration;
  /** Full jitter: the delay is drawn evenly from 0 to what it would be. @default true */
  jitter?: boolean;
  /** Only failures with these error names are tried again. @default all */
  on?: readonly string[];
  /** Failures with these error names are not. @default none */
  notOn?: readonly string[];
}

/** Retry options, checked and complete; part of a definition. */
export interface RetryPolicy {
  readonly max: number;
  readonly backoff: Backoff;
  readonly baseMs: number;
  readonly capMs: number;
  readonly jitter: boolean;
  readonly on?: readonly string[];
  readonly notOn?: readonly string[];
}

export type RetryDecision = { is: "retry"; delayMs: number } | { is: "giveUp" };

const BACKOFFS: readonly string[] = ["fixed", "linear", "exponential"] satisfies Backoff[];

/** @throws {InvalidOptionError} naming the field. */
export function retryPolicy(options: RetryOptions): RetryPolicy {
  const { max = 3, backoff = "exponential", base = "1s", cap = "1m", jitter = true, on, notOn } =
    options;
  if (!Number.isInteger(max) || max < 0 || max > LIMITS.retries) {
    throw new InvalidOptionError(
      "retry.max",
      `retry.max = ${quote(max)} is not a whole number from 0 to ${LIMITS.retries}`,
      {
        hint: "It counts retries after the first attempt: 3 means four attempts.",
      },
    );
  }
  if (!BACKOFFS.includes(backoff)) {
    throw new InvalidOptionError("retry.backoff", `retry.backoff = ${quote(backoff)} is unknown`, {
      hint: `Use one of: ${BACKOFFS.join(", ")}.`,
    });
  }
  if (typeof jitter !== "boolean") {
    throw new InvalidOptionError(
      "retry.jitter",
      `retry.jitter = ${quote(jitter)} is not a boolean`,
      {
        hint: "true draws each delay evenly from 0 to what it would be; false keeps it as it is.",
      },
    );
  }
  checkErrorNames("retry.on", on);
  checkErrorNames("retry.notOn", notOn);
  return {
    max,
    backoff,
    baseMs: durationMs("retry.base", base),
    capMs: durationMs("retry.cap", cap),
    jitter,
    ...(on === undefined ? {} : { on: [...on] }),
    ...(notOn === undefined ? {} : { notOn: [...notOn] }),
  };
}

/** The field that keeps `value`, from wherever it comes, from being a retry policy; undefined when it is one. */
export function retryPolicyFlaw(value: unknown): string | undefined {
  const { max, backoff, baseMs, capMs, jitter, on, notOn } = (value ?? {}) as Partial<
    Record<keyof RetryPolicy, unknown>
  >;
  if (!isCount(max, LIMITS.retries)) return "max";
  if (!BACKOFFS.includes(backoff as string)) return "backoff";
  if (!isCount(baseMs)) return "baseMs";
  if (!isCount(capMs)) return "capMs";
  if (typeof jitter !== "boolean") return "jitter";
  if (!areErrorNames(on)) return "on";
  if (!areErrorNames(notOn)) return "notOn";
  return undefined;
}

function areErrorNames(names: unknown): boolean {
  return names === undefined ||
    Array.isArray(names) && names.every((name) => typeof name === "string");
}

function checkErrorNames(option: string, names: unknown): void {
  if (areErrorNames(names)) return;
  throw new InvalidOptionError(option, `${option} = ${quote(names)} is not a list of error names`, {
    hint: 'Give the names of errors as they are thrown: ["TimeoutError"].',
  });
}

/**
 * @param retries how often this node was tried again already (in this round).
 * @param chance evenly from 0 to 1; the same for every processor that decides about this attempt.
 */
export function decideRetry(
  policy: RetryPolicy | undefined,
  retries: number,
  failure: RecordedFailure,
  chance: number,
): RetryDecision {
  if (policy === undefined || failure.fatal === true || retries >= policy.max) {
    return { is: "giveUp" };
  }
  if (policy.notOn?.includes(failure.name) === true) return { is: "giveUp" };
  if (policy.on !== undefined && !policy.on.includes(failure.name)) return { is: "giveUp" };
  const delayMs = Math.min(policy.capMs, policy.baseMs * growth(policy.backoff, retries));
  return { is: "retry", delayMs: Math.round(policy.jitter ? delayMs * chance : delayMs) };
}

function growth(backoff: Backoff, retries: number): number {
  switch (backoff) {
    case "fixed":
      return 1;
    case "linear":
      return retries + 1;
    case "exponential":
      return 2 ** Math.min(retries, 1_000);
  }
  return backoff satisfies never;
}
