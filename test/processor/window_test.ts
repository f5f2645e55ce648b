/** How many messages of a workflow are in the queue at once. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Window } from "../../src/processor/window.ts";

function after(most: number, waits: number, waitMs: number): number {
  const window = new Window(most);
  for (let i = 0; i < waits; i++) window.onWaited(waitMs);
  return window.size;
}

test("it grows to what it may be while workers take messages at once", () => {
  assert.is(after(4_000, 10_000, 3), 4_000);
  assert.is(after(50, 10_000, 3), 50);
});

test("it shrinks while messages wait, but not so far that slow tasks leave workers idle", () => {
  assert.is(after(4_000, 10_000, 5_000), 256);
  assert.is(after(50, 10_000, 5_000), 50);
});

test("in between, and where clocks make a wait negative, it neither shrinks nor stands in the way", () => {
  assert.is(after(4_000, 10_000, 60), 1_000);
  assert.is(after(4_000, 100, -5), 1_100);
});

test.run();
