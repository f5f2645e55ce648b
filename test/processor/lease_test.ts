/** A lease is extended while its workflow moves, also when so much comes in that no timer gets its turn. */
import { chain, task } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { submit } from "../../src/client/submit.ts";
import { outcomeKey } from "../../src/core/keys.ts";
import { writeOutcomeNote } from "../../src/core/records.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Clock } from "../../src/ports.ts";
import { Processor } from "../../src/processor/processor.ts";

const one = task("one", () => 1);
const LEASE_MS = 10_000;

/** Time passes, and no timer fires. */
class Starved implements Clock {
  ms = 1_000_000;
  now = () => this.ms;
  monotonic = () => this.ms;
  after = () => () => {};
}

test("outcomes that keep coming extend the lease by themselves", async () => {
  const clock = new Starved();
  const logged: string[] = [];
  const ports = memoryPorts({
    clock,
    random: new SeededRandom(1),
    log: (_, message) => void logged.push(message),
  });
  assert.is(ports.ticks.leaseMs, LEASE_MS);
  let extended = 0;
  const take = ports.ticks.take.bind(ports.ticks);
  ports.ticks.take = (onTick) =>
    take((tick) =>
      onTick({
        ...tick,
        extend: () => {
          extended++;
          tick.extend();
        },
      })
    );
  const nodes = 10;
  const { id } = await submit(ports, chain(Array.from({ length: nodes }, () => one.si())), {
    unknownTasks: "ignore",
  });
  const processor = new Processor(ports, {}, { isAnnounced: false });
  await processor.start();
  const note = writeOutcomeNote({
    is: "succeeded",
    startedAt: 1,
    endedAt: 2,
    sentNs: "1",
    worker: "w",
  });
  for (let node = 0; node < nodes; node++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.is((await ports.tasks.list(id)).at(-1)?.node, node);
    clock.ms += LEASE_MS / 2;
    await ports.facts.create(outcomeKey(id, node, 1), new Uint8Array([0x31]), note);
  }
  assert.equal(logged.filter((message) => message.includes("lease")), []);
  assert.is(extended, nodes);
});

test.run();
