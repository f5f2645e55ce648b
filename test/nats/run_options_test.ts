/** What is said about a whole run: how much of it runs at once, when it begins, how long it is kept, what it is given. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  ConflictError,
  type Dyrygent,
  InvalidOptionError,
  InvalidWorkflowError,
  NotFoundError,
  task,
  TaskError,
  Workflow,
  WorkflowFailedError,
} from "nats-dyrygent";
import { eventually, Moment, rejection, TestServer } from "./server.ts";
import { add, arithmetic, echo, fail } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** What sweeps remove when nothing is kept by default, until they have removed `count` runs. */
async function swept(app: Dyrygent, count: number): Promise<string[]> {
  const removed: string[] = [];
  const processor = app.processor({ retention: 0 });
  await eventually(`${count} runs are removed`, async () => {
    removed.push(...(await processor.sweep()).removed);
    return removed.length >= count || removed.join();
  });
  return removed.sort();
}

test(
  "no more than maxParallel nodes of a workflow are queued or run at once, also after a hand-over",
  tests.scope(async (scope) => {
    let running = 0;
    let most = 0;
    const half = new Moment("half of the nodes have run");
    let ran = 0;
    const work = task("work", async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running--;
      if (++ran === 20) half.come();
    });
    const app = await scope.open();
    await scope.worker(app, { tasks: [work], concurrency: 32 });
    const first = await scope.processor(await scope.open());
    const wf = new Workflow("narrow", { maxParallel: 3 });
    for (let i = 0; i < 40; i++) wf.call(work);
    const run = await app.submit(wf);
    await half.reached();
    await scope.processor(await scope.open());
    await first.stop();
    await run.result();
    assert.is(most, 3);
    assert.is(ran, 40);
  }),
);

test(
  "a run with a countdown or an eta begins then, and with other ones it is another run",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const run = await app.submit(add.s(1, 2), { id: "later", countdown: "600ms" });
    const again = await app.submit(add.s(1, 2), { id: "later", countdown: "600ms" });
    assert.is(again.id, run.id);
    assert.instance(
      await rejection(app.submit(add.s(1, 2), { id: "later", countdown: "700ms" })),
      ConflictError,
    );
    assert.is(await run.result(), 3);
    const { submittedAt } = await run.status();
    const [attempt] = await run.attempts(0);
    assert.ok(attempt!.startedAt! >= submittedAt + 600, `${attempt!.startedAt! - submittedAt}`);

    const eta = Date.now() + 500;
    const other = await app.submit(add.s(1, 2), { eta: new Date(eta) });
    await other.result();
    assert.ok((await other.attempts(0))[0]!.startedAt! >= eta);
  }),
);

test(
  "a run whose nodes do not begin before it expires never runs, and says why",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app, { tick: { idle: ["100ms", "200ms"] } });
    const wf = new Workflow("perishable");
    const first = wf.call(add, 1, 2);
    const second = wf.call(add, first, 1);
    // No worker is there.
    const run = await app.submit(wf, { expires: "300ms", unknownTasks: "ignore" });
    const error = await rejection(run.result()) as WorkflowFailedError;
    assert.instance(error, WorkflowFailedError);
    assert.is(error.state, "FAILURE");
    assert.is(error.failures[0]!.remoteName, "ExpiredError");
    const { counts } = await run.status();
    assert.is(counts.CANCELLED, 2);
    assert.instance(await rejection(run.result(second)), WorkflowFailedError);

    const calls: number[] = [];
    const note = task("note", (n: number) => void calls.push(n));
    await scope.worker(app, { tasks: [note] });
    await (await app.submit(note.s(1).set({ expires: "1h" }))).result();
    const late = note.s(2).set({ expires: new Date(Date.now() - 1) });
    assert.instance(await rejection((await app.submit(late)).result()), WorkflowFailedError);
    assert.equal(calls, [1]);
  }),
);

test(
  "a workflow gets the input it asks for, and only then",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const wf = new Workflow("greedy");
    wf.output(wf.call(add, wf.input<number>(), 1));
    assert.is(await (await app.submit(wf, { input: 41, id: "given" })).result(), 42);
    assert.instance(await rejection(app.submit(wf, { input: 40, id: "given" })), ConflictError);
    assert.instance(await rejection(app.submit(wf)), InvalidWorkflowError);
    assert.instance(await rejection(app.submit(add.s(1, 1), { input: 1 })), InvalidWorkflowError);
    assert.throws(
      () => wf.waitFor("input"),
      (error: unknown) => error instanceof InvalidOptionError,
    );
  }),
);

test(
  "finished runs are kept as long as they say: not at all, as the processor says, or until they are removed",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: [add, echo] });
    const named = (name: string, retention?: 0 | "1h" | "keep") => {
      const wf = new Workflow(name, retention === undefined ? {} : { retention });
      wf.call(add, 1, 1);
      return app.submit(wf, { id: name });
    };
    const runs = await Promise.all([
      named("at-once", 0),
      named("an-hour", "1h"),
      named("kept", "keep"),
      named("plain"),
    ]);
    await Promise.all(runs.map((run) => run.result()));
    await scope.rest();
    assert.equal(await swept(app, 2), ["at-once", "plain"]);
    assert.equal((await app.processor({ retention: 0 }).sweep()).removed, []);
    assert.is(await app.run("kept").result(), 2);

    assert.equal(await app.run("kept").remove(), { applied: true, state: "SUCCESS" });
    assert.instance(await rejection(app.run("kept").status()), NotFoundError);
    assert.is(await app.run("an-hour").result(), 2);
    const waiting = await app.submit(echo.s("x").set({ countdown: "1h" }), { id: "waiting" });
    assert.equal((await waiting.remove()).applied, false);
    await waiting.cancel();
    await waiting.ended();
  }),
);

test(
  "runs in the place of nodes are kept with the run they belong to, and removed with it",
  tests.scope(async (scope) => {
    const list = task("list", () => [1, 2, 3]);
    const app = await scope.running({ tasks: [add, list] });
    const wf = new Workflow("parent");
    const mapped = wf.map(add, wf.call(list), 10);
    const run = await app.submit(wf.output(mapped), { id: "parent" });
    assert.equal(await run.result(), [11, 12, 13]);
    const child = (await run.attempts(mapped))[0]!.run!;
    assert.equal((await app.run(child).status()).parent, { id: "parent", node: mapped.index });
    const kept = new Workflow("other", { retention: "keep" });
    const keptMap = kept.map(add, kept.call(list), 10);
    const other = await app.submit(kept, { id: "other" });
    await other.result();
    await scope.rest();
    assert.equal(await swept(app, 1), ["parent"]);
    assert.instance(await rejection(app.run(child).status()), NotFoundError);
    assert.equal(await other.result(keptMap), [11, 12, 13]);
  }),
);

test(
  "a run in the place of a node is not removed while the run that needs it is under way",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: [add] });
    const wf = new Workflow("needing");
    const sub = new Workflow("needed");
    sub.call(add, 1, 1);
    const node = wf.run(sub);
    wf.waitFor("go").after(node);
    const run = await app.submit(wf);
    assert.is(await run.result(node), 2);
    const child = app.run((await run.attempts(node))[0]!.run!);
    assert.equal(await child.remove(), { applied: false, state: "SUCCESS" });
    await run.send("go");
    await run.ended();
    assert.equal(await child.remove(), { applied: true, state: "SUCCESS" });
  }),
);

test(
  "the error of a run whose node failed in another run leads to what was thrown",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: [fail] });
    const wf = new Workflow("outer");
    const sub = new Workflow("inner");
    sub.map(fail, ["deep down"]);
    wf.run(sub);
    const error = await rejection((await app.submit(wf)).result()) as WorkflowFailedError;
    const inner = error.failures[0]!.cause as WorkflowFailedError;
    const innermost = inner.failures[0]!.cause as WorkflowFailedError;
    assert.is(innermost.failures[0]!.remoteMessage, "deep down");
    assert.is(innermost.failures[0]!.cause, undefined);
  }),
);

test(
  "every attempt of a node can be looked at: when, where, and how it ended",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.worker(app, { tasks: [fail], id: "the-worker" });
    await scope.processor(app);
    const wf = new Workflow("tries");
    const node = wf.call(fail, "no").set({ retry: { max: 2, base: 10, jitter: false } });
    const run = await app.submit(wf);
    await rejection(run.result());
    const attempts = await run.attempts(node);
    assert.equal(attempts.map(({ attempt, state }) => [attempt, state]), [
      [1, "FAILURE"],
      [2, "FAILURE"],
      [3, "FAILURE"],
    ]);
    for (const { worker, startedAt, endedAt, failure } of attempts) {
      assert.is(worker, "the-worker");
      assert.ok(startedAt! <= endedAt!);
      assert.instance(failure, TaskError);
    }
  }),
);

test.run();
