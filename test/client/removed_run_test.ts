/** Whoever asks something of a run that is removed meanwhile is told that there is none, and does not wait for ever. */
import { NotFoundError, type Run, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { expansionKey } from "../../src/core/keys.ts";
import { readExpansion } from "../../src/core/records.ts";
import { removeRun } from "../../src/runs/removal.ts";
import { rejection } from "../nats/server.ts";
import { VirtualEngine } from "../virtual_engine.ts";

const work = task("work", () => 1);

function oneNode(): Workflow {
  const wf = new Workflow("one");
  wf.call(work);
  return wf;
}

const waiting: readonly [string, (run: Run) => Promise<unknown>][] = [
  ["end", (run) => run.ended()],
  ["result", (run) => run.result()],
  ["node's result", (run) => run.result(0)],
];
for (const [what, wait] of waiting) {
  test(`who waits for the ${what} of a run that is removed is told so`, async () => {
    const engine = new VirtualEngine();
    const run = await engine.submit(oneNode());
    const error = rejection(wait(run));
    await engine.pass(1_000);
    await removeRun(engine.ports, "run");
    assert.instance(await engine.until("it is told", error), NotFoundError);
  });
}

const asking: readonly [string, (run: Run) => Promise<unknown>][] = [
  ["cancel", (run) => run.cancel()],
  ["pause", (run) => run.pause()],
  ["skip", (run) => run.skip(0)],
  ["send", (run) => run.send("event")],
  ["retry", (run) => run.retryFailed()],
  ["rerun", (run) => run.rerun({ from: 0 })],
];
for (const [what, ask] of asking) {
  test(`a ${what} of a run that is removed in this moment says that there is none`, async () => {
    const engine = new VirtualEngine();
    const { ports } = engine;
    const run = await engine.submit(oneNode());
    if (what === "retry" || what === "rerun") {
      await engine.processor();
      await run.cancel();
      await engine.until("it ends", run.ended());
    }
    const wake = ports.ticks.wake.bind(ports.ticks);
    // Between the control fact and the wake.
    ports.ticks.wake = async (workflow) => {
      await removeRun(ports, workflow);
      await wake(workflow);
    };
    assert.instance(await rejection(ask(run)), NotFoundError);
  });
}

test("the result of a run whose child was removed says that it is not there", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  await engine.worker([work]);
  await engine.processor();
  const wf = new Workflow("parent");
  wf.run(oneNode());
  const run = await engine.submit(wf);
  await engine.until("it ends", run.ended());
  const expansion = await ports.facts.read(expansionKey("run", 0, 1));
  await removeRun(ports, readExpansion(expansion!.data)!.child);
  assert.instance(await rejection(run.result()), NotFoundError);
});

test.run();
