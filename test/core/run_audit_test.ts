/** `run.audit()`: it finds nothing in what went well, and names each thing that is planted. On the memory adapter. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  type AuditFinding,
  type AuditReport,
  type Codec,
  InvalidOptionError,
  type Invariant,
  NotFoundError,
  task,
  Workflow,
} from "nats-dyrygent";
import { Run } from "../../src/client/run.ts";
import { auditLog } from "../../src/core/audit.ts";
import { everythingOf } from "../../src/core/keys.ts";
import { wholeDefinition } from "../../src/core/recorded.ts";
import { readEnd, writeEnd } from "../../src/core/records.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Facts, Ports, Stored } from "../../src/ports.ts";
import { submitDefinition } from "../../src/runs/submission.ts";
import { locally } from "../data/local.ts";

const test = suite("run.audit()");

const add = task("add", (a: number, b: number) => a + b);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const range = task("range", (n: number) => Array.from({ length: n }, (_, i) => i));
let isBroken = true;
const flaky = task("flaky", { retry: { max: 1, base: "1ms" } }, (n: number) => {
  if (isBroken) throw new Error("no luck");
  return n;
});
const tell = task("tell", (_: unknown) => null);
const tasks = [add, sum, range, flaky, tell];

/** Seals by counting up: nothing of it can be read without. */
const codec: Codec = {
  encode: (data) => data.map((byte) => byte + 1),
  decode: (data) => data.map((byte) => byte - 1),
};

/** An outcome's note, as workers write it. */
const succeeded = "1 succeeded 1700000000000 1700000000001 1700000000000000000 nobody";

/**
 * Runs `good` (0 add, 1 range, 2 map in its place, 3 sum), `bad` (0 flaky, 1 add after it, 2 onError), which is retried
 * once the reason is gone, `stopped`, which is cancelled while it waits, and `sealed`.
 */
const evidence: Promise<readonly Stored[]> = locally(
  { codec },
  { tasks },
  async ({ app, ports }) => {
    const good = new Workflow("good");
    const first = good.call(add, 1, 2).named("first");
    const list = good.call(range, first).named("list");
    good.call(sum, good.map(add, list, 1).named("mapped")).named("total");
    const bad = new Workflow("bad");
    bad.call(add, bad.call(flaky, 1).named("flaky"), 1).named("next");
    bad.onError(tell.s());
    const stopped = new Workflow("stopped");
    const waiting = stopped.waitFor("never");
    stopped.call(tell, waiting).named("after");

    assert.is(await (await app.submit(good, { id: "good" })).result(), 6);
    const failing = await app.submit(bad, { id: "bad" });
    await failing.ended();
    isBroken = false;
    await failing.retryFailed();
    assert.is((await failing.ended()).state, "SUCCESS");
    const waits = await app.submit(stopped, { id: "stopped" });
    await waits.cancel("enough");
    await waits.ended();
    return await ports.facts.scan(">", { bodies: true });
  },
);

/** A log as it is given, on ports in which time passes at once. */
async function planted(
  change: (fact: Stored) => readonly Pick<Stored, "key" | "data" | "note">[] = (fact) => [fact],
): Promise<Ports> {
  const virtual = new VirtualClock();
  const clock = {
    now: () => virtual.now(),
    monotonic: () => virtual.monotonic(),
    after: (_: number, call: () => void) => (setTimeout(call), () => {}),
  };
  const ports = memoryPorts({ clock, random: new SeededRandom(1), log: () => {} });
  for (const { key, data, note } of (await evidence).flatMap(change)) {
    await ports.facts.create(key, data, note);
  }
  return ports;
}

const auditOf = (ports: Ports, id: string) => new Run(ports, id).audit();

/** Exactly one finding, as it is told. */
function only({ ok, findings }: AuditReport, invariant: Invariant, message: RegExp): AuditFinding {
  assert.is(ok, false);
  assert.is(findings.length, 1, JSON.stringify(findings, undefined, 1));
  assert.is(findings[0]!.invariant, invariant);
  assert.match(findings[0]!.message, message);
  return findings[0]!;
}

function some(
  { findings }: AuditReport,
  invariant: Invariant,
  message: RegExp,
): AuditFinding {
  const found = findings.find((one) => one.invariant === invariant && message.test(one.message));
  assert.ok(found !== undefined, JSON.stringify(findings, undefined, 1));
  return found!;
}

const without = (...keys: string[]) => (fact: Stored) => keys.includes(fact.key) ? [] : [fact];

test("what went well is found well, sealed and without the codec, with its child runs", async () => {
  const ports = await planted();
  const good = await auditOf(ports, "good");
  assert.equal(good, {
    ok: true,
    findings: [],
    checked: { runs: 2, nodes: 4 + 3, facts: good.checked.facts },
    unchecked: 0,
  });
  const facts = await ports.facts.keys("good.>");
  const ofChild = await ports.facts.keys("good__2_1.>");
  assert.is(good.checked.facts, facts.length + ofChild.length);
  for (const id of ["bad", "stopped"]) assert.equal((await auditOf(ports, id)).findings, []);
});

test("maxRuns leaves child runs out, and says how many", async () => {
  const ports = await planted();
  const run = new Run(ports, "good");
  const { ok, checked, unchecked } = await run.audit({ maxRuns: 1 });
  assert.equal([ok, checked.runs, unchecked], [true, 1, 1]);
  for (const maxRuns of [0, -1, 1.5, "2" as never]) {
    const error = await run.audit({ maxRuns }).then(() => undefined, (error) => error);
    assert.instance(error, InvalidOptionError);
  }
});

test("a run that is not there is not found", async () => {
  const ports = await planted();
  const error = await auditOf(ports, "nobody").then(() => undefined, (error) => error);
  assert.instance(error, NotFoundError);
});

test("chunks without a head are no run yet", async () => {
  const ports = await planted();
  await ports.facts.create("half.def.0123-1", new Uint8Array());
  const error = await auditOf(ports, "half").then(() => undefined, (error) => error);
  assert.instance(error, NotFoundError);
});

test("S1: an outcome before what its node waits for, with the edge", async () => {
  const early = (fact: Stored) => {
    if (fact.key === "good.r.3.1") return [];
    return fact.key === "good.r.0.1"
      ? [{ ...fact, key: "good.r.3.1", note: fact.note! }, fact]
      : [fact];
  };
  const report = await auditOf(await planted(early), "good");
  const { node, upstream, attempt, run } = some(report, "S1", /total was made while mapped was/);
  assert.equal([run, node, upstream, attempt], ["good", 3, 2, 1]);
});

test("S1: an outcome of what an upstream's failure forbids", async () => {
  const bold = (fact: Stored) =>
    fact.key === "bad.end.1" ? [{ ...fact, key: "bad.r.1.7", note: succeeded }, fact] : [fact];
  const { node, upstream } = some(
    await auditOf(await planted(bold), "bad"),
    "S1",
    /next was made while flaky was FAILURE: it waits for "success"/,
  );
  assert.equal([node, upstream], [1, 0]);
});

test("S1: an outcome that is not how the child run had ended", async () => {
  const flip = (fact: Stored) =>
    fact.key === "good.r.2.1" ? [{ ...fact, note: fact.note!.replace("succeeded", "failed") }] : [
      fact,
    ];
  some(await auditOf(await planted(flip), "good"), "S1", /run good__2_1 failed, which it had not/);
});

test("a child run that was removed after its time is no finding", async () => {
  const ports = await planted();
  await ports.facts.purge(everythingOf("good__2_1"));
  const { ok, checked } = await auditOf(ports, "good");
  assert.equal([ok, checked.runs], [true, 1]);
});

test("S2, S3: two records of one attempt, of one round", async () => {
  const facts = (await evidence).filter(({ key }) => key.startsWith("bad."));
  const head = facts.find(({ key }) => key === "bad.def.0")!;
  const definition = await wholeDefinition("bad", head.data, () => Promise.resolve(undefined));
  for (const [key, invariant] of [["bad.r.0.1", "S2"], ["bad.end.1", "S3"]] as const) {
    const twice = facts.flatMap((fact) => fact.key === key ? [fact, fact] : [fact]);
    const { findings } = auditLog("bad", definition, twice, { atRest: true });
    assert.equal(findings.map((one) => one.invariant), [invariant]);
    assert.match(findings[0]!.message, `${key} is recorded twice`);
  }
});

for (const state of ["FAILURE", "CANCELLED", "ERROR"] as const) {
  test(`S4: a terminal record that says ${state}, and no reason in the log`, async () => {
    const lie = (fact: Stored) =>
      fact.key === "good.end.1"
        ? [{ ...fact, data: writeEnd({ ...readEnd(fact.data)!, state }) }]
        : [fact];
    const report = await auditOf(await planted(lie), "good");
    some(report, "S4", new RegExp(`round 1 ended as ${state}, its log says SUCCESS`));
    some(report, "S4", new RegExp(`it ended as ${state}, and`));
  });
}

test("S4: a terminal record that hides a failure, also of an earlier round", async () => {
  const lie = (fact: Stored) =>
    fact.key === "bad.end.1"
      ? [{ ...fact, data: writeEnd({ ...readEnd(fact.data)!, state: "SUCCESS" }) }]
      : [fact];
  const report = await auditOf(await planted(lie), "bad");
  assert.is(some(report, "S4", /ended as SUCCESS, and flaky failed/).node, 0);
});

test("S4: a terminal record that counts otherwise than the log", async () => {
  const lie = (fact: Stored) => {
    if (fact.key !== "bad.end.1") return [fact];
    return [{ ...fact, data: writeEnd({ ...readEnd(fact.data)!, failed: [] }) }];
  };
  only(await auditOf(await planted(lie), "bad"), "S4", /round 1 ended with .*its log says/);
});

test("S5: a definition that is missing or cannot be read is a finding, not a crash", async () => {
  only(await auditOf(await planted(without("good__2_1.def.0")), "good__2_1"), "S5", /is missing/);
  const cut = (fact: Stored) =>
    fact.key === "bad.def.0" ? [{ ...fact, data: fact.data.slice(0, 60) }] : [fact];
  only(await auditOf(await planted(cut), "bad"), "S5", /definition cannot be read/);
});

test("S5: control facts and terminal records that are missing among others", async () => {
  const again = (fact: Stored) =>
    fact.key === "bad.ctl.1" ? [{ ...fact, key: "bad.ctl.3" }] : [fact];
  only(await auditOf(await planted(again), "bad"), "S5", /bad\.ctl\.1 to bad\.ctl\.2 are missing/);
  // Without it, what came of the next round has no reason either.
  some(await auditOf(await planted(without("bad.end.1")), "bad"), "S5", /bad\.end\.1 is missing/);
});

test("S5: a child run that its parent needs still", async () => {
  const ports = await planted((fact) =>
    /^good(__2_1\.|\.r\.[23]\.1$|\.end)/.test(fact.key) ? [] : [fact]
  );
  await ports.ticks.ensure("good");
  assert.is(
    only(await auditOf(ports, "good"), "S5", /run good__2_1, .* of node 2, is missing/).node,
    2,
  );
});

test("S11: an outcome of a node that does not exist", async () => {
  const ports = await planted();
  await ports.facts.create("good.r.99.1", new Uint8Array(), succeeded);
  assert.is(only(await auditOf(ports, "good"), "S11", /node 99 .* only 4 nodes/).node, 99);
});

test("S12: an attempt that nobody decided: the record of the one before is missing", async () => {
  const report = await auditOf(await planted(without("bad.r.0.1")), "bad");
  const { node, attempt } = some(report, "S12", /attempt 2 of flaky .*its latest is 1/);
  assert.equal([node, attempt], [0, 2]);
});

test("what a cancel came too late for is no finding", async () => {
  const ports = await planted();
  await ports.facts.create("stopped.r.1.1", new Uint8Array(), succeeded);
  assert.equal((await auditOf(ports, "stopped")).findings, []);
});

test("S13: records that cannot be read", async () => {
  const spoil = (fact: Stored) =>
    fact.key === "bad.end.2" ? [{ ...fact, data: new Uint8Array([1]) }] : [fact];
  only(await auditOf(await planted(spoil), "bad"), "S13", /bad\.end\.2 cannot be read/);
  const ports = await planted();
  await ports.facts.create("bad.r.0.9", new Uint8Array(), "2 succeeded of a newer version");
  await ports.facts.create("bad.other.1", new Uint8Array());
  const { findings } = await auditOf(ports, "bad");
  assert.equal(findings.map(({ invariant }) => invariant), ["S13", "S13"]);
});

test("L1: a node that has not ended when its round has", async () => {
  const report = await auditOf(await planted(without("good.r.3.1")), "good");
  assert.is(some(report, "L1", /its round has ended, and total is SCHEDULED/).node, 3);
});

test("L1: a child run that ended without telling its parent", async () => {
  const ports = await planted(without("good.r.2.1", "good.r.3.1", "good.end.1"));
  await ports.ticks.ensure("good");
  const { run, node } = only(await auditOf(ports, "good"), "L1", /run good__2_1 has ended/);
  assert.equal([run, node], ["good", 2]);
});

test("L4: a run under way without a tick; with one, nothing is wrong so far", async () => {
  const ports = await planted(without("good.end.1"));
  only(await auditOf(ports, "good"), "L4", /has no tick/);
  await ports.ticks.ensure("good");
  assert.equal((await auditOf(ports, "good")).findings, []);
});

test("L4: a run that is retried without a tick", async () => {
  const ports = await planted(without("bad.end.2", "bad.r.0.3", "bad.r.1.1", "bad.r.1.2"));
  only(await auditOf(ports, "bad"), "L4", /has no tick/);
});

test("L5: a tick and task messages of a run that has ended", async () => {
  const ports = await planted();
  await ports.ticks.ensure("bad");
  only(await auditOf(ports, "bad"), "L5", /its tick is left/);
  const other = await planted();
  const left = { queue: "default", lane: "p5", workflow: "bad", node: 1, attempt: 1 };
  await other.tasks.publish(left, new Uint8Array());
  const { node } = only(await auditOf(other, "bad"), "L5", /attempt 1 of node 1 is left/);
  assert.is(node, 1);
});

test("what is so for a moment only is no finding", async () => {
  const ports = await planted(without("good.end.1"));
  const { data, note } = (await evidence).find(({ key }) => key === "good.end.1")!;
  const later: Ports = {
    ...ports,
    clock: {
      ...ports.clock,
      after: (_, call) => {
        void ports.facts.create("good.end.1", data, note).then(call);
        return () => {};
      },
    },
  };
  assert.equal((await auditOf(later, "good")).findings, []);
});

test("a run that is removed before it is looked at again is no finding", async () => {
  const ports = await planted(without("good.end.1"));
  const after: Ports["clock"]["after"] = (_, call) => {
    void ports.facts.purge(everythingOf("good")).then(call);
    return () => {};
  };
  const { findings } = await auditOf({ ...ports, clock: { ...ports.clock, after } }, "good");
  assert.equal(findings, []);
});

test("a run that is removed while it is read is not found", async () => {
  const ports = await planted();
  const readRecorded: Facts["readRecorded"] = async (key) => {
    await ports.facts.purge(everythingOf("bad"));
    return ports.facts.readRecorded(key);
  };
  const facts = new Proxy(ports.facts, {
    get: (all, name: keyof Facts) => name === "readRecorded" ? readRecorded : all[name].bind(all),
  });
  const error = await auditOf({ ...ports, facts }, "bad").then(() => undefined, (error) => error);
  assert.instance(error, NotFoundError);
});

test("S12: what a retry before the terminal record is answered with", async () => {
  const end = (await evidence).find(({ key }) => key === "bad.end.1")!;
  const late = (fact: Stored) =>
    fact.key === "bad.end.1" ? [] : fact.key === "bad.ctl.1" ? [fact, end] : [fact];
  const report = await auditOf(await planted(late), "bad");
  some(report, "S12", /attempt 3 of flaky was made, and nobody decided it/);
  some(report, "S4", /round 2 ended as SUCCESS, its log is in round 1/);
});

test("100,000 nodes are audited: what grew with their square would not end in a suite's time", async () => {
  const SIZE = 100_000;
  const wf = new Workflow("large");
  const all = Array.from({ length: SIZE - 1 }, (_, i) => wf.call(add, i, 1));
  wf.call(sum, all);
  const ports = await planted();
  await submitDefinition(ports, "large", wf.build());
  for (let node = 0; node < SIZE; node++) {
    await ports.facts.create(`large.r.${node}.1`, new Uint8Array([48]), succeeded);
  }
  const { ok, checked } = await auditOf(ports, "large");
  assert.equal([ok, checked.nodes], [true, SIZE]);
});

test.run();
