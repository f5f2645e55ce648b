/** ETL: a branch for each source that turns up, extract then transform; a source that fails does not stop the others. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, Dyrygent, expand, FatalTaskError, task, Workflow } from "nats-dyrygent";

type Row = { city: string; celsius: number };

/** What each source answers. "east" is listed, but nobody answers there. */
const sources: Record<string, string> = {
  north: "Gdynia,14\nHel,15.5",
  south: "Kraków,21\nZakopane,cold",
  west: "Szczecin,18\nPoznań,19.5\nLubin,20",
};
const warehouse: Row[] = [];

const extract = task("extract", { queue: "io" }, (source: string) => {
  const text = sources[source];
  if (text === undefined) throw new FatalTaskError(`nobody answers at ${source}`);
  return text.split("\n");
});
const transform = task("transform", (lines: string[]) => {
  const rows = lines.map((line) => line.split(",")).map(([city, c]) => [city!, Number(c)] as const);
  return rows.filter(([, c]) => Number.isFinite(c)).map(([city, celsius]) => ({ city, celsius }));
});
/** A branch that failed gives null. */
const load = task("load", (branches: (Row[] | null)[]) => {
  warehouse.push(...branches.flatMap((rows) => rows ?? []));
  return { rows: warehouse.length, failed: branches.filter((rows) => rows === null).length };
});
/** How many sources there are shows at run time: the workflow for them takes this task's place. */
const plan = task("plan", () => {
  const wf = new Workflow("branches");
  const branches = [...Object.keys(sources), "east"].map((source) => {
    const raw = wf.call(extract, source).set({ retry: { max: 2, base: "10ms" } }).optional();
    return wf.call(transform, raw).named(source);
  });
  return expand(wf.output(wf.call(load, branches).when("allDone")));
});
const publish = task("publish", (loaded: { rows: number; failed: number }) => {
  const { city } = warehouse.reduce((a, b) => a.celsius > b.celsius ? a : b);
  return `${loaded.rows} rows, ${loaded.failed} source failed, it is warmest in ${city}`;
});

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_etl" });
const worker = app.worker({
  tasks: [plan, extract, transform, load, publish],
  queues: ["default", "io"],
});
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);
console.log(await (await app.submit(chain(plan.s(), publish.s()))).result());
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// 6 rows, 1 source failed, it is warmest in Kraków
