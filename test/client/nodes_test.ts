/** How each node of a run stands, from the log alone. */
import { task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { VirtualEngine } from "../virtual_engine.ts";

const add = task("add", (a: number, b: number) => a + b);
const shaky = task("shaky", { retry: { max: 1, base: "1s", jitter: false } }, (): number => {
  throw new Error("no luck");
});

test("each node is told with its state, attempt, edges and what it waits for", async () => {
  const engine = new VirtualEngine();
  await engine.worker([add, shaky]);
  await engine.processor();
  const wf = new Workflow("standing");
  const first = wf.call(add, 1, 2).named("first");
  wf.call(add, first, 1).named("later").set({ countdown: "1h" });
  const bad = wf.call(shaky).named("bad");
  wf.call(add, bad, 1).named("never");
  wf.call(add, 1, 1).after(bad, { on: "done" }).named("anyway");
  wf.call(add, 1, 1).after(wf.waitFor("approval").named("approval")).named("approved");
  wf.call(add, 1, 1).named("limited").set({ concurrency: { key: "one", max: 1 } });
  const run = await engine.submit(wf);
  await engine.pass(10_000);
  const nodes = new Map((await run.nodes()).map((node) => [node.label, node]));
  const states = [...nodes].map(([label, { state, attempt }]) => `${label} ${state} ${attempt}`);
  assert.equal(states.sort(), [
    "anyway SUCCESS 1",
    "approval SCHEDULED 1",
    "approved PENDING 0",
    "bad FAILURE 2",
    "first SUCCESS 1",
    "later SCHEDULED 1",
    "limited SUCCESS 1",
    "never UPSTREAM_FAILED 0",
  ]);
  const { node: badNode } = nodes.get("bad")!;
  assert.equal(nodes.get("anyway")!.after, [{ node: badNode, on: "done" }]);
  assert.equal(nodes.get("never")!.after, [{ node: badNode, on: "success" }]);
  assert.is(nodes.get("approval")!.event, "approval");
  assert.is(nodes.get("approval")!.task, undefined);
  assert.is(nodes.get("limited")!.limit, "one");
  assert.is(nodes.get("first")!.task, "add");
  const { startedAt, endedAt, worker } = nodes.get("first")!;
  assert.ok(startedAt! <= endedAt! && typeof worker === "string");
  const { finishedAt } = await run.status();
  assert.is(finishedAt, undefined);
  assert.ok(nodes.get("later")!.notBefore! >= endedAt! + 3_590_000);
});

test.run();
