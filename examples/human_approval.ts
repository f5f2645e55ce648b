/** A workflow waits for a person, for days if need be: nothing is held meanwhile, and what is sent early is kept. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, event, task, Workflow } from "nats-dyrygent";

const approved = event<{ by: string; yes: boolean }>("approved");

const draft = task("draft", (title: string) => `${title}, a draft`);
const publish = task("publish", (text: string, { by, yes }: { by: string; yes: boolean }) => {
  return yes ? `${text}, published by ${by}` : `${text}, refused by ${by}`;
});
const giveUp = task("give-up", (text: string) => `${text}, forgotten`);

function article(title: string, patience: "7d" | "200ms") {
  const wf = new Workflow("article", { timeout: "30d" });
  const text = wf.call(draft, title);
  const answer = wf.waitFor(approved, { timeout: patience }).optional().after(text);
  const published = wf.call(publish, text, answer);
  const forgotten = wf.call(giveUp, text).after(answer, { on: "failure" });
  return wf.output({ published, forgotten });
}

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_approval" });
const worker = app.worker({ tasks: [draft, publish, giveUp] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

const run = await app.submit(article("On queues", "7d"), { id: "on-queues" });
for await (const change of run.watch()) {
  // A web page would show a button now; whoever presses it needs only the run's id.
  if (change.is === "node" && change.label === "approved-1" && change.state === "SCHEDULED") {
    await app.run("on-queues").send(approved, { by: "Ada", yes: true });
  }
}
console.log(JSON.stringify(await run.result()));

const early = await app.submit(article("On time", "7d"), { countdown: "100ms" });
await early.send(approved, { by: "Bob", yes: false });
await early.send(approved, { by: "Ada", yes: true }); // The first counts.
console.log(JSON.stringify(await early.result()));

const late = await app.submit(article("On and on", "200ms"));
console.log(JSON.stringify(await late.result()));

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// {"published":"On queues, a draft, published by Ada","forgotten":null}
// {"published":"On time, a draft, refused by Bob","forgotten":null}
// {"published":null,"forgotten":"On and on, a draft, forgotten"}
