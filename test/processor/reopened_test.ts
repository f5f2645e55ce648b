/** A run that is tried again in the very moment in which its end becomes known. */
import { task } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Run } from "../../src/client/run.ts";
import { submit } from "../../src/client/submit.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { waitingClock } from "../../src/nats/clock.ts";
import { Processor } from "../../src/processor/processor.ts";
import { Worker } from "../../src/worker/worker.ts";
import { Moment, within } from "../nats/server.ts";

const test = suite("a run that is tried again");

test("a rerun that comes while the end is still being shown keeps its tick", async () => {
  const ports = memoryPorts({ clock: waitingClock, random: new SeededRandom(1), log: () => {} });
  const isShowing = new Moment("the end is being shown");
  const mayGoOn = new Moment("it has been shown");
  const put = ports.views.put.bind(ports.views);
  let held = false;
  ports.views.put = async (key, data) => {
    if (!held && key === "wf.again" && new TextDecoder().decode(data).includes("finishedAt")) {
      held = true;
      isShowing.come();
      await mayGoOn.wait;
    }
    return put(key, data);
  };
  const { facts } = ports;
  let runs = 0;
  const again = new Moment("it runs again");
  const isOver = new Moment("the first round is over for the processor");
  const count = task("count", async () => {
    if (++runs === 1) return;
    again.come();
    await isOver.wait;
  });
  const worker = new Worker(ports, { tasks: [count] });
  // Nothing but the tick brings it on: no sweep comes to its rescue.
  const processor = new Processor(ports, { sweep: "1h" });
  await worker.start();
  await processor.start();
  try {
    await submit(ports, count.s(), { id: "again" });
    await isShowing.reached();
    const run = new Run(ports, "again");
    assert.is((await run.rerun({ from: 0 })).applied, true);
    await again.reached();
    mayGoOn.come();
    // Everything that follows from it happens first.
    setTimeout(isOver.come);
    const second = async () => {
      while (await facts.read("again.end.2") === undefined) {
        await new Promise((look) => setTimeout(look, 5));
      }
    };
    await within("the second round's end", second(), 8_000);
    assert.is(runs, 2);
  } finally {
    mayGoOn.come();
    await processor.stop();
    await worker.stop();
  }
});

test.run();
