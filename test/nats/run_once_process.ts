/** Conducts the workflows of a namespace as an edge function would: `runOnce` again and again, over a WebSocket. */
import process from "node:process";
import { wsconnect } from "@nats-io/nats-core";
import { Dyrygent } from "nats-dyrygent";

const [url, namespace, id] = process.argv.slice(2) as [string, string, string];

let state = "";
for (let calls = 1; calls <= 50 && state !== "SUCCESS"; calls++) {
  const nc = await wsconnect({ servers: url });
  try {
    const app = await Dyrygent.open(nc, { namespace });
    const processor = app.processor({ tick: { active: "10ms" } });
    const report = await processor.runOnce({ maxDuration: "2s" });
    state = (await app.run(id).status()).state;
    console.log(`call ${calls} ${JSON.stringify({ ...report, state })}`);
  } finally {
    await nc.close();
  }
}
console.log(`ended as ${state}`);
