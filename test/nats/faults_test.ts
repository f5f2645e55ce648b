/** Processes that die or stand still, a server that dies, messages that get lost: every workflow ends, and nothing runs twice but what was in flight. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import {
  headers,
  type Msg,
  type NatsConnection,
  type SubscriptionOptions,
} from "@nats-io/nats-core";
import { chain, NotFoundError, type Run, Workflow } from "nats-dyrygent";
import { writeControl } from "../../src/core/records.ts";
import { type Child, startChild } from "./child.ts";
import {
  eventually,
  Moment,
  rejection,
  type Scope,
  startServer,
  TestServer,
  within,
} from "./server.ts";
import { executions, layered, openLedger, recordedBy, stepTask } from "./steps.ts";
import { add, arithmetic, mul } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** Short, so that what a dead process held comes back soon. */
const leases = { tickLease: "1s", taskLease: "1s" } as const;
const ticking = { tick: { idle: ["100ms", "500ms"] } } as const;
const CONCURRENCY = 8;
const PREFETCH = 8;

/** Comes when so many steps of a namespace have begun. */
function afterSteps(nc: NatsConnection, namespace: string, count: number): Moment {
  const moment = new Moment(`${count} steps have begun`);
  let seen = 0;
  const subscription = nc.subscribe(`ran.${namespace}.>`, {
    callback: () => {
      if (++seen !== count) return;
      subscription.unsubscribe();
      moment.come();
    },
  });
  return moment;
}

async function startCrew(scope: Scope, role: "worker" | "processor"): Promise<Child> {
  const child = startChild("crew_process.ts", [role, scope.server.url, scope.namespace, "victim"]);
  await child.said("ready");
  return child;
}

/** A worker in this process. */
async function startSurvivor(scope: Scope): Promise<void> {
  const nc = await scope.connect();
  const app = await scope.open(leases, nc);
  const tasks = [stepTask(nc, scope.namespace, "survivor")];
  await scope.worker(app, { tasks, id: "survivor", concurrency: CONCURRENCY, prefetch: PREFETCH });
}

const LAYERS = 10;
const WIDTH = 50;
const SIZE = LAYERS * WIDTH;

/** Its result is right, each node has one outcome, and nodes that ran more than once are given back. */
async function checkSteps(scope: Scope, run: Run<unknown>): Promise<Map<number, string[]>> {
  const last = Array.from({ length: WIDTH }, (_, i) => (LAYERS - 1) * WIDTH + i);
  assert.equal(await within("the result", run.result(), 30_000), last);
  const raw = await scope.raw;
  const outcomes = await recordedBy(raw, scope.namespace, run.id);
  assert.is(outcomes.size, SIZE);
  const ran = await executions(raw, scope.namespace, run.id);
  assert.is(ran.size, SIZE);
  const repeated = new Map([...ran].filter(([, workers]) => workers.length > 1));
  for (const [node, workers] of repeated) {
    assert.is(workers.length, 2, `node ${node} ran on ${workers}`);
    assert.is(outcomes.get(node), workers[1], `node ${node} had an outcome and ran again`);
  }
  return repeated;
}

test(
  "a worker process that is killed: only what it had in hand runs again, elsewhere",
  tests.scope(async (scope) => {
    const raw = await scope.raw;
    const app = await scope.open(leases);
    await openLedger(raw, scope.namespace);
    await scope.processor(await scope.open(leases), ticking);
    await using victim = await startCrew(scope, "worker");
    await startSurvivor(scope);
    const middle = afterSteps(raw, scope.namespace, 200);
    const run = await app.submit(layered(LAYERS, WIDTH));
    await middle.reached();
    await victim.kill();
    const repeated = await checkSteps(scope, run);
    assert.ok(repeated.size <= CONCURRENCY, `${repeated.size} nodes ran again`);
    for (const workers of repeated.values()) assert.equal(workers, ["victim", "survivor"]);
  }, { within: 40_000 }),
);

for (const when of [1, 250, 495]) {
  test(
    `a processor process that is killed after ${when} of ${SIZE} steps: nothing runs again`,
    tests.scope(async (scope) => {
      const raw = await scope.raw;
      const app = await scope.open(leases);
      await openLedger(raw, scope.namespace);
      await using victim = await startCrew(scope, "processor");
      await startSurvivor(scope);
      const middle = afterSteps(raw, scope.namespace, when);
      const run = await app.submit(layered(LAYERS, WIDTH));
      await middle.reached();
      await victim.kill();
      await scope.processor(await scope.open(leases), ticking);
      const repeated = await checkSteps(scope, run);
      assert.equal([...repeated], []);
    }, { within: 40_000 }),
  );
}

test(
  "a processor process that stands still longer than its lease, and goes on, does no harm",
  tests.scope(async (scope) => {
    const raw = await scope.raw;
    const app = await scope.open(leases);
    await openLedger(raw, scope.namespace);
    await using victim = await startCrew(scope, "processor");
    await startSurvivor(scope);
    const middle = afterSteps(raw, scope.namespace, 100);
    const late = afterSteps(raw, scope.namespace, 300);
    const run = await app.submit(layered(LAYERS, WIDTH));
    await middle.reached();
    victim.signal("SIGSTOP");
    await scope.processor(await scope.open(leases), ticking);
    await late.reached();
    victim.signal("SIGCONT");
    const repeated = await checkSteps(scope, run);
    assert.equal([...repeated], []);
  }, { within: 40_000 }),
);

test(
  "a worker process that stands still longer than its lease, and goes on, overwrites nothing",
  tests.scope(async (scope) => {
    const raw = await scope.raw;
    const app = await scope.open(leases);
    await openLedger(raw, scope.namespace);
    await scope.processor(await scope.open(leases), ticking);
    await using victim = await startCrew(scope, "worker");
    await startSurvivor(scope);
    const middle = afterSteps(raw, scope.namespace, 100);
    const run = await app.submit(layered(LAYERS, WIDTH));
    await middle.reached();
    victim.signal("SIGSTOP");
    const repeated = await checkSteps(scope, run);
    assert.ok(repeated.size <= CONCURRENCY, `${repeated.size} nodes ran again`);
    const before = await recordedBy(raw, scope.namespace, run.id);
    victim.signal("SIGCONT");
    // The victim wakes up with outcomes to record; the next run shows that it is done with them.
    await (await app.submit(layered(1, 20))).result();
    assert.equal(await recordedBy(raw, scope.namespace, run.id), before);
  }, { within: 40_000 }),
);

test("a server that is killed and started again: the workflow ends, as soon as it is back", async () => {
  await using server = await startServer();
  await TestServer.on(server).scope(async (scope) => {
    const reconnecting = { maxReconnectAttempts: -1, reconnectTimeWait: 50 };
    const raw = await scope.connect(reconnecting);
    await openLedger(raw, scope.namespace);
    const [atWorker, atProcessor, atClient] = await Promise.all(
      [1, 2, 3].map(() => scope.connect(reconnecting)),
    );
    const worker = await scope.open(leases, atWorker);
    const tasks = [stepTask(atWorker!, scope.namespace, "worker")];
    await scope.worker(worker, {
      tasks,
      id: "worker",
      concurrency: CONCURRENCY,
      prefetch: PREFETCH,
    });
    await scope.processor(await scope.open(leases, atProcessor), ticking);
    const app = await scope.open(leases, atClient);
    const middle = afterSteps(raw, scope.namespace, 200);
    const run = await app.submit(layered(LAYERS, WIDTH));
    await middle.reached();
    await server.kill();
    await server.restart();
    const repeated = await checkSteps(scope, run);
    assert.ok(repeated.size <= CONCURRENCY + PREFETCH, `${repeated.size} nodes ran again`);
  }, { within: 60_000 })();
});

/** A connection on which facts are never heard. */
function deafened(nc: NatsConnection, namespace: string): { nc: NatsConnection; missed(): number } {
  let missed = 0;
  const deaf = new Proxy(nc, {
    get(target, key) {
      if (key === "subscribe") {
        return (subject: string, options: SubscriptionOptions = {}) =>
          target.subscribe(
            subject,
            subject.startsWith(`${namespace}.fact.`)
              ? { ...options, callback: (_error: Error | null, _msg: Msg) => void missed++ }
              : options,
          );
      }
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { nc: deaf, missed: () => missed };
}

test(
  "when every hint is lost, ticks alone bring a workflow to its end",
  tests.scope(async (scope) => {
    const { nc, missed } = deafened(await scope.connect(), scope.namespace);
    await scope.processor(await scope.open({}, nc), ticking);
    const app = await scope.open();
    await scope.worker(app, { tasks: arithmetic });
    const wf = new Workflow("deaf");
    const [a, b] = [wf.call(add, 1, 2), wf.call(add, 3, 4)];
    wf.call(mul, a, b);
    assert.is(await (await app.submit(wf)).result(), 21);
    assert.ok(missed() > 0, "there were hints to be heard");
  }),
);

test(
  "when every hint is lost, a control fact is still heard",
  tests.scope(async (scope) => {
    const { nc } = deafened(await scope.connect(), scope.namespace);
    await scope.processor(await scope.open({}, nc), ticking);
    const app = await scope.open();
    const run = await app.submit(add.s(1, 1));
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    await run.cancel();
    assert.is((await run.ended()).state, "CANCELLED");
  }),
);

test(
  "when every hint is lost, an outcome counts although its worker died before it acknowledged",
  tests.scope(async (scope) => {
    const { nc } = deafened(await scope.connect(), scope.namespace);
    // Nobody takes over, and there is no worker to find the outcome when the message comes back.
    await scope.processor(await scope.open({}, nc), ticking);
    const app = await scope.open();
    const run = await app.submit(add.s(1, 1), { id: "unacknowledged" });
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    const raw = await scope.raw;
    const note = headers();
    note.set("Dyrygent-Outcome", "1 succeeded 1795418390496 1795418390497 0 dead");
    await jetstream(raw).publish(`$KV.${scope.namespace}.${run.id}.r.0.1`, "2", { headers: note });
    assert.is((await within("the end", run.ended())).state, "SUCCESS");
    const { streams } = await jetstreamManager(raw);
    await streams.purge(`${scope.namespace}_TASKS`);
  }),
);

/** Loses all ticks, as if their writers had died before writing them. */
async function loseTicks(scope: Scope): Promise<void> {
  const { streams } = await jetstreamManager(await scope.raw);
  await streams.purge(`${scope.namespace}_TICKS`);
}

test(
  "a run whose tick was never written is found by a sweep",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const runs = await Promise.all(["a", "b"].map((id) => app.submit(add.s(1, 1), { id })));
    await loseTicks(scope);
    await scope.worker(app, { tasks: arithmetic });
    const processor = await scope.processor(app, { sweep: "1h" });
    assert.equal((await scope.contents()).ticks, 0);
    const { revived, removed } = await processor.sweep();
    assert.equal([[...revived].sort(), removed], [["a", "b"], []]);
    for (const run of runs) assert.is(await run.result(), 2);
    assert.equal(await processor.sweep(), { revived: [], removed: [] });
  }),
);

test(
  "processors sweep by themselves",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const run = await app.submit(add.s(1, 1));
    await loseTicks(scope);
    await scope.running({ tasks: arithmetic }, { sweep: "200ms" });
    assert.is(await run.result(), 2);
  }),
);

test(
  "a run whose tick was never written runs when it is submitted again",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic }, { sweep: "1h" });
    await scope.stop();
    await app.submit(add.s(1, 1), { id: "again" });
    await loseTicks(scope);
    const run = await app.submit(add.s(1, 1), { id: "again" });
    await scope.running({ tasks: arithmetic }, { sweep: "1h" });
    assert.is(await run.result(), 2);
  }),
);

test(
  "a finished run whose retry lost its tick is found by a sweep",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const run = await app.submit(add.s(1, 1), { id: "retried" });
    await run.cancel();
    const first = app.processor();
    await first.start();
    await run.ended();
    await scope.rest();
    await first.stop();
    await run.retryFailed();
    await loseTicks(scope);
    await scope.worker(app, { tasks: arithmetic });
    const processor = await scope.processor(app, { sweep: "1h" });
    assert.equal((await processor.sweep()).revived, ["retried"]);
    assert.is(await run.result(), 2);
  }),
);

test("ticks that a killed server brings back do not keep runs from going on, or from being removed", async () => {
  await using server = await startServer();
  await TestServer.on(server).scope(async (scope) => {
    const options = { maxReconnectAttempts: -1, reconnectTimeWait: 50 };
    const raw = await scope.connect(options);
    const app = await scope.open(leases, await scope.connect(options));
    // The oldest tick stays: what comes back behind it counts as delivered.
    await app.submit(add.s(1, 1).set({ queue: "nobody" }), { id: "parked" });
    const ids = Array.from({ length: 10 }, (_, i) => `run${i}`);
    const runs = await Promise.all(ids.map((id) => app.submit(add.s(1, 1), { id })));
    for (const { id } of runs) raw.publish(`${scope.namespace}.tick.${id}`, '{"v":1}');
    await raw.flush();
    await scope.worker(app, { tasks: arithmetic });
    const processor = await scope.processor(app, { ...ticking, retention: 0, sweep: "1h" });
    for (const run of runs) await run.result();
    const onlyParked = async () => (await scope.contents()).ticks === 1;
    await eventually("the others are over", onlyParked);
    await server.kill();
    await server.restart();
    await eventually("it answers", () => scope.contents().then(() => true, () => false));
    // Its client died before it woke the run.
    const rerun = writeControl({ id: "x", at: 0, control: { is: "rerun", nodes: [0] } });
    await jetstream(raw).publish(`$KV.${scope.namespace}.run0.ctl.1`, rerun);
    const sweeper = app.processor({ retention: 0, sweep: "100ms" });
    const facts = async () => (await scope.contents()).facts;
    await eventually("only the parked one is left", async () => {
      await sweeper.sweep();
      return await facts() === 1 && await onlyParked();
    }, 20_000);
    await processor.stop();
    await (await app.run("parked")).cancel();
    await scope.processor(app, ticking);
    await app.run("parked").ended();
  }, { within: 60_000 })();
});

test(
  "task messages that get lost are sent again",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app, ticking);
    const run = await app.submit(chain(add.s(1, 1), mul.s(2)));
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    const { streams } = await jetstreamManager(await scope.raw);
    await streams.purge(`${scope.namespace}_TASKS`);
    await scope.worker(app, { tasks: arithmetic });
    assert.is(await run.result(), 4);
  }),
);

test(
  "wakes and submits again and again, with two processors at work, execute nothing twice",
  tests.scope(async (scope) => {
    const raw = await scope.raw;
    await openLedger(raw, scope.namespace);
    for (let i = 0; i < 2; i++) {
      await scope.processor(await scope.open(), ticking);
      await startStepWorker(scope, `worker-${i}`);
    }
    const app = await scope.open();
    const workflow = layered(LAYERS, WIDTH);
    let wakes = 0;
    let heard = 0;
    const again: Promise<unknown>[] = [];
    // Each may hand the workflow over to the other processor, so some work is done between two of them.
    raw.subscribe(`${scope.namespace}.fact.steps.r.>`, {
      callback: () => {
        if (++heard % 25 !== 0) return;
        raw.publish(`${scope.namespace}.tick.steps`, '{"v":1}');
        if (++wakes % 3 === 0) again.push(app.submit(workflow, { id: "steps" }));
      },
    });
    await raw.flush();
    const run = await app.submit(workflow, { id: "steps" });
    const repeated = await checkSteps(scope, run);
    await Promise.all(again);
    assert.ok(wakes >= 10, `only ${wakes} wakes`);
    assert.equal([...repeated], []);
  }, { within: 40_000 }),
);

async function startStepWorker(scope: Scope, name: string): Promise<void> {
  const nc = await scope.connect();
  const tasks = [stepTask(nc, scope.namespace, name)];
  await scope.worker(await scope.open({}, nc), { tasks, concurrency: CONCURRENCY });
}

for (const [stream, consumer] of [["TASKS", "p5-default"], ["TICKS", "processor"]] as const) {
  test(
    `the consumer ${consumer} is made again when somebody deletes it`,
    tests.scope(async (scope) => {
      const app = await scope.running({ tasks: arithmetic });
      assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
      await scope.rest();
      const { consumers } = await jetstreamManager(await scope.raw);
      await consumers.delete(`${scope.namespace}_${stream}`, consumer);
      assert.is(await (await app.submit(add.s(2, 2))).result(), 4);
    }),
  );
}

test(
  "a lane that somebody deleted while no worker had it is made again, and what waits in it runs",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(await scope.open(), { tick: { idle: ["500ms", "500ms"] } });
    const urgent = (n: number) => add.s(n, n).set({ priority: 9 });
    const waiting = await app.submit(urgent(1), { unknownTasks: "ignore" });
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    const { consumers } = await jetstreamManager(await scope.raw);
    await consumers.delete(`${scope.namespace}_TASKS`, "p9-default");
    await scope.worker(await scope.open(), { tasks: arithmetic });
    assert.is(await waiting.result(), 2);
  }, { within: 40_000 }),
);

test(
  "a worker makes its queue's lane anew, though its process has seen it before",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic, queues: ["other"] });
    const run = await app.submit(add.s(1, 1), { unknownTasks: "ignore" });
    const shared = await scope.open();
    const first = await scope.worker(shared, { tasks: arithmetic });
    await run.ended();
    await first.stop();
    const { consumers } = await jetstreamManager(await scope.raw);
    await consumers.delete(`${scope.namespace}_TASKS`, "p5-default");
    await scope.worker(shared, { tasks: arithmetic });
    assert.ok(await consumers.info(`${scope.namespace}_TASKS`, "p5-default"));
  }),
);

test(
  "retention removes all of the runs that are over, and nothing of the others",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const processor = await scope.processor(app, { retention: 0, sweep: "1h" });
    await scope.worker(app, { tasks: arithmetic });
    const over = await Promise.all(
      ["over-1", "over-2"].map((id) => app.submit(chain(add.s(1, 1), mul.s(2)), { id })),
    );
    const open = await app.submit(chain(add.s(1, 1), add.s(1).set({ queue: "later" })), {
      id: "over", // Its id begins like the others': a removal that is too greedy shows.
    });
    for (const run of over) await run.result();
    await open.result("add-0");
    await eventually("only the open one ticks", async () => (await scope.contents()).ticks === 1);
    await eventually("a later millisecond", async () => {
      const { finishedAt } = await over[1]!.status();
      return Date.now() > finishedAt! + 1;
    });
    const { removed, revived } = await processor.sweep();
    assert.equal([[...removed].sort(), revived], [["over-1", "over-2"], []]);
    for (const run of over) assert.instance(await rejection(run.status()), NotFoundError);
    const listed: string[] = [];
    for await (const { id } of app.list()) listed.push(id);
    assert.equal(listed, ["over"]);
    assert.equal(await scope.contents(), { facts: 2, tasks: 1, ticks: 1 });

    await scope.worker(app, { tasks: arithmetic, queues: ["later"] });
    assert.is(await open.result(), 3);
    const again = await app.submit(add.s(5, 5), { id: "over-1" }); // The id is free again.
    assert.is(await again.result(), 10);
  }),
);

test(
  "a run that is not over for long enough is kept",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const run = await app.submit(add.s(1, 1));
    await run.result();
    await scope.rest();
    const processor = app.processor({ retention: "1h" });
    assert.equal(await processor.sweep(), { revived: [], removed: [] });
    assert.is((await run.status()).state, "SUCCESS");
  }),
);

test.run();
