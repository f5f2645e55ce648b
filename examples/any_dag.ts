/** Any graph: a node's handle is an edge wherever it stands in the arguments of another. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chord, Dyrygent, task, Workflow } from "nats-dyrygent";

const SALES = { north: [3, 4, 5], south: [10, 20] };
type Region = keyof typeof SALES;
const load = task("load", (region: Region) => SALES[region]);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const best = task("best", (totals: Record<Region, number>) => {
  const [region, total] = Object.entries(totals).sort(([, a], [, b]) => b - a)[0]!;
  return `${region} with ${total}`;
});
const tell = task("tell", (text: string) => console.log(text));

const wf = new Workflow("sales", { payload: { team: "storage" } });
const north = wf.call(load, "north").named("north");
const south = wf.call(load, "south").named("south");
const totals = { north: wf.call(sum, north), south: wf.call(sum, south) };
const winner = wf.call(best, totals); // handles inside an object
const all = wf.call(sum, [totals.north, totals.south]); // and inside an array
const loaded = wf.call(tell, "all is loaded").after([north, south]); // order only
const [again] = wf.add(chord([sum.s([1, 2]), sum.s([3])], sum.s()), { after: loaded });
wf.finally(tell.si("closing the books")); // always, and last
// wf.call(sum, totals.north) does not compile: a total is a number, sum takes number[]

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_dag" });
const worker = app.worker({ tasks: [load, sum, best, tell] });
const processor = app.processor();
await worker.start();
await processor.start();

const run = await app.submit(wf.output({ winner, all, again: [again] }));
console.log(JSON.stringify(await run.result()));
console.log(`of the north alone: ${await run.result(totals.north)}`);
console.log(`${(await run.status()).counts.SUCCESS} of ${wf.size} nodes succeeded`);

await worker.stop();
await processor.stop();
await nc.close();

// Output:
// all is loaded
// closing the books
// {"winner":"south with 30","all":42,"again":[6]}
// of the north alone: 12
// 11 of 11 nodes succeeded
