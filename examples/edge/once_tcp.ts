/**
 * A processor for cron, over TCP: conducts what is due and ends.
 *
 *     * * * * * npx tsx once_tcp.ts nats://nats.example.com shop
 */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent } from "nats-dyrygent";

const [servers = "nats://127.0.0.1:4222", namespace = "dyrygent"] = process.argv.slice(2);
const nc = await connect({ servers });
const app = await Dyrygent.open(nc, { namespace });
console.log(JSON.stringify(await app.processor().runOnce({ maxDuration: "50s" })));
await nc.close();
