/**
 * A processor for cron, over a WebSocket: conducts what is due and ends. In Deno it needs no permission but the network's.
 *
 *     deno run --allow-net once_websocket.ts wss://nats.example.com shop
 */
import process from "node:process";
import { wsconnect } from "@nats-io/nats-core";
import { Dyrygent } from "nats-dyrygent";

const [servers = "ws://127.0.0.1:8080", namespace = "dyrygent"] = process.argv.slice(2);
const nc = await wsconnect({ servers });
const app = await Dyrygent.open(nc, { namespace });
console.log(JSON.stringify(await app.processor().runOnce({ maxDuration: "50s" })));
await nc.close();
