/**
 * A schedule: a workflow, and when it is submitted again and again. What is recorded of it, and what follows from that at a
 * given moment. Decides only; clients write records, processors do what is due.
 */
import type { Definition } from "./definition.ts";
import { definitionFromJson, type WorkflowJson } from "./definition_json.ts";
import { InvalidOptionError } from "./errors.ts";
import { withInput } from "./expand.ts";
import { isId, quote } from "./ids.ts";
import { isCount } from "./limits.ts";
import {
  latestOccurrences,
  type Occurrences,
  occurrencesOf,
  type Recurrence,
  recurrenceOf,
  type Rule,
} from "./recurrence.ts";
import { parseRecord } from "./records.ts";

/** What becomes of occurrences that no processor was there for. */
export type MissedPolicy = "skip" | "runOnce" | "runAll";

const MISSED_POLICIES: readonly string[] = ["skip", "runOnce", "runAll"] satisfies MissedPolicy[];

export interface ScheduleRecord {
  readonly rule: Rule;
  readonly missed: MissedPolicy;
  readonly paused: boolean;
  /** When the schedule was made; milliseconds since 1970, as are all moments here. */
  readonly createdAt: number;
  /** Occurrences up to this moment have been dealt with, or do not count. */
  readonly handledTo: number;
  /** The last occurrence that became a run, and that run. */
  readonly lastAt?: number;
  readonly lastRun?: string;
  /** Sealed where there was a codec. Not checked yet: see {@link scheduledDefinition}. */
  readonly workflow: WorkflowJson;
  /** What the workflow's `input()` gives. */
  readonly input?: unknown;
}

/** How a schedule stands: `schedule.status()`, `app.schedules()`. Times are milliseconds since 1970. */
export interface ScheduleStatus {
  readonly id: string;
  /** The workflow's name. */
  readonly name: string;
  /** Complete: with the time zone, and with milliseconds for `every`. */
  readonly when: Recurrence;
  readonly missed: MissedPolicy;
  readonly paused: boolean;
  readonly createdAt: number;
  /** The next occurrence; in the past when no processor has been there for it yet. Undefined while paused. */
  readonly nextAt?: number;
  /** The last occurrence that became a run. */
  readonly lastAt?: number;
  /** The id of that run. */
  readonly lastRun?: string;
}

/** An occurrence that is dealt with later than this is a missed one. */
const MISSED_AFTER_MS = 60_000;
/** Missed occurrences that run after one interruption, at most. */
const MOST_MISSED = 1_000;
/** A run's id is that of its schedule and the occurrence, and has room in 64 characters. */
const LONGEST_ID = 46;

/** Keys of views. */
export const SCHEDULE_PREFIX = "schedule.";
/** What processes tell each other when a schedule changed. */
export const SCHEDULE_TOPIC = "schedule";

export function scheduleKey(id: string): string {
  return SCHEDULE_PREFIX + id;
}

/** @throws {InvalidOptionError} unless it is an id of at most 46 characters. */
export function checkScheduleId(value: unknown): string {
  if (isId(value) && value.length <= LONGEST_ID) return value;
  throw new InvalidOptionError(
    "schedule id",
    `schedule id ${
      quote(value)
    } cannot be used: it is 1 to ${LONGEST_ID} letters, digits, '-' or '_'`,
    {
      hint: "Its runs are called <id>-20260101T020000Z, and these ids have at most 64 characters.",
    },
  );
}

/** @throws {InvalidOptionError} */
export function checkMissed(value: unknown): MissedPolicy {
  if (MISSED_POLICIES.includes(value as string)) return value as MissedPolicy;
  throw new InvalidOptionError("missed", `missed = ${quote(value)} is unknown`, {
    hint: `Use one of ${MISSED_POLICIES.join(", ")}.`,
  });
}

/** @throws {InvalidOptionError} */
export function checkPaused(value: unknown): void {
  if (typeof value === "boolean") return;
  throw new InvalidOptionError("paused", `paused = ${quote(value)} is not a boolean`, {
    hint: "Leave it out, and a schedule stays as it is.",
  });
}

/** The id of the run of an occurrence: the same whoever submits it, so that it is one run. */
export function occurrenceRunId(schedule: string, at: number): string {
  return `${schedule}-${new Date(at).toISOString().replace(/\.\d+/, "").replaceAll(/[-:]/g, "")}`;
}

/** What is to be done about a schedule. */
export type Plan =
  /** Nothing before this moment; undefined: nothing at all. */
  | { readonly is: "wait"; readonly until: number | undefined }
  /** Occurrences up to here were missed and are not made up for. */
  | { readonly is: "drop"; readonly to: number }
  /** These are to run, in this order. What stands before them is not made up for. */
  | { readonly is: "run"; readonly moments: readonly number[]; readonly isCut: boolean };

export function planOf(record: ScheduleRecord, now: number): Plan {
  if (record.paused) return { is: "wait", until: undefined };
  const occurrences = occurrencesOf(record.rule);
  const { handledTo: after, missed } = record;
  const first = occurrences.next(after);
  if (first === undefined || first > now) return { is: "wait", until: first };
  const missedTo = now - MISSED_AFTER_MS - 1;
  if (first > missedTo) return { is: "run", moments: upTo(occurrences, first, now), isCut: false };
  switch (missed) {
    case "skip":
      return { is: "drop", to: missedTo };
    case "runOnce":
      return { is: "run", moments: latest(occurrences, after, missedTo, 1), isCut: false };
    case "runAll": {
      const moments = latest(occurrences, after, missedTo, MOST_MISSED);
      return { is: "run", moments, isCut: moments[0] !== first };
    }
  }
  return missed satisfies never;
}

function upTo(occurrences: Occurrences, first: number, now: number): number[] {
  const moments: number[] = [];
  for (let at: number | undefined = first; at !== undefined && at <= now;) {
    moments.push(at);
    at = occurrences.next(at);
  }
  return moments;
}

function latest(occurrences: Occurrences, after: number, until: number, most: number): number[] {
  return latestOccurrences(occurrences, { after, until, most });
}

/** What each run of it consists of. @throws {InvalidWorkflowError} */
export function scheduledDefinition(
  { workflow, input }: Pick<ScheduleRecord, "workflow" | "input">,
): Definition {
  return withInput(definitionFromJson(workflow), input);
}

export function statusOfSchedule(id: string, record: ScheduleRecord): ScheduleStatus {
  const { rule, missed, paused, createdAt, handledTo, lastAt, lastRun, workflow } = record;
  const nextAt = paused ? undefined : occurrencesOf(rule).next(handledTo);
  return {
    id,
    name: workflow.name,
    when: recurrenceOf(rule),
    missed,
    paused,
    createdAt,
    ...(nextAt === undefined ? {} : { nextAt }),
    ...(lastAt === undefined ? {} : { lastAt }),
    ...(lastRun === undefined ? {} : { lastRun }),
  };
}

const RECORD_VERSION = 1;
const encoder = new TextEncoder();

/** Equal schedules give equal bytes. */
export function writeSchedule(record: ScheduleRecord): Uint8Array {
  const { rule, missed, paused, createdAt, handledTo, lastAt, lastRun, workflow, input } = record;
  return encoder.encode(JSON.stringify({
    v: RECORD_VERSION,
    when: rule,
    missed,
    paused,
    createdAt,
    handledTo,
    lastAt,
    lastRun,
    workflow,
    input,
  }));
}

/** Whether two records are the same, byte for byte. */
export function isSameRecord(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** @returns undefined when it cannot be understood, here and now: a time zone may be unknown to this runtime. */
export function readSchedule(data: Uint8Array): ScheduleRecord | undefined {
  const { v, when, missed, paused, createdAt, handledTo, lastAt, lastRun, workflow, input } =
    parseRecord(data) ?? {};
  const rule = readRule(when);
  const ok = v === RECORD_VERSION && rule !== undefined &&
    MISSED_POLICIES.includes(missed as string) && typeof paused === "boolean" &&
    isMoment(createdAt) && isMoment(handledTo) && (lastAt === undefined || isMoment(lastAt)) &&
    (lastRun === undefined || isId(lastRun)) && typeof workflow === "object" && workflow !== null &&
    isId((workflow as { name?: unknown }).name);
  if (!ok) return undefined;
  return {
    rule,
    missed: missed as MissedPolicy,
    paused,
    createdAt,
    handledTo,
    ...(lastAt === undefined ? {} : { lastAt }),
    ...(lastRun === undefined ? {} : { lastRun }),
    workflow: workflow as WorkflowJson,
    ...(input === undefined ? {} : { input }),
  };
}

function readRule(value: unknown): Rule | undefined {
  const { is, cron, timeZone, everyMs, anchor } = (value ?? {}) as Record<string, unknown>;
  if (is === "every") {
    return isCount(everyMs) && everyMs >= 1_000 && isMoment(anchor)
      ? { is, everyMs, anchor }
      : undefined;
  }
  if (is !== "cron" || typeof cron !== "string" || typeof timeZone !== "string") return undefined;
  const rule = { is, cron, timeZone } as const;
  try {
    occurrencesOf(rule);
    return rule;
  } catch {
    return undefined;
  }
}

/** Up to the year 9999: later ones have no run id. */
function isMoment(value: unknown): value is number {
  return isCount(value, 253_402_300_799_999);
}
