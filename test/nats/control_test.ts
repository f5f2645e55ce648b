/** What can be asked of a run while it runs and after: cancel, pause, resume, skip, retry; and what cleans up after it. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstreamManager } from "@nats-io/jetstream";
import {
  chain,
  chord,
  currentTask,
  type Dyrygent,
  group,
  type Run,
  task,
  Workflow,
  WorkflowFailedError,
} from "nats-dyrygent";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, echo, fail, mul, sum } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** A task that is held up until it is let go, and says that it began. */
class Gate {
  readonly began = new Moment("the gate's task began");
  readonly #open = new Moment("the gate opens");
  readonly task = task("gate", async (_before?: unknown): Promise<string> => {
    this.began.come();
    await this.#open.wait;
    return "through";
  });

  open(): void {
    this.#open.come();
  }
}

/** Notes which of its calls ran. */
function notes() {
  const ran: string[] = [];
  const note = task("note", (what: string) => {
    ran.push(what);
    return what;
  });
  return { ran, note };
}

async function endOf(run: Run): Promise<WorkflowFailedError> {
  const error = await rejection(run.result());
  assert.instance(error, WorkflowFailedError);
  return error as WorkflowFailedError;
}

/** Ids of nodes that have a message in the queue. */
async function queued(scope: Scope): Promise<string[]> {
  const { streams } = await jetstreamManager(await scope.raw);
  const { state } = await streams.info(`${scope.namespace}_TASKS`, { subjects_filter: ">" });
  return Object.keys(state.subjects ?? {}).map((subject) => subject.split(".").at(-2)!);
}

test(
  "cancel: what has not begun never runs, and the reason is kept",
  tests.scope(async (scope) => {
    const gate = new Gate();
    const { ran, note } = notes();
    const app = await scope.running({ tasks: [gate.task, note], concurrency: 1, prefetch: 0 });
    const wf = new Workflow("cancelled");
    wf.call(note, "after").after(wf.call(gate.task));
    const run = await app.submit(wf);
    await gate.began.reached();
    assert.is((await run.cancel("no longer needed")).applied, true);
    const error = await endOf(run);
    gate.open();
    assert.is(error.state, "CANCELLED");
    assert.match(error.message, /no longer needed/);
    const { state, counts } = await run.status();
    assert.equal([state, counts.CANCELLED, counts.SUCCESS], ["CANCELLED", 2, 0]);
    await scope.rest();
    assert.equal(ran, []);
  }),
);

test(
  "cancel: a running task is told by its signal",
  tests.scope(async (scope) => {
    const began = new Moment("the task began");
    const told = new Moment<string>("the signal aborted");
    const wait = task("wait", () => {
      const { signal } = currentTask();
      began.come();
      return new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => {
          told.come(String(signal.reason));
          resolve();
        })
      );
    });
    const app = await scope.running({ tasks: [wait] });
    const run = await app.submit(wait.s());
    await began.reached();
    await run.cancel();
    assert.match(await told.reached(), /cancel/);
    assert.is((await run.ended()).state, "CANCELLED");
  }),
);

test(
  "cancel: a task that ignores its signal for ever does not keep its slot",
  tests.scope(async (scope) => {
    const began = new Moment("the task began");
    const stubborn = task("stubborn", () => {
      began.come();
      return new Promise<void>(() => {});
    });
    const app = await scope.running({ tasks: [stubborn, add], concurrency: 1, prefetch: 0 });
    const run = await app.submit(stubborn.s());
    await began.reached();
    await run.cancel();
    assert.is((await run.ended()).state, "CANCELLED");
    assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
  }),
);

test(
  "cancel: finally still runs, onError does not",
  tests.scope(async (scope) => {
    const gate = new Gate();
    const { ran, note } = notes();
    const app = await scope.running({ tasks: [gate.task, note] });
    const wf = new Workflow("cancelled").finally(note.si("finally")).onError(note.si("onError"));
    wf.call(gate.task);
    const run = await app.submit(wf);
    await gate.began.reached();
    await run.cancel();
    assert.is((await run.ended()).state, "CANCELLED");
    gate.open();
    assert.equal(ran, ["finally"]);
  }),
);

test(
  "cancel: what cleans up is not concerned, however often one cancels",
  tests.scope(async (scope) => {
    const gate = new Gate();
    const cleaning = new Moment("the cleanup began");
    const goOn = new Moment("the cleanup may go on");
    const clean = task("clean", async () => {
      cleaning.come();
      await goOn.wait;
      return currentTask().signal.aborted;
    });
    const app = await scope.running({ tasks: [gate.task, clean] });
    const wf = new Workflow("twice").finally(clean.si());
    wf.call(gate.task);
    const run = await app.submit(wf);
    await gate.began.reached();
    await run.cancel("once");
    gate.open();
    await cleaning.reached();
    await run.cancel("twice");
    goOn.come();
    assert.is(await run.result("clean-0"), false);
    assert.match((await endOf(run)).message, /once/);
  }),
);

test(
  "cancel of a run that has ended changes nothing and says so",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const run = await app.submit(add.s(1, 1));
    await run.result();
    const { facts } = await scope.contents();
    assert.equal(await run.cancel(), { applied: false, state: "SUCCESS" });
    assert.equal(await run.pause(), { applied: false, state: "SUCCESS" });
    assert.equal(await run.retryFailed(), { applied: false, state: "SUCCESS" });
    assert.is((await scope.contents()).facts, facts);
  }),
);

test(
  "a hundred cancels at once are one cancel",
  tests.scope(async (scope) => {
    const gate = new Gate();
    const app = await scope.running({ tasks: [gate.task] });
    const run = await app.submit(gate.task.s());
    await gate.began.reached();
    await Promise.all(Array.from({ length: 100 }, (_, i) => run.cancel(`reason ${i}`)));
    assert.is((await run.ended()).state, "CANCELLED");
    gate.open();
    assert.is((await run.status()).counts.CANCELLED, 1);
  }),
);

test(
  "cancel in the middle of a large workflow ends it, and empties the queue",
  tests.scope(async (scope) => {
    let calls = 0;
    const some = new Moment("some of it ran");
    const step = task("step", async (_n: number) => {
      if (++calls === 300) some.come();
      await new Promise((resolve) => setTimeout(resolve));
    });
    const app = await scope.running({ tasks: [step], concurrency: 8 });
    const run = await app.submit(group(Array.from({ length: 5_000 }, (_, i) => step.s(i))));
    await some.reached();
    await run.cancel();
    const { state, counts } = await run.ended();
    assert.is(state, "CANCELLED");
    assert.is(counts.SUCCESS + counts.CANCELLED, 5_000);
    assert.ok(counts.CANCELLED > 0);
    await scope.rest();
    assert.ok(calls < 5_000);
  }),
);

test(
  "pause: nothing new starts until resume, what runs goes on",
  tests.scope(async (scope) => {
    const gate = new Gate();
    const { ran, note } = notes();
    const app = await scope.running({ tasks: [gate.task, note] });
    const wf = new Workflow("paused");
    const first = wf.call(gate.task);
    wf.call(note, "after").after(first);
    const run = await app.submit(wf);
    await gate.began.reached();
    await run.pause();
    await eventually("it is paused", async () => (await run.status()).state === "PAUSED");
    gate.open();
    assert.is(await run.result(first), "through");
    const counts = async () => (await run.status()).counts;
    await scope.processor(app); // A processor that begins now must see the pause, too.
    assert.equal([await queued(scope), ran, (await counts()).SUCCESS <= 1], [[], [], true]);
    assert.equal(await run.resume(), { applied: true, state: "PAUSED" });
    assert.is(await run.result(), "after");
  }),
);

test(
  "a run that is paused before a processor sees it starts nothing",
  tests.scope(async (scope) => {
    const { ran, note } = notes();
    const app = await scope.open();
    await scope.worker(app, { tasks: [note] });
    const run = await app.submit(note.s("once"));
    await run.pause();
    await scope.processor(app);
    await eventually("it is paused", async () => (await run.status()).state === "PAUSED");
    assert.equal([await queued(scope), ran], [[], []]);
    await run.resume();
    await run.result();
    assert.equal(ran, ["once"]);
  }),
);

test(
  "a paused run that another processor takes over starts nothing, and goes on after resume",
  tests.scope(async (scope) => {
    const calls: string[] = [];
    const note = task("note", (what: string) => void calls.push(what));
    const app = await scope.open();
    const first = app.processor();
    await first.start();
    const wf = new Workflow("handed-over");
    wf.call(note, "sent");
    wf.call(note, "not sent").set({ countdown: "400ms" });
    const run = await app.submit(wf);
    await eventually("a node is queued", async () => (await queued(scope)).length === 1);
    await run.pause();
    await first.stop();
    await scope.processor(app);
    await eventually("it is paused", async () => (await run.status()).state === "PAUSED");
    await scope.worker(app, { tasks: [note] });
    await run.result(0);
    const { submittedAt } = await run.status();
    await eventually("the countdown is over", () => Date.now() > submittedAt + 600);
    assert.equal([await queued(scope), calls], [[], ["sent"]]);
    await run.resume();
    await run.result();
    assert.equal(calls, ["sent", "not sent"]);
  }),
);

test(
  "paused runs do not take other runs' places",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const paused = await Promise.all([1, 2, 3].map(() => app.submit(add.s(1, 1))));
    await Promise.all(paused.map((run) => run.pause()));
    await scope.running({ tasks: arithmetic }, { concurrency: 2 });
    assert.is(await (await app.submit(add.s(2, 2))).result(), 4);
    for (const run of paused) await run.resume();
    for (const run of paused) assert.is(await run.result(), 2);
  }),
);

test(
  "a cancel that no processor heard ends the run, and empties the queue",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const first = app.processor();
    await first.start();
    const run = await app.submit(group([add.s(1, 1), add.s(2, 2)]));
    await eventually("the nodes are queued", async () => (await queued(scope)).length === 2);
    await first.stop();
    await run.cancel();
    await scope.processor(app);
    assert.is((await run.ended()).state, "CANCELLED");
    await scope.rest(); // There is no worker: nobody else takes the messages out.
  }),
);

test(
  "a paused run can be cancelled",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const run = await app.submit(add.s(1, 1));
    await run.pause();
    await run.cancel();
    await scope.processor(app);
    assert.is((await run.ended()).state, "CANCELLED");
  }),
);

test(
  "pausing and resuming under load loses nothing and runs nothing twice",
  tests.scope(async (scope) => {
    const calls = new Map<number, number>();
    const step = task("step", async (n: number) => {
      calls.set(n, (calls.get(n) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve));
      return n;
    });
    const app = await scope.running({ tasks: [step, sum], concurrency: 16 });
    await scope.processor(await scope.open());
    const size = 2_000;
    const header = Array.from({ length: size }, (_, i) => chain(step.s(i), step.s()));
    const run = await app.submit(chord(header, sum.s()));
    for (let i = 0; i < 8; i++) {
      await eventually("it goes on", () => calls.size >= i * size / 10);
      await run.pause();
      await run.resume();
    }
    assert.is(await run.result(), size * (size - 1) / 2);
    await scope.rest();
    assert.equal([...calls.values()].filter((n) => n !== 2), []);
  }),
);

test(
  "skip: the node does not run, its dependents get null, in lists too",
  tests.scope(async (scope) => {
    const gate = new Gate();
    const { ran, note } = notes();
    const app = await scope.running({ tasks: [gate.task, note, echo] });
    const wf = new Workflow("skipped");
    const first = wf.call(gate.task);
    const skipped = wf.call(note, "skipped").after(first);
    const last = wf.call(echo, { one: skipped, list: [skipped, first] });
    const run = await app.submit(wf.output(last));
    await gate.began.reached();
    assert.is((await run.skip([skipped])).applied, true);
    gate.open();
    assert.equal(await run.result(), { one: null, list: [null, "through"] });
    assert.equal([await run.result(skipped), ran], [null, []]);
    assert.is((await run.status()).counts.SKIPPED, 1);
  }),
);

test(
  "skip: a running node is told by its signal, and its late result does not count",
  tests.scope(async (scope) => {
    const began = new Moment("the task began");
    const slow = task("slow", () => {
      const { signal } = currentTask();
      began.come();
      return new Promise<string>((resolve) =>
        signal.addEventListener("abort", () => resolve("too late"))
      );
    });
    const app = await scope.running({ tasks: [slow, echo] });
    const run = await app.submit(chain(slow.s(), echo.s()));
    await began.reached();
    await run.skip(["slow-0"]);
    assert.is(await run.result(), null);
  }),
);

test(
  "skip: the null of a skipped node arrives although other inputs fill the message",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const wf = new Workflow("full");
    const inputs = Array.from({ length: 20 }, () => wf.call(echo, "x".repeat(3_000)));
    const skipped = wf.call(echo, "skipped");
    const lengths = task(
      "lengths",
      (texts: (string | null)[]) => texts.map((text) => text?.length ?? null),
    );
    const run = await app.submit(
      wf.output(wf.call(lengths, [...inputs, skipped] as never)),
    );
    await run.skip([skipped]);
    await scope.running({ tasks: [echo, lengths] });
    assert.equal(await run.result(), [...Array(20).fill(3_000), null]);
  }),
);

test(
  "retryFailed runs what failed and what depends on it again, nothing else, as the next round",
  tests.scope(async (scope) => {
    const { ran, note } = notes();
    let isBroken = true;
    const flaky = task("flaky", (text: string) => {
      if (isBroken) throw new Error("broken");
      return `${text}, repaired`;
    });
    const app = await scope.running({ tasks: [note, flaky, echo] });
    const run = await app.submit(chain(note.s("once"), flaky.s(), echo.s()));
    assert.is((await endOf(run as Run)).state, "FAILURE");
    isBroken = false;
    assert.equal(await run.retryFailed(), { applied: true, state: "FAILURE" });
    assert.is(await run.result(), "once, repaired");
    const { state, round, counts } = await run.status();
    assert.equal([state, round, counts.SUCCESS, counts.FAILURE], ["SUCCESS", 2, 3, 0]);
    assert.equal(ran, ["once"]);
  }),
);

test(
  "retryFailed gives each node its retries again, and can fail again",
  tests.scope(async (scope) => {
    let calls = 0;
    const never = task("never", { retry: { max: 2, base: 1, backoff: "fixed" } }, () => {
      calls++;
      throw new Error(`no ${currentTask().attempt}`);
    });
    const app = await scope.running({ tasks: [never] });
    const run = await app.submit(never.s());
    assert.match((await endOf(run as Run)).message, /no 3/);
    await run.retryFailed();
    await eventually("the second round ended", async () => {
      const { round, state } = await run.status();
      return round === 2 && state === "FAILURE";
    });
    assert.match((await endOf(run as Run)).message, /no 6/);
    assert.is(calls, 6);
  }),
);

test(
  "a cancelled run can be retried, and runs to its end",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const wf = new Workflow("again");
    wf.call(mul, wf.call(add, 1, 2), 3);
    const run = await app.submit(wf);
    await run.cancel("by mistake");
    await scope.running({ tasks: arithmetic });
    assert.is((await run.ended()).state, "CANCELLED");
    await run.retryFailed();
    assert.is(await run.result(), 9);
  }),
);

test(
  "onError runs when the workflow fails, finally after it; after success only finally",
  tests.scope(async (scope) => {
    const { ran, note } = notes();
    const app = await scope.running({ tasks: [note, fail] });
    const build = (name: string, isGood: boolean) => {
      const wf = new Workflow(name);
      wf.finally(chain(note.si(`${name}: finally`), note.si(`${name}: very last`)));
      wf.onError(note.si(`${name}: onError`));
      if (isGood) wf.call(note, `${name}: work`);
      else wf.call(fail, "no");
      wf.call(note, `${name}: also`);
      return wf;
    };
    assert.is((await (await app.submit(build("good", true))).ended()).state, "SUCCESS");
    assert.equal(ran.splice(0).slice(2), ["good: finally", "good: very last"]);
    assert.is((await (await app.submit(build("bad", false))).ended()).state, "FAILURE");
    assert.equal(ran, ["bad: also", "bad: onError", "bad: finally", "bad: very last"]);
  }),
);

test(
  "a cleanup that fails makes the workflow fail, and its other cleanups run",
  tests.scope(async (scope) => {
    const { ran, note } = notes();
    const app = await scope.running({ tasks: [note, fail] });
    const wf = new Workflow("unclean").finally(fail.si("in finally")).finally(note.si("other"));
    wf.call(note, "work");
    const error = await endOf(await app.submit(wf));
    assert.equal([error.state, error.failures[0]!.remoteMessage], ["FAILURE", "in finally"]);
    assert.equal(ran, ["work", "other"]);
  }),
);

test(
  "a workflow that runs longer than its timeout ends as ERROR, tells its tasks, and cleans up",
  tests.scope(async (scope) => {
    const aborted = new Moment<string>("the signal aborted");
    const { ran, note } = notes();
    const slow = task("slow", () => {
      const { signal } = currentTask();
      return new Promise<void>((resolve) =>
        signal.addEventListener("abort", () => {
          aborted.come(String(signal.reason));
          resolve();
        })
      );
    });
    const app = await scope.running({ tasks: [slow, note] });
    const wf = new Workflow("slow", { timeout: "300ms" }).finally(note.si("finally"));
    wf.call(note, "never").after(wf.call(slow));
    const submittedAt = performance.now();
    const error = await endOf(await app.submit(wf));
    assert.is(error.state, "ERROR");
    assert.match(error.message, /longer than its timeout/);
    assert.ok(performance.now() - submittedAt >= 299);
    assert.match(await aborted.reached(), /timeout/);
    assert.equal(ran, ["finally"]);
  }),
);

test(
  "a timeout that passes while nobody conducts is kept all the same",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const wf = new Workflow("late", { timeout: "50ms" });
    wf.call(add, 1, 1);
    const run = await app.submit(wf);
    const { submittedAt } = await run.status();
    await eventually("the timeout has passed", () => Date.now() > submittedAt + 60);
    await scope.processor(app);
    assert.is((await endOf(run)).state, "ERROR");
  }),
);

test(
  "control facts reach a run whoever conducts it",
  tests.scope(async (scope) => {
    const gates = Array.from({ length: 6 }, () => new Gate());
    const apps: Dyrygent[] = [await scope.open(), await scope.open()];
    for (const app of apps) await scope.processor(app);
    const runs = await Promise.all(gates.map(async (gate, i) => {
      await scope.worker(apps[0]!, { tasks: [gate.task], queues: [`q${i}`] });
      return await apps[i % 2]!.submit(gate.task.s().set({ queue: `q${i}` }));
    }));
    await Promise.all(gates.map((gate) => gate.began.reached()));
    await Promise.all(runs.map((run) => run.cancel()));
    for (const run of runs) assert.is((await run.ended()).state, "CANCELLED");
    for (const gate of gates) gate.open();
  }),
);

test.run();
