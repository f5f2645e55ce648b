/** Spans of time as users write them. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Duration, durationMs } from "../../src/core/duration.ts";
import { InvalidOptionError } from "../../src/core/errors.ts";

test("a number is milliseconds, a text has a unit", () => {
  const cases: [Duration, number][] = [
    [0, 0],
    [1_500, 1_500],
    ["250ms", 250],
    ["30s", 30_000],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["7d", 604_800_000],
    ["1.5h", 5_400_000],
    ["0s", 0],
    ["007s", 7_000],
  ];
  for (const [given, ms] of cases) assert.is(durationMs("timeout", given), ms);
});

test("what is between two milliseconds is rounded", () => {
  assert.is(durationMs("timeout", 1.4), 1);
  assert.is(durationMs("timeout", "1.5ms"), 2);
});

test("the bounds themselves are taken", () => {
  assert.is(durationMs("timeout", "3650d"), 315_360_000_000);
  assert.throws(() => durationMs("timeout", 315_360_000_001));
  assert.is(durationMs("timeout", 1, { least: 1 }), 1);
  assert.throws(() => durationMs("timeout", 0.9, { least: 1 }));
});

test("the error names the option, the value and the legal range", () => {
  try {
    durationMs("retry.base", "soon" as Duration);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, InvalidOptionError);
    assert.is((error as InvalidOptionError).option, "retry.base");
    assert.match((error as Error).message, /retry\.base = "soon" .* from 0 ms to ten years/);
    assert.match((error as InvalidOptionError).hint, /"30s"/);
  }
});

test("whatever is given: whole milliseconds in range, or an InvalidOptionError", () => {
  const text = fc.stringMatching(/^-?\d{0,12}(\.\d{0,3})?(ms|s|m|h|d|x)?$/);
  fc.assert(
    fc.property(fc.oneof(fc.anything(), fc.double(), text), (given) => {
      try {
        const ms = durationMs("x", given as Duration);
        assert.ok(Number.isInteger(ms) && ms >= 0 && ms <= 315_360_000_000, `${ms}`);
      } catch (error) {
        assert.instance(error, InvalidOptionError);
      }
    }),
    { numRuns: 500 },
  );
});

test.run();
