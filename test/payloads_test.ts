/** Payloads, in nodes and in the runs that take their place. */
import { chain, currentTask, expand, task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { mixing } from "./data/codecs.ts";
import { locally } from "./data/local.ts";

const payload = task("payload", (_item?: number) => currentTask().payload ?? null);
const workflowPayload = task("workflow-payload", (_item?: number) => {
  return currentTask().workflowPayload ?? null;
});
const expanding = task("expanding", () => expand(workflowPayload.s()));

const payloads = suite("payloads");

payloads(
  "a payload of the defaults is merged into those of all nodes, the inner keys first",
  async () => {
    const wf = new Workflow("stamped", { defaults: { payload: { user: 1, from: "workflow" } } });
    const called = wf.call(payload).set({ payload: { from: "node" } });
    const mapped = wf.map(payload, [1]).set({ payload: { from: "map" } });
    const canvas = chain(payload.s().set({ payload: { own: true } })).set({
      payload: { from: "chain" },
    });
    const [chained] = wf.add(canvas);
    const { result } = await runLocally(wf.output({ called, mapped, chained }), {
      tasks: [payload],
    });
    assert.equal(result, {
      called: { user: 1, from: "node" },
      mapped: [{ user: 1, from: "map" }],
      chained: { user: 1, from: "chain", own: true },
    });
  },
);

payloads("a run in a node's place has the workflow's payload, unless it has its own", async () => {
  const plain = new Workflow("plain");
  const named = new Workflow("named", { payload: "its own" });
  const wf = new Workflow("outer", { payload: { team: "storage" } });
  const parts = {
    mapped: wf.map(workflowPayload, [1]),
    plain: wf.run(plain.output(plain.call(workflowPayload))),
    named: wf.run(named.output(named.call(workflowPayload))),
    expanded: wf.call(expanding),
  };
  const tasks = [workflowPayload, expanding];
  const { result } = await runLocally(wf.output(parts), { tasks });
  assert.equal(result, {
    mapped: [{ team: "storage" }],
    plain: { team: "storage" },
    named: "its own",
    expanded: { team: "storage" },
  });
});

payloads("the payload that it has is sealed once", async () => {
  const wf = new Workflow("outer", { payload: { team: "storage" } });
  const sealed = wf.output(wf.map(workflowPayload, [1]));
  const tasks = [workflowPayload];
  const result = await locally({ codec: mixing(1) }, { tasks }, async ({ app }) => {
    return await (await app.submit(sealed)).result();
  });
  assert.equal(result, [{ team: "storage" }]);
});

payloads.run();
