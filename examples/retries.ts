/** A failed attempt is tried again as its task's policy says; each attempt is on record. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { currentTask, Dyrygent, FatalTaskError, task, WorkflowFailedError } from "nats-dyrygent";

const retry = { max: 3, backoff: "exponential", base: "20ms", cap: "1s", jitter: false } as const;

const flaky = task("flaky", { retry }, (succeedsOn: number) => {
  const { attempt } = currentTask();
  if (attempt < succeedsOn) throw new Error(`attempt ${attempt} found nobody at home`);
  return `attempt ${attempt} got through`;
});
const picky = task("picky", { retry }, (age: number) => {
  // Trying again would not help, whatever the policy says.
  if (age < 0) throw new FatalTaskError(`nobody is ${age} years old`);
  return age;
});

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_retries" });
const worker = app.worker({ tasks: [flaky, picky] });
const processor = app.processor();
await worker.start();
await processor.start();

for (
  const signature of [flaky.s(3), flaky.s(9), picky.s(-1), flaky.s(2).set({ retry: { max: 0 } })]
) {
  const run = await app.submit<string | number>(signature);
  try {
    console.log(await run.result());
  } catch (error) {
    if (!(error instanceof WorkflowFailedError)) throw error;
    for (const failure of error.failures) console.log(failure.message);
  }
}

await worker.stop();
await processor.stop();
await nc.close();

// Output:
// attempt 3 got through
// Node flaky-0 failed on attempt 4: Error: attempt 4 found nobody at home
// Node picky-0 failed on attempt 1: FatalTaskError: nobody is -1 years old
// Node flaky-0 failed on attempt 1: Error: attempt 1 found nobody at home
