/**
 * When something recurs: a cron pattern in a time zone, or a fixed span of time. The one file that knows the cron library.
 * Time is always a parameter: nothing in here asks what time it is, and nothing waits.
 */
import { Cron } from "croner";
import { type Duration, durationMs } from "./duration.ts";
import { InvalidOptionError } from "./errors.ts";
import { quote } from "./ids.ts";
import { refuseUnknown } from "./options.ts";

/** When a schedule is due. */
export type Recurrence = CronRecurrence | SpanRecurrence;

/** By a cron pattern, in a time zone. */
export interface CronRecurrence {
  /**
   * Five fields (minute, hour, day of the month, month, day of the week), or six with seconds before them, or a name like
   * `"@daily"`: `"0 2 * * *"` is two o'clock every night.
   */
  cron: string;
  /** Whose clock it reads: `"Europe/Warsaw"`. @default "UTC" */
  timeZone?: string;
}

/** By a fixed span of time. */
export interface SpanRecurrence {
  /** The span from one occurrence to the next, counted from the moment the schedule was made. From 1 s. */
  every: Duration;
}

/** A recurrence, checked and complete, as it is recorded. */
export type Rule =
  | { readonly is: "cron"; readonly cron: string; readonly timeZone: string }
  | {
    readonly is: "every";
    readonly everyMs: number;
    /** Occurrences are whole spans after this moment; milliseconds since 1970. */
    readonly anchor: number;
  };

/** The moments of a rule, milliseconds since 1970. Any two are at least a second apart. */
export interface Occurrences {
  /** The first one after this moment; undefined: there is none. */
  next(after: number): number | undefined;
}

const LEAST_SPAN_MS = 1_000;
const WHEN_HINT = 'E.g. { cron: "0 2 * * *", timeZone: "Europe/Warsaw" } or { every: "10m" }.';

/**
 * What a user says, checked.
 * @param now where spans are counted from; a pattern must have an occurrence after it.
 * @throws {InvalidOptionError} naming the field.
 */
export function ruleOf(when: Recurrence, now: number): Rule {
  refuseUnknown("when field", when, ["cron", "timeZone", "every"]);
  const { cron, timeZone, every } = when as Partial<CronRecurrence & SpanRecurrence>;
  if ((cron === undefined) === (every === undefined)) {
    throw new InvalidOptionError("when", `when = ${quote(when)} needs one of cron and every`, {
      hint: WHEN_HINT,
    });
  }
  if (every !== undefined) {
    if (timeZone !== undefined) {
      throw new InvalidOptionError(
        "when.timeZone",
        `when.timeZone = ${quote(timeZone)} means nothing for { every }`,
        { hint: "A span is as long everywhere. Leave it out, or use cron." },
      );
    }
    const everyMs = durationMs("when.every", every, { least: LEAST_SPAN_MS });
    return { is: "every", everyMs, anchor: now };
  }
  const rule = { is: "cron", cron: cron!, timeZone: timeZone ?? "UTC" } as const;
  if (occurrencesOf(rule).next(now) === undefined) {
    throw new InvalidOptionError("when.cron", `when.cron = ${quote(cron)} never comes`, {
      hint: "No day has this date. Correct the day or the month.",
    });
  }
  return rule;
}

/** Two rules with the same moments, wherever spans are counted from. */
export function isSameRule(a: Rule, b: Rule): boolean {
  switch (a.is) {
    case "cron":
      return b.is === "cron" && a.cron === b.cron && a.timeZone === b.timeZone;
    case "every":
      return b.is === "every" && a.everyMs === b.everyMs;
  }
  return a satisfies never;
}

/** As a user says it. */
export function recurrenceOf(rule: Rule): Recurrence {
  return rule.is === "cron"
    ? { cron: rule.cron, timeZone: rule.timeZone }
    : { every: rule.everyMs };
}

/** @throws {InvalidOptionError} for a pattern or a time zone that is none. */
export function occurrencesOf(rule: Rule): Occurrences {
  if (rule.is === "every") {
    const { everyMs, anchor } = rule;
    return {
      next: (after) => anchor + Math.max(1, Math.floor((after - anchor) / everyMs) + 1) * everyMs,
    };
  }
  const cron = cronOf(rule);
  // The library leaves fractions of a second away: what it gives is after the whole second, and so after `after`.
  return { next: (after) => cron.nextRun(new Date(after))?.getTime() };
}

function cronOf({ cron, timeZone }: Rule & { is: "cron" }): Cron {
  checkTimeZone(timeZone);
  try {
    // Anything else than a pattern is taken for a date that comes once.
    if (!/^\s*(@\w+|\S+(\s+\S+){4,5})\s*$/.test(cron)) throw new Error("it has five or six fields");
    return new Cron(cron, { timezone: timeZone, mode: "5-or-6-parts" });
  } catch (error) {
    const why = (error as Error).message.replace(/^CronPattern: /, "");
    throw new InvalidOptionError(
      "when.cron",
      `when.cron = ${quote(cron)} is not a cron pattern: ${why}`,
      {
        hint:
          'Minute, hour, day of the month, month, day of the week: "0 2 * * *"; perhaps seconds before them.',
        cause: error,
      },
    );
  }
}

function checkTimeZone(timeZone: string): void {
  try {
    if (!/^[A-Za-z]/.test(timeZone)) throw new RangeError("it is not a name");
    new Intl.DateTimeFormat("en", { timeZone });
  } catch (error) {
    throw new InvalidOptionError(
      "when.timeZone",
      `when.timeZone = ${quote(timeZone)} is not known here`,
      { hint: 'Use a name of the IANA database: "Europe/Warsaw", "UTC".', cause: error },
    );
  }
}

/**
 * The last occurrences after `after` and up to `until`, in order, at most `most`. Looks back in growing steps, so that it
 * costs no more for a year than for a day.
 */
export function latestOccurrences(
  occurrences: Occurrences,
  { after, until, most }: { after: number; until: number; most: number },
): number[] {
  let found: number[] = [];
  let upper = until;
  for (let widthMs = most * LEAST_SPAN_MS; found.length < most && upper > after; widthMs *= 2) {
    const lower = Math.max(after, upper - widthMs);
    const part: number[] = [];
    for (let at = occurrences.next(lower); at !== undefined && at <= upper;) {
      part.push(at);
      at = occurrences.next(at);
    }
    found = [...part, ...found];
    upper = lower;
  }
  return found.slice(-most);
}
