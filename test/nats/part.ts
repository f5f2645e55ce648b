/**
 * A worker or a processor as a process of its own, so that it can be killed. Started by faults_test.ts:
 * `part.ts worker|processor <url> <namespace>`. Says "ready" when it is at work.
 */
import process from "node:process";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Dyrygent } from "nats-dyrygent";
import { LEASES, recorded } from "./recorded_task.ts";

const [role, url, namespace] = process.argv.slice(2);
if (url === undefined || namespace === undefined) throw new Error("say role, url and namespace");
const nc = await connect({ servers: url, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace, ...LEASES });
if (role === "worker") {
  const tasks = [recorded(jetstream(nc), namespace, `process-${process.pid}`)];
  await app.worker({ tasks, concurrency: 8, prefetch: 4 }).start();
} else {
  await app.processor().start();
}
console.log("ready");
