/** The witness itself: it finds nothing in what went well, and names each thing that is planted, at the step that shows it. */
import { task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Faults } from "../../simulator/faults.ts";
import type { Beginning } from "../../simulator/planned_workflow.ts";
import { type Done, SimulatedServer } from "../../simulator/simulated_server.ts";
import { VirtualWorld } from "../../simulator/virtual_world.ts";
import { Witness } from "../../simulator/witness.ts";
import type { TaskAddress } from "../../src/ports.ts";
import { VirtualEngine } from "../virtual_engine.ts";

type Step = Done | ({ readonly is: "began" } & Beginning);

const RESULT = "run 0 took ";
const address = (node: number, attempt = 1): TaskAddress => ({
  queue: "default",
  lane: "p0",
  workflow: "run",
  node,
  attempt,
});
const began = (node: number, inputs: readonly unknown[] = [], attempt = 1): Step => ({
  is: "began",
  workflow: "run",
  node,
  attempt,
  inputs,
});

/** What a run of two nodes, of which the second takes the first one's result, comes to while all goes well. */
const well: Promise<ReadonlyMap<string, Step>> = (async () => {
  const engine = new VirtualEngine();
  const first = task("first", () => RESULT);
  const second = task("second", (before: string) => before);
  await engine.worker([first, second]);
  await engine.processor();
  const wf = new Workflow("two");
  wf.call(second, wf.call(first));
  const run = await engine.submit(wf);
  await engine.until("it ends", run.ended());
  const log = new Map(
    (await engine.ports.facts.scan(">", { bodies: true })).map((stored) => [stored.key, stored]),
  );
  const recorded = (key: string): Step => ({ is: "recorded", stored: log.get(`run.${key}`)! });
  return new Map<string, Step>([
    ["submit", recorded("def.0")],
    ["queue first", { is: "queued", address: address(0) }],
    ["begin first", began(0)],
    ["record first", recorded("r.0.1")],
    ["ack first", { is: "task acked", address: address(0) }],
    ["queue second", { is: "queued", address: address(1) }],
    ["begin second", began(1, [RESULT])],
    ["record second", recorded("r.1.1")],
    ["ack second", { is: "task acked", address: address(1) }],
    ["end", recorded("end.1")],
    ["ack tick", { is: "tick acked", workflow: "run" }],
    ["remove", { is: "removed", filter: "run.>" }],
  ]);
})();

/** What a witness says of these steps. */
/** What it finds when it is shown these, one after the other. */
async function witnessOf(
  steps: readonly Step[],
  prepare: (server: SimulatedServer) => Promise<unknown> = () => Promise.resolve(),
): Promise<Witness> {
  const world = new VirtualWorld();
  const server = new SimulatedServer(world, () => {}, 1_048_576);
  const faults = new Faults({ seed: 1, perMille: 0, without: new Set(), most: 0 });
  const witness = new Witness(server, faults);
  await prepare(server);
  for (const step of steps) {
    if (step.is === "began") witness.onBegan(step);
    else witness.onDone(step);
    await witness.look();
  }
  return witness;
}

const saidOf = async (...shown: Parameters<typeof witnessOf>): Promise<string[]> =>
  (await witnessOf(...shown)).broken;

/** All steps before this one, and then others. */
async function until(name: string, ...planted: readonly Step[]): Promise<Step[]> {
  const steps = [...await well];
  const at = steps.findIndex(([other]) => other === name);
  assert.ok(at >= 0, name);
  return [...steps.slice(0, at).map(([, step]) => step), ...planted];
}

async function step(name: string): Promise<Step> {
  return (await well).get(name)!;
}

/** It names this invariant, and at the last step only. */
async function names(
  invariant: string,
  steps: readonly Step[],
  prepare?: (server: SimulatedServer) => Promise<unknown>,
): Promise<void> {
  assert.equal(await saidOf(steps.slice(0, -1), prepare), []);
  const said = await saidOf(steps, prepare);
  // The audit of the log may have more to say about it.
  assert.is(said[0]?.split(":")[0], invariant, said.join("\n"));
}

test("what goes well is found well", async () => {
  assert.equal(await saidOf([...(await well).values()]), []);
});

test("S10: what runs again is counted, and apart what a hand-over explains", async () => {
  const again = await until("record first", began(0));
  const counted = await witnessOf(again);
  assert.equal([counted.repeats, counted.handOverRepeats], [1, 0]);
  const ticked = (to: number): Step => ({ is: "ticked", workflow: "run", to });
  const [submitted, ...others] = again;
  const sameAgain = await witnessOf([submitted!, ticked(1), ticked(1), ...others]);
  assert.equal([sameAgain.repeats, sameAgain.handOverRepeats], [1, 0]);
  const handedOver = await witnessOf([submitted!, ticked(1), ticked(2), ...others]);
  assert.equal([handedOver.repeats, handedOver.handOverRepeats], [0, 1]);
});

test("S1: a task is queued before what it waits for is recorded", async () => {
  await names("S1", await until("record first", await step("queue second")));
});

test("S1: a task begins with a result that nobody recorded", async () => {
  await names("S1", await until("begin second", began(1, ["run 0 took more"])));
});

test("S2: an outcome is recorded a second time", async () => {
  await names("S2", await until("ack first", await step("record first")));
});

test("S4: an end that its log does not say", async () => {
  await names("S4", await until("record second", await step("end")));
});

test("S5: a run is removed while it is under way", async () => {
  await names("S5", await until("record second", await step("remove")));
});

test("S6: a task is acknowledged without an outcome", async () => {
  await names("S6", await until("record first", await step("ack first")));
});

test("S7: a tick is acknowledged before the end", async () => {
  await names("S7", await until("end", await step("ack tick")));
});

test("S8: an attempt is in the queue twice", async () => {
  const data = new Uint8Array();
  const twice = async (server: SimulatedServer) => {
    await server.queue(address(1), data);
    await server.queue({ ...address(1), lane: "p5" }, data);
  };
  await names("S8", await until("queue second", await step("queue second")), twice);
});

test("S11: a node, or a run, that nobody submitted", async () => {
  await names("S11", await until("end", began(99)));
  await names("S11", [began(0)]);
  await names("S11", [await step("record first")]);
});

test("S12: an attempt begins that nobody decided", async () => {
  await names("S12", await until("end", began(0, [], 2)));
});

test("S13: something is recorded under a name that is no key", async () => {
  const stored = { key: "run.nothing", seq: 99, at: 0, data: new Uint8Array() };
  await names("S13", await until("end", { is: "recorded", stored }));
});

test("after a power cut nothing of the sort is said", async () => {
  const cut: Step = { is: "power cut", lost: [] };
  const acked = [await step("ack first"), await step("ack tick"), await step("remove")];
  assert.equal(await saidOf([...await until("record first", cut), ...acked]), []);
});

test.run();
