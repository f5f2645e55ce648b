/** Processes die, the server dies, hints get lost: what was submitted ends all the same, and nothing runs twice without a reason. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection, SubscriptionOptions } from "@nats-io/nats-core";
import { type Node, type Run, task, Workflow } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { executions, LEASES, recorded, recordExecutions } from "./recorded_task.ts";
import { eventually, type Scope, TestServer, within } from "./server.ts";

const server = new TestServer();
const test = suite("faults");
test.after(() => server.stop());

const NODES = 500;
const WIDTH = 20;

/** Layers of 20; every node waits for two of the layer before and takes their results. */
function layered(nodes: number, work: ReturnType<typeof recorded>): Workflow {
  const wf = new Workflow("layered");
  const all: Node<number>[] = [];
  for (let i = 0; i < nodes; i++) {
    const before = Math.floor(i / WIDTH) * WIDTH - WIDTH;
    const upstreams = before < 0 ? [] : [before + i % WIDTH, before + (i * 7 + 3) % WIDTH];
    all.push(wf.call(work, i, ...upstreams.map((upstream) => all[upstream]!)));
  }
  return wf;
}

/** A part of the system in a process of its own, which ends with the test. */
async function startPart(role: "worker" | "processor", scope: Scope): Promise<ChildProcess> {
  const script = fileURLToPath(new URL("part.ts", import.meta.url));
  const how = "Deno" in globalThis ? ["run", "-A", script] : ["--import", "tsx", script];
  const child = spawn(process.execPath, [...how, role, scope.server.url, scope.namespace], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  process.once("exit", () => child.kill("SIGKILL"));
  await within(`the ${role} process to be ready`, once(child.stdout!, "data"));
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, "exit");
  process.kill(child.pid!, "SIGKILL");
  await gone;
}

/** Resolves once so many outcomes have been recorded; gives the nodes that have one by then. */
async function outcomesReach(count: number, run: Run, scope: Scope): Promise<Set<number>> {
  const nodes = new Set<number>();
  const nc = await scope.raw;
  const enough = new Promise<void>((resolve) => {
    const subscription = nc.subscribe(`${scope.namespace}.fact.${run.id}.r.>`, {
      callback: (_, msg) => {
        nodes.add(Number(msg.subject.split(".").at(-2)));
        if (nodes.size === count) {
          subscription.unsubscribe();
          resolve();
        }
      },
    });
  });
  await nc.flush();
  await within(`${count} outcomes`, enough, 30_000);
  return nodes;
}

/** Outcomes of the run: node → how many. */
async function outcomes(run: Run, scope: Scope): Promise<Map<number, number>> {
  const { streams } = await jetstreamManager(await scope.raw);
  const { state } = await streams.info(`KV_${scope.namespace}`, {
    subjects_filter: `$KV.${scope.namespace}.${run.id}.r.>`,
  });
  const counts = new Map<number, number>();
  for (const subject of Object.keys(state.subjects ?? {})) {
    const node = Number(subject.split(".").at(-2));
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  return counts;
}

async function assertEachNodeHasOneOutcome(run: Run, scope: Scope, nodes: number): Promise<void> {
  const counts = await outcomes(run, scope);
  assert.is(counts.size, nodes);
  assert.ok([...counts.values()].every((count) => count === 1), "a node has several outcomes");
}

test(
  "a worker process killed in the middle: the workflow ends, only what it had under way runs again",
  server.scope(async (scope) => {
    await recordExecutions(await scope.raw, scope.namespace);
    const app = await scope.open(LEASES);
    await scope.processor(app);
    const [victim, survivor] = await Promise.all([
      startPart("worker", scope),
      startPart("worker", scope),
    ]);
    const work = recorded(jetstream(await scope.raw), scope.namespace, "test");
    const run = await app.submit(layered(NODES, work));
    await outcomesReach(150, run, scope);
    await kill(victim);
    assert.is((await run.ended()).state, "SUCCESS");
    await kill(survivor);
    await assertEachNodeHasOneOutcome(run, scope, NODES);
    const all = await executions(await scope.raw, scope.namespace);
    assert.is(new Set(all.map(({ node }) => node)).size, NODES);
    const seen = new Map<number, string>();
    const again = all.filter(({ node, by }) => {
      const first = seen.get(node);
      seen.set(node, first ?? by);
      return first !== undefined;
    });
    assert.ok(
      again.length <= 8,
      `${again.length} executions too many: the killed worker ran at most 8 at once`,
    );
    assert.ok(
      again.every(({ node }) => seen.get(node) === `process-${victim.pid}`),
      "something ran twice that the killed worker had not begun",
    );
  }, { within: 60_000 }),
);

test(
  "a processor process killed in the middle: another one goes on, nothing that had ended runs again",
  server.scope(async (scope) => {
    await recordExecutions(await scope.raw, scope.namespace);
    const app = await scope.open(LEASES);
    const victim = await startPart("processor", scope);
    const work = recorded(jetstream(await scope.raw), scope.namespace, "test");
    await scope.worker(await scope.open(LEASES), { tasks: [work], concurrency: 8 });
    const run = await app.submit(layered(NODES, work));
    const reached = outcomesReach(150, run, scope);
    const before = await reached;
    await kill(victim);
    await scope.processor(app);
    assert.is((await run.ended()).state, "SUCCESS");
    await assertEachNodeHasOneOutcome(run, scope, NODES);
    const all = await executions(await scope.raw, scope.namespace);
    const counts = new Map<number, number>();
    for (const { node } of all) counts.set(node, (counts.get(node) ?? 0) + 1);
    const again = [...counts].filter(([, count]) => count > 1).map(([node]) => node);
    assert.is(counts.size, NODES);
    assert.ok(
      again.every((node) => !before.has(node)),
      `ran again though they had ended: ${again}`,
    );
  }, { within: 60_000 }),
);

test(
  "the server killed in the middle and started again: the workflow ends",
  async () => {
    // A server of its own: the others must not notice.
    const own = new TestServer();
    try {
      await own.scope(async (scope) => {
        await recordExecutions(await scope.raw, scope.namespace);
        const forever = { maxReconnectAttempts: -1, reconnectTimeWait: 50 };
        const app = await scope.open(LEASES, await scope.connect(forever));
        const work = recorded(jetstream(await scope.connect(forever)), scope.namespace, "test");
        await scope.worker(await scope.open(LEASES, await scope.connect(forever)), {
          tasks: [work],
          concurrency: 8,
        });
        await scope.processor(await scope.open(LEASES, await scope.connect(forever)));
        const run = await app.submit(layered(NODES, work));
        await outcomesReach(150, run, scope);
        await scope.server.kill();
        await scope.server.restart();
        assert.is((await within("the run's end", run.ended(), 60_000)).state, "SUCCESS");
        const counts = await outcomes(run, scope);
        assert.is(counts.size, NODES);
      }, { within: 90_000 })();
    } finally {
      await own.stop();
    }
  },
);

/** A connection that never hears of a fact. */
function deaf(nc: NatsConnection): NatsConnection {
  return Object.create(nc, {
    subscribe: {
      value: (subject: string, options?: SubscriptionOptions) =>
        nc.subscribe(subject.includes(".fact.") ? `deaf.${subject}` : subject, options),
    },
  });
}

test(
  "without a single hint the workflow ends by ticks alone",
  server.scope(async (scope) => {
    await recordExecutions(await scope.raw, scope.namespace);
    const work = recorded(jetstream(await scope.raw), scope.namespace, "test");
    const app = await scope.open();
    await scope.worker(await scope.open({}, deaf(await scope.connect())), { tasks: [work] });
    await scope.processor(await scope.open({}, deaf(await scope.connect())), {
      tick: { idle: ["200ms", "200ms"] },
    });
    const run = await app.submit(layered(3 * WIDTH, work));
    assert.is((await run.ended()).state, "SUCCESS");
    assert.is((await executions(await scope.raw, scope.namespace)).length, 3 * WIDTH);
  }, { within: 60_000 }),
);

test(
  "a submit that died before its tick is found by a sweep",
  server.scope(async (scope) => {
    const one = task("one", () => 1);
    const app = await scope.open();
    const run = await app.submit(one.s());
    const { streams } = await jetstreamManager(await scope.raw);
    await streams.purge(`${scope.namespace}_TICKS`);
    await scope.worker(app, { tasks: [one] });
    const processor = await scope.processor(app, { sweep: "1h" });
    assert.equal((await processor.sweep()).revived, [run.id]);
    assert.is(await run.result(), 1);
  }),
);

test(
  "ticks that come again and again, to two processors: nothing runs twice",
  server.scope(async (scope) => {
    await recordExecutions(await scope.raw, scope.namespace);
    const nc = await scope.raw;
    const work = recorded(jetstream(nc), scope.namespace, "test");
    const app = await scope.running({ tasks: [work], concurrency: 8 });
    await scope.processor(await scope.open());
    let wakes = 0;
    let heard = 0;
    // A wake for every five outcomes: each may hand the workflow to the other processor.
    nc.subscribe(`${scope.namespace}.fact.*.r.>`, {
      callback: (_, msg) => {
        if (++heard % 5 !== 0) return;
        wakes++;
        nc.publish(`${scope.namespace}.tick.${msg.subject.split(".")[2]}`, `{"v":1}`);
      },
    });
    const run = await app.submit(layered(200, work));
    const ended = run.ended();
    assert.is((await ended).state, "SUCCESS");
    assert.ok(wakes >= 20, `only ${wakes} wakes`);
    const all = await executions(nc, scope.namespace);
    assert.is(all.length, 200);
  }, { within: 60_000 }),
);

test(
  "retention removes a finished run, whole, and nothing else",
  server.scope(async (scope) => {
    const gates: (() => void)[] = [];
    const wait = task("wait", () => new Promise<number>((resolve) => gates.push(() => resolve(1))));
    const one = task("one", () => 1);
    const app = await scope.open();
    await scope.worker(app, { tasks: [one, wait] });
    const processor = await scope.processor(app, { retention: 0, sweep: "1h" });
    const finished = await app.submit(one.s(), { id: "finished" });
    const busy = await app.submit(wait.s(), { id: "busy" });
    await finished.result();
    await eventually("the other runs", () => gates.length === 1 || gates.length);
    await eventually("the run is removed", async () => {
      const { removed } = await processor.sweep();
      return removed.includes("finished") || removed;
    });
    const { streams } = await jetstreamManager(await scope.raw);
    for (const bucket of [scope.namespace, `${scope.namespace}_STATE`]) {
      const { state } = await streams.info(`KV_${bucket}`, { subjects_filter: `$KV.${bucket}.>` });
      const left = Object.keys(state.subjects ?? {}).filter((subject) =>
        subject.includes("finished")
      );
      assert.equal(left, []);
    }
    for (const open of gates) open();
    assert.is(await busy.result(), 1);
  }),
);

test.run();
