/** Logs of tasks on a real server: kept with the run, followed from another process, sealed, and removed with the run. */
import {
  CodecError,
  currentTask,
  NotFoundError,
  task,
  type TaskLogLine,
  Workflow,
} from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Run } from "../../src/client/run.ts";
import { removeOrphans } from "../../src/processor/orphans.ts";
import { flipping } from "../data/codecs.ts";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const fetchAll = task("fetchAll", (pages: number) => {
  const { log } = currentTask();
  for (let page = 1; page <= pages; page++) log.info("fetched", { page, secret: "s3cret" });
  if (pages > 2) log.warn("that was a lot");
  return pages;
});

async function linesOf(run: Run, options = {}): Promise<TaskLogLine[]> {
  const lines: TaskLogLine[] = [];
  for await (const line of run.logs(options)) lines.push(line);
  return lines;
}

async function keysOf(scope: Scope, prefix: string): Promise<string[]> {
  return await (await scope.ports()).views.keys(prefix);
}

test(
  "what tasks log is there when the run has ended, in order, and goes with the run",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: [fetchAll] });
    const wf = new Workflow("pages");
    const first = wf.call(fetchAll, 2).named("first");
    wf.call(fetchAll, first).after(wf.call(fetchAll, 3).named("second")).named("third");
    const run = await app.submit(wf, { id: "pages" });
    await run.ended();
    const lines = await linesOf(run);
    assert.is(lines.length, 2 + 4 + 2);
    assert.equal(lines.map(({ at }) => at), lines.map(({ at }) => at).sort((a, b) => a - b));
    assert.equal(lines.at(-1)!.label, "third");
    const second = await linesOf(run, { node: "second", level: "warn" });
    assert.equal(second.map(({ message }) => message), ["that was a lot"]);
    assert.equal((await linesOf(run, { node: first })).map(({ fields }) => fields?.["page"]), [
      1,
      2,
    ]);
    assert.ok((await run.audit()).ok);
    assert.equal((await app.doctor()).findings.filter(({ severity }) => severity === "error"), []);
    assert.is((await keysOf(scope, "log.pages.")).length, 3);
    await run.remove();
    assert.equal(await keysOf(scope, "log.pages."), []);
    assert.instance(await rejection(linesOf(run)), NotFoundError);
  }),
);

test(
  "who follows a run gets lines while the task runs, and ends with the run",
  tests.scope(async (scope) => {
    const heard = new Moment<string>("the first line is heard");
    const waiting = task("waiting", async () => {
      const { log } = currentTask();
      log.info("begun");
      await heard.wait;
      log.info("heard");
    });
    const app = await scope.running({ tasks: [waiting] });
    const run = await app.submit(waiting.s(), { id: "followed" });
    const seen: string[] = [];
    for await (const { message } of run.logs({ follow: true })) {
      seen.push(message);
      heard.come(message);
    }
    assert.equal(seen, ["begun", "heard"]);
    assert.equal(await all(run), ["begun", "heard"], "also of a run that has ended");
    // Whoever stops early leaves nothing behind: the scope looks for leaks.
    for await (const { message } of run.logs({ follow: true })) {
      assert.is(message, "begun");
      break;
    }
  }),
);

async function all(run: Run): Promise<string[]> {
  return (await linesOf(run, { follow: true })).map(({ message }) => message);
}

test(
  "what an execution logged that was given back is kept beside what the next one logs",
  tests.scope(async (scope) => {
    const begun = new Moment<string>("the first execution");
    const stuck = task("stuck", async () => {
      const { log, signal } = currentTask();
      log.info("I was here");
      begun.come("begun");
      await new Promise((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason))
      );
    });
    const quick = task("stuck", () => currentTask().log.info("me too"));
    const app = await scope.open();
    await scope.processor(app);
    const first = (await scope.open()).worker({ tasks: [stuck], id: "first" });
    await first.start();
    const run = await app.submit(stuck.s(), { id: "twice" });
    await begun.reached();
    await first.stop({ timeout: 1 });
    await scope.worker(await scope.open(), { tasks: [quick], id: "second" });
    await run.ended();
    const said = (await linesOf(run)).map(({ worker, attempt, message }) =>
      `${worker} ${attempt} ${message}`
    );
    assert.equal(said, ["first 1 I was here", "second 1 me too"]);
  }),
);

test(
  "with a codec, logs are sealed, and only those with the codec can read them",
  tests.scope(async (scope) => {
    await scope.worker(await scope.open({ codec: flipping }), { tasks: [fetchAll] });
    await scope.processor(await scope.open());
    const app = await scope.open({ codec: flipping });
    const run = await app.submit(fetchAll.s(2), { id: "sealed" });
    await run.ended();
    assert.is((await linesOf(run))[0]!.fields?.["secret"], "s3cret");
    const [key] = await keysOf(scope, "log.sealed.");
    const raw = await (await scope.raw).request(
      `$JS.API.DIRECT.GET.KV_${scope.namespace}_STATE.$KV.${scope.namespace}_STATE.${key}`,
    );
    assert.match(raw.string(), /"lines":\{"~sealed":"/);
    assert.not.match(raw.string(), /s3cret|fetched/);
    const plain = (await scope.open()).run("sealed");
    assert.instance(await rejection(linesOf(plain)), CodecError);
  }),
);

test(
  "the library's own log must be a function, and one that throws stops nothing",
  tests.scope(async (scope) => {
    const refused = await rejection(scope.open({ log: console as never }));
    assert.match(refused.message, /log = .* is not a function/);
    let told = 0;
    const log = () => {
      told++;
      throw new Error("the disk is full");
    };
    await scope.worker(await scope.open(), { tasks: [fetchAll] });
    await scope.processor(await scope.open());
    const app = await scope.open({ log });
    const unserved = task("unserved", () => 1);
    const run = await app.submit(unserved.s().set({ queue: "nowhere" }), { id: "told" });
    assert.is(told, 1);
    await run.cancel();
    await run.ended();
  }),
);

test(
  "a log that is written after its run was removed does not stay",
  tests.scope(async (scope) => {
    await scope.open();
    const ports = await scope.ports();
    await ports.views.put("log.gone.0.1.x", new TextEncoder().encode("{}"));
    await eventually("it is there", async () => (await ports.views.keys("log.")).length === 1);
    await removeOrphans(ports);
    assert.equal(await ports.views.keys("log."), []);
  }),
);

test.run();
