/** Schedules as records, and what is to be done about one at a moment. */
import { InvalidOptionError, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ruleOf } from "../../src/core/recurrence.ts";
import {
  checkMissed,
  checkScheduleId,
  occurrenceRunId,
  type Plan,
  planOf,
  readSchedule,
  type ScheduleRecord,
  statusOfSchedule,
  writeSchedule,
} from "../../src/core/schedule.ts";

const NOW = Date.UTC(2026, 0, 1);
const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;

/** Every ten minutes from `NOW` on. */
function scheduled(change: Partial<ScheduleRecord> = {}): ScheduleRecord {
  return {
    rule: ruleOf({ every: "10m" }, NOW),
    missed: "skip",
    paused: false,
    createdAt: NOW,
    handledTo: NOW,
    workflow: new Workflow("empty").toJSON(),
    ...change,
  };
}

test("until the next occurrence there is nothing to do, and then it is to run", () => {
  const record = scheduled();
  const due = NOW + 10 * MINUTE_MS;
  assert.equal(planOf(record, NOW), { is: "wait", until: due });
  assert.equal(planOf(record, due - 1), { is: "wait", until: due });
  const run: Plan = { is: "run", moments: [due], isCut: false };
  assert.equal(planOf(record, due), run);
  assert.equal(planOf(record, due + MINUTE_MS), run);
  assert.equal(planOf({ ...record, handledTo: due }, due), {
    is: "wait",
    until: due + 10 * MINUTE_MS,
  });
});

test("of a paused schedule nothing is due", () => {
  assert.equal(planOf(scheduled({ paused: true }), NOW + DAY_MS), { is: "wait", until: undefined });
  assert.is(statusOfSchedule("s", scheduled({ paused: true })).nextAt, undefined);
});

test("what is missed by more than a minute is dropped, run once, or run in order", () => {
  const now = NOW + 60 * MINUTE_MS + 1;
  const dues = [10, 20, 30, 40, 50].map((minutes) => NOW + minutes * MINUTE_MS);
  const plan = (missed: ScheduleRecord["missed"], handledTo = NOW) =>
    planOf(scheduled({ missed, handledTo }), now);
  const lastOnTime = NOW + 60 * MINUTE_MS;
  const missedTo = now - MINUTE_MS - 1;
  assert.equal(plan("skip"), { is: "drop", to: missedTo });
  assert.equal(plan("skip", missedTo), { is: "run", moments: [lastOnTime], isCut: false });
  assert.equal(plan("runOnce"), { is: "run", moments: [dues[4]], isCut: false });
  assert.equal(plan("runOnce", dues[4]), { is: "run", moments: [lastOnTime], isCut: false });
  assert.equal(plan("runAll"), { is: "run", moments: dues, isCut: false });
  assert.equal(plan("runAll", dues[1]), { is: "run", moments: dues.slice(2), isCut: false });
});

test("of too many missed occurrences the last thousand run", () => {
  const rule = ruleOf({ every: "1s" }, NOW);
  const plan = planOf(scheduled({ rule, missed: "runAll" }), NOW + DAY_MS);
  assert.is(plan.is, "run");
  if (plan.is !== "run") return;
  assert.is(plan.moments.length, 1_000);
  assert.is(plan.isCut, true);
  assert.is(plan.moments.at(-1), NOW + DAY_MS - MINUTE_MS - SECOND_MS);
});

test("the run of an occurrence is called after its moment in UTC", () => {
  const at = Date.UTC(2026, 2, 29, 1, 0, 5) + 250;
  assert.is(occurrenceRunId("nightly", at), "nightly-20260329T010005Z");
  assert.is(occurrenceRunId("x".repeat(46), at).length, 63);
});

test("an id that leaves no room for the moment is refused, as is an unknown policy", () => {
  assert.is(checkScheduleId("x".repeat(46)), "x".repeat(46));
  for (const id of ["x".repeat(47), "", "a.b", "a b", "*", 7, undefined]) {
    assert.throws(
      () => checkScheduleId(id),
      (error: unknown) => error instanceof InvalidOptionError && error.option === "schedule id",
    );
  }
  for (const missed of ["never", "", null, 1]) {
    assert.throws(
      () => checkMissed(missed),
      (error: unknown) => error instanceof InvalidOptionError && error.option === "missed",
    );
  }
});

test("a schedule is read as it was written", () => {
  const cron = ruleOf({ cron: "0 2 * * *", timeZone: "Europe/Warsaw" }, NOW);
  for (
    const record of [
      scheduled(),
      scheduled({ rule: cron, missed: "runAll", paused: true, input: null }),
      scheduled({ lastAt: NOW, lastRun: "s-20260101T000000Z", input: { deep: [1] } }),
    ]
  ) assert.equal(readSchedule(writeSchedule(record)), record);
});

test("what is no schedule is not read, whatever it is", () => {
  const good = JSON.parse(new TextDecoder().decode(writeSchedule(scheduled())));
  const cron = { is: "cron", cron: "0 2 * * *", timeZone: "UTC" };
  const reads = (value: unknown) =>
    readSchedule(new TextEncoder().encode(JSON.stringify(value))) !== undefined;
  assert.ok(reads(good));
  assert.ok(reads({ ...good, when: cron, fromTheFuture: true }));
  const bad = [
    { v: 2 },
    { when: undefined },
    { when: null },
    { when: [] },
    { when: "0 2 * * *" },
    { when: { ...cron, cron: "nonsense" } },
    { when: { ...cron, timeZone: "Nowhere/Land" } },
    { when: { is: "every", everyMs: 999, anchor: 0 } },
    { when: { is: "every", everyMs: 1e300, anchor: 0 } },
    { when: { is: "every", everyMs: 1_000, anchor: -1 } },
    { when: { is: "never" } },
    { missed: "sometimes" },
    { paused: "yes" },
    { createdAt: "today" },
    { handledTo: 1e300 },
    { handledTo: null },
    { lastAt: "yesterday" },
    { lastRun: "a.b" },
    { workflow: null },
    { workflow: "text" },
    { workflow: { name: "a b" } },
  ];
  for (const change of bad) assert.not(reads({ ...good, ...change }), JSON.stringify(change));
  for (const value of [null, 5, "text", [], {}]) assert.not(reads(value));
  assert.is(readSchedule(new Uint8Array([0xff, 0x00])), undefined);
});

test.run();
