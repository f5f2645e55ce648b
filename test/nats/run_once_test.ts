/** Conducting without a process that stays: `runOnce` over a WebSocket, from cron and edge runtimes. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { chain, InvalidOptionError, type Run, task } from "nats-dyrygent";
import { WebSocket as NodeWebSocket } from "ws";
import { Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** Node 20 has no WebSocket of its own. */
const webSocket = globalThis.WebSocket === undefined
  ? {
    wsFactory: async (url: string) => ({
      socket: new NodeWebSocket(url) as unknown as WebSocket,
      encrypted: false,
    }),
  }
  : {};

const connectWebSocket = (scope: Scope): Promise<NatsConnection> =>
  wsconnect({ servers: scope.server.websocketUrl!, ...webSocket });

/** Ends when somebody else says so, so that one call cannot wait for it. */
const slowlyUntil = (mayEnd: () => Promise<void>) =>
  task("slowly", async (n: number) => {
    await mayEnd();
    return n + 1;
  });

/** As an edge function is called: a connection for each call, closed at its end. */
async function callOnce(scope: Scope) {
  const nc = await connectWebSocket(scope);
  try {
    const app = await scope.open({}, nc);
    const processor = app.processor({ tick: { active: "10ms" } });
    return await processor.runOnce({ maxDuration: "5s" });
  } finally {
    await nc.close();
  }
}

async function callUntilEnded(scope: Scope, run: Run<unknown>, onReturned: () => void) {
  const reports = [];
  while ((await run.status()).finishedAt === undefined && reports.length < 50) {
    reports.push(await callOnce(scope));
    onReturned();
  }
  return reports;
}

test(
  "repeated calls of runOnce over a WebSocket conduct a workflow to its end",
  tests.scope(async (scope) => {
    const nextReturn = () => new Moment("a call returns");
    let returned = nextReturn();
    const slowly = slowlyUntil(() => returned.wait);
    const app = await scope.open();
    await scope.worker(app, { tasks: [slowly, ...arithmetic] });
    const run = await app.submit(chain(slowly.s(1), slowly.s(), slowly.s()));
    const reports = await callUntilEnded(scope, run, () => {
      returned.come();
      returned = nextReturn();
    });
    assert.is(await run.result(), 4);
    assert.ok(reports.length > 1, "one call sufficed: nothing was handed over between calls");
    assert.is(reports.reduce((sum, { finished }) => sum + finished, 0), 1);
    assert.ok(reports.every(({ conducted }) => conducted <= 1));
  }),
);

test(
  "one call ends a workflow whose tasks are quick",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.worker(app, { tasks: arithmetic });
    const runs = await Promise.all(
      [1, 2, 3].map((n) => app.submit(chain(add.s(n, 1), add.s(1), add.s(1)))),
    );
    assert.equal(await callOnce(scope), { conducted: 3, finished: 3 });
    assert.equal(await Promise.all(runs.map((run) => run.result())), [4, 5, 6]);
  }),
);

test(
  "runOnce without anything due returns soon, and leaves nothing behind",
  tests.scope(async (scope) => {
    const app = await scope.open();
    // Longer than this suite may take: it does not wait for what could become due.
    const report = await app.processor().runOnce({ maxDuration: "1h" });
    assert.equal(report, { conducted: 0, finished: 0 });
  }),
);

test(
  "runOnce returns after its maxDuration, though a workflow is busy",
  tests.scope(async (scope) => {
    const tick = task("tick", { timeout: "10s" }, async (n: number) => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return n;
    });
    const app = await scope.open();
    await scope.worker(app, { tasks: [tick] });
    const links = Array.from({ length: 100 }, (_, i) => tick.si(i));
    const run = await app.submit(chain(links));
    const processor = app.processor();
    const begun = performance.now();
    assert.equal(await processor.runOnce({ maxDuration: "400ms" }), { conducted: 1, finished: 0 });
    const tookMs = performance.now() - begun;
    assert.ok(tookMs >= 390, `it took ${tookMs} ms`);
    const { counts } = await run.status();
    assert.ok(counts.SUCCESS > 0 && counts.SUCCESS < 100, JSON.stringify(counts));
    await run.cancel();
    await processor.runOnce();
  }),
);

test(
  "runOnce and start do not mix on one processor",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const processor = await scope.processor(app);
    assert.instance(await rejection(processor.runOnce()), InvalidOptionError);
    await processor.stop();
    await processor.runOnce({ maxDuration: "1s" });
  }),
);

test(
  "what one runOnce leaves, a processor that stays takes up at once",
  tests.scope(async (scope) => {
    const app = await scope.open({ tickLease: "30s" });
    await app.submit(add.s(1, 1), { id: "left" });
    await app.processor({ tick: { active: "100ms" } }).runOnce({ maxDuration: "1s" });
    await scope.worker(app, { tasks: arithmetic });
    await scope.processor(app);
    assert.is(await app.run("left").result(), 2);
  }),
);

test.run();
