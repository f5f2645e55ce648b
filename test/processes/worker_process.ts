/**
 * One of several workers: `<url> <namespace> <how>`. It gives its process id; told "break", it ends before it serves; told
 * "late", it says so and serves when whoever started it is gone.
 */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, task } from "nats-dyrygent";
import { untilStopped } from "nats-dyrygent/processes";

const [url, namespace, how] = process.argv.slice(2);
if (how === "break") process.exit(3);
const nc = await connect({ servers: url!, noAsyncTraces: true });
const whoami = task("whoami", async (ms: number) => {
  await new Promise((resolve) => setTimeout(resolve, ms));
  return process.pid;
});
const worker = (await Dyrygent.open(nc, { namespace: namespace! })).worker({
  tasks: [whoami],
  concurrency: 1,
  prefetch: 0,
});
await worker.start();
if (how === "late") {
  console.log(`late ${process.pid}`);
  await new Promise((resolve) => process.once("disconnect", resolve));
}
await untilStopped(worker);
await nc.close();
