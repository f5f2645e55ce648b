/** A saga: each step says what undoes it. When a later one fails, what was done is undone, the last first. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, Dyrygent, FatalTaskError, task, Workflow } from "nats-dyrygent";
import type { WorkflowFailedError } from "nats-dyrygent";

const reserve = task("reserve", (item: string) => {
  console.log(`reserved: ${item}`);
  return { item, place: 12 };
});
const release = task("release", ({ item, place }: { item: string; place: number }) => {
  console.log(`released: ${item}, place ${place}`);
});
const charge = task("charge", (_reserved: unknown, euros: number) => {
  if (euros > 100) throw new FatalTaskError(`a card for ${euros} was declined`);
  console.log(`charged: ${euros}`);
  return euros;
});
const refund = task("refund", (euros: number) => console.log(`refunded: ${euros}`));
const ship = task("ship", (_paid: number, to: string) => {
  if (to === "the moon") throw new FatalTaskError("nobody delivers there");
  console.log(`on its way to ${to}`);
});

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_saga" });
const worker = app.worker({ tasks: [reserve, release, charge, refund, ship] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

for (const [euros, to] of [[20, "Lublin"], [200, "Lublin"], [20, "the moon"]] as const) {
  const wf = new Workflow("order");
  wf.add(chain(
    reserve.s("a telescope").compensate(release.s()),
    charge.s(euros).compensate(refund.s()),
    ship.s(to),
  ));
  const run = await app.submit(wf);
  await run.result().catch((error: WorkflowFailedError) => console.log(`${error.failures[0]}`));
}

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// reserved: a telescope
// charged: 20
// on its way to Lublin
// reserved: a telescope
// released: a telescope, place 12
// TaskError: Node charge-2 failed on attempt 1: FatalTaskError: a card for 200 was declined
// reserved: a telescope
// charged: 20
// refunded: 20
// released: a telescope, place 12
// TaskError: Node ship-4 failed on attempt 1: FatalTaskError: nobody delivers there
