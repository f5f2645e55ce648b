/** A run that is removed while somebody looks at it: its empty log is not taken for a beginning. */
import { task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { outcomesOf } from "../../src/core/keys.ts";
import type { Facts } from "../../src/ports.ts";
import { removeRun } from "../../src/runs/removal.ts";
import { overriding, VirtualEngine } from "../virtual_engine.ts";

test("a run that is removed while a processor reads its log is not begun anew", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let times = 0;
  let isOver = false;
  const next: Facts["next"] = async (filter, seq) => {
    // The definition was read, the log was not.
    if (isOver && filter === outcomesOf("run")) await removeRun(ports, "run");
    return ports.facts.next(filter, seq);
  };
  await engine.worker([task("once", () => ++times)]);
  await engine.processor({ ...ports, facts: overriding(ports.facts, { next }) });
  const wf = new Workflow("one");
  wf.call(task("once", () => 1));
  const run = await engine.submit(wf);
  await engine.until("it ends", run.ended());
  isOver = true;
  await engine.pass(1_000);
  // Submitted again: it is still there.
  await engine.submit(wf);
  await engine.pass(60_000);
  assert.is(times, 1);
  assert.equal(await ports.facts.keys(">"), []);
  assert.equal([await ports.tasks.list("run"), await ports.ticks.list()], [[], []]);
});

test.run();
