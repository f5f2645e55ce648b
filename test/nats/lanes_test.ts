/** Limits across workers: how many of a key run at the same time, how fast they begin, and that nobody else waits for it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type AnyTask, currentTask, type Dyrygent, group, task } from "nats-dyrygent";
import { eventually, Moment, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const times = <T>(n: number, make: (i: number) => T): T[] =>
  Array.from({ length: n }, (_, i) => make(i));

/** A task that counts how many of it run at the same time. */
class Gauge {
  running = 0;
  most = 0;
  ran = 0;

  readonly task = task("gauged", async (ms: number) => {
    this.most = Math.max(this.most, ++this.running);
    await pause(ms);
    this.running--;
    this.ran++;
  });
}

/** Workers of the same tasks, each on its own connection. */
async function crew(scope: Scope, n: number, tasks: readonly AnyTask[], options: object = {}) {
  for (let i = 0; i < n; i++) await scope.worker(await scope.open(), { tasks, ...options });
}

/** When each attempt of a run began, by its outcome. */
async function startsOf(scope: Scope, workflow: string): Promise<number[]> {
  const js = jetstream(await scope.raw);
  const consumer = await js.consumers.get(`KV_${scope.namespace}`, {
    filter_subjects: `$KV.${scope.namespace}.${workflow}.r.>`,
    headers_only: true,
  });
  const starts: number[] = [];
  const { num_pending } = await consumer.info();
  for await (const msg of await consumer.fetch({ max_messages: num_pending, expires: 5_000 })) {
    starts.push(Number(msg.headers!.get("Dyrygent-Outcome").split(" ")[2]));
  }
  return starts.sort((a, b) => a - b);
}

async function laneInfo(scope: Scope, consumer: string) {
  const { consumers } = await jetstreamManager(await scope.raw);
  return consumers.info(`${scope.namespace}_TASKS`, consumer);
}

async function processing(scope: Scope): Promise<Dyrygent> {
  const app = await scope.open();
  await scope.processor(app);
  return app;
}

test(
  "of a key as many run at the same time as its max, across workers and workflows, and never more",
  tests.scope(async (scope) => {
    const gauge = new Gauge();
    const app = await processing(scope);
    await crew(scope, 2, [gauge.task], { concurrency: 8 });
    const limited = gauge.task.s(10).set({ concurrency: { key: "gpu", max: 3 } });
    const runs = await Promise.all([1, 2].map(() => app.submit(group(times(30, () => limited)))));
    for (const run of runs) await run.result();
    assert.is(gauge.most, 3);
    assert.is((await laneInfo(scope, "c-gpu=default")).config.max_ack_pending, 3);
  }),
);

test(
  "of a limited queue as many run at the same time as the processors say, whatever their priority; other queues do not wait",
  tests.scope(async (scope) => {
    const gauge = new Gauge();
    const free = task("free", () => "done");
    const app = await scope.open();
    for (let i = 0; i < 2; i++) {
      await scope.processor(await scope.open(), { queues: { narrow: { concurrency: 3 } } });
    }
    await crew(scope, 2, [gauge.task, free], { queues: ["default", "narrow"], concurrency: 8 });
    const members = times(40, (i) => gauge.task.s(10).set({ queue: "narrow", priority: i % 10 }));
    const run = await app.submit(group(members));
    assert.equal(
      await (await app.submit(group(times(20, () => free.s())))).result(),
      times(20, () => "done"),
    );
    await run.result();
    assert.is(gauge.most, 3);
    assert.is(gauge.ran, 40);
  }),
);

test(
  "a limit of a queue that is set or lifted while its tasks are under way repeats and loses none",
  tests.scope(async (scope) => {
    const gauge = new Gauge();
    const app = await scope.open();
    const first = await scope.processor(await scope.open());
    await crew(scope, 1, [gauge.task], { queues: ["narrow"], concurrency: 4 });
    const run = await app.submit(
      group(times(60, () => gauge.task.s(10).set({ queue: "narrow" }))),
    );
    await eventually("some have run", () => gauge.ran > 10);
    const limited = await scope.processor(await scope.open(), {
      queues: { narrow: { concurrency: 1 } },
      tick: { idle: ["100ms", "100ms"] },
    });
    await first.stop();
    await eventually("more have run", () => gauge.ran > 20);
    await scope.processor(await scope.open(), { tick: { idle: ["100ms", "100ms"] } });
    await limited.stop();
    await run.result();
    assert.is(gauge.ran, 60);
  }),
);

test(
  "keys and queues with dashes in their names have limits of their own",
  tests.scope(async (scope) => {
    const gauges = new Map<string, number>();
    let most = 0;
    const step = task("step", async (name: string) => {
      const running = (gauges.get(name) ?? 0) + 1;
      gauges.set(name, running);
      most = Math.max(most, running);
      await pause(5);
      gauges.set(name, gauges.get(name)! - 1);
    });
    const app = await processing(scope);
    await crew(scope, 2, [step], { queues: ["a-b", "a", "b"] });
    const pairs = [["a", "b"], ["a", "a-b"], ["a-a", "b"], ["b", "a-b"]] as const;
    const run = await app.submit(
      group(
        pairs.flatMap(([key, queue]) =>
          times(5, () => step.s(`${key} in ${queue}`).set({ queue, concurrency: { key, max: 1 } }))
        ),
      ),
    );
    await run.result();
    assert.is(most, 1);
  }),
);

test(
  "a key at its limit keeps nobody else waiting",
  tests.scope(async (scope) => {
    const goOn = new Moment("the limited task may end");
    const began = new Moment("the limited task began");
    const gate = task("gate", async () => {
      began.come();
      await goOn.wait;
    });
    const plain = task("plain", (n: number) => n);
    const app = await processing(scope);
    await crew(scope, 1, [gate, plain], { concurrency: 2, prefetch: 2 });
    const key = { concurrency: { key: "one", max: 1 } };
    const limited = await app.submit(group(times(20, () => gate.s().set(key))));
    await began.reached();
    for (const priority of [5, 1]) {
      const others = group(times(50, (n) => plain.s(n).set({ priority })));
      await (await app.submit(others)).result();
    }
    goOn.come();
    await limited.result();
  }),
);

test(
  "a limited task gets its turn although plain ones never run out",
  tests.scope(async (scope) => {
    let plainRan = 0;
    let limitedAfter = Infinity;
    const plain = task("plain", async () => {
      plainRan++;
      await pause(2);
    });
    const limited = task("limited", () => void (limitedAfter = plainRan));
    const app = await processing(scope);
    await crew(scope, 1, [plain, limited], { concurrency: 2, prefetch: 2 });
    const backlog = await app.submit(group(times(1_000, () => plain.s())));
    await eventually("the backlog runs", () => plainRan > 10);
    const before = plainRan;
    const key = { concurrency: { key: "one", max: 1 } };
    await (await app.submit(limited.s().set(key))).result();
    assert.ok(limitedAfter - before < 500, `after ${limitedAfter - before} others`);
    await backlog.result();
  }),
);

test(
  "a busy worker does not keep the messages of many keys from an idle one",
  tests.scope(async (scope) => {
    const goOn = new Moment("the busy worker may go on");
    const busy = new Moment("it is busy");
    const block = task("block", async () => {
      busy.come();
      await goOn.wait;
    });
    const ran: string[] = [];
    const step = (worker: string) => task("step", () => void ran.push(worker));
    const app = await processing(scope);
    const keyed = (n: number) => step("?").s().set({ concurrency: { key: `k${n}`, max: 1 } });
    // The lanes are there and known to be empty.
    await crew(scope, 1, [block, step("busy")], { concurrency: 1, prefetch: 4 });
    await (await app.submit(group(times(200, keyed)))).result();
    ran.length = 0;
    const blocking = await app.submit(block.s());
    await busy.reached();
    await crew(scope, 1, [step("idle")], { concurrency: 4 });
    await (await app.submit(group(times(600, (n) => keyed(n % 200))))).result();
    assert.equal(new Set(ran), new Set(["idle"]));
    goOn.come();
    await blocking.result();
  }),
);

test(
  "the slots of a worker that died are free again after the lease",
  tests.scope(async (scope) => {
    const lease = { taskLease: "500ms" } as const;
    const app = await scope.open(lease);
    await scope.processor(app);
    let calls = 0;
    const hang = task("step", () => {
      calls++;
      return new Promise<string>(() => {});
    });
    const nc = await scope.connect();
    await (await scope.open(lease, nc)).worker({ tasks: [hang] }).start();
    const key = { concurrency: { key: "two", max: 2 } };
    const run = await app.submit(group(times(4, () => hang.s().set(key))));
    await eventually("it has both slots", () => calls === 2);
    await nc.close(); // Nothing is given back.
    await scope.worker(await scope.open(lease), { tasks: [task("step", () => "by another")] });
    assert.equal(await run.result(), times(4, () => "by another"));
  }),
);

test(
  "a cancelled task does not keep its key's slot",
  tests.scope(async (scope) => {
    const began = new Moment("the task began");
    const hang = task("hang", () => {
      began.come();
      const { signal } = currentTask();
      return new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
    });
    const quick = task("quick", () => "ran");
    const app = await processing(scope);
    await crew(scope, 1, [hang, quick]);
    const key = { concurrency: { key: "one", max: 1 } };
    const run = await app.submit(hang.s().set(key));
    await began.reached();
    await run.cancel();
    assert.is(await (await app.submit(quick.s().set(key))).result(), "ran");
    await run.ended();
  }),
);

test(
  "the max that was dispatched last holds, and the change is logged",
  tests.scope(async (scope) => {
    const gauge = new Gauge();
    const app = await processing(scope);
    await crew(scope, 2, [gauge.task], { concurrency: 8 });
    const limited = (max: number) => gauge.task.s(10).set({ concurrency: { key: "k", max } });
    for (const max of [2, 5, 1]) {
      gauge.most = 0;
      await (await app.submit(group(times(24, () => limited(max))))).result();
      assert.is(gauge.most, max);
    }
    const said = scope.logs.filter(({ message }) => message.includes("the limit of lane c-k"));
    assert.equal(said.map(({ message }) => message.replace(/^.* is /, "")), [
      "5 now; was 2",
      "1 now; was 5",
    ]);
  }),
);

test(
  "no more begin in any span than the rate allows, with two workers, and others run meanwhile",
  tests.scope(async (scope) => {
    const call = task("call", { rateLimit: { max: 5, per: "250ms" } }, () => {});
    const plain = task("plain", () => {});
    const app = await processing(scope);
    await crew(scope, 2, [call, plain], { concurrency: 1, prefetch: 1 });
    const run = await app.submit(group(times(20, () => call.s())));
    // One slot each: waiting for a moment takes none.
    const begun = performance.now();
    await (await app.submit(group(times(100, () => plain.s())))).result();
    const plainMs = performance.now() - begun;
    await run.result();
    const rated = await startsOf(scope, run.id);
    assert.is(rated.length, 20);
    const spans = rated.slice(5).map((at, i) => at - rated[i]!);
    assert.ok(Math.min(...spans) >= 250, `starts: ${rated.map((at) => at - rated[0]!)}`);
    assert.ok(plainMs < 5_000, `${plainMs} ms`);
  }),
);

test(
  "a worker that stops gives back what waits for its moment",
  tests.scope(async (scope) => {
    const ranOn: string[] = [];
    const step = (worker: string) =>
      task("step", { rateLimit: { max: 1, per: "1s" } }, () => void ranOn.push(worker));
    const app = await processing(scope);
    const first = (await scope.open()).worker({ tasks: [step("first")] });
    await first.start();
    const run = await app.submit(group(times(2, () => step("?").s())));
    await eventually("one ran", () => ranOn.length === 1);
    await eventually(
      "the other waits for its moment",
      async () => (await laneInfo(scope, "r-step=default")).num_ack_pending === 1,
    );
    await first.stop();
    await scope.worker(await scope.open(), { tasks: [step("second")] });
    await run.result();
    assert.equal(ranOn, ["first", "second"]);
  }),
);

test(
  "with a rate and a max, both hold",
  tests.scope(async (scope) => {
    const gauge = new Gauge();
    const app = await processing(scope);
    await crew(scope, 2, [gauge.task], { concurrency: 8 });
    const both = { concurrency: { key: "k", max: 2 }, rateLimit: { max: 10, per: 100 } };
    const run = await app.submit(group(times(20, () => gauge.task.s(30).set(both))));
    await run.result();
    assert.is(gauge.most, 2);
    const starts = await startsOf(scope, run.id);
    assert.ok(Math.min(...starts.slice(10).map((at, i) => at - starts[i]!)) >= 100);
  }),
);

test.run();
