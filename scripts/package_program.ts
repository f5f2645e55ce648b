/** The program that the built package is tried with, by strangers' rules: it imports what an installed package offers. */

/** Valid TypeScript and valid JavaScript: the same program is tried as both. */
export const PROGRAM = `
import { connect } from "@nats-io/transport-node";
import { chain, chord, Dyrygent, task } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";

const add = task("add", (...[a, b]/*: number[] */) => (a ?? 0) + (b ?? 0));
const sum = task("sum", (xs/*: number[] */) => xs.reduce((a, b) => a + b, 0));
const canvas = () => chain(chord([add.s(1, 2), add.s(3, 4)], sum.s()), add.si(20, 22));

const nc = await connect({ servers: process.env.NATS_URL ?? "" });
const app = await Dyrygent.open(nc, { namespace: process.env.NAMESPACE ?? "try" });
const worker = app.worker({ tasks: [add, sum] });
const processor = app.processor();
await worker.start();
await processor.start();
const run = await app.submit(canvas());
const result/*: number */ = await run.result();
const local = await runLocally(canvas(), { tasks: [add, sum] });
await worker.stop();
await processor.stop();
await nc.close();
console.log(\`result \${result}, locally \${local.result}, \${local.state}\`);
`;
export const EXPECTED = "result 42, locally 42, SUCCESS";
/** The same with its types. */
export const TYPED = PROGRAM.replaceAll(/\/\*(: .*?)\*\//g, "$1");
