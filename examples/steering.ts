/** A run can be paused and resumed, nodes of it skipped, all of it cancelled and run again. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, currentTask, Dyrygent, task, Workflow, WorkflowFailedError } from "nats-dyrygent";

let arrived = (_open: () => void) => {};
/** What lets the next visitor in, once there is one. */
const nextDoor = () => new Promise<() => void>((resolve) => arrived = resolve);
const enter = task("enter", (who: string) =>
  new Promise<string>((resolve, reject) => {
    // When the run is cancelled, or the node skipped.
    currentTask().signal.onabort = () => reject(new Error("gone"));
    arrived(() => resolve(who));
  }));
const greet = task("greet", (who: string | null) => `hello, ${who ?? "whoever you are"}`);

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_steering" });
const worker = app.worker({ tasks: [enter, greet] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

const visit = chain(enter.s("Ada"), greet.s());
let door = nextDoor();
const run = await app.submit(visit);
await door.then(() => run.cancel("not today"));
await run.result().catch((error: WorkflowFailedError) => console.log(error.state));
door = nextDoor();
await run.retryFailed(); // What has not succeeded runs again.
(await door)();
console.log(await run.result());

door = nextDoor();
const wf = new Workflow("visit");
const ada = wf.call(enter, "Ada");
const skipping = await app.submit(wf.output(wf.call(greet, ada)));
await door.then(() => skipping.skip([ada])); // What depends on it gets null.
console.log(await skipping.result());

door = nextDoor();
const paused = await app.submit(visit);
await door.then(() => paused.pause()); // What runs goes on; nothing new begins.
(await door)();
for await (const event of paused.watch()) {
  if (event.is === "workflow") console.log(event.state);
  if (event.is === "workflow" && event.state === "PAUSED") await paused.resume();
}

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// CANCELLED
// hello, Ada
// hello, whoever you are
// RUNNING
// PAUSED
// RUNNING
// SUCCESS
