/** Time in local runs is virtual. */
import { task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { test } from "uvu";
import * as assert from "uvu/assert";

const nothing = task("nothing", () => {});

test("a year takes no time", async () => {
  const wf = new Workflow("yearly", { timeout: "400d" });
  wf.call(nothing).set({ countdown: "365d" });
  const before = performance.now();
  const { state } = await runLocally(wf, { tasks: [nothing] });
  assert.is(state, "SUCCESS");
  assert.ok(performance.now() - before < 10_000, "it took more than ten seconds");
});

test.run();
