/** When something recurs: patterns in time zones, across changes of the clock, and spans; and what is refused. */
import * as fc from "fast-check";
import { InvalidOptionError } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  isSameRule,
  latestOccurrences,
  type Occurrences,
  occurrencesOf,
  type Recurrence,
  recurrenceOf,
  ruleOf,
} from "../../src/core/recurrence.ts";

const NOW = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;

/** The next `count` moments after `from`, as ISO texts without seconds. */
function next(when: Recurrence, from: string, count = 1): string[] {
  const occurrences = occurrencesOf(ruleOf(when, NOW));
  const moments: string[] = [];
  let at: number | undefined = Date.parse(from);
  while (moments.length < count) {
    at = occurrences.next(at)!;
    moments.push(new Date(at).toISOString().replace(":00.000Z", "Z"));
  }
  return moments;
}

function refusal(when: unknown): InvalidOptionError {
  try {
    ruleOf(when as Recurrence, NOW);
  } catch (error) {
    assert.instance(error, InvalidOptionError, String(error));
    return error as InvalidOptionError;
  }
  throw new Error(`${JSON.stringify(when)} was not refused`);
}

test("a pattern is read by UTC's clock unless a time zone is given", () => {
  assert.equal(next({ cron: "0 2 * * *" }, "2026-06-01T12:00Z"), ["2026-06-02T02:00Z"]);
  const warsaw = { cron: "0 2 * * *", timeZone: "Europe/Warsaw" };
  assert.equal(next(warsaw, "2026-06-01T12:00Z"), ["2026-06-02T00:00Z"]);
  assert.equal(next(warsaw, "2026-01-10T12:00Z"), ["2026-01-11T01:00Z"]);
});

test("an occurrence comes strictly after the moment that is asked for", () => {
  const { next: after } = occurrencesOf(ruleOf({ cron: "* * * * * *" }, NOW));
  assert.is(after(NOW), NOW + 1_000);
  assert.is(after(NOW + 1), NOW + 1_000);
  assert.is(after(NOW - 1), NOW);
});

test("where the clock springs forward, what the gap swallows comes right after it, once", () => {
  assert.equal(
    next({ cron: "30 2 * * *", timeZone: "Europe/Warsaw" }, "2026-03-28T12:00Z", 2),
    ["2026-03-29T01:00Z", "2026-03-30T00:30Z"],
  );
  assert.equal(
    next({ cron: "30 2 * * *", timeZone: "America/New_York" }, "2026-03-07T12:00Z", 2),
    ["2026-03-08T07:00Z", "2026-03-09T06:30Z"],
  );
});

test("where the clock falls back, a time of day comes once, and every quarter of an hour each time", () => {
  assert.equal(
    next({ cron: "30 2 * * *", timeZone: "Europe/Warsaw" }, "2026-10-24T12:00Z", 2),
    ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
  );
  assert.equal(
    next({ cron: "30 1 * * *", timeZone: "America/New_York" }, "2026-10-31T12:00Z", 2),
    ["2026-11-01T05:30Z", "2026-11-02T06:30Z"],
  );
  assert.equal(
    next({ cron: "*/30 * * * *", timeZone: "Europe/Warsaw" }, "2026-10-24T23:45Z", 5),
    [
      "2026-10-25T00:00Z",
      "2026-10-25T00:30Z",
      "2026-10-25T01:00Z",
      "2026-10-25T01:30Z",
      "2026-10-25T02:00Z",
    ],
  );
});

test("seconds, names, last days and leap days are understood", () => {
  assert.equal(next({ cron: "@daily" }, "2026-06-01T12:00Z"), ["2026-06-02T00:00Z"]);
  assert.equal(next({ cron: "0 0 L * *" }, "2026-02-01T00:00Z"), ["2026-02-28T00:00Z"]);
  assert.equal(next({ cron: "0 0 29 2 *" }, "2026-02-01T00:00Z"), ["2028-02-29T00:00Z"]);
  assert.equal(next({ cron: "0 9 * * MON-FRI" }, "2026-01-02T10:00Z"), ["2026-01-05T09:00Z"]);
  assert.equal(next({ cron: "30 0 0 * * *" }, "2026-01-01T00:00Z"), ["2026-01-01T00:00:30.000Z"]);
});

test("spans are counted from the moment they were made", () => {
  const rule = ruleOf({ every: "90s" }, NOW + 7);
  const { next: after } = occurrencesOf(rule);
  assert.is(after(NOW + 7), NOW + 90_007);
  assert.is(after(NOW + 90_006), NOW + 90_007);
  assert.is(after(NOW + 90_007), NOW + 180_007);
  assert.is(after(NOW - 500_000), NOW + 90_007);
  assert.equal(recurrenceOf(rule), { every: 90_000 });
});

test("rules are the same wherever their spans are counted from", () => {
  const cron = ruleOf({ cron: "0 2 * * *" }, NOW);
  assert.ok(isSameRule(ruleOf({ every: "1m" }, 1), ruleOf({ every: 60_000 }, 2)));
  assert.ok(isSameRule(cron, ruleOf({ cron: "0 2 * * *", timeZone: "UTC" }, 5)));
  assert.not(isSameRule(cron, ruleOf({ cron: "0 2 * * *", timeZone: "Asia/Tokyo" }, NOW)));
  assert.not(isSameRule(cron, ruleOf({ every: "1d" }, NOW)));
});

test("what cannot be a recurrence is refused, by the name of the field", () => {
  const refused: [unknown, string, RegExp][] = [
    [null, "when field", /must be an object/],
    ["0 2 * * *", "when field", /must be an object/],
    [{}, "when", /needs one of cron and every/],
    [{ cron: "0 2 * * *", every: "1s" }, "when", /needs one of cron and every/],
    [{ cron: "0 2 * * *", zone: "UTC" }, "zone", /no when field "zone"/],
    [{ every: "1s", timeZone: "UTC" }, "when.timeZone", /means nothing/],
    [{ every: 999 }, "when.every", /from 1000 ms/],
    [{ every: NaN }, "when.every", /from 1000 ms/],
    [{ every: "soon" }, "when.every", /from 1000 ms/],
    [{ cron: "" }, "when.cron", /five or six fields/],
    [{ cron: 5 }, "when.cron", /not a cron pattern/],
    [{ cron: null }, "when.cron", /not a cron pattern/],
    [{ cron: "* * * *" }, "when.cron", /five or six fields/],
    [{ cron: "0 0 1 1 * * 2030" }, "when.cron", /five or six fields/],
    [{ cron: "2027-01-01T00:00:00" }, "when.cron", /five or six fields/],
    [{ cron: "0 25 * * *" }, "when.cron", /hour: 25/],
    [{ cron: "* * * * 8" }, "when.cron", /not a cron pattern/],
    [{ cron: "@reboot" }, "when.cron", /not a cron pattern/],
    [{ cron: "@nonsense" }, "when.cron", /not a cron pattern/],
    [{ cron: "0 0 30 2 *" }, "when.cron", /never comes/],
    [{ cron: "0 2 * * *", timeZone: "Nowhere/Land" }, "when.timeZone", /not known/],
    [{ cron: "0 2 * * *", timeZone: "" }, "when.timeZone", /not known/],
    [{ cron: "0 2 * * *", timeZone: 2 }, "when.timeZone", /not known/],
    [{ cron: "0 2 * * *", timeZone: "+02:00" }, "when.timeZone", /not known/],
  ];
  for (const [when, option, message] of refused) {
    const error = refusal(when);
    assert.is(error.option, option, error.message);
    assert.match(error.message, message);
    assert.ok(error.hint.length > 10);
  }
});

const patterns = [
  "* * * * *",
  "*/15 * * * *",
  "30 2 * * *",
  "0 2,3 * * *",
  "*/20 1-3 * * *",
  "0 0 1 * *",
  "15 30 2 * * SUN",
];
const zones = ["UTC", "Europe/Warsaw", "America/New_York", "Australia/Lord_Howe"];
const anyRule = fc.record({
  cron: fc.constantFrom(...patterns),
  timeZone: fc.constantFrom(...zones),
}).map((when) => ruleOf(when, NOW));

test("asking later never gives an earlier occurrence, whatever the clocks do", () => {
  fc.assert(
    fc.property(
      anyRule,
      fc.constantFrom(Date.UTC(2026, 2, 29), Date.UTC(2026, 9, 25), Date.UTC(2026, 10, 1)),
      fc.array(fc.integer({ min: -6 * 3_600, max: 12 * 3_600 }), { minLength: 2, maxLength: 12 }),
      (rule, day, offsets) => {
        const occurrences = occurrencesOf(rule);
        let last = -Infinity;
        for (const after of offsets.sort((a, b) => a - b).map((s) => day + s * 1_000)) {
          const at = occurrences.next(after)!;
          assert.ok(at > after && at >= last, `${new Date(at).toISOString()} after ${after}`);
          last = at;
        }
      },
    ),
    { numRuns: 150 },
  );
});

function all(occurrences: Occurrences, after: number, until: number): number[] {
  const moments: number[] = [];
  for (let at = occurrences.next(after); at !== undefined && at <= until;) {
    moments.push(at);
    at = occurrences.next(at);
  }
  return moments;
}

test("the latest occurrences are the end of the list of all", () => {
  fc.assert(
    fc.property(
      anyRule,
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 0, max: 300 * 24 }),
      (rule, hours, most, from) => {
        const occurrences = occurrencesOf(rule);
        const after = NOW + from * HOUR_MS;
        const until = after + hours * HOUR_MS;
        assert.equal(
          latestOccurrences(occurrences, { after, until, most }),
          all(occurrences, after, until).slice(-most),
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("the latest of ten years of seconds are found without counting them", () => {
  let asked = 0;
  const seconds = occurrencesOf(ruleOf({ every: "1s" }, NOW));
  const counted = { next: (after: number) => (asked++, seconds.next(after)) };
  const until = NOW + 3_650 * 24 * HOUR_MS;
  const found = latestOccurrences(counted, { after: NOW, until, most: 1_000 });
  assert.is(found.length, 1_000);
  assert.is(found.at(-1), until);
  assert.ok(asked < 2_000, `asked ${asked} times`);
});

test.run();
