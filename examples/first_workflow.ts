/**
 * Two tasks, one after the other, on a worker and a processor in one process. Most deployments run these apart.
 *
 *     node --import tsx examples/first_workflow.ts
 *     deno run -A examples/first_workflow.ts
 */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, Dyrygent, task } from "nats-dyrygent";

const add = task("add", (a: number, b: number) => a + b);
const mul = task("mul", (a: number, b: number) => a * b);

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_first" });

const worker = app.worker({ tasks: [add, mul] });
const processor = app.processor();
await worker.start();
await processor.start();

const run = await app.submit(chain(add.s(2, 2), mul.s(8)));
console.log(await run.result());
console.log((await run.status()).state);
console.log(add(2, 2)); // A task is still its function.

await worker.stop();
await processor.stop();
await nc.close();

// Output:
// 32
// SUCCESS
// 4
