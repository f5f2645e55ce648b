/** The simulator, for as long as a test may take: schedules keep every invariant, and a seed tells one story only. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import process from "node:process";
import "../../simulator/synchronous_digest.ts";
import { noFaults } from "../../simulator/faults.ts";
import { restlessPlan } from "../../simulator/plan.ts";
import { runSchedule } from "../../simulator/schedule.ts";

/** `SIMULATED=20000` for a long look. On Deno the same code runs once more, for fewer. */
const SCHEDULES = Number(process.env["SIMULATED"] ?? ("Deno" in globalThis ? 200 : 1_000));
const FIRST = Number(process.env["SIMULATED_SEED"] ?? 1);

/** How to read what a seed does. */
const storyOf = (seed: number) =>
  `SIMULATED_SEED=${seed}: node --import tsx simulator/main.ts --seed ${seed} --story`;

test("a seed always tells the same story", async () => {
  for (let seed = FIRST; seed < FIRST + 10; seed++) {
    const { story, injected, broken } = await runSchedule({ seed, told: true });
    const again = await runSchedule({ seed, told: true });
    assert.ok(story.length > 0);
    assert.equal(again.story, story, storyOf(seed));
    assert.equal([again.injected, again.broken], [injected, broken], storyOf(seed));
  }
});

test(`${SCHEDULES} schedules keep every invariant`, async () => {
  for (let seed = FIRST; seed < FIRST + SCHEDULES; seed++) {
    const { broken } = await runSchedule({ seed });
    assert.equal(broken, [], storyOf(seed));
  }
});

test("S10: a run that goes from one processor to another again and again runs nothing twice", async () => {
  for (let seed = FIRST; seed < FIRST + SCHEDULES / 4; seed++) {
    const plan = restlessPlan(seed);
    const { broken } = await runSchedule({ seed, plan, faults: noFaults(seed) });
    assert.equal(broken, [], `SIMULATED_SEED=${seed}`);
  }
});

test.run();
