/** What workers and processors say of themselves, on the memory adapter and its clock: hours pass at once. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { task } from "nats-dyrygent";
import { z } from "zod";
import { liveProcessors, liveWorkers } from "../../src/client/live.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Ports } from "../../src/ports.ts";
import { Processor } from "../../src/processor/processor.ts";
import { Worker } from "../../src/worker/worker.ts";

const add = task("add", (a: number, b: number) => a + b);
const checked = task("checked", { input: z.tuple([z.string()]), output: z.number() }, () => 1);

interface World {
  readonly ports: Ports;
  readonly warnings: string[];
  /** Lets so many milliseconds pass, with all that is due in them. */
  pass(ms: number): Promise<void>;
}

function world(): World {
  const clock = new VirtualClock();
  const warnings: string[] = [];
  const log = (level: string, message: string) => {
    if (level === "warn") warnings.push(message);
  };
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    ports: memoryPorts({ clock, random: new SeededRandom(1), log }),
    warnings,
    async pass(ms) {
      const until = clock.now() + ms;
      while (clock.untilNext !== undefined && clock.now() + clock.untilNext <= until) {
        clock.fireNext();
        await settle();
      }
      clock.pass(until - clock.now());
      await settle();
    },
  };
}

const presence = suite("presence");

presence(
  "a running worker is there with what it serves, and gone when it has stopped",
  async () => {
    const { ports } = world();
    const worker = new Worker(ports, {
      tasks: [add, checked],
      queues: ["a", "b"],
      concurrency: 3,
      id: "w",
    });
    assert.equal(await liveWorkers(ports), []);
    await worker.start();
    const [live, ...more] = await liveWorkers(ports);
    assert.equal(more, []);
    const { startedAt, at, tasks, ...rest } = live!;
    assert.equal(rest, {
      id: "w",
      queues: ["a", "b"],
      concurrency: 3,
      running: 0,
      succeeded: 0,
      failed: 0,
    });
    assert.is(startedAt, at);
    assert.equal(tasks.map(({ name }) => name), ["add", "checked"]);
    assert.equal(Object.keys(tasks[0]!), ["name"]);
    assert.match(`${tasks[1]!.input} ${tasks[1]!.output}`, /^[0-9a-f]{16} [0-9a-f]{16}$/);
    await worker.stop();
    assert.equal(await liveWorkers(ports), []);
  },
);

presence("it is refreshed: also after a day it is not taken for gone", async () => {
  const { ports, pass, warnings } = world();
  const worker = new Worker(ports, { tasks: [add], id: "w" });
  await worker.start();
  const [before] = await liveWorkers(ports);
  await pass(86_400_000);
  const [after] = await liveWorkers(ports);
  assert.is(after!.startedAt, before!.startedAt);
  assert.ok(ports.clock.now() - after!.at <= 10_000, `refreshed at ${after!.at}`);
  assert.equal(warnings, []);
  await worker.stop();
});

presence(
  "one that is not refreshed any more is gone after 30 s, and removed after an hour",
  async () => {
    const { ports, pass } = world();
    const worker = new Worker(ports, { tasks: [add], id: "w" });
    await worker.start();
    const dead = (await ports.views.get("worker.w"))!.data;
    await worker.stop();
    await ports.views.put("worker.w", dead);
    await ports.views.put("worker.newer", new TextEncoder().encode('{"v":2,"at":0}'));
    await pass(29_000);
    assert.is((await liveWorkers(ports)).length, 1);
    await pass(1_000);
    assert.is((await liveWorkers(ports)).length, 0);
    await new Processor(ports).sweep();
    assert.ok(await ports.views.get("worker.w") !== undefined, "removed too early");
    await pass(3_600_000);
    await new Processor(ports).sweep();
    assert.is(await ports.views.get("worker.w"), undefined);
    assert.ok(
      await ports.views.get("worker.newer") !== undefined,
      "what cannot be read is left alone",
    );
  },
);

presence("two live workers with one id are told, a successor is not", async () => {
  const { ports, pass, warnings } = world();
  const first = new Worker(ports, { tasks: [add], id: "w" });
  await first.start();
  await pass(15_000);
  await first.stop();
  const second = new Worker(ports, { tasks: [add], id: "w" });
  await second.start();
  await pass(60_000);
  assert.equal(warnings, []);
  const third = new Worker(ports, { tasks: [add], id: "w" });
  await third.start();
  await pass(60_000);
  assert.is(warnings.length, 2, "each of the two says it once");
  for (const warning of warnings) assert.match(warning, /two live processes.*"worker\.w"/);
  await third.stop();
  await pass(20_000);
  assert.is((await liveWorkers(ports)).length, 1, "the other one is still there");
  await second.stop();
  assert.equal(await ports.views.keys("worker."), []);
});

presence(
  "a worker that cannot say that it is there works all the same, and says so once",
  async () => {
    const { ports, pass, warnings } = world();
    ports.views.put = () => Promise.reject(new Error("not permitted"));
    const worker = new Worker(ports, { tasks: [add], id: "w" });
    await worker.start();
    await pass(60_000);
    assert.is(warnings.length, 1);
    assert.match(warnings[0]!, /worker\.w cannot say that it is there: not permitted/);
    await worker.stop();
  },
);

presence(
  "a processor is there while it runs, again when it is started again, not for runOnce",
  async () => {
    const { ports, pass } = world();
    const processor = new Processor(ports, { concurrency: 7 });
    await processor.start();
    const [live] = await liveProcessors(ports);
    const { startedAt, at, ...rest } = live!;
    assert.equal(rest, { id: processor.id, concurrency: 7, active: 0, parked: 0 });
    assert.is(startedAt, at);
    await processor.stop();
    assert.equal(await liveProcessors(ports), []);
    await pass(60_000);
    assert.equal(await liveProcessors(ports), []);
    await processor.start();
    assert.is((await liveProcessors(ports)).length, 1);
    await processor.stop();
    const once = processor.runOnce();
    await pass(10_000);
    await once;
    assert.equal(await ports.views.keys("processor."), []);
  },
);

presence("what cannot be read is no worker", async () => {
  const { ports } = world();
  const encode = (text: string) => new TextEncoder().encode(text);
  const now = ports.clock.now();
  const good = {
    v: 1,
    id: "w",
    queues: ["default"],
    tasks: [{ name: "add" }],
    concurrency: 1,
    running: 0,
    succeeded: 0,
    failed: 0,
    startedAt: now,
    at: now,
  };
  await ports.views.put("worker.good", encode(JSON.stringify(good)));
  const bad = [
    { v: 2 },
    { id: "a b" },
    { queues: "default" },
    { queues: ["a b"] },
    { tasks: {} },
    { tasks: [null] },
    { tasks: [{ name: 5 }] },
    { concurrency: "1" },
    { running: -1 },
    { at: "now" },
  ];
  for (const [i, change] of bad.entries()) {
    await ports.views.put(`worker.bad-${i}`, encode(JSON.stringify({ ...good, ...change })));
  }
  await ports.views.put("worker.text", encode("not JSON"));
  assert.is((await liveWorkers(ports)).length, 1);
});

presence.run();
