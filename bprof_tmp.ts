import { connect } from "@nats-io/transport-node";
import { startNatsServer } from "./scripts/nats_server.ts";
import { Engine } from "./bench/engine.ts";
import { Reference } from "./bench/reference.ts";
const server = await startNatsServer({ syncInterval: "2m" });
const [a, b, c, d] = await Promise.all(
  [1, 2, 3, 4].map(() => connect({ servers: server.url, noAsyncTraces: true })),
);
const ref = new Reference(c!, d!, "reference");
await ref.open();
const e = await Engine.open(a!, b!, "engine");
const cpu = async (l: string, n: number, f: () => Promise<any>) => {
  const s = process.cpuUsage();
  const t = performance.now();
  const r = await f();
  const u = process.cpuUsage(s);
  console.log(
    l,
    "wall us/task",
    ((performance.now() - t) * 1000 / n).toFixed(1),
    "cpu us/task",
    ((u.user + u.system) / n).toFixed(1),
  );
};
for (let i = 0; i < 4; i++) {
  await cpu("ref", 20000, () => ref.throughput(20000, 1000));
  await cpu("eng", 10000, () => e.fan(10000));
}
if (process.argv[2]) { for (let i = 0; i < 8; i++) await cpu("eng", 10000, () => e.fan(10000)); }
await e.close();
await Promise.all([a, b, c, d].map((x) => x!.close()));
await server.stop();
process.exit(0);
