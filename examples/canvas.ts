/** Celery's words: chain, group, chord, chunks, map, starmap, in any nesting; and what each of them gives. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, chord, chunks, Dyrygent, group, map, starmap, task } from "nats-dyrygent";

const add = task("add", (a: number, b: number) => a + b);
const mul = task("mul", (a: number, b: number) => a * b);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_canvas" });
const worker = app.worker({ tasks: [add, mul, sum] });
const processor = app.processor();
await worker.start();
await processor.start();

const canvases = {
  "chain": chain(add.s(2, 2), mul.s(8)),
  "chain with an immutable member": chain(add.s(2, 2), add.si(1, 1)),
  "group": group([add.s(1, 1), add.s(2, 2)]),
  "group of one": group([add.s(1, 1)]),
  "chord": chord([add.s(1, 1), add.s(2, 2)], sum.s()),
  "chord with an empty header": chord([], sum.s()),
  "a value for every member": chain(add.s(1, 1), group([mul.s(2), mul.s(3)])),
  "chord of chains": chord([chain(add.s(1, 2), mul.s(2)), add.s(1, 1)], sum.s()),
  "chunks": chunks(add, [[1, 1], [2, 2], [3, 3]], 2),
  "map": map(sum, [[1, 2], [3]]),
  "starmap": starmap(add, [[1, 2], [3, 4]]),
};
for (const [name, canvas] of Object.entries(canvases)) {
  const run = await app.submit<unknown>(canvas);
  console.log(`${name}: ${JSON.stringify(await run.result())}`);
}

await worker.stop();
await processor.stop();
await nc.close();

// Output:
// chain: 32
// chain with an immutable member: 2
// group: [2,4]
// group of one: [2]
// chord: 6
// chord with an empty header: 0
// a value for every member: [4,6]
// chord of chains: 8
// chunks: [[2,4],[6]]
// map: [3,3]
// starmap: [3,7]
