/** `run.audit()` on a real server: what is left of finished runs, what runs under way look like, and what somebody broke. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { NotFoundError, task, Workflow } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic } from "./tasks.ts";

const server = new TestServer();
const test = suite("run.audit() on a server");
test.after(() => server.stop());

const double = task("double", (n: number) => 2 * n);

async function purge(scope: Scope, stream: string, subject: string): Promise<void> {
  const { streams } = await jetstreamManager(await scope.raw);
  await streams.purge(`${scope.namespace}${stream}`, { filter: `${scope.namespace}.${subject}` });
}

async function purgeFact(scope: Scope, key: string): Promise<void> {
  const { streams } = await jetstreamManager(await scope.raw);
  const { namespace } = scope;
  await streams.purge(`KV_${namespace}`, { filter: `$KV.${namespace}.${key}` });
}

test(
  "runs that went well, with failures and child runs, are found well",
  server.scope(async (scope) => {
    const failing = task("failing", { retry: { max: 2, base: "1ms" } }, (): number => {
      throw new Error("no luck");
    });
    const app = await scope.running({ tasks: [...arithmetic, double, failing] });
    const wf = new Workflow("mapped");
    wf.map(double, wf.input<number[]>());
    const good = await app.submit(wf, { input: [1, 2, 3] });
    const bad = await app.submit(failing.s());
    assert.equal(await good.result(), [2, 4, 6]);
    await bad.ended();
    assert.equal(await good.audit(), {
      ok: true,
      findings: [],
      // Head, input, expansion, outcome, end; head, three outcomes, end.
      checked: { runs: 2, nodes: 2 + 3, facts: 5 + 5 },
      unchecked: 0,
    });
    assert.ok((await bad.audit()).ok);
    assert.instance(await rejection(app.run("nobody").audit()), NotFoundError);
  }),
);

test(
  "a run under way is found well so far",
  server.scope(async (scope) => {
    const [begun, go] = [new Moment("it runs"), new Moment("it may end")];
    const held = task("held", async () => {
      begun.come();
      await go.wait;
    });
    const app = await scope.running({ tasks: [held, add] });
    const wf = new Workflow("held");
    wf.call(add, 1, 1).after(wf.call(held));
    const run = await app.submit(wf);
    await begun.reached();
    assert.equal((await run.audit()).findings, []);
    go.come();
    await run.ended();
    assert.ok((await run.audit()).ok);
  }),
);

test(
  "what somebody removed is missed: a tick, an outcome, a definition",
  server.scope(async (scope) => {
    const app = await scope.open();
    const waiting = await app.submit(add.s(1, 1), { id: "waiting", unknownTasks: "ignore" });
    assert.ok((await waiting.audit()).ok);
    await purge(scope, "_TICKS", "tick.waiting");
    assert.equal((await waiting.audit()).findings.map(({ invariant }) => invariant), ["L4"]);
    await scope.worker(app, { tasks: arithmetic });
    const processor = await scope.processor(app);
    await processor.sweep();
    await waiting.ended();
    assert.ok((await waiting.audit()).ok);
    await purgeFact(scope, "waiting.r.0.1");
    const { findings } = await waiting.audit();
    assert.ok(findings.some(({ invariant, node }) => invariant === "L1" && node === 0));
    await purgeFact(scope, "waiting.def.0");
    const [missing] = (await waiting.audit()).findings;
    assert.equal([missing!.invariant, missing!.run], ["S5", "waiting"]);
  }),
);

test(
  "what is left in the queues of a run that has ended is found",
  server.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    const run = await app.submit(add.s(1, 1), { id: "over" });
    await run.ended();
    await scope.rest();
    await scope.stop();
    const js = jetstream(await scope.raw);
    await js.publish(`${scope.namespace}.tick.over`, '{"v":1}');
    await js.publish(`${scope.namespace}.task.default.p5.over.0.2`, "{}");
    const { findings } = await run.audit();
    assert.equal(findings.map(({ invariant, node }) => [invariant, node]), [
      ["L5", undefined],
      ["L5", 0],
    ]);
  }, { leavesWork: true }),
);

test.run();
