/** When a processor looks after runs that are quiet: what there are few of soon, what there are many of not too often. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { nextLook } from "../../src/processor/quiet.ts";

const KEEP = 1_000;

test("a run is looked after when its delay is over, a fifth sooner or later", () => {
  const quiet = { idleMs: 10_000, held: 1, keep: KEEP };
  assert.is(nextLook(5_000, quiet, 0), 13_000);
  assert.is(nextLook(5_000, quiet, 0.5), 15_000);
  assert.ok(nextLook(5_000, quiet, 0.999) < 17_000);
});

test("however many there are, no more than fifty a second are looked after, and ten of those that must be read", () => {
  const many = fc.record({
    now: fc.nat(1e9),
    idleMs: fc.integer({ min: 1, max: 60_000 }),
    held: fc.integer({ min: 1, max: 100_000 }),
    chance: fc.double({ min: 0, max: 0.999, noNaN: true }),
  });
  fc.assert(fc.property(many, ({ now, idleMs, held, chance }) => {
    const delayMs = nextLook(now, { idleMs, held, keep: KEEP }, chance) - now;
    const isFew = held <= KEEP;
    // A fifth sooner at most.
    const leastMs = 0.8 * (isFew ? held * 20 : KEEP * 20 + (held - KEEP) * 100);
    assert.ok(delayMs >= leastMs - 1e-6, `${delayMs} < ${leastMs}`);
    assert.ok(delayMs >= 0.8 * idleMs - 1e-6);
    assert.ok(delayMs <= 1.2 * Math.max(idleMs, leastMs / 0.8) + 1_000);
  }));
});

test("those that are looked after seldom are so together, once a second", () => {
  const looks = new Set<number>();
  for (let i = 0; i < 1_000; i++) {
    looks.add(nextLook(1_000 + i / 1_000, { idleMs: 60_000, held: 10_000, keep: KEEP }, 0.5));
  }
  assert.ok(looks.size <= 2, `${looks.size} turns`);
});

test.run();
