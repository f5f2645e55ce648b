/** Three servers, everything in three copies, every part of the engine on another server. */
import { connect } from "@nats-io/transport-node";
import { chain, Dyrygent, task, UnavailableError } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { findFreePorts } from "../../scripts/nats_server.ts";
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

test("no hop waits for a safety tick, though a subscription takes a while to be known everywhere", async () => {
  const ports = await findFreePorts(3);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
  const servers = await Promise.all(
    ports.map((port, i) =>
      startServer({ cluster: { name: "three", serverName: `s${i}`, port, routes } })
    ),
  );
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

test.run();
