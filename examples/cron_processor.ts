/**
 * A processor without a process: `runOnce` does what is due and returns, for cron jobs and edge functions. Workers may
 * run anywhere; between the calls nothing conducts, and nothing is lost.
 */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chord, Dyrygent, task } from "nats-dyrygent";

const add = task("add", (a: number, b: number) => a + b);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_cron" });
const worker = app.worker({ tasks: [add, sum] });
await worker.start();

const runs = await Promise.all(
  [1, 2, 3].map((n) => app.submit(chord([add.s(n, 1), add.s(n, 2)], sum.s()))),
);
console.log(`before: ${(await runs[0]!.status()).state}`);

/** What a cron job, or an edge function's scheduled(), would do. */
async function onSchedule(): Promise<number> {
  const { finished } = await app.processor().runOnce({ maxDuration: "5s" });
  return finished;
}
let finished = 0;
for (let calls = 0; finished < runs.length && calls < 20; calls++) finished += await onSchedule();
console.log(`finished: ${finished}`);
console.log(`results: ${await Promise.all(runs.map((run) => run.result()))}`);
console.log(`due now: ${await onSchedule()}`);

await worker.stop();
await nc.close();

// Output:
// before: INITIAL
// finished: 3
// results: 5,7,9
// due now: 0
