/**
 * The checker of `npm run chaos`: it finds nothing in what went well, and finds each thing that is
 * planted.
 */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { check } from "../../chaos/checker.ts";
import { noCounts } from "../../src/core/node_state.ts";
import type { Evidence } from "../../chaos/evidence.ts";
import type { Extra } from "../../chaos/executions.ts";
import { digestOf, type Entry, type Note } from "../../chaos/history.ts";
import {
  anyProof,
  expectationOf,
  listed,
  proofOf,
  type ProofPlan,
  prove,
  type Spec,
  workflowOf,
} from "../../chaos/proof.ts";
import { encodeDefinition } from "../../src/core/definition_codec.ts";
import type { Stored } from "../../src/ports.ts";
import { Rolls } from "../mixed/plans.ts";
import { runLocally } from "nats-dyrygent/testing";
import { currentTask, task } from "nats-dyrygent";

const test = suite("the checker of chaos");

const SPEC: Spec = { ms: 0, fails: 0, pad: 0 };
const RUN = "p0";
const LEASE_MS = 3_000;

/** `0 → 1`, and a client that submits it, asks for what it gives, and is told. */
const plan: ProofPlan = {
  id: RUN,
  nodes: [
    { is: "prove", spec: SPEC, inputs: [], retries: 0, after: [] },
    { is: "prove", spec: SPEC, inputs: [0], retries: 0, after: [] },
  ],
};
const first = proofOf(RUN, 0, 1, SPEC, []);
const second = proofOf(RUN, 1, 1, SPEC, [first]);

const utf8 = new TextEncoder();
const noted = (at: number, by: string, note: Note): Entry => ({ ...note, at, by });

function ran(execution: number, at: number, by: string, node: number, args: unknown[]): Entry[] {
  const result = proofOf(RUN, node, 1, SPEC, args.slice(1));
  return [
    noted(at, by, { is: "began", execution, run: RUN, node, attempt: 1, given: digestOf(args) }),
    noted(at + 5, by, { is: "ended", execution, gave: digestOf(result), size: 26 }),
  ];
}

function outcome(seq: number, at: number, node: number, result: string): Stored {
  return {
    key: `${RUN}.r.${node}.1`,
    seq,
    at,
    note: `1 succeeded ${at} ${at} 0 worker-0-1`,
    data: utf8.encode(JSON.stringify(result)),
  };
}

const good: Promise<Evidence> = (async () => {
  const { head } = await encodeDefinition(workflowOf(plan).build(), 1_000_000);
  const end = {
    v: 1,
    state: "SUCCESS",
    at: 1_200,
    counts: { ...noCounts(), SUCCESS: 2 },
    failed: [],
  };
  const client = "client-0-1";
  return {
    history: [
      noted(900, client, { is: "invoked", call: 1, run: RUN, what: "submit" }),
      noted(1_001, client, { is: "answered", call: 1, answer: null }),
      noted(1_002, client, { is: "invoked", call: 2, run: RUN, what: "result" }),
      ...ran(1, 1_010, "worker-0-1", 0, [SPEC]),
      ...ran(2, 1_110, "worker-0-1", 1, [SPEC, first]),
      noted(1_300, client, {
        is: "answered",
        call: 2,
        answer: { state: "SUCCESS", result: digestOf(second) },
      }),
    ],
    facts: [
      { key: `${RUN}.def.0`, seq: 1, at: 1_000, data: head },
      outcome(2, 1_100, 0, first),
      outcome(3, 1_150, 1, second),
      { key: `${RUN}.end.1`, seq: 4, at: 1_200, data: utf8.encode(JSON.stringify(end)) },
    ],
    left: { tasks: [], ticks: [] },
    workloads: [{
      id: RUN,
      definition: new Map([[`${RUN}.def.0`, head]]),
      expected: expectationOf(plan),
    }],
  };
})();

interface Change {
  readonly entries?: (entry: Entry) => Entry[];
  readonly more?: readonly Entry[];
  readonly facts?: (fact: Stored) => Stored[];
  readonly left?: Evidence["left"];
}

async function judged({ entries, more = [], facts, left }: Change) {
  const { history, ...rest } = await good;
  return check({
    ...rest,
    history: [...(entries === undefined ? history : history.flatMap(entries)), ...more]
      .sort((a, b) => a.at - b.at),
    facts: facts === undefined ? rest.facts : rest.facts.flatMap(facts),
    left: left ?? rest.left,
  });
}

async function finds(change: Change, start: string): Promise<void> {
  const { violations } = await judged(change);
  assert.ok(
    violations.some((line) => line.startsWith(start)),
    `"${start}" is not in:\n${violations.join("\n")}`,
  );
}

test("what went well is found well", async () => {
  const { violations, executions, extras } = await judged({});
  assert.equal(violations, []);
  assert.is(executions, 2);
  assert.equal(extras, []);
});

test("S5: an acknowledged submit that is not recorded, or not as it was submitted", async () => {
  const lost = (fact: Stored) => fact.key.endsWith("def.0") ? [] : [fact];
  await finds({ facts: lost }, `S5: ${RUN} was acknowledged`);
  const changed = (fact: Stored) =>
    fact.key.endsWith("def.0") ? [{ ...fact, data: utf8.encode("{}") }] : [fact];
  await finds({ facts: changed }, `S5: ${RUN}.def.0 is not what was submitted`);
});

test("a submit that was not acknowledged may be lost", async () => {
  const { violations } = await judged({
    entries: (entry) => entry.is === "invoked" && entry.what === "submit" ? [entry] : [],
    facts: () => [],
  });
  assert.equal(violations, []);
});

test("S5: an acknowledged cancel without a control fact", async () => {
  const by = "client-1-1";
  await finds({
    more: [
      noted(1_050, by, { is: "invoked", call: 1, run: RUN, what: "cancel" }),
      noted(1_060, by, {
        is: "answered",
        call: 1,
        answer: { applied: true, state: "RUNNING" },
      }),
    ],
  }, "S5: p0 cancel: 1 acknowledged");
});

test("S1: a task that began before its upstream was recorded", async () => {
  const early = (entry: Entry) =>
    entry.is === "began" && entry.node === 1 ? [{ ...entry, at: 1_050 }] : [entry];
  await finds({ entries: early }, "S1: attempt 1 of prove-1 began");
});

test("S1: a task that was given something else than its upstream's result", async () => {
  const wrong = (entry: Entry) =>
    entry.is === "began" && entry.node === 1 ? [{ ...entry, given: digestOf([SPEC]) }] : [entry];
  await finds({ entries: wrong }, "S1: node 1 of p0 ran with wrong inputs");
});

test("S2: a result that is not what it must be, or that nobody computed", async () => {
  const forged = (fact: Stored) =>
    fact.key.endsWith(".r.1.1") ? [outcome(3, 1_150, 1, "x")] : [fact];
  await finds({ facts: forged }, "S2: node 1 of p0 has another result");
  await finds({ facts: forged }, "S2: nobody computed p0.r.1.1");
});

test("S2: an attempt with two outcomes", async () => {
  const twice = (fact: Stored) => fact.key.endsWith(".r.1.1") ? [fact, fact] : [fact];
  await finds({ facts: twice }, "S2: p0.r.1.1 is recorded twice");
});

test("S2, S3: a client that is told another result, or another end", async () => {
  const told = (answer: unknown) => (entry: Entry) =>
    entry.is === "answered" && entry.call === 2 ? [{ ...entry, answer }] : [entry];
  await finds({ entries: told({ state: "SUCCESS", result: "x" }) }, "S2: the result of p0");
  await finds({ entries: told({ state: "FAILURE" }) }, "S3: p0 was told to end as FAILURE");
});

test("S5: an id that is given to two workflows", async () => {
  const by = "client-1-1";
  await finds({
    more: [
      noted(1_050, by, { is: "invoked", call: 1, run: RUN, what: "submit other" }),
      noted(1_060, by, { is: "answered", call: 1, answer: "accepted" }),
    ],
  }, "S5: p0 was given to another workflow");
});

test("an error that is no advice to try again", async () => {
  const by = "client-1-1";
  await finds({
    more: [
      noted(1_050, by, { is: "invoked", call: 1, run: RUN, what: "status" }),
      noted(1_060, by, { is: "failed", call: 1, code: "NOT_FOUND", message: "no such run" }),
    ],
  }, '"status" of p0 failed as NOT_FOUND');
});

test("S12: an attempt that nobody decided", async () => {
  const began: Note = {
    is: "began",
    execution: 9,
    run: RUN,
    node: 1,
    attempt: 2,
    given: digestOf([SPEC, first]),
  };
  await finds({ more: [noted(1_160, "worker-1-1", began)] }, "S12: attempt 2 of prove-1");
});

test("L1, L5: what has no end, and what is left", async () => {
  await finds({ facts: (fact) => fact.key.endsWith("end.1") ? [] : [fact] }, "L1");
  const tasks = ["default.p5.p0.1.1"];
  await finds({ left: { tasks, ticks: [] } }, "L5: default.p5.p0.1.1 is left");
  const full: Note = { is: "fault", kind: "disk full", of: "server 0", from: 0, until: 1 };
  const afterwards = await judged({
    left: { tasks, ticks: [RUN] },
    more: [noted(1, "main", full)],
  });
  assert.equal([afterwards.violations, afterwards.leftByServer], [[], 2]);
});

/** The second node once more, elsewhere, a second after the first time. */
async function again(by: string, ...faults: Note[]): Promise<Extra> {
  const more = [
    ...ran(1, 2_110, by, 1, [SPEC, first]),
    ...faults.map((note) => noted(3_000, note.is === "fault" ? "main" : "worker-0-1", note)),
  ];
  const { extras } = await judged({ more });
  assert.is(extras.length, 1);
  return extras[0]!;
}

const fault = (kind: string, of: string, from: number, until = from): Note => ({
  is: "fault",
  kind,
  of,
  from,
  until,
});

test("S10: what runs again and nothing explains is a violation", async () => {
  await finds({ more: ran(1, 2_110, "worker-1-1", 1, [SPEC, first]) }, "S10: attempt 1 of node 1");
});

test("S10: a worker's death explains what it had begun before, and nothing else", async () => {
  const why = async (of: string, from: number) =>
    (await again("worker-1-1", fault("kill worker", of, from))).why;
  assert.is(await why("worker-0-1", 1_500), "kill worker");
  assert.is(await why("worker-2-1", 1_500), undefined);
  assert.is(await why("worker-0-1", 2_500), undefined);
  assert.is(await why("worker-0-1", 1_000 - LEASE_MS), undefined);
});

test("S10: a worker that stood still, whichever of the two it is, explains it", async () => {
  const still: Note = { is: "stood still", from: 1_400, until: 2_000 };
  assert.is((await again("worker-1-1", still)).why, "stood still");
  const paused = fault("pause worker", "worker-1-1", 1_000, 2_000);
  assert.is((await again("worker-1-1", paused)).why, "pause worker");
});

test("S10: a server that is away explains it; a client, a clock, a dead processor do not", async () => {
  const why = async (kind: string, of: string) =>
    (await again("worker-1-1", fault(kind, of, 1_200, 1_500))).why;
  assert.is(await why("kill server", "server 0"), "kill server");
  assert.is(await why("purge TASKS", "chaos_TASKS"), "purge TASKS");
  assert.is(await why("hold processor", "processor-0-1"), "hold processor");
  assert.is(await why("kill processor", "processor-0-1"), undefined);
  assert.is(await why("purge TICKS", "chaos_TICKS"), undefined);
  assert.is(await why("hold client", "client-0-1"), undefined);
  assert.is(await why("clock of worker", "worker-0-1"), undefined);
});

test("what is expected of proofs is what they come to", async () => {
  const proving = [
    task(prove.taskName, (spec: Spec, ...inputs: unknown[]) => {
      const { workflowId, node, attempt } = currentTask();
      if (attempt <= spec.fails) throw new Error("as planned");
      return proofOf(workflowId, node, attempt, spec, inputs);
    }),
    task(listed.taskName, (specs: readonly Spec[]) => specs),
  ];
  const states = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const proof = anyProof(new Rolls(seed), "local", { mayBeBig: false });
    const { state, result } = await runLocally(workflowOf(proof), { tasks: proving, id: "local" });
    const expected = expectationOf(proof);
    assert.is(state, expected.state, `seed ${seed}`);
    const digest = result === undefined ? undefined : digestOf(result);
    assert.is(digest, expected.result, `seed ${seed}`);
    states.add(state);
  }
  assert.equal([...states].sort(), ["FAILURE", "SUCCESS"]);
});

test.run();
