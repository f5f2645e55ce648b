/** Submitting, with processes that do not know each other: who serves a task, and one run for a key. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { type Dyrygent, NotFoundError, task, TaskError, Workflow } from "nats-dyrygent";
import { z } from "zod";
import { natsPorts } from "../../src/nats/open.ts";
import { rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, echo } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** The bucket of views, behind the library's back. */
async function views(scope: Scope) {
  return new Kvm(jetstream(await scope.raw)).open(`${scope.namespace}_STATE`);
}

async function subjects(scope: Scope, stream: string): Promise<string[]> {
  const { streams } = await jetstreamManager(await scope.raw);
  const { state } = await streams.info(stream, { subjects_filter: ">" });
  return Object.keys(state.subjects ?? {});
}

test(
  "workers and processors are there for all to see, and gone when they stop",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const worker = await scope.worker(await scope.open(), {
      tasks: [add],
      queues: ["a"],
      id: "w1",
    });
    await scope.worker(await scope.open(), { tasks: [add, echo], id: "w0" });
    const processor = await scope.processor(await scope.open());
    const seen = (await app.workers()).map(({ id, queues, tasks }) => [
      id,
      queues.join(),
      tasks.map(({ name }) => name).join(),
    ]);
    assert.equal(seen, [["w0", "default", "add,echo"], ["w1", "a", "add"]]);
    assert.equal((await app.processors()).map(({ id }) => id), [processor.id]);
    await worker.stop();
    await processor.stop();
    assert.equal((await app.workers()).map(({ id }) => id), ["w0"]);
    assert.equal(await app.processors(), []);
  }),
);

test(
  "a worker that died is not believed, and swept away after an hour",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const at = Date.now() - 3_700_000;
    const counts = { concurrency: 1, running: 0, succeeded: 0, failed: 0 };
    const dead = { v: 1, queues: ["default"], tasks: [], ...counts, startedAt: at, at };
    const bucket = await views(scope);
    await bucket.put("worker.dead", JSON.stringify({ ...dead, id: "dead", instance: "x" }));
    await bucket.put("worker.odd", "not JSON");
    assert.equal(await app.workers(), []);
    await app.processor().sweep();
    const left = (await subjects(scope, `KV_${scope.namespace}_STATE`)).filter((subject) =>
      subject.includes(".worker.")
    );
    assert.equal(left, [`$KV.${scope.namespace}_STATE.worker.odd`]);
  }),
);

test(
  "a submit is refused for a task in a queue that nobody serves, until somebody does",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app);
    await scope.worker(await scope.open(), { tasks: [add] });
    const wf = new Workflow("x");
    wf.output(wf.call(add, wf.call(add, 1, 2).set({ queue: "fast" }), 3));
    const error = await rejection(app.submit(wf, { id: "x", unknownTasks: "refuse" }));
    assert.instance(error, NotFoundError);
    assert.match(error.message, /task "add" of queue "fast"$/);
    assert.instance(await rejection(app.run("x").status()), NotFoundError);
    await scope.worker(await scope.open(), { tasks: [add], queues: ["fast"] });
    assert.is(await (await app.submit(wf, { unknownTasks: "refuse" })).result(), 6);
  }),
);

test(
  "by default a task that nobody serves is a line in the log, and waits",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app);
    const run = await app.submit(add.s(1, 2));
    const lines = () => scope.logs.filter(({ message }) => /no live worker/.test(message));
    assert.equal(lines().map(({ level }) => level), ["warn"]);
    assert.match(lines()[0]!.message, /task "add" of queue "default"/);
    await scope.worker(await scope.open(), { tasks: [add] });
    assert.is(await run.result(), 3);
    assert.is(lines().length, 1);
  }),
);

test(
  "one key is one run, for submitters on twenty connections at once",
  tests.scope(async (scope) => {
    const apps: Dyrygent[] = [];
    for (let i = 0; i < 20; i++) apps.push(await scope.open());
    await scope.processor(apps[0]!);
    await scope.worker(apps[0]!, { tasks: arithmetic });
    for (const key of ["first", "second"]) {
      const runs = await Promise.all(
        apps.map((app, i) => app.submit(echo.s(i), { dedupe: { key } })),
      );
      assert.is(new Set(runs.map(({ id }) => id)).size, 1);
      const made = runs.filter(({ deduplicated }) => !deduplicated);
      assert.is(made.length, 1);
      // It is the content of the one that says so.
      assert.is(await runs[5]!.result(), runs.indexOf(made[0]!));
    }
    const heads = (await subjects(scope, `KV_${scope.namespace}`)).filter((subject) =>
      subject.endsWith(".def.0")
    );
    assert.is(heads.length, 2);
  }),
);

test(
  "a key whose submitter died half-way, and one whose window is over, make a run",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const first = await app.submit(echo.s(0), { dedupe: { key: "k" } });
    const bucket = await views(scope);
    const [key] = (await subjects(scope, `KV_${scope.namespace}_STATE`)).flatMap((subject) =>
      subject.includes(".dedupe.") ? [subject.split(".").slice(2).join(".")] : []
    );
    const claim = (await bucket.get(key!))!.json<{ run: string; until: number; made: boolean }>();
    assert.equal([claim.run, claim.made], [first.id, true]);
    await bucket.put(key!, JSON.stringify({ v: 1, run: "died", until: claim.until }));
    const second = await app.submit(echo.s(1), { dedupe: { key: "k" } });
    assert.equal([second.id, second.deduplicated, await second.result()], ["died", false, 1]);
    await bucket.put(key!, JSON.stringify({ v: 1, run: "died", until: 1, made: true }));
    const third = await app.submit(echo.s(2), { dedupe: { key: "k", window: 1 } });
    assert.equal([third.deduplicated, await third.result()], [false, 2]);
  }),
);

test(
  "claims whose time is long over are swept away, but not one that was made anew meanwhile",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const bucket = await views(scope);
    const claim = { v: 1, run: "r", made: true };
    const over = JSON.stringify({ ...claim, until: Date.now() - 4_000_000 });
    const inForce = JSON.stringify({ ...claim, until: Date.now() + 60_000 });
    await bucket.put("dedupe.over", over);
    await bucket.put("dedupe.force", inForce);
    await app.processor().sweep();
    assert.is(await bucket.get("dedupe.over"), null);
    assert.ok(await bucket.get("dedupe.force") !== null);

    const ports = await natsPorts(await scope.raw, {
      namespace: scope.namespace,
      replicas: 1,
      storage: "file",
      tickLeaseMs: 10_000,
      taskLeaseMs: 30_000,
      log: () => {},
    });
    const seen = await bucket.put("dedupe.race", over);
    await bucket.put("dedupe.race", inForce);
    await ports.views.remove("dedupe.race", seen);
    assert.is((await bucket.get("dedupe.race"))!.string(), inForce);
    await ports.views.remove("dedupe.race", (await bucket.get("dedupe.race"))!.revision);
    assert.is(await bucket.get("dedupe.race"), null);
  }),
);

test(
  "a bucket of views that somebody made without direct reads serves as well",
  tests.scope(async (scope) => {
    await scope.open();
    const { streams } = await jetstreamManager(await scope.raw);
    await streams.update(`KV_${scope.namespace}_STATE`, { allow_direct: false });
    const app = await scope.open();
    await scope.worker(app, { tasks: [add], id: "w" });
    await scope.processor(app);
    const dedupe = { key: "k" };
    const run = await app.submit(add.s(1, 2), { unknownTasks: "refuse", dedupe });
    assert.is(await run.result(), 3);
    assert.is((await app.submit(add.s(3, 4), { dedupe })).id, run.id);
    for await (const { id } of app.list()) assert.is(id, run.id);
    assert.equal((await app.workers()).map(({ id }) => id), ["w"]);
  }),
);

test(
  "arguments are checked in the worker, and what the schema gives is what runs",
  tests.scope(async (scope) => {
    const double = task(
      "double",
      {
        input: z.tuple([z.object({ n: z.coerce.number() }).transform(({ n }) => n)]),
        output: z.number().max(100),
      },
      (n) => 2 * n,
    );
    const app = await scope.running({ tasks: [double, echo] });
    const given = new Workflow("x");
    const n = given.call(echo, "21");
    given.output(given.call(double, { n }));
    assert.is(await (await app.submit(given)).result(), 42);
    const wf = new Workflow("x");
    wf.call(double, { n: wf.call(echo, "many") });
    wf.call(double, { n: 51 });
    const run = await app.submit(wf);
    const wrongArgument = await rejection(run.result("double-1"));
    assert.instance(wrongArgument, TaskError);
    assert.match(
      wrongArgument.message,
      /double-1 failed on attempt 1: ValidationError: args\[0\]\.n: /,
    );
    assert.match((await rejection(run.result("double-2"))).message, /ValidationError: result: /);
    const [live] = await app.workers();
    assert.ok(live!.tasks.find(({ name }) => name === "double")!.input !== undefined);
  }),
);

test.run();
