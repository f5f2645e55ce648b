/** 10,000 hosts are upgraded: canaries, then batch after batch, 200 at a time. A batch in which too many fail is the last. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, FatalTaskError, type Node, task, Workflow } from "nats-dyrygent";

const hosts = Array.from({ length: 10_000 }, (_, i) => `host-${i}`);
const [CANARIES, BATCH, AT_ONCE, TOLERATED] = [10, 999, 200, 0.02];
const tried = new Set<string>();
let [underWay, most] = [0, 0];

const upgrade = task("host.upgrade", async (host: string, version: string) => {
  tried.add(host);
  most = Math.max(most, ++underWay);
  await new Promise((resolve) => setTimeout(resolve, 1)); // ssh, apt-get, reboot.
  underWay--;
  if (version === "2.1" || host.endsWith("77")) throw new FatalTaskError("no heartbeat");
  return host;
});
const judge = task("batch.judge", (batch: string[], upgraded: (string | null)[]) => {
  const failed = batch.filter((_, i) => upgraded[i] === null); // optional() made it null.
  if (failed.length <= batch.length * TOLERATED) return failed;
  throw new FatalTaskError(`${failed.length} of ${batch.length} failed, ${failed[0]} first`);
});
function batchOf(batch: string[], version: string) {
  const wf = new Workflow("batch", { maxParallel: AT_ONCE });
  const upgraded = batch.map((host) => wf.call(upgrade, host, version).optional());
  return wf.output(wf.call(judge, batch, upgraded).when("allDone"));
}
function rollout(version: string) {
  const wf = new Workflow("rollout", { timeout: "12h" });
  const batches: Node<string[]>[] = [];
  for (let at = 0; at < hosts.length; at += batches.length === 1 ? CANARIES : BATCH) {
    const batch = batchOf(hosts.slice(at, at + (at === 0 ? CANARIES : BATCH)), version);
    batches.push(wf.run(batch).after(batches.slice(-1)));
  }
  return wf.output(batches);
}

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_fleet" });
const worker = app.worker({ tasks: [upgrade, judge], concurrency: 300 });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);
const failed = (await (await app.submit(rollout("2.0"))).result()).flat();
console.log(`${tried.size} tried, ${failed.length} failed: ${failed[0]} … ${failed.at(-1)}`);
console.log(`never more than ${AT_ONCE} at the same time: ${most <= AT_ONCE}`);
tried.clear();
const broken = await app.submit(rollout("2.1"));
console.log(`${(await broken.ended()).state} when ${tried.size} were tried`);
const canaries = app.run((await broken.attempts(0))[0]!.run!);
console.log((await canaries.attempts(CANARIES))[0]!.failure!.remoteMessage);
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// 10000 tried, 100 failed: host-77 … host-9977
// never more than 200 at the same time: true
// FAILURE when 10 were tried
// 10 of 10 failed, host-0 first
