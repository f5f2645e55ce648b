/** The audit itself: it finds nothing in what went well, and finds each thing that is planted. */
import { task, Workflow } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readEnd, writeEnd } from "../src/core/records.ts";
import type { Stored } from "../src/ports.ts";
import { audit, type Evidence, type Execution } from "./audit.ts";
import type { Plan } from "./mixed/plans.ts";
import { World } from "./mixed/world.ts";

const test = suite("the audit");

/** A run of two nodes, the second of which becomes a run; and a run that fails. */
const evidence: Promise<Evidence> = (async () => {
  // Only their names count.
  const grow = task("grow", (_depth: number, _seed: number): unknown => null);
  const work = task("work", (_spec: unknown, ..._inputs: unknown[]) => 0);
  const ok = { ms: 0, fails: 0, fatal: false, hangs: false };
  const good = new Workflow("good");
  const first = good.call(work, ok);
  good.call(grow, 0, 1).after(first);
  const bad = new Workflow("bad");
  bad.call(work, { ...ok, fails: 9 });
  const world = new World({ seed: 1, kills: false });
  world.listen();
  const plan = (workflow: Workflow): Plan => ({
    workflow,
    input: undefined,
    buttons: [],
    afterwards: [],
  });
  await world.conduct([plan(good), plan(bad)]);
  const facts = await world.ports.facts.scan(">", { bodies: true });
  const { executions } = world;
  await world.stop();
  return { facts, executions, left: { tasks: 0, ticks: 0 }, crashed: false };
})();

/** The evidence with its facts, or its executions, as they become. */
async function changed(
  change: {
    facts?: (fact: Stored) => Stored[];
    executions?: (all: readonly Execution[]) => Execution[];
  },
): Promise<string[]> {
  const true_ = await evidence;
  return audit({
    ...true_,
    facts: change.facts === undefined ? true_.facts : true_.facts.flatMap(change.facts),
    executions: change.executions?.(true_.executions) ?? true_.executions,
  });
}

function finds(broken: readonly string[], start: string): void {
  assert.ok(
    broken.some((line) => line.startsWith(start)),
    `${start} is not in ${broken.join("\n")}`,
  );
}

test("what went well is found well", async () => {
  const { executions } = await evidence;
  assert.ok(executions.length >= 3);
  assert.equal(await audit(await evidence), []);
});

test("S1: a node that began before what it waits for was recorded", async () => {
  const early = (all: readonly Execution[]) =>
    all.map((one) => one.workflow === "run0" && one.node === 1 ? { ...one, after: 1 } : one);
  finds(await changed({ executions: early }), "S1");
});

test("S1: an outcome that is not how the run in the node's place ended", async () => {
  const flip = (fact: Stored) =>
    fact.note?.includes("run:")
      ? [{ ...fact, note: fact.note.replace("succeeded", "failed") }]
      : [fact];
  finds(await changed({ facts: flip }), "S1");
});

test("S2: two records of one attempt", async () => {
  finds(
    await changed({ facts: (fact) => fact.key === "run0.r.0.1" ? [fact, fact] : [fact] }),
    "S2",
  );
});

test("S4: an end that the log does not explain", async () => {
  for (const state of ["SUCCESS", "CANCELLED", "ERROR"] as const) {
    const lie = (fact: Stored) =>
      fact.key === "run1.end.1"
        ? [{ ...fact, data: writeEnd({ ...readEnd(fact.data)!, state }) }]
        : [fact];
    finds(await changed({ facts: lie }), "S4");
  }
});

test("S5: a run without its definition", async () => {
  finds(await changed({ facts: (fact) => fact.key === "run0.def.0" ? [] : [fact] }), "S5");
});

test("S10: an attempt that ran twice though nothing died", async () => {
  finds(await changed({ executions: (all) => [...all, all[0]!] }), "S10");
});

test("S11: a node, or a run, that nobody submitted", async () => {
  const forged = { workflow: "run0", node: 99, attempt: 1, after: 99 };
  finds(await changed({ executions: (all) => [...all, forged] }), "S11");
  finds(await changed({ executions: () => [{ ...forged, workflow: "nobody" }] }), "S11");
});

test("S12: an attempt that nobody decided", async () => {
  const forged = { workflow: "run0", node: 0, attempt: 2, after: 99 };
  finds(await changed({ executions: (all) => [...all, forged] }), "S12");
});

test("S13: a record that cannot be read", async () => {
  const spoil = (fact: Stored) =>
    fact.key === "run0.end.1" ? [{ ...fact, data: new Uint8Array([1]) }] : [fact];
  finds(await changed({ facts: spoil }), "S13");
});

test("L1: a run that has not ended", async () => {
  finds(await changed({ facts: (fact) => fact.key === "run0.end.1" ? [] : [fact] }), "L1");
  finds(await changed({ facts: (fact) => fact.key === "run0.r.1.1" ? [] : [fact] }), "L1");
});

test("L5: messages that are left", async () => {
  finds(await audit({ ...await evidence, left: { tasks: 1, ticks: 0 } }), "L5");
  finds(await audit({ ...await evidence, left: { tasks: 0, ticks: 1 } }), "L5");
});

test.run();
