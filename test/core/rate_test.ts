/** When attempts with a limited rate may begin. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import fc from "fast-check";
import { laneFor, laneKind, readRate, urgencyOf } from "../../src/core/lanes.ts";
import {
  CLAIM_AHEAD_MS,
  decideStart,
  isMissed,
  readLastStart,
  slackMs,
  writeLastStart,
} from "../../src/core/rate.ts";

test("never more than max begin in any span, however late they begin within the slack", () => {
  const rates = fc.record({
    max: fc.integer({ min: 1, max: 50 }),
    perMs: fc.integer({ min: 1, max: 10_000 }),
  });
  const asks = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 500 }), fc.double({ min: 0, max: 1, noNaN: true })),
    {
      minLength: 1,
      maxLength: 200,
    },
  );
  fc.assert(fc.property(rates, asks, (rate, asks) => {
    let now = 1_795_000_000_000;
    let last: number | undefined;
    const starts: number[] = [];
    for (const [passMs, late] of asks) {
      now += passMs;
      let decision = decideStart(rate, last, now);
      if (decision.is === "later") {
        now += decision.afterMs;
        decision = decideStart(rate, last, now);
      }
      // What is left of a millisecond's fraction.
      if (decision.is === "later") continue;
      last = decision.at;
      const begun = decision.at + late * slackMs(rate);
      if (!isMissed(rate, decision.at, begun)) starts.push(begun);
    }
    starts.sort((a, b) => a - b);
    for (let i = rate.max; i < starts.length; i++) {
      assert.ok(
        starts[i]! - starts[i - rate.max]! >= rate.perMs - 1e-3,
        `${rate.max} per ${rate.perMs}`,
      );
    }
  }));
});

test("a moment is claimed only when it is near", () => {
  const rate = { max: 1, perMs: 60_000 };
  assert.equal(decideStart(rate, undefined, 1_000), { is: "claim", at: 1_000 });
  const later = decideStart(rate, 1_000, 2_000);
  assert.is(later.is, "later");
  const again = decideStart(rate, 1_000, 2_000 + (later as { afterMs: number }).afterMs);
  assert.equal(again, { is: "claim", at: 61_250 });
  assert.is(61_250 - CLAIM_AHEAD_MS, 2_000 + (later as { afterMs: number }).afterMs);
});

test("with other figures, the next start follows from these and the last one", () => {
  const slow = { max: 1, perMs: 86_400_000 };
  const fast = { max: 10, perMs: 1_000 };
  const claimed = decideStart(slow, undefined, 5_000) as { at: number };
  assert.equal(decideStart(fast, claimed.at, 5_100), { is: "claim", at: 5_105 });
});

test("a record that cannot be read, or is newer, is as if there were none", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  assert.is(readLastStart(writeLastStart(12.5)), 12.5);
  for (const text of ["", "[]", '{"v":2,"at":1}', '{"v":1,"at":"1"}', '{"v":1}']) {
    assert.is(readLastStart(bytes(text)), undefined, text);
  }
  for (const rate of [undefined, null, 3, {}, { max: 0, perMs: 1 }, { max: 1, perMs: 0.5 }]) {
    assert.is(readRate(rate), undefined);
  }
});

test("a lane says what it is", () => {
  const queue = { queue: "q", priority: 7 };
  assert.is(laneFor(queue), "p7");
  assert.is(laneFor({ ...queue, limit: { key: "gpu", max: 2 } }), "c-gpu");
  const rate = { max: 1, perMs: 1_000 };
  assert.is(laneFor({ ...queue, limit: { key: "api-2", max: 2, rate } }), "r-api-2");
  assert.equal(laneKind("r-api-2"), { is: "rated", key: "api-2" });
  assert.equal(["p9", "p0", "c-p9", "r-p9"].map(urgencyOf), [9, 0, 5, 5]);
});

test.run();
