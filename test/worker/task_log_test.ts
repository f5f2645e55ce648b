/** Logs of tasks in virtual time: when they are written, how much is kept, what they cost, and that nothing fails by them. */
import { currentTask, NotFoundError, task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { TaskLogLine } from "../../src/client/logs.ts";
import type { Run } from "../../src/client/run.ts";
import type { AnyTask } from "../../src/core/task.ts";
import type { Ports } from "../../src/ports.ts";
import { removeRun } from "../../src/runs/removal.ts";
import { Worker } from "../../src/worker/worker.ts";
import { overriding, VirtualEngine } from "../virtual_engine.ts";

const quiet = task("quiet", () => 1);
const talk = task("talk", (text: string) => {
  const { log } = currentTask();
  log.info(text, { attempt: currentTask().attempt });
  return text;
});

function one(called: AnyTask, ...args: unknown[]): Workflow {
  const wf = new Workflow("one");
  wf.call(called as never, ...args as never[]);
  return wf;
}

async function linesOf(run: Run, options = {}): Promise<TaskLogLine[]> {
  const lines: TaskLogLine[] = [];
  for await (const line of run.logs(options)) lines.push(line);
  return lines;
}

/** An engine whose worker has these views, and what it asked of them. */
async function started(
  tasks: readonly AnyTask[],
  put?: (ports: Ports, key: string, data: Uint8Array) => Promise<void>,
): Promise<{ engine: VirtualEngine; worker: Worker; puts: string[] }> {
  const engine = new VirtualEngine();
  const puts: string[] = [];
  const { ports } = engine;
  const views = overriding(ports.views, {
    put: (key, data) => {
      puts.push(key);
      return put === undefined ? ports.views.put(key, data) : put(ports, key, data);
    },
  });
  const worker = new Worker({ ...ports, views }, { tasks, id: "w1" }, { isAnnounced: false });
  await worker.start();
  await engine.processor();
  return { engine, worker, puts };
}

test("a task that logs nothing writes nothing", async () => {
  const { engine, puts } = await started([quiet]);
  const run = await engine.submit(one(quiet));
  await engine.until("it ends", run.ended());
  assert.equal(puts, []);
  assert.equal(await linesOf(run), []);
});

test("what a short task logs is written once, and can be read when its outcome can", async () => {
  const { engine, puts } = await started([talk]);
  const run = await engine.submit(one(talk, "hello"));
  const seen: TaskLogLine[][] = [];
  engine.ports.hints.onFact("run.r.*.*", () => void linesOf(run).then((lines) => seen.push(lines)));
  await engine.until("it ends", run.ended());
  await engine.pass(10);
  assert.is(puts.length, 1);
  assert.match(puts[0]!, /^log\.run\.0\.1\.\w+$/);
  const { at, ...line } = seen[0]![0]!;
  assert.ok(at >= engine.clock.now() - 60_000);
  assert.equal(line, {
    node: 0,
    label: "talk-0",
    attempt: 1,
    worker: "w1",
    line: 1,
    level: "info",
    message: "hello",
    fields: { attempt: 1 },
  });
});

test("what a task logs while it runs is written at most once a second", async () => {
  const engine = new VirtualEngine();
  const chatty = task("chatty", async () => {
    const { log } = currentTask();
    for (let i = 0; i < 100; i++) {
      log.debug(`step ${i}`);
      await engine.sleep(50);
    }
  });
  const puts: number[] = [];
  const views = overriding(engine.ports.views, {
    put: (key, data) => {
      puts.push(engine.clock.monotonic());
      return engine.ports.views.put(key, data);
    },
  });
  await new Worker({ ...engine.ports, views }, { tasks: [chatty] }, { isAnnounced: false }).start();
  await engine.processor();
  const run = await engine.submit(one(chatty));
  await engine.pass(2_500);
  assert.ok((await linesOf(run)).length >= 20);
  await engine.until("it ends", run.ended());
  assert.is((await linesOf(run)).length, 100);
  assert.ok(puts.length >= 5 && puts.length <= 6, puts.join());
  puts.slice(1, -1).forEach((at, i) => assert.ok(at - puts[i]! >= 1_000, puts.join()));
});

test("the last lines are kept, and how many are not is said", async () => {
  const long = task("long", (lines: number, bytes: number) => {
    const { log } = currentTask();
    for (let i = 1; i <= lines; i++) log.info(`${i} ${"x".repeat(bytes)}`);
  });
  const { engine } = await started([long]);
  const wf = new Workflow("both");
  wf.call(long, 1_500, 1).named("many");
  wf.call(long, 100, 5_000).named("big");
  const run = await engine.submit(wf);
  await engine.until("it ends", run.ended());
  const many = await linesOf(run, { node: "many" });
  assert.is(many.length, 1_000);
  assert.equal([many[0]!.dropped, many[0]!.line, many[0]!.message], [500, 501, "501 x"]);
  assert.is(many.at(-1)!.message, "1500 x");
  assert.ok(many.slice(1).every(({ dropped }) => dropped === undefined));
  const big = await linesOf(run, { node: "big" });
  assert.ok(big.length >= 24 && big.length <= 26, String(big.length));
  assert.is(big[0]!.dropped, 100 - big.length);
});

test("each attempt has its lines, each execution too, and all are in order", async () => {
  const shaky = task("shaky", { retry: { max: 1, base: "1s" } }, () => {
    const { log, attempt } = currentTask();
    log.warn(`attempt ${attempt}`);
    if (attempt === 1) throw new Error("no luck");
  });
  const { engine } = await started([shaky, talk]);
  const wf = new Workflow("both");
  const first = wf.call(shaky);
  wf.call(talk, "after").after(first);
  const run = await engine.submit(wf);
  await engine.until("it ends", run.ended());
  const messages = (await linesOf(run)).map(({ message }) => message);
  assert.equal(messages, ["attempt 1", "attempt 2", "after"]);
  const second = await linesOf(run, { node: 0, attempt: 2 });
  assert.equal(second.map(({ message }) => message), ["attempt 2"]);
  assert.equal(await linesOf(run, { attempt: 3 }), []);
  const urgent = await linesOf(run, { level: "warn" });
  assert.equal(urgent.map(({ level }) => level), ["warn", "warn"]);
});

test("an attempt that cannot write its log succeeds, and is not kept waiting for long", async () => {
  const failing = await started([talk], () => Promise.reject(new Error("no server")));
  const run = await failing.engine.submit(one(talk, "lost"));
  assert.is((await failing.engine.until("it ends", run.ended())).state, "SUCCESS");
  const hanging = await started([talk], () => new Promise(() => {}));
  const slow = await hanging.engine.submit(one(talk, "lost"));
  const before = hanging.engine.clock.monotonic();
  assert.is((await hanging.engine.until("it ends", slow.ended())).state, "SUCCESS");
  const tookMs = hanging.engine.clock.monotonic() - before;
  assert.ok(tookMs >= 1_000 && tookMs < 1_500, String(tookMs));
  const [attempt] = await slow.attempts(0);
  assert.is(attempt!.endedAt, attempt!.startedAt, "the wait is no part of the attempt");
});

test("what is logged after the attempt has ended is not kept", async () => {
  const engine = new VirtualEngine();
  const late = task("late", { timeout: "1s" }, async () => {
    const { log } = currentTask();
    log.info("begins");
    await engine.sleep(5_000);
    log.info("too late");
  });
  await engine.worker([late]);
  await engine.processor();
  const run = await engine.submit(one(late));
  await engine.until("it ends", run.ended());
  await engine.pass(10_000);
  assert.equal((await linesOf(run)).map(({ message }) => message), ["begins"]);
});

test("who follows is given each line once, as it is written, until the run has ended", async () => {
  const engine = new VirtualEngine();
  const slow = task("slow", async () => {
    const { log } = currentTask();
    for (let i = 0; i < 4; i++) {
      log.info(`${i}`);
      await engine.sleep(2_000);
    }
  });
  await engine.worker([slow, talk]);
  await engine.processor();
  const wf = new Workflow("followed");
  wf.call(talk, "last").after(wf.call(slow));
  const run = await engine.submit(wf);
  const seen: string[] = [];
  const following = (async () => {
    for await (const { message } of run.logs({ follow: true })) seen.push(message);
  })();
  await engine.pass(5_000);
  assert.ok(seen.length >= 2 && seen.length <= 3, seen.join());
  await engine.until("it ends", following);
  assert.equal(seen, ["0", "1", "2", "3", "last"]);
});

test("who follows a run that is removed is told so", async () => {
  const engine = new VirtualEngine();
  const run = await engine.submit(one(talk, "nobody runs it"));
  const following = linesOf(run, { follow: true }).then(() => undefined, (error) => error as Error);
  await engine.pass(1_000);
  await removeRun(engine.ports, "run");
  assert.instance(await engine.until("it is told", following), NotFoundError);
});

test("logs are removed with their run", async () => {
  const { engine } = await started([talk]);
  const run = await engine.submit(one(talk, "hello"));
  await engine.until("it ends", run.ended());
  const { views } = engine.ports;
  assert.is((await views.keys("log.run.")).length, 1);
  await removeRun(engine.ports, "run");
  assert.equal(await views.keys("log.run."), []);
});

test("a local run gives what its tasks logged", async () => {
  const { logs } = await runLocally(one(talk, "hello"), { tasks: [talk] });
  assert.equal(logs.map(({ label, message }) => `${label}: ${message}`), ["talk-0: hello"]);
});

test("options that make no sense are refused, with what to do", async () => {
  const { engine } = await started([talk]);
  const run = await engine.submit(one(talk, "x"));
  await engine.until("it ends", run.ended());
  for (
    const [options, expected] of [
      [{ attempt: 0 }, /attempt = 0 is not a whole number from 1/],
      [{ level: "loud" }, /level = "loud" is unknown/],
      [{ nodes: 1 }, /nodes/],
      [{ node: "nowhere" }, /has no node "nowhere"/],
    ] as [object, RegExp][]
  ) {
    try {
      await linesOf(run, options);
      assert.unreachable(JSON.stringify(options));
    } catch (error) {
      assert.match((error as Error).message, expected);
    }
  }
});

test.run();
