/** Everything at once, on a real server: random workflows end while processes come and go, and their logs tell that all was right. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Dyrygent } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { natsPorts } from "../../src/nats/open.ts";
import { audit, type Execution } from "../audit.ts";
import { anyPlan, type Plan, seeThrough, tasksIn } from "../mixed/plans.ts";
import { type Scope, TestServer } from "./server.ts";

const WORKFLOWS = 50;

const server = new TestServer();
const test = suite("mixed workflows");
test.after(() => server.stop());

const LEASES = { tickLease: "2s", taskLease: "2s" } as const;

function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What tasks are told, where the server can be asked how far its log is. */
function notedTasks(nc: NatsConnection, stream: string, executions: Execution[]) {
  const manager = jetstreamManager(nc);
  return tasksIn({
    note: async (execution) => {
      const { state } = await (await manager).streams.info(stream);
      executions.push({ ...execution, after: state.last_seq });
    },
    sleep: later,
  });
}

async function follow(app: Dyrygent, plan: Plan, id: string): Promise<void> {
  const { workflow, input } = plan;
  const run = await app.submit(workflow, {
    id,
    unknownTasks: "ignore",
    ...(input === undefined ? {} : { input }),
  });
  await seeThrough(run, plan, later);
}

test(
  `${WORKFLOWS} of them keep every promise while workers and processors are replaced`,
  server.scope(async (scope: Scope) => {
    const seed = Math.floor(performance.timeOrigin + performance.now()) % 2 ** 31;
    const executions: Execution[] = [];
    const tasks = notedTasks(await scope.raw, `KV_${scope.namespace}`, executions);
    const join = async () => ({
      worker: await scope.worker(await scope.open(LEASES), { tasks, maxCrashes: 1_000 }),
      processor: await scope.processor(await scope.open(LEASES), {
        tick: { idle: ["500ms", "2s"] },
      }),
    });
    const crews = [await join(), await join()];
    const app = await scope.open(LEASES);
    let ended = false;
    const all = Promise.all(
      Array.from({ length: WORKFLOWS }, (_, i) => follow(app, anyPlan(seed + i), `mixed${i}`)),
    ).finally(() => ended = true);
    for (let i = 0; i < 4 && !ended; i++) {
      await Promise.race([all, later(700)]);
      const { worker, processor } = crews.shift()!;
      crews.push(await join());
      await Promise.all([worker.stop({ timeout: "100ms" }), processor.stop()]);
    }
    await all;
    await scope.rest();
    const { facts } = await natsPorts(await scope.raw, {
      namespace: scope.namespace,
      replicas: 1,
      storage: "file",
      log: () => {},
      tickLeaseMs: 2_000,
      taskLeaseMs: 2_000,
    });
    const broken = await audit({
      facts: await facts.scan(">", { bodies: true }),
      executions,
      left: await scope.contents(),
      // A worker that is stopped gives back what it runs: that is begun again.
      crashed: true,
    });
    assert.equal(broken, [], `seed ${seed}`);
    assert.ok(executions.length > 5 * WORKFLOWS, `only ${executions.length} tasks ran`);
  }, { within: 90_000 }),
);

test.run();
