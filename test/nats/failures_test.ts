/** Whatever a task does, its outcome is recorded once, says what happened, and the workflow goes on or ends. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Kvm } from "@nats-io/kv";
import { jetstream } from "@nats-io/jetstream";
import {
  type AnyTask,
  chain,
  currentTask,
  FatalTaskError,
  group,
  type RetryOptions,
  type Run,
  task,
  TaskError,
  type TaskOptions,
  Workflow,
  WorkflowFailedError,
} from "nats-dyrygent";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, echo, fail, mul } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** Runs one task alone. */
async function runOne(scope: Scope, only: AnyTask): Promise<Run> {
  const app = await scope.running({ tasks: [only] });
  return await app.submit(only.si());
}

async function failureOf(run: Run): Promise<TaskError> {
  const error = await rejection(run.result());
  assert.instance(error, WorkflowFailedError);
  const [failure, ...more] = (error as WorkflowFailedError).failures;
  assert.is(more.length, 0);
  return failure!;
}

/** A task that fails so many times, and notes when it was tried. */
function failing(times: number, retry: RetryOptions) {
  const tried: number[] = [];
  const flaky = task("flaky", { retry }, () => {
    if (tried.push(Date.now()) <= times) throw new Error(`no ${currentTask().attempt}`);
    return currentTask().attempt;
  });
  return { tried, flaky };
}

test(
  "a failure keeps the error's name, message, stack, node and attempt",
  tests.scope(async (scope) => {
    const typed = task("typed", () => {
      throw new RangeError("out of it");
    });
    const failure = await failureOf(await runOne(scope, typed));
    assert.instance(failure, TaskError);
    assert.equal([failure.remoteName, failure.remoteMessage], ["RangeError", "out of it"]);
    assert.equal([failure.node, failure.attempt], ["typed-0", 1]);
    assert.match(failure.remoteStack!, /failures_test/);
  }),
);

test(
  "what depends on a failed node never runs, what does not goes on",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const wf = new Workflow("half");
    const bad = wf.call(fail, "broken");
    const never = wf.call(add, bad, 1);
    const never2 = wf.call(mul, never, 2);
    const good = wf.call(mul, wf.call(add, 1, 2), 4);
    const run = await app.submit(wf);
    const error = await rejection(run.result()) as WorkflowFailedError;
    assert.equal([error.state, error.failures.length], ["FAILURE", 1]);
    assert.match(error.message, /Node fail-0 failed on attempt 1: Error: broken/);
    assert.is(await run.result(good), 12);
    assert.instance(await rejection(run.result(bad)), TaskError);
    assert.instance(await rejection(run.result(never2)), WorkflowFailedError);
    const { counts } = await run.status();
    assert.equal([counts.SUCCESS, counts.FAILURE, counts.UPSTREAM_FAILED], [2, 1, 2]);
  }),
);

test(
  "all failed nodes are named, at most a hundred",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const few = await app.submit(group([fail.s("a"), add.s(1, 1), fail.s("b")]));
    const many = await app.submit(group(Array.from({ length: 120 }, () => fail.s("c"))));
    const messages = async (run: Run) =>
      (await rejection(run.result()) as WorkflowFailedError).failures.map((e) => e.remoteMessage);
    assert.equal(await messages(few as Run), ["a", "b"]);
    assert.is((await messages(many as Run)).length, 100);
    assert.is((await many.status()).counts.FAILURE, 120);
  }),
);

test(
  "a failed attempt is tried again until it succeeds, each time later",
  tests.scope(async (scope) => {
    const { flaky, tried } = failing(3, { max: 5, base: 40, jitter: false });
    const run = await runOne(scope, flaky);
    assert.is(await run.result(), 4);
    const delays = tried.slice(1).map((at, i) => at - tried[i]!);
    [40, 80, 160].forEach((least, i) =>
      assert.ok(delays[i]! >= least - 1, `retry ${i + 1} came after ${delays[i]} ms`)
    );
  }),
);

test(
  "a task is tried 1 + max times, and the last failure counts",
  tests.scope(async (scope) => {
    const { flaky, tried } = failing(Infinity, { max: 2, base: 1, backoff: "fixed" });
    const failure = await failureOf(await runOne(scope, flaky));
    assert.equal([failure.attempt, failure.remoteMessage, tried.length], [3, "no 3", 3]);
  }),
);

test(
  "without a retry policy a task is tried once",
  tests.scope(async (scope) => {
    let calls = 0;
    const once = task("once", () => {
      calls++;
      throw new Error("no");
    });
    assert.is((await failureOf(await runOne(scope, once))).attempt, 1);
    assert.is(calls, 1);
  }),
);

test(
  "a FatalTaskError is not tried again, whatever the policy",
  tests.scope(async (scope) => {
    let calls = 0;
    const fatal = task("fatal", { retry: { max: 5, base: 1 } }, () => {
      calls++;
      throw new FatalTaskError("pointless");
    });
    const failure = await failureOf(await runOne(scope, fatal));
    assert.equal([failure.remoteName, failure.attempt, calls], ["FatalTaskError", 1, 1]);
  }),
);

test(
  "retries can be limited to some errors, or exclude some",
  tests.scope(async (scope) => {
    const throwing = (name: string, retry: RetryOptions) =>
      task(name, { retry: { max: 1, base: 1, ...retry } }, () => {
        throw new RangeError("no");
      });
    const all = [
      throwing("on-this", { on: ["RangeError"] }),
      throwing("on-other", { on: ["TypeError"] }),
      throwing("not-this", { notOn: ["RangeError"] }),
      throwing("not-other", { notOn: ["TypeError"] }),
    ];
    const app = await scope.running({ tasks: all });
    const attempts = await Promise.all(
      all.map(async (one) => (await failureOf(await app.submit(one.si()))).attempt),
    );
    assert.equal(attempts, [2, 1, 1, 2]);
  }),
);

test(
  "every attempt has its own record, and another attempt is another idempotency key",
  tests.scope(async (scope) => {
    const keys: string[] = [];
    const flaky = task("flaky", { retry: { max: 1, base: 1 } }, () => {
      if (keys.push(currentTask().idempotencyKey) === 1) throw new Error("no");
    });
    const app = await scope.running({ tasks: [flaky] });
    await (await app.submit(flaky.s(), { id: "twice" })).result();
    assert.equal(keys, ["twice.0.1", "twice.0.2"]);
    assert.is((await scope.contents()).facts, 4); // Definition, two outcomes, end.
  }),
);

test(
  "a task that never settles is cut off by its timeout, told by its signal, and its slot is free",
  tests.scope(async (scope) => {
    const aborted = new Moment<Error>("the signal aborted");
    const endless = task("endless", { timeout: "100ms" }, () => {
      const { signal } = currentTask();
      signal.addEventListener("abort", () => aborted.come(signal.reason));
      return new Promise<number>(() => {});
    });
    const app = await scope.running({ tasks: [endless, add], concurrency: 1 });
    const failure = await failureOf(await app.submit(endless.s()) as Run);
    assert.is(failure.remoteName, "TimeoutError");
    assert.match(failure.remoteMessage, /100 ms/);
    assert.is((await aborted.reached()).name, "TimeoutError");
    assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
  }),
);

test(
  "a timed-out attempt is tried again when the policy says so",
  tests.scope(async (scope) => {
    const options: TaskOptions = { timeout: "50ms", retry: { max: 1, base: 1 } };
    const slowOnce = task("slow-once", options, async () => {
      if (currentTask().attempt === 1) await new Promise(() => {});
      return "done";
    });
    assert.is(await (await runOne(scope, slowOnce)).result(), "done");
  }),
);

/** What was thrown, and what is recorded of it. */
const circular: { self?: unknown } = {};
circular.self = circular;
const circularError = new Error("round", { cause: circular });
(circularError as { cause: unknown }).cause = circularError;
const hostile = {
  get name(): string {
    throw new Error("a getter");
  },
};
const thrown: [what: string, value: unknown, name: string, message: RegExp][] = [
  ["null", null, "NonError", /^threw null$/],
  ["undefined", undefined, "NonError", /^threw undefined$/],
  ["a string", "plain text", "NonError", /^threw plain text$/],
  ["an object", { code: 7 }, "NonError", /^threw \{"code":7\}$/],
  ["a circular object", circular, "NonError", /^threw \[object Object\]$/],
  ["an error that is its own cause", circularError, "Error", /^round$/],
  ["an error with a message of 10 MB", new Error("m".repeat(1e7)), "Error", /^m{3999}…$/],
  ["an error with a lone surrogate", new Error("\ud800"), "Error", /^\ufffd$/],
  ["an object with a throwing getter", hostile, "NonError", /^threw/],
];

for (const [what, value, name, message] of thrown) {
  test(
    `a task may throw ${what}`,
    tests.scope(async (scope) => {
      const thrower = task("thrower", () => {
        throw value;
      });
      const failure = await failureOf(await runOne(scope, thrower));
      assert.is(failure.remoteName, name);
      assert.match(failure.remoteMessage, message);
    }),
  );
}

const results: [what: string, value: () => unknown, name: string, message: RegExp][] = [
  ["a function", () => () => 1, "InvalidWorkflowError", /result is a function/],
  ["NaN", () => NaN, "InvalidWorkflowError", /result is NaN/],
  ["a bigint inside", () => ({ a: [1n] }), "InvalidWorkflowError", /result\.a\[0\] is a bigint/],
  ["a Date", () => new Date(), "InvalidWorkflowError", /result is a Date instance/],
  ["a circular object", () => circular, "InvalidWorkflowError", /result\.self is a circular/],
  ["a list with a hole", () => [undefined], "InvalidWorkflowError", /result\[0\] is undefined/],
];

for (const [what, value, name, message] of results) {
  test(
    `${what} as a result is refused, once, with the reason`,
    tests.scope(async (scope) => {
      let calls = 0;
      const returner = task("returner", { retry: { max: 3, base: 1 } }, () => {
        calls++;
        return value();
      });
      const failure = await failureOf(await runOne(scope, returner));
      assert.is(failure.remoteName, name);
      assert.match(failure.remoteMessage, message);
      assert.is(calls, 1, "trying again would not help");
    }),
  );
}

test(
  "no result is null, also for the next task",
  tests.scope(async (scope) => {
    const nothing = task("nothing", async () => {});
    const app = await scope.running({ tasks: [nothing, echo] });
    const run = await app.submit(chain(nothing.s(), echo.s()));
    assert.equal([await run.result(0), await run.result()], [null, null]);
  }),
);

test(
  "a task that no worker of its queue knows fails, and the message names it and what is known",
  tests.scope(async (scope) => {
    const unknown = task("unknown.to.all", { retry: { max: 5 } }, () => {});
    const app = await scope.running({ tasks: [add, mul] });
    const failure = await failureOf(await app.submit(unknown.s()) as Run);
    assert.is(failure.remoteName, "UnknownTaskError");
    assert.match(failure.remoteMessage, /"unknown\.to\.all".*queue "default".*add, mul/);
  }),
);

test(
  "a partial signature without its upstream's result gets undefined arguments, not a hanging run",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const wf = Workflow.fromJSON({
      version: 1,
      name: "wrong",
      timeoutMs: 60_000,
      policies: [{ queue: "default", priority: 5 }],
      nodes: [{ task: "sum", args: [] }],
      output: { json: "null", inputs: [] },
    });
    assert.is((await failureOf(await app.submit(wf))).remoteName, "TypeError");
  }),
);

const deep = "[".repeat(100_000) + "]".repeat(100_000);

const forged: [what: string, body: string | Uint8Array][] = [
  ["is empty", ""],
  ["is not JSON", "not JSON"],
  ["is a list", "[]"],
  ["has no version", "{}"],
  ["has no signature", '{"v":1}'],
  ["has a signature without a task", '{"v":1,"signature":{"args":[]}}'],
  ["has a task that is no text", '{"v":1,"signature":{"task":7,"args":[]}}'],
  ["has arguments that are no list", '{"v":1,"signature":{"task":"add","args":{}}}'],
  ["has inputs that are no list", '{"v":1,"signature":{"task":"add","args":[],"inputs":1}}'],
  ["has malformed inputs", '{"v":1,"signature":{"task":"add","args":[],"inputs":[{"at":[]}]}}'],
  ["has an input that is null", '{"v":1,"signature":{"task":"add","args":[],"inputs":[null]}}'],
  [
    "has an input without a path",
    '{"v":1,"signature":{"task":"add","args":[],"inputs":[{"node":0}]}}',
  ],
  [
    "has a prototype as path",
    '{"v":1,"signature":{"task":"echo","args":[{}],"inputs":[{"at":[0,"__proto__"],"node":0}]},"results":{"0":1}}',
  ],
  ["is a megabyte of brackets", "[".repeat(1_000_000)],
  ["is a hundred thousand levels deep", `{"v":1,"signature":{"task":"echo","args":${deep}}}`],
  ["begins with a byte order mark and another", "\ufeff\ufeff{}"],
  ["is not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
  ["says its task twice", '{"v":1,"signature":{"task":"add","task":7,"args":[1,1]}}'],
  [
    "calls its task in an unknown way",
    '{"v":1,"signature":{"task":"add","args":[1,1],"calls":"x"}}',
  ],
  [
    "has a timeout that is text",
    '{"v":1,"signature":{"task":"add","args":[1,1],"timeoutMs":"soon"}}',
  ],
];

for (const [what, body] of forged) {
  test(
    `a task message that ${what} is a failure, and other tasks run`,
    tests.scope(async (scope) => {
      const app = await scope.open();
      await scope.processor(app);
      const run = await app.submit(add.s(1, 1).set({ queue: "elsewhere" }), { id: "forged" });
      await eventually("the node is queued", async () => (await scope.contents()).tasks === 1);
      const other = await app.submit(add.s(2, 2));
      const js = jetstream(await scope.raw);
      const subject = `${scope.namespace}.task.default.p5.forged.0.1`;
      await js.publish(subject, body);
      await scope.worker(app, { tasks: arithmetic });
      assert.is((await failureOf(run as Run)).attempt, 1);
      assert.is(await other.result(), 4);
      await scope.worker(app, { tasks: arithmetic, queues: ["elsewhere"] });
    }),
  );
}

test(
  "the bytes of a task message that cannot be read are kept in quarantine",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const wf = new Workflow("keep");
    const end = new Moment("the end");
    const gate = task("gate", () => end.wait);
    await scope.worker(app, { tasks: [gate], queues: ["gate"] });
    wf.call(add, 1, 1).after(wf.call(gate).set({ queue: "gate" }));
    const run = await app.submit(wf, { id: "keep" });
    const raw = await scope.raw;
    await jetstream(raw).publish(`${scope.namespace}.task.default.p5.keep.1.1`, "gibberish");
    const failure = await rejection(run.result(1));
    assert.match(failure.message, /cannot be read/);
    const kv = await new Kvm(jetstream(raw)).open(`${scope.namespace}_STATE`);
    assert.is((await kv.get("quarantine.keep.1.1"))?.string(), "gibberish");
    end.come();
    assert.is((await run.ended()).state, "FAILURE");
  }),
);

test(
  "a message in the queue whose subject is no task's is removed and kept in quarantine",
  tests.scope(async (scope) => {
    await scope.running({ tasks: arithmetic });
    const raw = await scope.raw;
    const js = jetstream(raw);
    for (const tail of ["a", "a.b.c.d", "wf.x.1", "wf.1.1.1"]) {
      await js.publish(`${scope.namespace}.task.default.p5.${tail}`, tail);
    }
    await scope.rest();
    const kv = await new Kvm(jetstream(raw)).open(`${scope.namespace}_STATE`);
    const kept: string[] = [];
    for await (const key of await kv.keys("quarantine.>")) kept.push((await kv.get(key))!.string());
    assert.equal(kept.sort(), ["a", "a.b.c.d", "wf.1.1.1", "wf.x.1"]);
  }),
);

test(
  "a task message of a newer version is left to newer workers",
  tests.scope(async (scope) => {
    await scope.running({ tasks: arithmetic });
    const subject = `${scope.namespace}.task.default.p5.newer.0.1`;
    await jetstream(await scope.raw).publish(subject, '{"v":2}');
    await eventually(
      "it was given back",
      () => scope.logs.some(({ message }) => message.includes("given back: it has version 2")),
    );
    assert.equal(await scope.contents(), { facts: 0, tasks: 1, ticks: 0 });
  }, { leavesWork: true }),
);

test.run();
