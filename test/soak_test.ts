/** What the soak takes for a leak, and what not. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FULL, judge, type Mark } from "../soak/marks.ts";
import { trendOf } from "../soak/trend.ts";
import { seeded } from "../bench/statistics.ts";

const MB = 1_048_576;
const ALLOWED = { share: 0.02, floor: 0.25 };

function seriesOf(marks: number, value: (n: number) => number): number[] {
  return Array.from({ length: marks }, (_, n) => value(n));
}

/** A series of marks in which a processor's heap, and what is left, are as said. */
function marksOf(heapBytes: (n: number) => number, leftovers: readonly string[] = []): Mark[] {
  return seriesOf(40, (n) => n).map((n): Mark => ({
    workflows: n,
    minutes: n,
    leftovers,
    roles: ["processor"],
    samples: [{
      heapBytes: heapBytes(n),
      rssBytes: 100 * MB,
      files: 20,
      timers: 5,
      connection: 1,
      executed: n,
      complaints: [],
    }],
    store: {
      rssBytes: 50 * MB,
      files: 20,
      storeBytes: MB,
      subscriptions: 20,
      subscriptionsOf: [5],
      consumers: 10,
    },
  }));
}

const failed = (marks: Mark[]) => judge(marks, FULL).filter(({ isFine }) => !isFine);

test("what grows steadily is a leak, however long it has warmed up", () => {
  assert.ok(trendOf(seriesOf(40, (n) => 10 + 0.05 * n), ALLOWED).isLeak);
});

test("what grows only while it warms up is none", () => {
  assert.not(trendOf(seriesOf(40, (n) => 10 + Math.min(n, 15)), ALLOWED).isLeak);
});

test("what only scatters is none, and what grows through the scatter is one", () => {
  const random = seeded(3);
  const scatter = () => 4 * random();
  assert.not(trendOf(seriesOf(40, () => 10 + scatter()), ALLOWED).isLeak);
  assert.ok(trendOf(seriesOf(40, (n) => 10 + scatter() + 0.4 * n), ALLOWED).isLeak);
});

test("what shrinks, and what is the same at two marks, is none", () => {
  assert.not(trendOf(seriesOf(40, (n) => 50 - n), ALLOWED).isLeak);
  assert.not(trendOf([10, 10], ALLOWED).isLeak);
  assert.not(trendOf([10], ALLOWED).isLeak);
});

test("a heap that is flat passes, and one that keeps 50 bytes of each of 10,000 tasks a mark does not", () => {
  assert.equal(failed(marksOf(() => 14 * MB)), []);
  const [verdict, ...others] = failed(marksOf((n) => 14 * MB + n * 500_000));
  assert.match(verdict!.text, /FAILED {2}processor 0: heap/);
  assert.equal(others, []);
});

test("anything left behind fails, and is named", () => {
  const [verdict] = failed(marksOf(() => MB, ["soak.tick.run"]));
  assert.match(verdict!.text, /1 left behind:\s+soak\.tick\.run/);
});

test.run();
