/**
 * Lanes: what a task message shares its queue with. A message travels in the lane of its priority, or, when its task is
 * limited across workers, in the lane of its key; the lane is where the limit is kept. Only names and their meaning are here.
 */
import { chanceOf } from "./chance.ts";
import { type Duration, durationMs } from "./duration.ts";
import { InvalidOptionError } from "./errors.ts";
import { isId, quote } from "./ids.ts";
import { isCount } from "./limits.ts";

/** At most `max` at the same time, of all tasks with this key in a queue. */
export interface SharedLimit {
  /** Letters, digits, `_`, `-`; at most 48 characters. */
  key: string;
  /** 1 to 10,000. */
  max: number;
}

/** At most `max` begin in any `per`, of all tasks with this key in a queue. */
export interface RateLimit {
  /** 1 to 10,000. */
  max: number;
  /** 1 ms to a day. */
  per: Duration;
  /** Letters, digits, `_`, `-`; at most 48 characters. @default the task's name */
  key?: string;
}

/** Limits, checked and complete; part of a definition. */
export interface LanePolicy {
  readonly key: string;
  /** Attempts at the same time. */
  readonly max?: number;
  readonly rate?: Rate;
}

/** At most `max` starts in any `perMs`. */
export interface Rate {
  readonly max: number;
  readonly perMs: number;
}

/** Of a task that says nothing, and of every limited one. */
export const DEFAULT_PRIORITY = 5;

/** A consumer's name has the lane and the queue in it. */
const LONGEST_KEY = 48;
const DAY_MS = 86_400_000;
const MOST = 10_000;

/** What a lane's name says. */
export type LaneKind =
  /** One priority; handed out without a limit. */
  | { readonly is: "priority"; readonly priority: number }
  /** One key: at most so many of its messages are with workers at the same time. */
  | { readonly is: "shared"; readonly key: string }
  /** One key whose attempts begin at a limited rate; perhaps also so many at the same time. */
  | { readonly is: "rated"; readonly key: string };

/** What the name of a lane looks like, as part of a regular expression. */
export const LANE_PATTERN: string = `p\\d|[cr]-[\\w-]{1,${LONGEST_KEY}}`;

/** The lane of an attempt. The latest limit of a key holds; it is kept for each queue by itself. */
export function laneFor(
  { priority, limit }: {
    readonly priority: number;
    readonly limit?: LanePolicy | undefined;
  },
): string {
  if (limit === undefined) return `p${priority}`;
  return `${limit.rate === undefined ? "c" : "r"}-${limit.key}`;
}

/** @param lane a name that {@link LANE_PATTERN} matches. */
export function laneKind(lane: string): LaneKind {
  switch (lane[0]) {
    case "c":
      return { is: "shared", key: lane.slice(2) };
    case "r":
      return { is: "rated", key: lane.slice(2) };
    default:
      return { is: "priority", priority: Number(lane.slice(1)) };
  }
}

/** From 0 to 9. Limited lanes have no priorities inside: they are as urgent as a task that names none. */
export function urgencyOf(lane: string): number {
  const kind = laneKind(lane);
  return kind.is === "priority" ? kind.priority : DEFAULT_PRIORITY;
}

export function isLimited(lane: string): boolean {
  return laneKind(lane).is !== "priority";
}

/** The key that the tasks of a limited queue share, unless they have their own. */
const QUEUE_KEY = "_queue";

/** The limit of a whole queue. @throws {InvalidOptionError} naming `option` */
export function queueLimit(option: string, max: unknown): LanePolicy {
  checkMost(option, max);
  return { key: QUEUE_KEY, max: max as number };
}

/** @throws {InvalidOptionError} */
export function limitOf(
  { concurrency, rateLimit }: { concurrency?: SharedLimit; rateLimit?: RateLimit },
  task: string,
): LanePolicy | undefined {
  if (concurrency === undefined && rateLimit === undefined) return undefined;
  if (concurrency !== undefined) {
    checkFields("concurrency", concurrency, ["key", "max"]);
    checkKey("concurrency.key", concurrency.key);
    checkMost("concurrency.max", concurrency.max);
  }
  if (rateLimit === undefined) return { key: concurrency!.key, max: concurrency!.max };
  checkFields("rateLimit", rateLimit, ["key", "max", "per"]);
  if (rateLimit.key !== undefined) checkKey("rateLimit.key", rateLimit.key);
  checkMost("rateLimit.max", rateLimit.max);
  const perMs = durationMs("rateLimit.per", rateLimit.per, { least: 1 });
  if (perMs > DAY_MS) {
    throw new InvalidOptionError("rateLimit.per", `rateLimit.per = ${perMs} ms is over a day`, {
      hint: "Use a schedule for what happens that rarely.",
    });
  }
  const key = rateLimit.key ?? concurrency?.key ?? keyOfTask(task);
  if (concurrency !== undefined && concurrency.key !== key) {
    throw new InvalidOptionError(
      "rateLimit.key",
      `concurrency.key is ${quote(concurrency.key)} and rateLimit.key ${quote(key)}`,
      { hint: "A task has one key: give both the same, or leave rateLimit.key out." },
    );
  }
  return {
    key,
    ...(concurrency === undefined ? {} : { max: concurrency.max }),
    rate: { max: rateLimit.max, perMs },
  };
}

function checkFields(option: string, value: unknown, known: readonly string[]): void {
  const unknown = typeof value === "object" && value !== null
    ? Object.keys(value).find((field) => !known.includes(field))
    : "";
  if (unknown === undefined) return;
  throw new InvalidOptionError(option, `${option} = ${quote(value)} is not a limit`, {
    hint: `It is an object with ${known.join(", ")}.`,
  });
}

function checkKey(option: string, key: unknown): void {
  if (isKey(key)) return;
  throw new InvalidOptionError(option, `${option} = ${quote(key)} cannot be used`, {
    hint: `Use 1 to ${LONGEST_KEY} letters, digits, '-' or '_'.`,
  });
}

function checkMost(option: string, max: unknown): void {
  if (isCount(max, MOST) && max >= 1) return;
  throw new InvalidOptionError(
    option,
    `${option} = ${quote(max)} is not a whole number from 1 to ${MOST}`,
    { hint: "Leave the limit out for more." },
  );
}

function isKey(key: unknown): key is string {
  return isId(key) && key.length <= LONGEST_KEY;
}

/** A task's name as a key; what cannot stand in one is told apart by a hash. */
function keyOfTask(task: string): string {
  const fits: boolean = isKey(task);
  if (fits) return task;
  const hash = Math.floor(chanceOf(task) * 0x1_0000_0000).toString(36);
  return `${task.replaceAll(".", "-").slice(0, LONGEST_KEY - 9)}-${hash}`;
}

/** The field that keeps `value`, from wherever it comes, from being a limit; undefined when it is one. */
export function limitFlaw(value: unknown): string | undefined {
  const { key, max, rate } = (value ?? {}) as Partial<Record<keyof LanePolicy, unknown>>;
  if (!isKey(key)) return "key";
  if (max !== undefined && !(isCount(max, MOST) && max >= 1)) return "max";
  if (rate === undefined) return max === undefined ? "max" : undefined;
  const flaw = rateFlaw(rate);
  return flaw === undefined ? undefined : `rate.${flaw}`;
}

function rateFlaw(value: unknown): keyof Rate | undefined {
  const { max, perMs } = (value ?? {}) as Partial<Record<keyof Rate, unknown>>;
  if (!(isCount(max, MOST) && max >= 1)) return "max";
  return isCount(perMs, DAY_MS) && perMs >= 1 ? undefined : "perMs";
}

/** A rate as it stands in a task message; undefined when it is none. */
export function readRate(value: unknown): Rate | undefined {
  return rateFlaw(value) === undefined ? value as Rate : undefined;
}
