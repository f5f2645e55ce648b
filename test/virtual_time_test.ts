/** Time in local runs is virtual. */
import { task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { test } from "uvu";
import * as assert from "uvu/assert";

const nothing = task("nothing", () => {});

test("a year ends within a suite's time", async () => {
  const wf = new Workflow("yearly", { timeout: "400d" });
  wf.call(nothing).set({ countdown: "365d" });
  const { state } = await runLocally(wf, { tasks: [nothing] });
  assert.is(state, "SUCCESS");
});

test("time goes on after a run in a node's place has ended", async () => {
  const list = task("list", () => [1, 2]);
  const double = task("double", (n: number) => 2 * n);
  const wf = new Workflow("waits");
  const doubled = wf.map(double, wf.call(list));
  wf.call(nothing).after(doubled).set({ countdown: "1h" });
  const { state } = await runLocally(wf, { tasks: [nothing, list, double] });
  assert.is(state, "SUCCESS");
});

test.run();
