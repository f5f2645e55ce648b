/** Three servers, everything in three copies, every part of the engine on another server. */
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { chain, Dyrygent, task, UnavailableError } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { findFreePorts, type NatsServer } from "../../scripts/nats_server.ts";
import { natsPorts } from "../../src/nats/open.ts";
import { startServer } from "./server.ts";

const test = suite("a cluster");

const increment = task("increment", (x: number) => x + 1);
const RUNS = 40;

/** Members answer before they have elected a leader: until then there is no JetStream. */
async function openWhenReady(nc: Parameters<typeof Dyrygent.open>[0]): Promise<Dyrygent> {
  for (let attempt = 1;; attempt++) {
    try {
      return await Dyrygent.open(nc, { replicas: 3 });
    } catch (error) {
      if (!(error instanceof UnavailableError) || attempt === 20) throw error;
      await nc.flush();
    }
  }
}

async function startThree(): Promise<NatsServer[]> {
  const ports = await findFreePorts(3);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
  return await Promise.all(
    ports.map((port, i) =>
      startServer({ cluster: { name: "three", serverName: `s${i}`, port, routes } })
    ),
  );
}

test("no hop waits for a safety tick, though a subscription takes a while to be known everywhere", async () => {
  const servers = await startThree();
  const connections = await Promise.all(
    servers.map(({ url }) => connect({ servers: url, noAsyncTraces: true })),
  );
  const [a, b, c] = connections as [
    typeof connections[0],
    typeof connections[0],
    typeof connections[0],
  ];
  try {
    const app = await openWhenReady(a);
    const worker = (await openWhenReady(b)).worker({ tasks: [increment] });
    // A hint that got lost would have to wait for a tick longer than this test may take.
    const processor = (await openWhenReady(c)).processor({ tick: { idle: ["10m", "10m"] } });
    await worker.start();
    await processor.start();
    for (let i = 0; i < RUNS; i++) {
      const run = await app.submit(chain(increment.s(i), increment.s(), increment.s()));
      assert.is(await run.result(), i + 3);
    }
    await worker.stop();
    await processor.stop();
  } finally {
    await Promise.all(connections.map((nc) => nc.close()));
    await Promise.all(servers.map((server) => server.stop()));
  }
});

test("what a leader says it has, and others never agreed to, is not taken for recorded", async () => {
  const servers = await startThree();
  const control = await connect({ servers: servers.map(({ url }) => url), noAsyncTraces: true });
  await openWhenReady(control);
  const { streams } = await jetstreamManager(control);
  const { cluster } = await streams.info("KV_dyrygent");
  const leads = servers.findIndex((_, i) => `s${i}` === cluster?.leader);
  const leader = servers[leads]!;
  const others = servers.filter((server) => server !== leader);
  const nc = await connect({
    // It stays with the leader for as long as there is one.
    servers: [leader.url, ...others.map(({ url }) => url)],
    noRandomize: true,
    noAsyncTraces: true,
    reconnectTimeWait: 50,
    maxReconnectAttempts: -1,
  });
  const leases = { tickLeaseMs: 10_000, taskLeaseMs: 30_000 };
  const { facts } = await natsPorts(nc, {
    namespace: "dyrygent",
    replicas: 3,
    storage: "file",
    log: () => {},
    ...leases,
  });
  try {
    await Promise.all(others.map((other) => other.kill()));
    // The first try gets no answer; the second one meets the first.
    const created = facts.create("run.r.0.1", new TextEncoder().encode("1"));
    const early = await Promise.race([created, sleep(7_000, "nothing yet")]);
    await leader.kill();
    await Promise.all(others.map((other) => other.restart()));
    await created;
    assert.is((await facts.read("run.r.0.1"))?.key, "run.r.0.1", `at first: ${early}`);
  } finally {
    await Promise.all([nc.close(), control.close()]);
    await Promise.all(servers.map((server) => server.stop()));
  }
});

test.run();
