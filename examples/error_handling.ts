/** What follows from a failure: rules, optional nodes, callbacks, and what runs at the end. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, group, type NodeFailure, type RunSummary, task, Workflow } from "nats-dyrygent";

const ask = task("ask", (shop: string) => {
  if (shop === "closed") throw new Error("nobody answers");
  return `${shop}: 42`;
});
const list = task("list", (answers: (string | null)[]) => answers.join(" | "));
const heard: string[] = [];
const apologize = task("apologize", ({ node, message }: NodeFailure) => {
  heard.push(`sorry, ${node}: ${message}`);
});
const log = task("log", (answer: string) => void heard.push(`got ${answer}`));
const report = task("report", ({ state, failures }: RunSummary) => {
  console.log(`${state}, failed: ${failures.map(({ node }) => node).join() || "none"}`);
});

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_errors" });
const worker = app.worker({ tasks: [ask, list, apologize, log, report] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

const prices = new Workflow("prices");
const here = prices.call(ask, "here").named("here");
const there = prices.call(ask, "closed").named("there").optional(); // The workflow can do without.
const parts = {
  all: prices.call(list, [here, there]), // When all have succeeded: not today.
  whatCame: prices.call(list, [here, there]).when("allDone"), // null for what failed.
  fallback: prices.call(ask, "catalogue").after(there, { on: "failure" }),
};
prices.finally(report.s());
console.log(JSON.stringify(await (await app.submit(prices.output(parts))).result()));

// Callbacks of a canvas hold for each of its members.
const asked = group([ask.s("mill"), ask.s("closed")]).link(log.s()).onError(apologize.s());
const strict = Workflow.of(asked, "strict");
strict.onError(report.s());
console.log((await (await app.submit(strict)).ended()).state);
console.log(heard.sort().join("; ")); // They ran side by side.

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// SUCCESS, failed: there
// {"all":null,"whatCame":"here: 42 | ","fallback":"catalogue: 42"}
// FAILURE, failed: ask-3
// FAILURE
// got mill: 42; sorry, ask-3: nobody answers
