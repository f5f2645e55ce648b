/** Plans, and how they become smaller: whatever is taken away, it is a workflow still, and in the end nothing is left to take. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { anyPlan, type Plan, smaller } from "../../simulator/plan.ts";
import { workflowOf } from "../../simulator/planned_workflow.ts";

const anySeed = fc.nat({ max: 1e9 });

function isSent(plan: Plan, node: number): boolean {
  return plan.actions.some((action) => action.press === "send" && action.node === node);
}

test("every smaller plan is a workflow, and sends what its nodes wait for", () => {
  fc.assert(fc.property(anySeed, fc.array(fc.nat(), { maxLength: 8 }), (seed, turns) => {
    let plan = anyPlan(seed);
    for (const turn of turns) {
      const all = [...smaller(plan)];
      for (const one of all) {
        workflowOf(one).toJSON();
        assert.not.equal(one, plan);
        assert.ok(one.nodes.every(({ waits }, i) => waits !== true || isSent(one, i)));
        assert.ok(one.actions.every(({ node }) => node < one.nodes.length));
      }
      if (all.length === 0) return;
      plan = all[turn % all.length]!;
    }
  }));
});

test("a plan that is made smaller for as long as that goes ends as the smallest one", () => {
  const smallest: Plan = {
    nodes: [{ edges: [], ms: 0, fails: 0, retries: 0 }],
    actions: [],
    processors: 1,
    workers: 1,
    finally: false,
    skewMs: 0,
    spreads: false,
    maxRecord: 1_048_576,
  };
  fc.assert(fc.property(anySeed, fc.nat(), (seed, turn) => {
    let plan = anyPlan(seed);
    for (let steps = 0; steps < 500; steps++) {
      const all = [...smaller(plan)];
      if (all.length === 0) break;
      plan = all[turn % all.length]!;
    }
    assert.equal(plan, smallest);
  }));
});

test.run();
