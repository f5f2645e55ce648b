/** When a failed attempt is followed by another one, and how soon. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { chanceOf } from "../../src/core/chance.ts";
import {
  type Backoff,
  decideRetry,
  type RetryOptions,
  retryPolicy,
  retryPolicyFlaw,
} from "../../src/core/retry.ts";

const failure = { name: "Error", message: "no" };

/** The delays of the first retries, without jitter. */
function delays(options: RetryOptions, retries = 5): (number | undefined)[] {
  const policy = retryPolicy({ max: 100, jitter: false, ...options });
  return Array.from({ length: retries }, (_, n) => {
    const decision = decideRetry(policy, n, failure, 0.5);
    return decision.is === "retry" ? decision.delayMs : undefined;
  });
}

test("without a policy nothing is tried again", () => {
  assert.equal(decideRetry(undefined, 0, failure, 0), { is: "giveUp" });
});

test("max counts the retries after the first attempt", () => {
  const policy = retryPolicy({ max: 2 });
  assert.equal([0, 1, 2, 3].map((n) => decideRetry(policy, n, failure, 0).is), [
    "retry",
    "retry",
    "giveUp",
    "giveUp",
  ]);
  assert.is(decideRetry(retryPolicy({ max: 0 }), 0, failure, 0).is, "giveUp");
});

test("delays stay, grow evenly, or double, up to the cap", () => {
  assert.equal(delays({ backoff: "fixed", base: "1s" }), [1_000, 1_000, 1_000, 1_000, 1_000]);
  assert.equal(delays({ backoff: "linear", base: 100 }), [100, 200, 300, 400, 500]);
  assert.equal(delays({ backoff: "exponential", base: 100 }), [100, 200, 400, 800, 1_600]);
  assert.equal(delays({ base: 100, cap: 350 }), [100, 200, 350, 350, 350]);
  assert.equal(delays({ backoff: "fixed", base: "10m", cap: "1m" }, 1), [60_000]);
});

test("full jitter draws the delay from 0 to what it would be", () => {
  const policy = retryPolicy({ base: 1_000, jitter: true });
  assert.equal([0, 0.5, 0.9999].map((chance) => decideRetry(policy, 0, failure, chance)), [
    { is: "retry", delayMs: 0 },
    { is: "retry", delayMs: 500 },
    { is: "retry", delayMs: 1_000 },
  ]);
});

test("a fatal failure is never tried again", () => {
  const decision = decideRetry(retryPolicy({}), 0, { ...failure, fatal: true }, 0);
  assert.is(decision.is, "giveUp");
});

test("on names the only failures, notOn those that are not tried again; notOn wins", () => {
  const decide = (options: RetryOptions, name: string) =>
    decideRetry(retryPolicy(options), 0, { name, message: "" }, 0).is;
  assert.is(decide({ on: ["A"] }, "A"), "retry");
  assert.is(decide({ on: ["A"] }, "B"), "giveUp");
  assert.is(decide({ on: [] }, "A"), "giveUp");
  assert.is(decide({ notOn: ["A"] }, "A"), "giveUp");
  assert.is(decide({ notOn: ["A"] }, "B"), "retry");
  assert.is(decide({ on: ["A"], notOn: ["A"] }, "A"), "giveUp");
});

test("whatever the policy: a delay is whole milliseconds from 0 to the cap", () => {
  const options = fc.record({
    max: fc.constant(10_000),
    backoff: fc.constantFrom<Backoff>("fixed", "linear", "exponential"),
    base: fc.nat({ max: 315_360_000_000 }),
    cap: fc.nat({ max: 315_360_000_000 }),
    jitter: fc.boolean(),
  });
  const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  fc.assert(
    fc.property(options, fc.nat({ max: 9_999 }), chance, (options, retries, chance) => {
      const policy = retryPolicy(options);
      assert.is(retryPolicyFlaw(policy), undefined);
      const decision = decideRetry(policy, retries, failure, chance);
      if (decision.is !== "retry") return assert.unreachable();
      assert.ok(Number.isInteger(decision.delayMs), `${decision.delayMs}`);
      assert.ok(decision.delayMs >= 0 && decision.delayMs <= options.cap, `${decision.delayMs}`);
    }),
    { numRuns: 500 },
  );
});

test("a chance is the same wherever it is computed, and spread evenly", () => {
  assert.is(chanceOf("run.0.1"), chanceOf("run.0.1"));
  const tenths = new Array(10).fill(0);
  for (let i = 0; i < 10_000; i++) tenths[Math.floor(chanceOf(`run.${i}.1`) * 10)]++;
  assert.is(tenths.length, 10);
  for (const count of tenths) assert.ok(count > 800 && count < 1_200, `${tenths}`);
});

test.run();
