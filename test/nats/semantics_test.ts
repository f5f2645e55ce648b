/** What workflows mean beyond plain graphs, on a real server: events, runs in the place of nodes, rounds, undoing, limits of time. */
import {
  chain,
  currentTask,
  Dyrygent,
  event,
  expand,
  type Run,
  type RunSummary,
  task,
  type WorkerOptions,
  Workflow,
} from "nats-dyrygent";
import type { NatsConnection } from "@nats-io/nats-core";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { startChild } from "./child.ts";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, echo, fail, sum } from "./tasks.ts";

const server = new TestServer();

/** The run that takes a node's place: its id follows from its parent's. */
function childOf(app: Dyrygent, run: Run, node: number, attempt = 1): Run {
  return app.run(`${run.id}__${node}_${attempt}`);
}

async function stateOf(run: Run): Promise<string> {
  return await run.status().then(({ state }) => state, () => "missing");
}

function reaches(run: Run, state: string): Promise<void> {
  return eventually(
    `${run.id} is ${state}`,
    async () => await stateOf(run) === state || await stateOf(run),
  );
}

const events = suite("events on a server");
const approved = event<{ by: string }>("approved");

function waiting(): Workflow<{ by: string }> {
  const wf = new Workflow("waiting");
  const first = wf.call(add, 1, 1);
  return wf.output(wf.call(echo, wf.waitFor(approved).after(first))) as Workflow<{ by: string }>;
}

events(
  "what is sent before anything waits for it is kept",
  server.scope(async (scope) => {
    const app = await scope.open();
    const run = await app.submit(waiting());
    assert.ok((await run.send(approved, { by: "early" })).applied);
    await scope.worker(app, { tasks: arithmetic });
    await scope.processor(app);
    assert.equal(await run.result(), { by: "early" });
  }),
);

events(
  "what is sent late ends the wait; of several, the first counts",
  server.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const run = await app.submit(waiting());
    assert.is(await run.result(0), 2);
    await run.send(approved, { by: "first" });
    await run.send(approved, { by: "second" });
    assert.equal(await run.result(), { by: "first" });
  }),
);

events(
  "a wait that nobody ends fails with a TimeoutError",
  server.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const wf = new Workflow("late");
    wf.waitFor(approved, { timeout: 50 });
    const error = await rejection((await app.submit(wf)).result());
    assert.match(error.message, /nobody sent "approved" in time/);
  }),
);

events(
  "a wait survives the end of every process",
  server.scope(async (scope) => {
    const app = await scope.open();
    const worker = await scope.worker(await scope.open(), { tasks: arithmetic });
    const processor = await scope.processor(await scope.open());
    const run = await app.submit(waiting());
    assert.is(await run.result(0), 2);
    await worker.stop();
    await processor.stop();
    await run.send(approved, { by: "meanwhile" });
    await scope.worker(await scope.open(), { tasks: arithmetic });
    await scope.processor(await scope.open());
    assert.equal(await run.result(), { by: "meanwhile" });
  }),
);

events.run();

const children = suite("runs in the place of nodes, on a server");

for (const size of [0, 1, 1_000]) {
  children(
    `a map over ${size} elements gives ${size} results, in order`,
    server.scope(async (scope) => {
      const list = task("list", (length: number) => Array.from({ length }, (_, i) => i));
      const app = await scope.running({ tasks: [...arithmetic, list] });
      const wf = new Workflow("map");
      const run = await app.submit(wf.output(wf.map(add, wf.call(list, size), 10)));
      assert.equal(await run.result(), Array.from({ length: size }, (_, i) => i + 10));
    }),
  );
}

children(
  "a task that expands into itself ends, however deep, and gives the innermost result",
  server.scope(async (scope) => {
    const deeper = task("deeper", (n: number): unknown => n === 0 ? 42 : expand(deeper.s(n - 1)));
    const app = await scope.running({ tasks: [deeper] });
    const wf = new Workflow("nested");
    assert.is(await (await app.submit(wf.output(wf.call(deeper, 5)))).result(), 42);
  }),
);

/** Holds its first execution up. */
function gate() {
  const began = new Moment("the handler begins");
  const open = new Moment("the handler may go on");
  return { began, open };
}

children(
  "a sub-workflow is cancelled with its parent, and its finally runs",
  server.scope(async (scope) => {
    const { began, open } = gate();
    const cleaned: string[] = [];
    const slow = task("slow", async () => {
      began.come();
      await Promise.race([
        open.wait,
        new Promise((done) => currentTask().signal.addEventListener("abort", done)),
      ]);
    });
    const clean = task("clean", () => void cleaned.push(currentTask().workflowName));
    const app = await scope.running({ tasks: [slow, clean] });
    const sub = new Workflow("sub");
    sub.call(slow);
    sub.finally(clean.si());
    const wf = new Workflow("parent");
    wf.run(sub);
    const run = await app.submit(wf);
    await began.reached();
    await run.cancel("enough");
    await reaches(run, "CANCELLED");
    await reaches(childOf(app, run, 0), "CANCELLED");
    assert.equal(cleaned, ["sub"]);
  }),
);

/** A workflow whose first node becomes a run that waits for the event `go`, once `open` is told. */
function expanding(open: Moment, began: Moment) {
  const inner = new Workflow("inner");
  const go = inner.waitFor("go");
  inner.output(inner.call(echo, go));
  const grow = task("grow", async () => {
    began.come();
    await open.wait;
    return expand(inner);
  });
  return { inner, grow };
}

children(
  "a pause reaches children, also one that comes into being while the run is paused",
  server.scope(async (scope) => {
    const { began, open } = gate();
    const { inner, grow } = expanding(open, began);
    const app = await scope.running({ tasks: [...arithmetic, grow] });
    const wf = new Workflow("parent");
    wf.output([wf.run(inner), wf.call(grow)]);
    const run = await app.submit(wf);
    const [early, late] = [childOf(app, run, 0), childOf(app, run, 1)];
    await began.reached();
    await reaches(early, "RUNNING");
    await run.pause();
    await reaches(early, "PAUSED");
    open.come();
    await reaches(late, "PAUSED");
    await early.send<unknown>("go", 1);
    await late.send<unknown>("go", 2);
    await run.resume();
    assert.equal(await run.result(), [1, 2]);
  }),
);

children(
  "a pause that a cancel ended holds nothing up in the next round",
  server.scope(async (scope) => {
    const inner = new Workflow("inner");
    inner.output(inner.call(echo, inner.waitFor("go")));
    const app = await scope.running({ tasks: arithmetic });
    const wf = new Workflow("parent");
    const run = await app.submit(wf.output([wf.run(inner), wf.waitFor("last")]));
    await reaches(childOf(app, run, 0), "RUNNING");
    await run.pause();
    await run.cancel();
    await reaches(run, "CANCELLED");
    await run.retryFailed();
    const child = childOf(app, run, 0, 2);
    await reaches(child, "RUNNING");
    await run.send<unknown>("last", 2);
    await run.result(1);
    await child.send<unknown>("go", 1);
    assert.equal(await run.result(), [1, 2]);
  }),
);

children(
  "a run that takes the place of a node that was skipped meanwhile is cancelled, though its parent goes on",
  server.scope(async (scope) => {
    const { began, open } = gate();
    const { grow } = expanding(open, began);
    const app = await scope.running({ tasks: [...arithmetic, grow] });
    const wf = new Workflow("parent");
    wf.call(grow);
    wf.waitFor("go");
    const run = await app.submit(wf);
    await began.reached();
    await run.skip(0);
    open.come();
    await reaches(childOf(app, run, 0), "CANCELLED");
    assert.is((await run.status()).state, "RUNNING");
    await run.send<unknown>("go", 1);
    await run.ended();
  }),
);

/** A run of a map over three elements, which failed for one of them; the others have their results. */
async function failedMap(scope: Scope) {
  const ran: number[] = [];
  let isBroken = true;
  const work = task("work", (n: number) => {
    ran.push(n);
    if (isBroken && n === 1) throw new Error(`${n} fails`);
    return n;
  });
  const app = await scope.running({ tasks: [work] });
  const wf = new Workflow("fragile");
  const run = await app.submit(wf.output(wf.map(work, [0, 1, 2])));
  await rejection(run.result());
  return { run, child: childOf(app, run, 0), ran, mend: () => void (isBroken = false) };
}

children(
  "retryFailed runs the failed elements of a map again, and only those",
  server.scope(async (scope) => {
    const { run, ran, mend } = await failedMap(scope);
    mend();
    assert.ok((await run.retryFailed()).applied);
    await reaches(run, "SUCCESS");
    assert.equal(await run.result(), [0, 1, 2]);
    assert.equal(ran.sort(), [0, 1, 1, 2]);
  }),
);

children(
  "a child that somebody retried already is what its parent's retry waits for",
  server.scope(async (scope) => {
    const { run, child, mend } = await failedMap(scope);
    mend();
    await child.retryFailed();
    await reaches(child, "SUCCESS");
    await run.retryFailed();
    await reaches(run, "SUCCESS");
    assert.equal(await run.result(), [0, 1, 2]);
  }),
);

children(
  "a child that was removed cannot be tried again: its node fails and says so, and the next round makes another",
  server.scope(async (scope) => {
    const { run, child, mend } = await failedMap(scope);
    await child.remove();
    mend();
    await run.retryFailed();
    await eventually("the second round ends", async () => (await run.status()).round === 2);
    assert.match((await rejection(run.result())).message, /was removed/);
    await run.retryFailed();
    await reaches(run, "SUCCESS");
  }),
);

children.run();

const rounds = suite("rounds, undoing and cleaning up, on a server");

rounds(
  "a rerun runs a node and all that depends on it again, and nothing else",
  server.scope(async (scope) => {
    const ran: string[] = [];
    const step = task("step", (name: string) => {
      ran.push(name);
      return ran.length;
    });
    const app = await scope.running({ tasks: [step] });
    const wf = new Workflow("rerun");
    const a = wf.call(step, "a");
    const b = wf.call(step, "b").after(a);
    wf.call(step, "c").after(b);
    wf.call(step, "d").after(a);
    const run = await app.submit(wf);
    await run.result();
    ran.length = 0;
    await run.rerun({ from: b });
    await eventually("the second round ends", async () => {
      const { round, state } = await run.status();
      return round === 2 && state === "SUCCESS";
    });
    assert.equal(ran, ["b", "c"]);
  }),
);

/** a → b → c → last; each of the first three notes when it is undone. */
function undoable(last: ReturnType<typeof task>, undone: string[]) {
  const done = task("done", (name: string) => name);
  const undo = task("undo", (name: string) => void undone.push(name));
  const members = ["a", "b", "c"].map((name) => done.si(name).compensate(undo.s()));
  // deno-lint-ignore no-explicit-any
  const wf = Workflow.of(chain([...members, (last as any).si()]));
  return { wf, tasks: [done, undo, last] as WorkerOptions["tasks"] };
}

rounds(
  "after a failure, what was done last is undone first, with its result",
  server.scope(async (scope) => {
    const undone: string[] = [];
    const breaks = task("breaks", () => {
      throw new Error("no");
    });
    const { wf, tasks } = undoable(breaks as never, undone);
    const app = await scope.running({ tasks });
    await rejection((await app.submit(wf)).result());
    assert.equal(undone, ["c", "b", "a"]);
  }),
);

rounds(
  "after a cancel too",
  server.scope(async (scope) => {
    const undone: string[] = [];
    const began = new Moment("the last task begins");
    const waits = task("waits", async () => {
      began.come();
      await new Promise((done) => currentTask().signal.addEventListener("abort", done));
    });
    const { wf, tasks } = undoable(waits as never, undone);
    const app = await scope.running({ tasks });
    const run = await app.submit(wf);
    await began.reached();
    await run.cancel();
    await reaches(run, "CANCELLED");
    assert.equal(undone, ["c", "b", "a"]);
  }),
);

/** What `finally` is told about a workflow that is brought to its end by `end`. */
async function summaryOf(
  scope: Scope,
  options: ConstructorParameters<typeof Workflow>[1],
  end: (run: Run) => Promise<unknown>,
): Promise<RunSummary> {
  const told = new Moment<RunSummary>("finally is told");
  const began = new Moment("the task begins");
  const waits = task("waits", async () => {
    began.come();
    await new Promise((done) => currentTask().signal.addEventListener("abort", done));
  });
  const last = task("last", (summary: RunSummary) => told.come(summary));
  const app = await scope.running({ tasks: [waits, last] });
  const wf = new Workflow("summed", options);
  wf.call(waits);
  wf.finally(last.s());
  const run = await app.submit(wf, { id: "summed" });
  await began.reached();
  await end(run);
  const summary = await told.reached();
  await run.ended();
  return summary;
}

rounds(
  "finally runs after a cancel, and is told of it",
  server.scope(async (scope) => {
    const { id, name, state, reason, counts, payload } = await summaryOf(
      scope,
      { payload: { who: "me" } },
      (run) => run.cancel("enough"),
    );
    assert.equal({ id, name, state, reason, payload }, {
      id: "summed",
      name: "summed",
      state: "CANCELLED",
      reason: "enough",
      payload: { who: "me" },
    });
    assert.is(counts.CANCELLED, 1);
  }),
);

rounds(
  "finally runs after the workflow's time is up, and is told of it",
  server.scope(async (scope) => {
    const { state, reason } = await summaryOf(scope, { timeout: 300 }, () => Promise.resolve());
    assert.is(state, "ERROR");
    assert.match(reason!, /timeout/);
  }),
);

rounds.run();

const time = suite("limits of time, on a server");

time(
  "a handler that blocks its worker's process cannot hang a workflow whose task has a timeout",
  server.scope(async (scope) => {
    const leases = { tickLease: "1s", taskLease: "1s" } as const;
    const app = await scope.open(leases);
    await using worker = startChild("blocking_process.ts", [scope.server.url, scope.namespace]);
    await worker.said("ready");
    await scope.processor(await scope.open(leases), { tick: { idle: ["200ms", "500ms"] } });
    const stuck = task("stuck", () => {});
    const wf = new Workflow("stuck");
    wf.call(stuck).set({ timeout: 200 });
    const run = await app.submit(wf);
    const error = await rejection(run.result());
    assert.match(error.message, /longer than its timeout of 200 ms/);
  }, { within: 30_000 }),
);

time(
  "a delay of days keeps nothing of a workflow in the processor",
  server.scope(async (scope) => {
    const nc = await scope.connect();
    const app = await scope.open({}, nc);
    const processor = await scope.processor(app);
    const before = await subscriptions(scope, nc);
    const wf = new Workflow("later");
    wf.call(add, 1, 1).set({ countdown: "3d" });
    const run = await app.submit(wf);
    await eventually("it is forgotten", async () => {
      const { state } = await run.status();
      const now = await subscriptions(scope, nc);
      return state === "RUNNING" && now === before || `${state}, ${now} of ${before} subscriptions`;
    });
    await processor.stop();
    await run.remove();
  }, { leavesWork: true }),
);

async function subscriptions(scope: Scope, nc: NatsConnection): Promise<number> {
  await nc.flush();
  const url = `${scope.server.monitorUrl}/connz?cid=${nc.info!.client_id}`;
  const { connections } = await (await fetch(url)).json() as {
    connections: { subscriptions: number }[];
  };
  return connections[0]!.subscriptions;
}

time(
  "what has not begun in time never runs: it is cancelled, and the workflow fails unless it is optional",
  server.scope(async (scope) => {
    const app = await scope.open();
    const processor = await scope.processor(await scope.open());
    const expires = 30;
    const [needed, optional] = await Promise.all([false, true].map((isOptional) => {
      const wf = new Workflow("expires");
      const node = wf.call(fail, "it ran").set({ expires });
      return app.submit(isOptional ? wf.output(node.optional() && null) : wf);
    }));
    // By whichever was submitted last; its time begins at the server, whose clock is this one.
    const submitted = [needed!, optional!].map(async (run) => (await run.status()).submittedAt);
    const tooLate = Math.max(...await Promise.all(submitted)) + expires;
    await eventually("their time is up", () => Date.now() > tooLate);
    await scope.worker(await scope.open(), { tasks: arithmetic });
    assert.match((await rejection(needed!.result())).message, /had not begun by/);
    assert.is(await optional!.result(), null);
    assert.is((await needed!.ended()).counts.CANCELLED, 1);
    await processor.stop();
  }),
);

time(
  "what expires where no worker is ends all the same",
  server.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(await scope.open(), { tick: { idle: ["100ms", "200ms"] } });
    const wf = new Workflow("nobody");
    wf.call(sum, [1]).set({ expires: 30 });
    assert.match((await rejection((await app.submit(wf)).result())).message, /had not begun by/);
  }),
);

time.run();
