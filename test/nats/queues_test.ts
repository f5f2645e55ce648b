/** Who runs what, and when: queues, priorities, slots, and what becomes of tasks in hand when a worker goes away. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { chain, group, type Run, task, TaskError, Workflow } from "nats-dyrygent";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** Messages of a lane that are with workers now. */
async function inHand(scope: Scope, consumer = "p5-default"): Promise<number> {
  const { consumers } = await jetstreamManager(await scope.raw);
  return (await consumers.info(`${scope.namespace}_TASKS`, consumer)).num_ack_pending;
}

interface OutcomeTimes {
  /** Milliseconds since 1970; the server's and the worker's clock are the same here. */
  readonly queuedAt: number;
  readonly startedAt: number;
}

async function outcomeTimes(scope: Scope, workflow: string): Promise<OutcomeTimes[]> {
  const consumer = await jetstream(await scope.raw).consumers.get(`KV_${scope.namespace}`, {
    filter_subjects: `$KV.${scope.namespace}.${workflow}.r.>`,
    headers_only: true,
  });
  const outcomes: OutcomeTimes[] = [];
  const { num_pending } = await consumer.info();
  for await (const msg of await consumer.fetch({ max_messages: num_pending, expires: 5_000 })) {
    const [, , started, , sentNs] = msg.headers!.get("Dyrygent-Outcome").split(" ");
    outcomes.push({ queuedAt: Number(sentNs) / 1e6, startedAt: Number(started) });
  }
  return outcomes;
}

test(
  "a task runs only where its queue is served",
  tests.scope(async (scope) => {
    const seen: string[] = [];
    const named = (worker: string) =>
      task("where", (queue: string) => void seen.push(`${worker} ran ${queue}`));
    const app = await scope.open();
    await scope.processor(app);
    const where = named("?");
    const queues = ["default", "fast", "io-9"];
    const run = await app.submit(group(queues.map((queue) => where.s(queue).set({ queue }))));
    await scope.worker(app, { tasks: [named("a")], queues: ["fast"] });
    await run.result("where-1");
    await scope.worker(app, { tasks: [named("b")], queues: ["io-9", "default"] });
    await run.result();
    assert.equal(seen.sort(), ["a ran fast", "b ran default", "b ran io-9"]);
  }),
);

test(
  "a task of any priority runs, also when its lane is new to the workers",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const priorities = Array.from({ length: 10 }, (_, i) => i);
    const run = await app.submit(group(priorities.map((p) => add.s(p, 0).set({ priority: p }))));
    assert.equal(await run.result(), priorities);
  }),
);

test(
  "urgent tasks overtake those that wait, but for what a worker holds already",
  tests.scope(async (scope) => {
    const order: number[] = [];
    const begun = new Moment("the first task began");
    const goOn = new Moment("the first task may end");
    const step = task("step", async (priority: number) => {
      begun.come();
      order.push(priority);
      await goOn.wait;
      // Long enough for the next message to arrive meanwhile.
      await new Promise((resolve) => setTimeout(resolve, 10));
    });
    const app = await scope.open();
    await scope.processor(app);
    const submit = (priority: number, n: number) =>
      app.submit(group(Array.from({ length: n }, () => step.s(priority).set({ priority }))));
    const low = await submit(1, 10);
    await scope.worker(app, { tasks: [step], concurrency: 1, prefetch: 0 });
    await begun.reached();
    const runs = [low, await submit(5, 10), await submit(9, 10)];
    await eventually("all are queued", async () => (await scope.contents()).tasks === 30);
    // The worker has heard of the new lanes once it holds a message of each.
    for (const lane of ["p5-default", "p9-default"]) {
      await eventually(`it holds one of ${lane}`, async () => await inHand(scope, lane) > 0);
    }
    goOn.come();
    for (const run of runs) await run.result();
    // Not an exact order: a lane that was empty has a demand of one, so that its next message is not overlooked.
    const overtaken = order.slice(1, 11).filter((priority) => priority !== 9);
    assert.ok(overtaken.length <= 2, `order: ${order}`);
    const middle = order.slice(11, 21).filter((priority) => priority === 1);
    assert.ok(middle.length <= 2, `order: ${order}`);
  }),
);

test(
  "a worker runs as many tasks at once as it has slots, and never more",
  tests.scope(async (scope) => {
    let running = 0;
    let most = 0;
    const busy = task("busy", async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
    });
    const app = await scope.running({ tasks: [busy], concurrency: 7 });
    await (await app.submit(group(Array.from({ length: 100 }, () => busy.s())))).result();
    assert.is(most, 7);
  }),
);

test(
  "workers share a queue: no task runs twice",
  tests.scope(async (scope) => {
    const runs: [worker: number, n: number][] = [];
    const app = await scope.open();
    await scope.processor(app);
    const step = (worker: number) =>
      task("step", async (n: number) => {
        runs.push([worker, n]);
        await new Promise((resolve) => setTimeout(resolve, 1));
        return n;
      });
    for (const worker of [1, 2, 3]) {
      await scope.worker(await scope.open(), { tasks: [step(worker)], concurrency: 8 });
    }
    const numbers = Array.from({ length: 300 }, (_, i) => i);
    const run = await app.submit(group(numbers.map((n) => step(0).s(n))));
    assert.equal(await run.result(), numbers);
    assert.equal(runs.map(([, n]) => n).sort((a, b) => a - b), numbers);
    assert.is(new Set(runs.map(([worker]) => worker)).size, 3);
  }),
);

test(
  "a worker that stops waits for what runs, and gives back at once what does not",
  tests.scope(async (scope) => {
    const began = new Moment("the first task began");
    const goOn = new Moment("the first task may end");
    const ranOn: Record<string, number[]> = { first: [], second: [] };
    const step = (worker: "first" | "second") =>
      task("step", async (n: number) => {
        ranOn[worker]!.push(n);
        began.come();
        if (worker === "first") await goOn.wait;
      });
    const app = await scope.open({ taskLease: "30s" });
    await scope.processor(app);
    const first = app.worker({ tasks: [step("first")], concurrency: 1, prefetch: 5 });
    await first.start();
    const run = await app.submit(group([0, 1, 2, 3].map((n) => step("first").s(n))));
    await began.reached();
    await eventually("it holds all four", async () => await inHand(scope) === 4);
    const stopped = first.stop();
    await scope.worker(app, { tasks: [step("second")] });
    await eventually("the other runs the rest", () => ranOn["second"]!.length === 3);
    goOn.come();
    await stopped;
    await run.result();
    assert.is(ranOn["first"]!.length, 1);
  }),
);

test(
  "a worker that may not wait longer aborts what runs, and another runs it again",
  tests.scope(async (scope) => {
    const began = new Moment("the task began");
    const aborted = new Moment<string>("its signal aborted");
    const endless = task("step", async (_n: number): Promise<string> => {
      const { currentTask } = await import("nats-dyrygent");
      const { signal } = currentTask();
      signal.addEventListener("abort", () => aborted.come(String(signal.reason)));
      began.come();
      return new Promise(() => {});
    });
    const app = await scope.open({ taskLease: "30s" });
    await scope.processor(app);
    const worker = app.worker({ tasks: [endless] });
    await worker.start();
    const run = await app.submit(endless.s(1));
    await began.reached();
    await worker.stop({ timeout: "50ms" });
    assert.match(await aborted.reached(), /stopping/);
    await scope.worker(app, { tasks: [task("step", () => "by another")] });
    assert.is(await run.result(), "by another");
  }),
);

test(
  "a worker that has stopped takes nothing more",
  tests.scope(async (scope) => {
    let calls = 0;
    const count = task("count", () => ++calls);
    const app = await scope.open();
    await scope.processor(app);
    {
      await using worker = app.worker({ tasks: [count] });
      await worker.start();
      await (await app.submit(count.s())).result();
    }
    const run = await app.submit(count.s());
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    assert.equal([calls, await inHand(scope)], [1, 0]);
    await scope.worker(app, { tasks: [count] });
    assert.is(await run.result(), 2);
  }),
);

test(
  "a task that runs longer than the lease is kept, not run again",
  tests.scope(async (scope) => {
    let calls = 0;
    const leaseMs = 500;
    const long = task("long", async () => {
      calls++;
      // Time for a redelivery that must not come: nothing else would tell of it.
      await new Promise((resolve) => setTimeout(resolve, 3.2 * leaseMs));
      return calls;
    });
    const app = await scope.open({ taskLease: leaseMs });
    await scope.processor(app);
    await scope.worker(app, { tasks: [long] });
    await scope.worker(await scope.open({ taskLease: leaseMs }), { tasks: [long] });
    assert.is(await (await app.submit(long.s())).result(), 1);
  }),
);

test(
  "a task that cost too many workers their lives is recorded as failed, not run",
  tests.scope(async (scope) => {
    const lease = { taskLease: "500ms" } as const;
    let began = new Moment("the task began");
    let calls = 0;
    const poison = task("poison", () => {
      calls++;
      began.come();
      return new Promise<void>(() => {});
    });
    const app = await scope.open(lease);
    await scope.processor(app);
    const run = await app.submit(poison.s());
    for (const _crash of [1, 2]) {
      began = new Moment("the task began");
      const nc = await scope.connect();
      await (await scope.open(lease, nc)).worker({ tasks: [poison], maxCrashes: 1 }).start();
      await began.reached();
      await nc.close(); // As if the task had killed it: nothing is given back.
    }
    await scope.worker(app, { tasks: [poison], maxCrashes: 1 });
    const error = await rejection(run.result(0)) as TaskError;
    assert.is(error.remoteName, "WorkerLostError");
    assert.is(calls, 2);
  }),
);

test(
  "a task that was given back unbegun, however often, still runs",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app);
    const run = await app.submit(add.s(1, 1));
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    const { consumers } = jetstream(await scope.raw);
    const lane = await consumers.get(`${scope.namespace}_TASKS`, "p5-default");
    for (let i = 0; i < 12; i++) (await lane.next())!.nak();
    await scope.worker(app, { tasks: arithmetic, maxCrashes: 1 });
    assert.is(await run.result(), 2);
  }),
);

test(
  "an outcome that was recorded before its worker died is not worked for again",
  tests.scope(async (scope) => {
    let calls = 0;
    const count = task("count", () => ++calls);
    const app = await scope.open({ taskLease: "500ms" });
    await scope.processor(app);
    // A worker whose acknowledgements are lost: it dies between recording and acknowledging.
    const nc = await scope.connect();
    const mute = new Proxy(nc, {
      get(target, key) {
        if (key === "publish") {
          return (subject: string, ...rest: unknown[]) =>
            subject.startsWith("$JS.ACK.") ||
            Reflect.apply(target.publish, target, [subject, ...rest]);
        }
        const value = Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const worker = (await scope.open({ taskLease: "500ms" }, mute)).worker({ tasks: [count] });
    await worker.start();
    const run = await app.submit(count.s());
    assert.is(await run.result(), 1);
    assert.is(await inHand(scope), 1);
    await nc.close();
    await scope.worker(app, { tasks: [count] });
    await scope.rest();
    assert.is(calls, 1);
  }),
);

test(
  "a chain that is submitted behind a huge workflow ends long before it",
  tests.scope(async (scope) => {
    let ran = 0;
    const step = task("step", () => void ran++);
    const app = await scope.running({ tasks: [step], concurrency: 16 });
    const huge = await app.submit(group(Array.from({ length: 20_000 }, () => step.s())));
    await eventually("the huge one runs", () => ran > 0);
    await (await app.submit(chain(Array.from({ length: 10 }, () => step.si())))).result();
    assert.ok(ran < 12_000, `after ${ran} tasks`);

    await huge.result();
  }, { within: 60_000 }),
);

test(
  "an urgent task overtakes ten thousand that wait",
  tests.scope(async (scope) => {
    let lowRan = 0;
    const begun = new Moment("the low ones run");
    const low = task("low", async () => {
      if (++lowRan === 50) begun.come();
      await new Promise((resolve) => setTimeout(resolve, 1));
    });
    const urgent = task("urgent", () => {});
    const app = await scope.open();
    await scope.processor(app);
    const lows = group(Array.from({ length: 3_400 }, () => low.s().set({ priority: 1 })));
    const runs = [await app.submit(lows), await app.submit(lows), await app.submit(lows)];
    await eventually("all are queued", async () => (await scope.contents()).tasks >= 3_000);
    await scope.worker(await scope.open(), { tasks: [low, urgent], concurrency: 8, prefetch: 8 });
    await begun.reached();
    const run = await app.submit(urgent.s().set({ priority: 9 }));
    await run.result();
    for (const other of runs) await other.cancel();
    for (const other of runs) await other.ended();
    const [{ queuedAt, startedAt }] = await outcomeTimes(scope, run.id) as [OutcomeTimes];
    const between = (await Promise.all(runs.map(({ id }) => outcomeTimes(scope, id)))).flat()
      .filter((low) => low.startedAt > queuedAt && low.startedAt < startedAt);
    assert.ok(between.length <= 8 + 8 + 16, `${between.length} began before it`);
  }, { within: 40_000 }),
);

test(
  "nine priorities run in order",
  tests.scope(async (scope) => {
    const order: number[] = [];
    const step = task("step", async (priority: number) => {
      order.push(priority);
      await new Promise((resolve) => setTimeout(resolve, 10));
    });
    const app = await scope.open();
    await scope.processor(app);
    const priorities = [3, 1, 9, 5, 7, 2, 8, 4, 6];
    const canvas = group(
      priorities.flatMap((priority) =>
        Array.from({ length: 10 }, () => step.s(priority).set({ priority }))
      ),
    );
    const run = await app.submit(canvas);
    await eventually("all are queued", async () => (await scope.contents()).tasks === 90);
    await scope.worker(await scope.open(), { tasks: [step], concurrency: 1, prefetch: 0 });
    await run.result();
    // Each lane has its one in advance, which comes before its time.
    let early = 0;
    order.forEach((priority, i) => early += order.slice(i + 1).some((p) => p > priority) ? 1 : 0);
    assert.ok(early <= 9, `order: ${order}`);
  }),
);

test(
  "a huge workflow does not hold up a small one that comes after it",
  tests.scope(async (scope) => {
    const ran: string[] = [];
    const step = task("step", async (what: string) => {
      ran.push(what);
      await new Promise((resolve) => setTimeout(resolve));
    });
    const app = await scope.running({ tasks: [step], concurrency: 4 }, { window: 50 });
    const huge = await app.submit(group(Array.from({ length: 1_000 }, () => step.s("huge"))));
    await eventually("the huge one runs", () => ran.length > 0);
    const small = await app.submit(step.s("small"));
    await small.result();
    assert.ok(ran.indexOf("small") < 500, `after ${ran.indexOf("small")} others`);
    await huge.result();
  }),
);

test(
  "a processor that stops hands its workflows over at once",
  tests.scope(async (scope) => {
    const app = await scope.open({ tickLease: "30s" });
    await scope.worker(app, { tasks: arithmetic, queues: ["default", "late"] });
    const first = app.processor();
    await first.start();
    const goOn = new Moment("the task may end");
    const began = new Moment("the task began");
    const gate = task("gate", async () => {
      began.come();
      await goOn.wait;
      return 1;
    });
    await scope.worker(app, { tasks: [gate], queues: ["gate"] });
    const wf = new Workflow("handed-over");
    wf.call(add, wf.call(gate).set({ queue: "gate" }), 1);
    const run: Run = await app.submit(wf);
    await began.reached();
    await first.stop();
    await scope.processor(app);
    goOn.come();
    assert.is(await run.result(), 2);
  }),
);

test(
  "a processor that is stopped and whose connection is closed right after has handed over, too",
  tests.scope(async (scope) => {
    const app = await scope.open({ tickLease: "30s" });
    const nc = await scope.connect();
    const first = (await scope.open({ tickLease: "30s" }, nc)).processor();
    await first.start();
    const runs = await Promise.all([1, 2, 3].map((n) => app.submit(add.s(n, n))));
    await eventually("all are queued", async () => (await scope.contents()).tasks === 3);
    await first.stop();
    await nc.close();
    await scope.worker(app, { tasks: arithmetic });
    await scope.processor(app);
    assert.equal(await Promise.all(runs.map((run) => run.result())), [2, 4, 6]);
  }),
);

test.run();
