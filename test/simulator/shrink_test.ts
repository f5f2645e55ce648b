/** Shrinking, shown on schedules that are not run: what they break follows from what is in them. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { anyFaults, type Fault, type Injected } from "../../simulator/faults.ts";
import { anyPlan, type Plan } from "../../simulator/plan.ts";
import type { Report, ScheduleOptions } from "../../simulator/schedule.ts";
import { shrink } from "../../simulator/shrink.ts";

const INJECTED: readonly Injected[] = (["restart", "crash after", "lose reply", "delay"] as const)
  .flatMap((fault) => [1, 2, 3].map((n) => ({ at: `${fault} ${n}`, fault })));

/** Runs a schedule, of which `judge` says what it breaks. */
function runner(judge: (plan: Plan, faults: readonly Fault[]) => string[]) {
  return ({ seed, plan = anyPlan(seed), faults }: ScheduleOptions): Promise<Report> => {
    const injected = faults?.only === undefined
      ? INJECTED
      : [...faults.only].map(([at, fault]): Injected => ({ at, fault }));
    const broken = judge(plan, injected.map(({ fault }) => fault));
    const nothing = { calls: [], story: [], steps: 0, executions: 0, tookMs: 0 };
    return Promise.resolve({ seed, plan, broken, injected, ...nothing });
  };
}

/** A plan of at least five nodes, and whatever else a plan has. */
function rich(): number {
  for (let seed = 1;; seed++) if (anyPlan(seed).nodes.length >= 5) return seed;
}

test("of a schedule only what it takes to break it is left", async () => {
  const run = runner(({ nodes }, faults) =>
    nodes.length >= 2 && faults.includes("lose reply") ? ["S1: as planned"] : []
  );
  const seed = rich();
  const { plan, injected, broken } = await shrink(
    await run({ seed, faults: anyFaults(seed) }),
    run,
  );
  assert.equal(injected.map(({ fault }) => fault), ["lose reply"]);
  const node = { edges: [], ms: 0, fails: 0, retries: 0 };
  assert.equal(plan.nodes, [node, node]);
  assert.equal([plan.actions, plan.processors, plan.workers], [[], 1, 1]);
  assert.equal(broken, ["S1: as planned"]);
});

test("faults that only break it together are both left", async () => {
  const run = runner((_, faults) =>
    faults.includes("restart") && faults.includes("delay") ? ["L1: as planned"] : []
  );
  const { injected } = await shrink(await run({ seed: 1 }), run);
  assert.equal(injected.map(({ fault }) => fault), ["restart", "delay"]);
});

test("a schedule that breaks something else is another one", async () => {
  const run = runner(({ nodes }) => [nodes.length >= 4 ? "S1: as planned" : "S2: another"]);
  const { plan, injected, broken } = await shrink(await run({ seed: rich() }), run);
  assert.is(plan.nodes.length, 4);
  assert.equal([injected, broken], [[], ["S1: as planned"]]);
});

test.run();
