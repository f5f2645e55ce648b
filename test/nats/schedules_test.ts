/** Schedules on a real server: who submits what is due, what clients can ask, and what remains when a processor dies. */
import { currentTask, type Dyrygent, NotFoundError, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { startChild } from "./child.ts";
import { eventually, rejection, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** A task that notes the run it belongs to. */
function noting() {
  const runs: string[] = [];
  const note = task("note", () => void runs.push(currentTask().workflowId));
  return { runs, note };
}

const reached = (runs: readonly string[], count: number) =>
  eventually(`${count} runs`, () => runs.length >= count || runs.join());

/** The moments in run ids, in seconds. */
function secondsOf(runs: readonly string[]): number[] {
  return runs.map((id) => {
    const [, y, mo, d, h, mi, s] = /-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(id)!.map(
      Number,
    );
    return Date.UTC(y!, mo! - 1, d, h, mi, s) / 1_000;
  });
}

function assertEverySecond(runs: readonly string[]): void {
  const seconds = secondsOf(runs).sort((a, b) => a - b);
  assert.equal(seconds, seconds.map((_, i) => seconds[0]! + i), runs.join("\n"));
}

const statuses = async (app: Dyrygent) => {
  const found = [];
  for await (const status of app.schedules()) found.push(status);
  return found;
};

test(
  "a schedule that is made while a processor runs becomes runs, each named after its moment",
  tests.scope(async (scope: Scope) => {
    const { runs, note } = noting();
    const app = await scope.running({ tasks: [note] }, { schedules: "1h" });
    const before = Date.now();
    const every = await app.schedule("every", { every: "1s" }, note.s());
    await reached(runs, 2);
    await every.remove();
    assertEverySecond(runs);
    const [first] = secondsOf(runs);
    assert.ok(Math.abs(first! * 1_000 - before - 1_000) <= 1_500, runs[0]);
    const run = app.run(runs[0]!);
    assert.is((await run.ended()).state, "SUCCESS");
    assert.is(await run.result(), null);
  }),
);

test(
  "three processors make one run of each occurrence",
  tests.scope(async (scope: Scope) => {
    const { runs, note } = noting();
    const app = await scope.running({ tasks: [note] });
    for (let i = 0; i < 2; i++) await scope.processor(await scope.open());
    const both = [
      await app.schedule("a", { cron: "* * * * * *" }, note.s()),
      await app.schedule("b", { every: "1s" }, note.s()),
    ];
    await reached(runs, 4);
    for (const one of both) await one.remove();
    await scope.rest();
    for (const id of ["a", "b"]) assertEverySecond(runs.filter((run) => run.startsWith(`${id}-`)));
  }),
);

test(
  "pause, resume, another rule and remove are heard at once",
  tests.scope(async (scope: Scope) => {
    const { runs, note } = noting();
    // What is not heard is not known: nothing is read again in this test.
    const app = await scope.running({ tasks: [note] }, { schedules: "1h" });
    const schedule = await app.schedule("s", { every: "1d" }, note.s(), { paused: true });
    assert.equal(runs, []);
    await app.schedule("s", { every: "1s" }, note.s());
    assert.is((await schedule.status()).paused, true);
    await schedule.resume();
    await reached(runs, 1);
    await schedule.pause();
    const { lastAt, lastRun, nextAt } = await schedule.status();
    assert.is(nextAt, undefined);
    assert.is(Math.floor(lastAt! / 1_000), secondsOf([lastRun!])[0]);
    await schedule.resume();
    const count = runs.length;
    await reached(runs, count + 1);
    assert.is((await statuses(app)).length, 1);
    await schedule.remove();
    assert.equal(await statuses(app), []);
    assert.instance(await rejection(schedule.status()), NotFoundError);
    await scope.rest();
    const left = runs.length;
    // Two occurrences of another schedule are time for one of this, which must not come.
    const other = await app.schedule("other", { every: "1s" }, note.s());
    await reached(runs, left + 2);
    await other.remove();
    assert.equal(runs.slice(left).filter((run) => !run.startsWith("other-")), []);
  }),
);

test(
  "when a processor is killed, the other goes on, and no occurrence is lost or doubled",
  tests.scope(async (scope: Scope) => {
    const leases = { tickLease: "1s", taskLease: "1s" } as const;
    const { runs, note } = noting();
    const app = await scope.open(leases);
    await scope.worker(await scope.open(leases), { tasks: [note] });
    const args = ["processor", scope.server.url, scope.namespace, "p"];
    await using first = startChild("crew_process.ts", args);
    await using second = startChild("crew_process.ts", args);
    await Promise.all([first.said("ready"), second.said("ready")]);
    const schedule = await app.schedule("s", { every: "1s" }, note.s());
    await reached(runs, 1);
    await first.kill();
    await reached(runs, 3);
    await schedule.remove();
    await scope.rest();
    assertEverySecond([...new Set(runs)]);
    const made: string[] = [];
    for await (const { id } of app.list()) made.push(id);
    assert.equal(made.sort(), [...new Set(runs)].sort());
  }),
);

test(
  "runOnce submits what is due, and conducts it",
  tests.scope(async (scope: Scope) => {
    const { runs, note } = noting();
    const app = await scope.open();
    await scope.worker(app, { tasks: [note] });
    const schedule = await app.schedule("s", { every: "1s" }, note.s());
    await eventually("it is due", async () => (await schedule.status()).nextAt! <= Date.now());
    const report = await app.processor().runOnce({ maxDuration: "5s" });
    assert.ok(report.finished >= 1, JSON.stringify(report));
    assert.is(runs.length, report.finished);
    assert.is((await schedule.status()).lastRun, runs.at(-1));
    await schedule.remove();
  }),
);

test(
  "runNow runs besides what is due, with the input of the schedule",
  tests.scope(async (scope: Scope) => {
    const greet = task("greet", (name: string) => `hello ${name}`);
    const wf = new Workflow("greeting");
    wf.call(greet, wf.input<string>());
    const app = await scope.running({ tasks: [greet] });
    const when = { cron: "0 2 * * *", timeZone: "Europe/Warsaw" } as const;
    const options = { input: "ada", paused: true, missed: "runOnce" } as const;
    const schedule = await app.schedule("nightly", when, wf, options);
    const run = await schedule.runNow();
    assert.match(run.id, /^nightly-/);
    assert.is(await run.result(), "hello ada");
    const [{ createdAt, ...status } = { createdAt: 0 }, ...others] = await statuses(app);
    assert.ok(createdAt > 0);
    assert.equal(others, []);
    assert.equal(status, {
      id: "nightly",
      name: "greeting",
      when,
      missed: "runOnce",
      paused: true,
    });
    await app.scheduleOf("nightly").remove();
  }),
);

test(
  "every runNow is a run of its own, also of a schedule with the longest id",
  tests.scope(async (scope: Scope) => {
    const count = task("count", () => "done");
    const app = await scope.running({ tasks: [count] });
    const id = "n".repeat(46);
    const schedule = await app.schedule(id, { every: "1d" }, count.s(), { paused: true });
    const runs = [await schedule.runNow(), await schedule.runNow(), await schedule.runNow()];
    assert.is(new Set(runs.map((run) => run.id)).size, 3);
    for (const run of runs) await run.result();
  }),
);

test.run();
