/** A worker whose handler never gives its event loop back: `<url> <namespace>`. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, task } from "nats-dyrygent";

const [url, namespace] = process.argv.slice(2) as [string, string];

const nc = await connect({ servers: url, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace, tickLease: "1s", taskLease: "1s" });
const stuck = task("stuck", () => {
  for (;;);
});
await app.worker({ tasks: [stuck], concurrency: 1 }).start();
console.log("ready");
