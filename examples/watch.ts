/** What happens in a run, live: changes of nodes and of the workflow, and what running tasks tell of themselves. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, currentTask, Dyrygent, type RunEvent, task } from "nats-dyrygent";

const download = task("download", (parts: number) => {
  for (let part = 1; part <= parts; part++) currentTask().progress(part / parts);
  return "some text";
});
const count = task("count", (text: string) => text.length);

function describe(event: RunEvent): string {
  switch (event.is) {
    case "node":
      return `${event.label}: ${event.state}`;
    case "progress":
      return `${event.label} is at ${event.value}`;
    case "workflow":
      return `the workflow: ${event.state}`;
  }
}

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_watch" });
const worker = app.worker({ tasks: [download, count] });
const processor = app.processor();
await processor.start();

// The worker comes later: nothing needs to be said of that.
const run = await app.submit(chain(download.s(2), count.s()), { unknownTasks: "ignore" });
const events = run.watch();
const first = await events.next(); // Now nothing is missed, not even progress, which is told only once.
if (!first.done) console.log(describe(first.value));
await worker.start();
for await (const event of events) {
  // STARTED is told of tasks that take a while.
  if (event.is !== "node" || event.state !== "STARTED") console.log(describe(event));
}

await worker.stop();
await processor.stop();
await nc.close();

// Output:
// download-0: SCHEDULED
// download-0 is at 0.5
// download-0 is at 1
// the workflow: RUNNING
// download-0: SUCCESS
// count-1: SCHEDULED
// count-1: SUCCESS
// the workflow: SUCCESS
