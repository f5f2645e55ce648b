/** A worker or a processor as a process of its own, for tests that kill it: `<role> <url> <namespace> <name>`. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent } from "nats-dyrygent";
import { stepTask } from "./steps.ts";

const [role, url, namespace, name] = process.argv.slice(2) as [string, string, string, string];

const nc = await connect({ servers: url, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace, tickLease: "1s", taskLease: "1s" });
if (role === "worker") {
  await app.worker({ tasks: [stepTask(nc, namespace, name)], id: name, concurrency: 8 }).start();
} else {
  await app.processor({ tick: { idle: ["100ms", "500ms"] } }).start();
}
console.log("ready");
