/** What a processor is not told: control facts, messages and ends that it does not hear of still count. */
import { task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Control, FinalState } from "../../src/core/fact.ts";
import { controlKey, endKey, everythingOf, outcomeKey } from "../../src/core/keys.ts";
import { type EndRecord, readEnd, writeControl } from "../../src/core/records.ts";
import type { Facts, Ports } from "../../src/ports.ts";
import { recordOutcome } from "../../src/processor/outcome.ts";
import { audit } from "../audit.ts";
import { deaf, overriding, VirtualEngine } from "../virtual_engine.ts";

/** A workflow of one node, whose task does what a test wants to happen meanwhile. */
function oneNode(): Workflow {
  const wf = new Workflow("one");
  wf.call(task("meanwhile", (): unknown => null));
  return wf;
}

/** As a client does that dies before it wakes the run. */
async function record(facts: Facts, control: Control): Promise<void> {
  await facts.create(controlKey("run", 1), writeControl({ id: control.is, at: 0, control }));
}

/** Ports that lose the connection, and have it again, when `tell` is called. */
function gapped(ports: Ports): { tell: () => void; withGaps: Ports } {
  const calls: (() => void)[] = [];
  const onGap: Ports["hints"]["onGap"] = (call) => {
    calls.push(call);
    return () => {};
  };
  return {
    tell: () => {
      for (const call of calls) call();
    },
    withGaps: { ...ports, hints: overriding(ports.hints, { onGap }) },
  };
}

async function endOf({ facts }: Ports): Promise<EndRecord> {
  return readEnd((await facts.read(endKey("run", 1)))!.data)!;
}

const unheard: readonly [Control, FinalState][] = [
  [{ is: "cancel" }, "CANCELLED"],
  [{ is: "timeout" }, "ERROR"],
  [{ is: "skip", nodes: [0] }, "SUCCESS"],
];
for (const [control, state] of unheard) {
  test(`a ${control.is} that stands before the end counts, though nobody heard of it`, async () => {
    const engine = new VirtualEngine();
    const { ports } = engine;
    await engine.worker([task("meanwhile", async () => {
      await record(ports.facts, control);
      throw new Error("too late");
    })]);
    await engine.processor(deaf(ports, ".ctl."));
    const run = await engine.submit(oneNode());
    await engine.until("it ends", run.ended());
    const { state: ended, controls } = await endOf(ports);
    assert.equal({ ended, controls }, { ended: state, controls: 1 });
  });
}

test("in a cluster, what is recorded before the subscription is known everywhere is soon taken in, all the same", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let lost = 0;
  const onFact: Ports["hints"]["onFact"] = (filter, call) =>
    ports.hints.onFact(filter, (hint) => lost < 3 ? void lost++ : call(hint));
  const questions: string[] = [];
  const has: Ports["tasks"]["has"] = (address, most) => {
    questions.push(`queue ${address.node}`);
    return ports.tasks.has(address, most);
  };
  const read: Facts["read"] = (key) => {
    if (key.includes(".r.")) questions.push(key);
    return ports.facts.read(key);
  };
  await engine.worker([task("meanwhile", () => 1)]);
  await engine.processor({
    ...ports,
    hints: overriding(ports.hints, { onFact, spreads: true }),
    tasks: overriding(ports.tasks, { has }),
    facts: overriding(ports.facts, { read }),
  });
  const wf = new Workflow("wide");
  const first = Array.from({ length: 5 }, () => wf.call(task("meanwhile", () => 1)));
  for (let i = 0; i < 100; i++) wf.call(task("slow", () => 1)).set({ queue: "nobody" });
  const next = wf.call(task("meanwhile", () => 1)).after(first.slice(0, 2));
  const begun = engine.clock.monotonic();
  const run = await engine.submit(wf);
  await engine.until("the next one has run", run.result(next));
  assert.is(lost, 3);
  assert.ok(engine.clock.monotonic() - begun < 100, "no tick was needed");
  assert.equal(questions, [], "what is in flight is not asked for, one by one");
});

test("of many messages that are looked for, what got lost is made up for, and few are read", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let asked = 0;
  const has: Ports["tasks"]["has"] = (address, most) => {
    asked++;
    return ports.tasks.has(address, most);
  };
  let lost = 0;
  const publish: Ports["tasks"]["publish"] = (address, ...message) => {
    if (lost > 0 || address.node !== 7) return ports.tasks.publish(address, ...message);
    lost++;
    return Promise.resolve("created");
  };
  // Of the outcomes too one is not heard of.
  await engine.processor({
    ...deaf(ports, ".r.3.1"),
    tasks: overriding(ports.tasks, { has, publish }),
  });
  await engine.worker([task("meanwhile", () => 1)]);
  const wf = new Workflow("wide");
  const all = Array.from(
    { length: 40 },
    (_, node) => wf.call(task("meanwhile", () => 1)).set(node < 10 ? {} : { queue: "nobody" }),
  );
  const next = wf.call(task("meanwhile", () => 1)).after(all.slice(0, 10));
  const run = await engine.submit(wf);
  await engine.until("the next one has run", run.result(next));
  assert.is(lost, 1);
  assert.ok(asked > 0 && asked < 10, `${asked} were asked for`);
});

test("an end knows a cancel that slipped in before it, though nobody heard of it", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const createIf: Facts["createIf"] = async (...end) => {
    await record(ports.facts, { is: "cancel" });
    return await ports.facts.createIf(...end);
  };
  await engine.worker([task("meanwhile", () => 1)]);
  await engine.processor({ ...ports, facts: overriding(ports.facts, { createIf }) });
  const run = await engine.submit(oneNode());
  await engine.until("it ends", run.ended());
  const { state, controls } = await endOf(ports);
  assert.equal({ state, controls }, { state: "SUCCESS", controls: 1 });
  const facts = await ports.facts.scan(">", { bodies: true });
  const left = { tasks: 0, ticks: 0 };
  assert.equal(await audit({ facts, executions: [], left, crashed: false }), []);
});

test("a message that got lost before a pause is queued when the run goes on, not before", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let isLost = true;
  const publish: Ports["tasks"]["publish"] = (...message) =>
    isLost ? Promise.resolve("created") : ports.tasks.publish(...message);
  await engine.processor({ ...ports, tasks: overriding(ports.tasks, { publish }) });
  const run = await engine.submit(oneNode());
  await engine.pass(100);
  isLost = false;
  await run.pause();
  await engine.pass(120_000);
  assert.equal(await ports.tasks.list("run"), []);
  await engine.worker([task("meanwhile", () => 1)]);
  await run.resume();
  assert.is((await engine.until("it ends", run.ended())).state, "SUCCESS");
});

test("a retry waits until the processor knows with what it runs, though others knew it before", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const given: unknown[] = [];
  await engine.worker([task("first", () => "one")]);
  await engine.processor(deaf(ports, ".r.0."));
  const wf = new Workflow("two");
  const first = wf.call(task("first", () => "one"));
  const second = task("second", (before: string) => before);
  wf.call(second, first).set({ queue: "later", retry: { max: 1, base: 1 } });
  const run = await engine.submit(wf);
  await engine.pass(100);
  assert.equal(await ports.tasks.list("run"), []);
  // Another processor has heard how the first one ended, and has had the second one run.
  const failure = { name: "Error", message: "as planned" };
  const times = { startedAt: 0, endedAt: 0 };
  await recordOutcome(ports.facts, outcomeKey("run", 1, 1), { is: "failed", failure }, times);
  const answer = task("second", (before: string) => void given.push(before));
  await engine.worker([answer], ["later"]);
  await engine.pass(1_000);
  assert.equal(given, ["one"]);
  assert.is((await run.status()).state, "SUCCESS");
});

test("a message that is still on its way is not missing", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const { tell, withGaps } = gapped(ports);
  let isFirst = true;
  const publish: Ports["tasks"]["publish"] = async (...message) => {
    if (isFirst) {
      isFirst = false;
      await engine.sleep(1_000);
    }
    return await ports.tasks.publish(...message);
  };
  let times = 0;
  await engine.worker([task("meanwhile", () => ++times)]);
  await engine.processor({ ...withGaps, tasks: overriding(ports.tasks, { publish }) });
  await engine.submit(oneNode());
  await engine.pass(500);
  tell();
  await engine.pass(5_000);
  assert.is(times, 1);
});

for (
  const { way, arrivesMs, arrivesFirst } of [
    { way: "way", arrivesMs: 900, arrivesFirst: true },
    { way: "long way", arrivesMs: 60_000, arrivesFirst: false },
  ]
) {
  test(`a message that is still on its ${way} when its run is cancelled does not stay in the queue`, async () => {
    const engine = new VirtualEngine();
    const { ports } = engine;
    let arrived = 0;
    const publish: Ports["tasks"]["publish"] = async (...message) => {
      await engine.sleep(arrivesMs);
      arrived++;
      return await ports.tasks.publish(...message);
    };
    await engine.processor({ ...ports, tasks: overriding(ports.tasks, { publish }) });
    const run = await engine.submit(oneNode());
    await engine.pass(500);
    await run.cancel();
    const cancelledAt = engine.clock.monotonic();
    assert.is((await engine.until("it ends", run.ended())).state, "CANCELLED");
    assert.ok(engine.clock.monotonic() - cancelledAt < 2_000, "the end does not wait for it");
    assert.is(arrived === 1, arrivesFirst);
    assert.equal(await ports.tasks.list("run"), [], "nothing is left at the end");
    await engine.pass(61_000);
    assert.is(arrived, 1);
    assert.equal(await ports.tasks.list("run"), [], "nor afterwards");
  });
}

test("what a server lost that lost power is done again, though a processor remembers it", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const { tell, withGaps } = gapped(ports);
  let times = 0;
  const tasks = [task("first", () => ++times), task("second", (before: number) => before)];
  await engine.worker(tasks);
  await engine.processor(withGaps);
  const wf = new Workflow("two");
  const first = wf.call(task("first", () => 1));
  wf.call(task("second", (before: number) => before), first).set({ queue: "later" });
  const run = await engine.submit(wf);
  await engine.pass(500);
  assert.equal((await ports.tasks.list("run")).map(({ node }) => node), [1]);
  await ports.facts.purge(outcomeKey("run", 0, 1));
  tell();
  await engine.pass(5_000);
  await engine.worker(tasks, ["later"]);
  assert.is((await engine.until("it ends", run.ended())).state, "SUCCESS");
  assert.is(times, 2);
  const facts = await ports.facts.scan(">", { bodies: true });
  const left = { tasks: 0, ticks: 0 };
  assert.equal(await audit({ facts, executions: [], left, crashed: false }), []);
});

test("a run whose submit a server lost that lost power is not conducted on", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const { tell, withGaps } = gapped(ports);
  await engine.processor(withGaps);
  await engine.submit(oneNode());
  await engine.pass(500);
  await ports.facts.purge(everythingOf("run"));
  await ports.tasks.withdraw("run");
  tell();
  await engine.pass(60_000);
  assert.equal(await ports.tasks.list("run"), []);
  assert.equal(await ports.ticks.list(), []);
});

test.run();
