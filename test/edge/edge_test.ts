/**
 * Processors without a process that stays: the programs of `examples/edge`, each where it is meant to run, over real
 * connections, and workers elsewhere. Two calls at least: what the first one leaves, another one takes up.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Dyrygent, task } from "nats-dyrygent";
import { order, total } from "../../examples/edge/tasks.ts";
import { denoWithNetOnly, startChild } from "../nats/child.ts";
import { Moment, type Scope, TestServer } from "../nats/server.ts";
import { deploy, type EdgeFunction } from "./workerd.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const MOST_CALLS = 20;

/** A worker whose tasks end when `may` has come. */
async function workerUntil(scope: Scope, may: Moment): Promise<Dyrygent> {
  const app = await scope.open();
  const price = task("price", async (item: string) => {
    await may.wait;
    return 10 * item.length;
  });
  await scope.worker(app, { tasks: [price, total] });
  return app;
}

/** Conducts an order by calls of a program, each a process of its own. */
async function conductedBy(
  scope: Scope,
  script: string,
  url: string,
  how?: typeof denoWithNetOnly,
): Promise<void> {
  const firstReturned = new Moment("the first call returns");
  const app = await workerUntil(scope, firstReturned);
  const run = await app.submit(order(["apple", "pear"]));
  const call = async () => {
    const path = `../../examples/edge/${script}`;
    await using child = startChild(path, [url, scope.namespace], how);
    assert.is(await child.ended, 0, child.output());
    return JSON.parse(child.output());
  };
  assert.equal(await call(), { conducted: 1, finished: 0 });
  firstReturned.come();
  let finished = 0;
  for (let calls = 0; finished === 0 && calls < MOST_CALLS; calls++) {
    finished += (await call()).finished;
  }
  assert.is(finished, 1);
  assert.is(await run.result(), 90);
}

const isDeno = "Deno" in globalThis;
/** Miniflare, which starts workerd, runs on Node. */
const onNode = isDeno ? test.skip : test;
/** On Node with all that Node may. */
const cron = isDeno ? denoWithNetOnly : undefined;

/** Processes are started, and a runtime: on a busy machine that takes its time. */
const PATIENT = { within: 60_000 };

/** One order, with its task held up until the first call has returned. */
async function conductedByFunction(edge: EdgeFunction, firstReturned: Moment): Promise<void> {
  const submitted = await edge.fetch("/orders", ["apple", "pear"]);
  assert.is(submitted.status, 202, submitted.text);
  const { id } = JSON.parse(submitted.text);
  const state = async () => JSON.parse((await edge.fetch(`/orders/${id}`)).text);
  assert.equal(await state(), { state: "INITIAL" });
  await edge.scheduled();
  assert.equal(await state(), { state: "RUNNING" });
  firstReturned.come();
  for (let calls = 0; (await state()).state === "RUNNING" && calls < MOST_CALLS; calls++) {
    await edge.scheduled();
  }
  assert.equal(await state(), { state: "SUCCESS", result: 90 });
}

/** Several orders, submitted, conducted and asked for by calls at the same time. */
async function conductedSideBySide(edge: EdgeFunction): Promise<void> {
  const submitted = await Promise.all(
    ["a", "bb", "ccc", "dddd"].map((item) => edge.fetch("/orders", [item])),
  );
  const ids = submitted.map(({ text }) => JSON.parse(text).id);
  assert.is(new Set(ids).size, 4);
  const states = () => Promise.all(ids.map(async (id) => (await edge.fetch(`/orders/${id}`)).text));
  const areAllDone = async () => (await states()).every((text) => text.includes("SUCCESS"));
  for (let calls = 0; calls < MOST_CALLS && !await areAllDone(); calls++) {
    await Promise.all([edge.scheduled(), edge.scheduled(), states()]);
  }
  const results = (await states()).map((text) => JSON.parse(text).result);
  assert.equal(results, [10, 20, 30, 40]);
}

onNode(
  "workerd: fetches submit and ask, scheduled calls conduct, also at the same time",
  tests.scope(async (scope) => {
    const firstReturned = new Moment("the first call returns");
    await workerUntil(scope, firstReturned);
    const { server: { websocketUrl }, namespace } = scope;
    await using edge = await deploy({ NATS_URL: websocketUrl!, NAMESPACE: namespace });
    assert.is((await edge.fetch("/orders/unknown")).status, 404);
    await conductedByFunction(edge, firstReturned);
    await conductedSideBySide(edge);
  }, PATIENT),
);

test(
  "Deno conducts over a WebSocket with no permission but the network's",
  tests.scope(
    (scope) => conductedBy(scope, "once_websocket.ts", scope.server.websocketUrl!, denoWithNetOnly),
    PATIENT,
  ),
);

test(
  "a script that cron starts conducts over TCP; in Deno, with no permission but the network's",
  tests.scope((scope) => conductedBy(scope, "once_tcp.ts", scope.server.url, cron), PATIENT),
);

test.run();
