/** Keys of limits come and go: nothing is kept for those that are used no more, and one that is used again works. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type ConsumerInfo, jetstreamManager } from "@nats-io/jetstream";
import { Dyrygent, task } from "nats-dyrygent";
import type { Ports } from "../../src/ports.ts";
import { eventually, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const UNUSED_MS = 300;
const one = task("one", () => 1);
const limited = one.s().set({ concurrency: { key: "tenant", max: 2 } });
const LANE = "c-tenant=default";

/** The library on a connection of its own, to which a lane is used no more after a moment. */
async function impatient(scope: Scope): Promise<{ app: Dyrygent; ports: Ports }> {
  const ports = await scope.ports(await scope.connect(), { unusedLaneMs: UNUSED_MS });
  return { app: new Dyrygent(ports, scope.namespace), ports };
}

async function lanes(scope: Scope): Promise<Map<string, ConsumerInfo>> {
  const { consumers } = await jetstreamManager(await scope.raw);
  const found = new Map<string, ConsumerInfo>();
  for await (const info of consumers.list(`${scope.namespace}_TASKS`)) found.set(info.name, info);
  return found;
}

/** Resolves when no worker asks for messages of the lane any more: a pull ends after five seconds. */
async function closedByWorkers(scope: Scope): Promise<void> {
  await eventually("the workers close the lane", async () => {
    const waiting = (await lanes(scope)).get(LANE)?.num_waiting;
    return waiting === 0 || waiting;
  });
}

test(
  "workers ask nothing of a lane that is used no more, and are told when it is used again",
  tests.scope(async (scope) => {
    const { app } = await impatient(scope);
    await scope.worker((await impatient(scope)).app, { tasks: [one] });
    await scope.processor(app);
    assert.is(await (await app.submit(limited)).result(), 1);
    await closedByWorkers(scope);
    const other = await impatient(scope);
    await scope.processor(other.app);
    for (const { app } of [other, await impatient(scope)]) {
      assert.is(await (await app.submit(limited)).result(), 1);
    }
  }),
);

test(
  "the consumer of a lane that is used no more is removed, and made again when it is used",
  tests.scope(async (scope) => {
    const { app, ports } = await impatient(scope);
    await scope.worker((await impatient(scope)).app, { tasks: [one] });
    await scope.processor(app);
    assert.is(await (await app.submit(limited)).result(), 1);
    await ports.tasks.tidy();
    assert.ok((await lanes(scope)).has(LANE), "workers may be asking for its messages");
    await closedByWorkers(scope);
    await eventually("it is removed", async () => {
      await ports.tasks.tidy();
      return !(await lanes(scope)).has(LANE);
    });
    assert.ok((await lanes(scope)).has("p5-default"));
    assert.is(await (await app.submit(limited)).result(), 1);
    assert.is((await lanes(scope)).get(LANE)!.config.max_ack_pending, 2);
  }, { within: 40_000 }),
);

test(
  "a lane with messages is not removed, though nobody asks for them",
  tests.scope(async (scope) => {
    const { app, ports } = await impatient(scope);
    await scope.processor(app);
    const run = await app.submit(limited);
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    await eventually("the lane is old enough", async () => {
      const info = (await lanes(scope)).get(LANE)!;
      return Date.parse(`${info.ts}`) - Date.parse(`${info.created}`) > 4 * UNUSED_MS;
    });
    await ports.tasks.tidy();
    assert.ok((await lanes(scope)).has(LANE));
    await scope.worker((await impatient(scope)).app, { tasks: [one] });
    assert.is(await run.result(), 1);
  }),
);

test(
  "a task that was queued while its lane was being removed is found",
  tests.scope(async (scope) => {
    const { app, ports } = await impatient(scope);
    await scope.processor(app, { tick: { idle: ["2500ms", "3s"] } });
    const address = { queue: "default", lane: "c-tenant", workflow: "other", node: 0, attempt: 1 };
    // Whoever queues next believes that the lane is open.
    await ports.tasks.publish(address, new TextEncoder().encode("{}"), 2);
    await ports.tasks.withdraw("other");
    const { consumers } = await jetstreamManager(await scope.raw);
    await consumers.delete(`${scope.namespace}_TASKS`, LANE);
    const run = await app.submit(limited);
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    await scope.worker((await impatient(scope)).app, { tasks: [one] });
    assert.not((await lanes(scope)).has(LANE));
    assert.is(await run.result(), 1);
  }, { within: 30_000 }),
);

test(
  "a task's lane is not given another limit by whoever looks after the task",
  tests.scope(async (scope) => {
    const { ports } = await impatient(scope);
    const address = { queue: "default", lane: "c-tenant", workflow: "w", node: 0, attempt: 1 };
    await ports.tasks.publish(address, new TextEncoder().encode("{}"), 5);
    const other = (await impatient(scope)).ports;
    assert.ok(await other.tasks.has(address, 3));
    assert.is((await lanes(scope)).get(LANE)!.config.max_ack_pending, 5);
    await other.tasks.withdraw("w");
  }),
);

test.run();
