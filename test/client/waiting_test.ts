/** Whoever waits for a run learns what becomes of it, also when it is removed before it was heard to end. */
import { NotFoundError, task } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Run } from "../../src/client/run.ts";
import { submit } from "../../src/client/submit.ts";
import { everythingOf } from "../../src/core/keys.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";

const one = task("one", () => 1);

const waits: Record<string, (run: Run) => Promise<unknown>> = {
  "its end": (run) => run.ended(),
  "its result": (run) => run.result(),
  "the result of a node": (run) => run.result(0),
  "its events": async (run) => {
    for await (const _ of run.watch()) { /* there are none */ }
  },
};

for (const [what, wait] of Object.entries(waits)) {
  test(`waiting for ${what} fails when the run is removed meanwhile`, async () => {
    const clock = new VirtualClock();
    const ports = memoryPorts({ clock, random: new SeededRandom(1), log: () => {} });
    const { id } = await submit(ports, one.s(), { unknownTasks: "ignore" });
    let error: unknown;
    const waiting = wait(new Run(ports, id)).catch((reason) => error = reason);
    await turn();
    await ports.facts.purge(everythingOf(id));
    while (error === undefined && clock.monotonic() < 60_000 && clock.fireNext()) await turn();
    assert.instance(error, NotFoundError);
    await waiting;
  });
}

/** Lets everything happen that needs no time. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

test.run();
