/** The runs there are, as their views show them: in the order of their ids, so that a list can be read in pages. */
import { InvalidOptionError } from "../core/errors.ts";
import { checkId, quote } from "../core/ids.ts";
import { isObject } from "../core/json.ts";
import { momentMs, refuseUnknown } from "../core/options.ts";
import { readStatus, type RunStatus } from "../core/records.ts";
import type { WorkflowState } from "../core/scheduler.ts";
import { withReadablePayload } from "../core/sealing.ts";
import type { Ports } from "../ports.ts";

/** Which runs are listed. */
export interface ListOptions {
  /** Only runs in this state, or in one of these. @default all */
  state?: WorkflowState | readonly WorkflowState[];
  /** Only runs of workflows with this name. @default all */
  name?: string;
  /** Only runs submitted after this moment (a Date, or milliseconds since 1970). @default all */
  submittedAfter?: Date | number;
  /** Only runs submitted before this moment. @default all */
  submittedBefore?: Date | number;
  /** Only runs whose payload is an object that has these values. @default all */
  payload?: Readonly<Record<string, unknown>>;
  /** At most so many. @default all */
  limit?: number;
  /** Only runs whose id comes after this one: the last id of the page before. @default all */
  after?: string;
}

const STATES: readonly WorkflowState[] = [
  "INITIAL",
  "RUNNING",
  "PAUSED",
  "SUCCESS",
  "FAILURE",
  "ERROR",
  "CANCELLED",
];
const PREFIX = "wf.";
/** Reads under way at once. */
const READ_BATCH = 1_024;

/** Options, complete. */
interface Wanted {
  readonly matches: (status: RunStatus) => boolean;
  readonly limit: number;
  readonly after: string;
}

/** @throws {InvalidOptionError}, {UnavailableError} */
export async function* list(
  { views, codec }: Ports,
  options: ListOptions = {},
): AsyncGenerator<RunStatus, void, void> {
  const { matches, limit, after } = checkOptions(options);
  const ids = (await views.keys(PREFIX)).map((key) => key.slice(PREFIX.length));
  const wanted = ids.filter((id) => id > after).sort();
  let left = limit;
  for (let i = 0; i < wanted.length && left > 0;) {
    // Of a short page without filters nothing is read in vain.
    const batch = wanted.slice(i, i + Math.min(READ_BATCH, left));
    i += batch.length;
    for (const view of await Promise.all(batch.map((id) => views.get(PREFIX + id)))) {
      const stored = view === undefined ? undefined : readStatus(view.data);
      if (stored === undefined) continue;
      const status = await withReadablePayload(codec, stored);
      if (!matches(status)) continue;
      yield status;
      if (--left === 0) return;
    }
  }
}

function checkOptions(options: ListOptions): Wanted {
  refuseUnknown("list option", options, [
    "state",
    "name",
    "submittedAfter",
    "submittedBefore",
    "payload",
    "limit",
    "after",
  ]);
  const { name, limit = Infinity, after, payload } = options;
  const states = options.state === undefined ? STATES : [options.state].flat();
  const unknown = states.find((state) => !STATES.includes(state));
  if (unknown !== undefined) {
    throw new InvalidOptionError("state", `state = ${quote(unknown)} is not a workflow's state`, {
      hint: `Use one or more of: ${STATES.join(", ")}.`,
    });
  }
  if (limit !== Infinity && !(Number.isInteger(limit) && limit >= 1)) {
    throw new InvalidOptionError("limit", `limit = ${quote(limit)} is not a whole number from 1`, {
      hint: "Leave it out for all.",
    });
  }
  if (payload !== undefined && !isObject(payload)) {
    throw new InvalidOptionError("payload", `payload = ${quote(payload)} is not an object`, {
      hint: 'Give keys with the values they must have: { team: "storage" }.',
    });
  }
  const { submittedAfter, submittedBefore } = options;
  const from = submittedAfter === undefined ? -1 : momentMs("submittedAfter", submittedAfter);
  const to = submittedBefore === undefined
    ? Infinity
    : momentMs("submittedBefore", submittedBefore);
  return {
    limit,
    after: after === undefined ? "" : checkId("workflow id", after),
    matches: (status) =>
      states.includes(status.state) && (name === undefined || status.name === name) &&
      status.submittedAt > from && status.submittedAt < to &&
      (payload === undefined || hasAll(status.payload, payload)),
  };
}

function hasAll(value: unknown, wanted: Readonly<Record<string, unknown>>): boolean {
  return isObject(value) &&
    Object.entries(wanted).every(([key, one]) =>
      Object.hasOwn(value, key) && isSameJson(value[key], one)
    );
}

/** Whether two JSON values are equal, whatever the order of their keys. */
function isSameJson(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, i) => isSameJson(item, b[i]));
  }
  if (isObject(a) && isObject(b)) {
    return Object.keys(a).length === Object.keys(b).length && hasAll(a, b);
  }
  return a === b;
}
