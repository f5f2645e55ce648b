/** A workflow as a part of others: it has an input and an output, runs under its own id, and ends with its parent. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, task, Workflow } from "nats-dyrygent";

interface City {
  name: string;
  people: number;
}
const count = task("count", ({ name }: City, what: string) => name.length * what.length);
const share = task("share", ({ people }: City, part: number) => Math.round(people / part));
const compare = task("compare", (shares: { perTree: number }[]) => {
  return shares.map(({ perTree }) => perTree).join(" against ");
});

const trees = new Workflow("trees-of-a-city");
const city = trees.input<City>();
const perTree = trees.call(share, city, trees.call(count, city, "trees"));
const treesOfACity = trees.output({ perTree });

const wf = new Workflow("two-cities");
const parts = [
  wf.run(treesOfACity, { name: "Lublin", people: 330_000 }).named("first"),
  wf.run(treesOfACity, { name: "Brno", people: 400_000 }).named("second"),
];
const comparison = wf.call(compare, parts);

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_sub_workflow" });
const worker = app.worker({ tasks: [count, share, compare] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

const alone = await app.submit(treesOfACity, { input: { name: "Ulm", people: 126_000 } });
console.log(JSON.stringify(await alone.result()));

const run = await app.submit(wf.output(comparison), { id: "cities" });
console.log(await run.result());
for (const part of ["first", "second"]) {
  const [attempt] = await run.attempts(part);
  const { id, name, state, parent } = await app.run(attempt!.run!).status();
  console.log(`${name} ${id} of ${parent!.id}: ${state}`);
}

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// {"perTree":8400}
// 11000 against 20000
// trees-of-a-city cities__0_1 of cities: SUCCESS
// trees-of-a-city cities__1_1 of cities: SUCCESS
