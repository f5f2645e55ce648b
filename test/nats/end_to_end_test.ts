/** What users do with the library, from submit to result, on a real server. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  chain,
  chord,
  chunks,
  ConflictError,
  type CurrentTask,
  currentTask,
  Dyrygent,
  group,
  map,
  NotFoundError,
  PayloadTooLargeError,
  type RunEvent,
  type RunStatus,
  starmap,
  task,
  Workflow,
  type WorkflowState,
} from "nats-dyrygent";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, echo, fail, mul, sum } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** The library with a worker that knows arithmetic, and a processor. */
const calculator = (scope: Scope) => scope.running({ tasks: arithmetic });

/** The states an event stream told of one node. */
const statesOf = (events: readonly RunEvent[], label: string) =>
  events.flatMap((event) => event.is === "node" && event.label === label ? [event.state] : []);

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

test(
  "a signature gives its task's result",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(add.s(2, 2));
    const result: number = await run.result();
    assert.is(result, 4);
  }),
);

test(
  "a chain passes each result on",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const piped: number = await (await app.submit(add.s(2, 2).pipe(mul.s(8)))).result();
    const chained: number = await (await app.submit(chain(add.s(2, 2), mul.s(8)))).result();
    assert.equal([piped, chained], [32, 32]);
  }),
);

test(
  "an immutable member of a chain waits, and takes no result",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    assert.is(await (await app.submit(chain(add.s(2, 2), add.si(1, 1), mul.s(10)))).result(), 20);
  }),
);

test(
  "a group gives the list of results in the order of its members, also when it has one",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const two: number[] = await (await app.submit(group([add.s(1, 1), add.s(2, 2)]))).result();
    const one = await (await app.submit(group([add.s(1, 1)]))).result();
    const none = await (await app.submit(group([]))).result();
    assert.equal([two, one, none], [[2, 4], [2], []]);
  }),
);

test(
  "a chord's body gets the list of its header's results, also an empty one",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const six: number = await (await app.submit(chord([add.s(1, 1), add.s(2, 2)], sum.s())))
      .result();
    const none = await (await app.submit(chord([], sum.s()))).result();
    assert.equal([six, none], [6, 0]);
  }),
);

test(
  "chunks run as tasks of so many calls each",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(chunks(add, [[1, 1], [2, 2], [3, 3]], 2));
    assert.equal(await run.result(), [[2, 4], [6]]);
    assert.is((await run.status()).counts.SUCCESS, 2);
  }),
);

test(
  "map and starmap are one task that calls for every item",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const mapped = await app.submit(map(sum, [[1, 2], [3]]));
    const starred = await app.submit(starmap(add, [[1, 2], [3, 4]]));
    assert.equal([await mapped.result(), await starred.result()], [[3, 3], [3, 7]]);
    assert.is((await starred.status()).counts.SUCCESS, 1);
  }),
);

test(
  "canvases nest: a chain of chords, a chord of chains, groups in groups",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const chords = chain(
      chord([add.s(1, 1), add.s(2, 2)], sum.s()),
      group([add.s(1), add.s(2)]),
      sum.s(),
    );
    const chains = chord([chain(add.s(1, 1), mul.s(3)), chain(add.s(2, 2), mul.s(3))], sum.s());
    const groups = group([group([add.s(1, 1)]), add.s(5, 5), group([])]);
    assert.is(await (await app.submit(chords)).result(), 15);
    assert.is(await (await app.submit(chains)).result(), 18);
    assert.equal(await (await app.submit(groups)).result(), [[2], 10, []]);
  }),
);

test(
  "a group after a group waits for all of it",
  tests.scope(async (scope) => {
    const order: string[] = [];
    const note = task("note", async (name: string, ms: number) => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      order.push(name);
    });
    const app = await scope.running({ tasks: [note] });
    const first = group([note.si("slow", 60), note.si("fast", 0)]);
    const second = group([note.si("after", 0), note.si("after", 0)]);
    await (await app.submit(chain(first, second))).result();
    assert.equal(order, ["fast", "slow", "after", "after"]);
  }),
);

test(
  "handles arrive as results, also inside arrays and objects",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const wf = new Workflow("handles");
    const a = wf.call(add, 1, 2);
    const b = wf.call(mul, a, 10);
    const c = wf.call(sum, [a, b]);
    const d = wf.call(echo, { list: [a, 7, [b]], deep: { c, plain: "x" } });
    const run = await app.submit(wf.output({ c, rest: [d] }));
    const result: { readonly c: number; readonly rest: readonly [unknown] } = await run.result();
    assert.equal(result, {
      c: 33,
      rest: [{ list: [3, 7, [30]], deep: { c: 33, plain: "x" } }],
    });
  }),
);

test(
  "any JSON value passes through unchanged",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const values: unknown[] = [
      null,
      true,
      0,
      -0,
      1e-7,
      -1.5e300,
      Number.MAX_SAFE_INTEGER,
      "",
      'żółw 🐢 \u0000 \r\n " \\',
      [],
      {},
      { "": 1, "a.b": [null], constructor: "c" },
      [[[["deep"]]]],
    ];
    const wf = new Workflow("values");
    const first = wf.call(echo, values);
    const run = await app.submit(wf.output(wf.call(echo, first)));
    assert.equal(await run.result(), values);
  }),
);

test(
  "the result of a workflow is that of its only sink, else the list of its sinks",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const one = new Workflow("one-sink");
    one.call(mul, one.call(add, 1, 2), 10);
    const two = new Workflow("two-sinks");
    two.call(add, 1, 1);
    two.call(add, 2, 2);
    assert.is(await (await app.submit(one)).result(), 30);
    assert.equal(await (await app.submit(two)).result(), [2, 4]);
  }),
);

test(
  "a node's result is there before the workflow ends, by handle, name, label and number",
  tests.scope(async (scope) => {
    const end = new Moment("the end");
    const last = task("last", async () => {
      await end.wait;
    });
    const app = await scope.running({ tasks: [add, last] });
    const wf = new Workflow("early");
    const a = wf.call(add, 1, 2);
    const b = wf.call(add, a, 4).named("seven");
    wf.call(last).after(b);
    const run = await app.submit(wf);
    const typed: number = await run.result(a);
    assert.is(typed, 3);
    assert.equal(
      [await run.result("seven"), await run.result("add-0"), await run.result(1)],
      [7, 3, 7],
    );
    assert.is((await run.status()).finishedAt, undefined);
    end.come();
    await run.result();
  }),
);

test(
  "a node after another runs after it, without its result",
  tests.scope(async (scope) => {
    const order: unknown[] = [];
    const note = task("note", (...args: unknown[]) => void order.push(args));
    const app = await scope.running({ tasks: [note] });
    const wf = new Workflow("order");
    const late = wf.call(note, "late");
    const early = wf.call(note, "early");
    late.after(early);
    wf.add(chain(note.s("last"), note.si("very last")), { after: [late] });
    await (await app.submit(wf)).result();
    assert.equal(order, [["early"], ["late"], ["last"], ["very last"]]);
  }),
);

test(
  "a large result reaches its dependents, also after a retry",
  tests.scope(async (scope) => {
    const size = 500_000;
    const large = task("large", { retry: { max: 1, base: 1, jitter: false } }, () => {
      if (currentTask().attempt === 1) throw new Error("once more");
      return "x".repeat(size);
    });
    const length = task("length", (text: string) => text.length);
    const app = await scope.running({ tasks: [large, length] });
    assert.is(await (await app.submit(chain(large.s(), length.s()))).result(), size);
  }),
);

test(
  "arguments that nearly fill a record still leave room for inputs and payload",
  tests.scope(async (scope) => {
    const lengths = task("lengths", (...texts: string[]) => texts.map((text) => text.length));
    const app = await scope.running({ tasks: [lengths, echo] });
    const build = (size: number) => {
      const wf = new Workflow("full", { payload: "p".repeat(10_000) });
      const inputs = [0, 1, 2, 3].map(() => wf.call(echo, "i".repeat(4_000)));
      wf.call(echo, "f".repeat(900_000)); // So that the next one gets a record of its own.
      return wf.output(wf.call(lengths, "x".repeat(size), ...inputs as never[]));
    };
    const run = await app.submit(build(1_030_000));
    assert.equal(await run.result(), [1_030_000, 4_000, 4_000, 4_000, 4_000]);
    const error = await rejection(app.submit(build(1_040_000)));
    assert.instance(error, PayloadTooLargeError);
    assert.match(error.message, /^Node 5 of workflow "full"/);
  }),
);

test(
  "status tells name, state, counts, times and payload, before and after the end",
  tests.scope(async (scope) => {
    const before = Date.now();
    const app = await scope.open();
    const wf = new Workflow("report", { payload: { team: "storage" } });
    wf.call(mul, wf.call(add, 1, 2), 2);
    const run = await app.submit(wf, { id: "status-1" });
    const fresh = await run.status();
    assert.equal([fresh.id, fresh.name, fresh.state], ["status-1", "report", "INITIAL"]);
    assert.equal([fresh.counts.SCHEDULED, fresh.counts.PENDING], [1, 1]);
    assert.equal([fresh.payload, fresh.finishedAt], [{ team: "storage" }, undefined]);

    await calculator(scope);
    const ended: RunStatus = await run.ended();
    assert.equal([ended.state, ended.counts.SUCCESS, ended.round], ["SUCCESS", 2, 1]);
    assert.equal(ended.payload, { team: "storage" });
    assert.ok(ended.submittedAt >= before - 1 && ended.finishedAt! >= ended.submittedAt);
    assert.ok(ended.finishedAt! <= Date.now());
  }),
);

test(
  "watch tells the whole story of a run that has ended, and ends",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(chain(add.s(1, 2), fail.si("no"), mul.s(3)));
    assert.is((await run.ended()).state, "FAILURE");
    const events = await collect(run.watch());
    assert.equal(statesOf(events, "add-0"), ["SCHEDULED", "SUCCESS"]);
    assert.equal(statesOf(events, "fail-1"), ["SCHEDULED", "FAILURE"]);
    assert.equal(statesOf(events, "mul-2"), ["UPSTREAM_FAILED"]);
    assert.equal(
      events.flatMap((event) => event.is === "workflow" ? [event.state] : []),
      ["RUNNING", "FAILURE"],
    );
  }),
);

test(
  "watch tells what happens while it happens: started, progress, retries, pauses",
  tests.scope(async (scope) => {
    const goOn = new Moment("the task may go on");
    const flaky = task("flaky", { retry: { max: 1, base: 1, jitter: false } }, async () => {
      if (currentTask().attempt === 1) throw new Error("once more");
      currentTask().progress({ done: 0.5 });
      await goOn.wait;
    });
    const app = await scope.running({ tasks: [flaky] });
    const run = await app.submit(flaky.s(), { id: "watched" });
    const events: RunEvent[] = [];
    for await (const event of app.run("watched").watch()) {
      events.push(event);
      if (event.is === "node" && event.state === "STARTED") await run.pause();
      if (event.is === "workflow" && event.state === "PAUSED") {
        await run.resume();
        goOn.come();
      }
    }
    assert.equal(statesOf(events, "flaky-0"), ["SCHEDULED", "RETRY", "STARTED", "SUCCESS"]);
    assert.equal(
      events.flatMap((event) => event.is === "workflow" ? [event.state] : []),
      ["RUNNING", "PAUSED", "RUNNING", "SUCCESS"],
    );
    await run.result();
  }),
);

test(
  "progress reaches a watcher as it was given",
  tests.scope(async (scope) => {
    const watching = new Moment("somebody watches");
    const told = new Moment("the progress was told");
    const slow = task("slow", async () => {
      await watching.wait;
      currentTask().progress({ share: 0.5, of: ["a"] });
      await told.wait;
    });
    const app = await scope.running({ tasks: [slow] });
    const run = await app.submit(slow.s());
    for await (const event of run.watch()) {
      if (event.is === "node") watching.come(); // The first event comes after the subscription.
      if (event.is === "progress") {
        assert.equal([event.label, event.value], ["slow-0", { share: 0.5, of: ["a"] }]);
        told.come();
      }
    }
    await told.reached(0);
  }),
);

test(
  "a watcher that goes away early leaves nothing behind",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(add.s(1, 1));
    for await (const _event of run.watch()) break;
    await run.result();
  }),
);

test(
  "list tells the runs there are, by state and name",
  tests.scope(async (scope) => {
    const app = await scope.open();
    assert.equal(await collect(app.list()), []);
    await app.submit(Workflow.of(add.s(1, 1), "good"), { id: "a" });
    await app.submit(Workflow.of(fail.s("no"), "bad"), { id: "b" });
    assert.equal((await collect(app.list({ state: "INITIAL" }))).length, 2);

    await calculator(scope);
    await Promise.all([app.run("a").ended(), app.run("b").ended()]);
    const ids = async (options: Parameters<Dyrygent["list"]>[0]) =>
      (await collect(app.list(options))).map(({ id }) => id).sort();
    await eventually("the views show both ends", async () => {
      return (await ids({ state: "SUCCESS" })).join() === "a" &&
        (await ids({ state: "FAILURE" })).join() === "b";
    });
    assert.equal(await ids({}), ["a", "b"]);
    assert.equal(await ids({ name: "good" }), ["a"]);
    assert.equal(await ids({ name: "good", state: "FAILURE" }), []);
  }),
);

test(
  "submitting the same again is the same run, and nothing runs twice",
  tests.scope(async (scope) => {
    let calls = 0;
    const count = task("count", () => ++calls);
    const app = await scope.running({ tasks: [count] });
    const submit = () => app.submit(count.s(), { id: "same" });
    const runs = await Promise.all([submit(), submit(), submit()]);
    for (const run of runs) assert.is(await run.result(), 1);
    const again = await submit();
    assert.is(await again.result(), 1);
    await scope.rest();
    assert.is(calls, 1);
  }),
);

test(
  "an id that is taken by other content is a conflict, also for a large workflow, and changes nothing",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(add.s(1, 1), { id: "taken" });
    const error = await rejection(app.submit(add.s(1, 2), { id: "taken" }));
    assert.instance(error, ConflictError);
    assert.match(error.message, /"taken"/);
    const large = new Workflow("large");
    for (let i = 0; i < 4; i++) large.call(echo, "x".repeat(900_000));
    assert.instance(await rejection(app.submit(large, { id: "taken" })), ConflictError);
    assert.is(await run.result(), 2);
    assert.is((await scope.contents()).facts, 3); // Definition, outcome, end.
  }),
);

test(
  "a run that does not exist is NotFound, in every method",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const run = app.run("nobody");
    const asked = [
      run.result(),
      run.result(0),
      run.status(),
      run.ended(),
      run.cancel(),
      run.pause(),
      run.resume(),
      run.skip([0]),
      run.retryFailed(),
      run.watch().next(),
    ];
    // All at once: what is refused while another is awaited would be a rejection that nobody awaits.
    const answers = await Promise.all(asked.map((answer) => rejection(answer)));
    for (const answer of answers) assert.instance(answer, NotFoundError);
    assert.equal(await scope.contents(), { facts: 0, tasks: 0, ticks: 0 });
  }),
);

test(
  "a node that does not exist is NotFound",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(add.s(1, 1));
    for (const reference of ["nobody", "add-1", "mul-0", 1, -1, 0.5]) {
      assert.instance(await rejection(run.result(reference)), NotFoundError);
    }
    assert.is(await run.result("add-0"), 2);
  }),
);

test(
  "an empty workflow succeeds at once",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const run = await app.submit(new Workflow("empty"));
    assert.is(await run.result(), null);
    assert.is((await run.status()).state, "SUCCESS");
    assert.equal(await collect(run.watch()), [{ is: "workflow", state: "SUCCESS" }]);
  }),
);

test(
  "an empty workflow with a finally runs it",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const wf = new Workflow("empty").finally(add.si(4, 5)).onError(fail.si("never"));
    const run = await app.submit(wf);
    assert.is((await run.ended()).state, "SUCCESS");
    assert.is(await run.result("add-0"), 9);
  }),
);

test(
  "hooks are told the states, the ticks and the end",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.worker(app, { tasks: [add] });
    const states: WorkflowState[] = [];
    const finished = new Moment<RunStatus>("the finish hook");
    let ticks = 0;
    const processor = app.processor();
    processor.on("stateChange", ({ id }, state) => id === "hooked" && void states.push(state));
    processor.on("activeTick", () => void ticks++);
    processor.on("finish", (status) => finished.come(status));
    const detach = processor.on("finish", () => void states.push("ERROR"));
    detach();
    await processor.start();
    await app.submit(Workflow.of(add.s(1, 1), "hooks"), { id: "hooked" });
    const { id, name, state, counts, finishedAt } = await finished.reached();
    await processor.stop();
    assert.equal([id, name, state, counts.SUCCESS], ["hooked", "hooks", "SUCCESS", 1]);
    assert.ok(finishedAt! > 0);
    assert.equal(states, ["RUNNING", "SUCCESS"]);
    assert.ok(ticks >= 1);
  }),
);

test(
  "hooks that throw or reject are logged and change nothing",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.worker(app, { tasks: [add] });
    await using processor = app.processor();
    processor.on("stateChange", () => {
      throw new Error("thrown by a hook");
    });
    processor.on("activeTick", () => Promise.reject(new Error("rejected by a hook")));
    processor.on("finish", () => {
      throw null;
    });
    await processor.start();
    assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
    await scope.rest();
    const errors = scope.logs.filter(({ level }) => level === "error").map((log) => log.message);
    assert.ok(errors.some((message) => message.includes("stateChange hook failed: thrown by")));
    assert.ok(errors.some((message) => message.includes("activeTick hook failed: rejected by")));
    assert.ok(errors.some((message) => message.includes("finish hook failed")));
  }),
);

test(
  "a running task knows who and where it is, in all its asynchronous calls",
  tests.scope(async (scope) => {
    const seen = new Moment<CurrentTask>("the task ran");
    const deep = async () => {
      await new Promise((resolve) => setTimeout(resolve));
      seen.come(currentTask());
    };
    const who = task("who", { queue: "other" }, (_n: number) => deep());
    const app = await scope.running({ tasks: [add, who], queues: ["default", "other"] });
    const wf = new Workflow("known", { payload: ["all"] });
    wf.call(who, wf.call(add, 1, 1)).set({ payload: { user: 42 } });
    await (await app.submit(wf, { id: "me" })).result();
    const me = await seen.reached();
    assert.equal([me.workflowId, me.workflowName, me.workflowPayload], ["me", "known", ["all"]]);
    assert.equal([me.node, me.taskName, me.queue, me.attempt], [1, "who", "other", 1]);
    assert.equal([me.nodeKey, me.idempotencyKey], ["me.1", "me.1.1"]);
    assert.equal([me.payload, me.signal.aborted], [{ user: 42 }, false]);
    assert.throws(() => currentTask(), /outside of a task/);
  }),
);

test(
  "options of a canvas hold for its members, a member's own win",
  tests.scope(async (scope) => {
    const payload = task("payload", () => currentTask().payload ?? null);
    const app = await scope.running({ tasks: [payload] });
    const canvas = group([payload.si(), payload.si().set({ payload: "own" })])
      .set({ payload: "group" });
    assert.equal(await (await app.submit(canvas)).result(), ["group", "own"]);
    assert.equal(await (await app.submit(payload.s())).result(), null);
  }),
);

test(
  "a countdown counts from the upstream's end, an eta is a moment; neither starts early",
  tests.scope(async (scope) => {
    const now = task("now", () => Date.now());
    const app = await scope.running({ tasks: [now] });
    const wf = new Workflow("later");
    const first = wf.call(now);
    const second = wf.call(now).after(first).set({ countdown: "150ms" });
    const eta = Date.now() + 300;
    const third = wf.call(now).set({ eta: new Date(eta) });
    const run = await app.submit(wf);
    const delay = await run.result(second) - await run.result(first);
    assert.ok(delay >= 150, `second ran ${delay} ms after first`);
    assert.ok(await run.result(third) >= eta);
    await run.result();
  }),
);

test(
  "a workflow read back from its JSON runs the same",
  tests.scope(async (scope) => {
    const app = await calculator(scope);
    const wf = new Workflow("json", { payload: 1 });
    wf.call(mul, wf.call(add, 1, 2).named("three"), 5);
    const json = JSON.parse(JSON.stringify(wf));
    const run = await app.submit(Workflow.fromJSON(json), { id: "twin" });
    assert.equal([await run.result(), await run.result("three")], [15, 3]);
    await app.submit(wf, { id: "twin" }); // The same content: no conflict.
  }),
);

test(
  "a workflow of 20,000 nodes, larger than any record, runs to its end",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic, concurrency: 256 });
    const wf = new Workflow("big");
    const pad = "x".repeat(100);
    const parts = Array.from({ length: 20 }, (_, i) => {
      const xs = Array.from({ length: 999 }, (_, k) => wf.call(add, i, k).set({ payload: pad }));
      return wf.call(sum, xs);
    });
    const run = await app.submit(wf.output(wf.call(sum, parts)));
    assert.is(await run.result(), 999 * 190 + 20 * 498_501);
    assert.is((await run.status()).counts.SUCCESS, 20_001);
    const { facts } = await scope.contents();
    assert.ok(facts > 20_001 + 2, "the definition was cut into pieces");
  }, { within: 40_000 }),
);

test.run();
