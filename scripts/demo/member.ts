/**
 * One of the demo's other processes, on Node or Deno: `member.ts processor|worker <url> <namespace> <id>`. Says "ready"
 * with its runtime's version, works until its stdin ends, and leaves in order.
 */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent } from "nats-dyrygent";
import { report, weigh } from "./package_tasks.ts";
import { mix } from "./random_dag.ts";

const [role, url, namespace = "", id = ""] = process.argv.slice(2);
const LEAVE_LIMIT_MS = 4_000;

// Registered first: the parent may be gone before there is anything to stop.
const parentIsGone = new Promise<void>((resolve) => {
  process.stdin.on("end", resolve).on("error", () => resolve()).resume();
});
void parentIsGone.then(() => setTimeout(() => process.exit(1), LEAVE_LIMIT_MS).unref());

const nc = await connect({ servers: url!, name: id, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace });
const member = role === "processor"
  ? app.processor()
  : app.worker({ tasks: [weigh, report, mix], id, concurrency: 16, prefetch: 16 });
await member.start();
const { node, deno } = process.versions as Readonly<Record<string, string>>;
console.log(`ready ${deno === undefined ? `Node ${node}` : `Deno ${deno}`}`);

await parentIsGone;
await member.stop();
await nc.close();
