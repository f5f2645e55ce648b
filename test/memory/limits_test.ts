/**
 * Limits in memory, in virtual time: whatever mix of keys, rates and priorities, with several workers, no limit is broken,
 * everything ends, and no worker runs more than it has slots.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import fc from "fast-check";
import { group, task } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { submit } from "../../src/client/submit.ts";
import { outcomesOf } from "../../src/core/keys.ts";
import { readOutcomeNote } from "../../src/core/records.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { Processor } from "../../src/processor/processor.ts";
import { Worker } from "../../src/worker/worker.ts";

const KEYS = [
  {},
  { concurrency: { key: "one", max: 1 } },
  { concurrency: { key: "three", max: 3 } },
  { rateLimit: { key: "slow", max: 2, per: 1_000 } },
  { rateLimit: { key: "both", max: 5, per: 200 }, concurrency: { key: "both", max: 2 } },
] as const;

const step = fc.record({
  kind: fc.integer({ min: 0, max: KEYS.length - 1 }),
  ms: fc.integer({ min: 0, max: 300 }),
  priority: fc.integer({ min: 0, max: 9 }),
});
const crew = fc.array(
  fc.record({
    concurrency: fc.integer({ min: 1, max: 4 }),
    prefetch: fc.integer({ min: 0, max: 4 }),
  }),
  { minLength: 1, maxLength: 3 },
);

const ONE_SLOT = { concurrency: 1, prefetch: 0 };
/**
 * A worker's only slot is kept for a rate's moment, and another message waits for it: what was given back came again at once,
 * for ever, for in virtual time no moment comes meanwhile.
 */
const HELD_FOR_A_MOMENT = [4, 4, 1, 3, 2, 2, 1, 0].map((kind, i) => ({
  kind,
  ms: i === 4 ? 1 : 0,
  priority: 0,
}));

test("no limit is broken and nothing is stuck, whatever is mixed", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 40 }),
      crew,
      async (steps, workers) => {
        const clock = new VirtualClock();
        const ports = memoryPorts({ clock, random: new SeededRandom(1), log: () => {} });
        const running = KEYS.map(() => 0);
        const most = KEYS.map(() => 0);
        const tasks = (slots: number) => {
          let mine = 0;
          return [task("step", async (kind: number, ms: number) => {
            assert.ok(++mine <= slots);
            most[kind] = Math.max(most[kind]!, ++running[kind]!);
            await new Promise<void>((resolve) => clock.after(ms, resolve));
            running[kind]!--;
            mine--;
          })];
        };
        const called = task("step", (_kind: number, _ms: number) => {});
        const canvas = group(
          steps.map(({ kind, ms, priority }) =>
            called.s(kind, ms).set({ priority, ...KEYS[kind] })
          ),
        );
        await submit(ports, canvas, { id: "mixed" });
        for (const options of workers) {
          await new Worker(ports, { tasks: tasks(options.concurrency), ...options }).start();
        }
        const processor = new Processor(ports, { tick: { idle: ["30d", "30d"] }, sweep: "30d" });
        let ended: string | undefined;
        processor.on("finish", ({ state }) => void (ended = state));
        await processor.start();
        for (let i = 0; ended === undefined; i++) {
          await new Promise((resolve) => setImmediate(resolve));
          if (ended === undefined) assert.ok(clock.fireNext() && i < 20_000, "it stands still");
        }
        assert.is(ended, "SUCCESS");
        assert.ok(most[1]! <= 1 && most[2]! <= 3 && most[4]! <= 2, `at once: ${most}`);
        const starts = KEYS.map((): number[] => []);
        for (const { key, note } of await ports.facts.scan(outcomesOf("mixed"))) {
          const node = Number(key.split(".").at(-2));
          const kind = steps[node]?.kind;
          if (kind !== undefined) starts[kind]!.push(readOutcomeNote(note)!.startedAt);
        }
        assert.is(starts.flat().length, steps.length);
        assert.ok(shortest(starts[3]!, 2) >= 1_000 && shortest(starts[4]!, 5) >= 200);
      },
    ),
    { numRuns: 60, examples: [[HELD_FOR_A_MOMENT, [ONE_SLOT, ONE_SLOT]]] },
  );
});

/** The shortest span in which `max + 1` began. */
function shortest(starts: number[], max: number): number {
  const sorted = [...starts].sort((a, b) => a - b);
  return Math.min(...sorted.slice(max).map((at, i) => at - sorted[i]!));
}

test("a local run keeps limits, and days of waiting for a rate pass at once", async () => {
  let running = 0;
  let most = 0;
  const daily = task("daily", { rateLimit: { max: 1, per: "1d" } }, () => "sent");
  const one = task("one", { concurrency: { key: "k", max: 2 } }, async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 2));
    running--;
  });
  const canvas = group([
    ...Array.from({ length: 5 }, () => daily.s()),
    ...Array.from({ length: 20 }, () => one.s()),
  ]);
  const { state } = await runLocally(canvas, { tasks: [daily, one] });
  assert.is(state, "SUCCESS");
  assert.is(most, 2);
});

test.run();
