/** A processor that takes over from another one: what was sent is not sent again, whatever happens while it looks. */
import { task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import "../../simulator/synchronous_digest.ts";
import { Run } from "../../src/client/run.ts";
import type { AnyTask } from "../../src/core/task.ts";
import { endKey, everythingOf, outcomesOf } from "../../src/core/keys.ts";
import { readClaim, readExpansion, writeClaim, writeEnd } from "../../src/core/records.ts";
import { noCounts } from "../../src/core/scheduler.ts";
import type { Facts, Ports } from "../../src/ports.ts";
import { deaf, overriding, VirtualEngine } from "../virtual_engine.ts";

for (
  const { what, before, expected } of [
    { what: "of a new one nobody", before: "nothing", expected: [] },
    {
      what: "of one that had a processor the others",
      before: "a processor",
      expected: ["held.run"],
    },
    { what: "of one with something recorded too", before: "a pause", expected: ["held.run"] },
  ]
) {
  test(`who takes up a run tells ${what}`, async () => {
    const engine = new VirtualEngine();
    const wf = new Workflow("one");
    wf.call(task("once", () => 1)).set({ queue: "nobody" });
    const run = await engine.submit(wf);
    if (before === "a pause") await run.pause();
    if (before === "a processor") {
      const processor = await engine.processor();
      await engine.pass(100);
      await engine.until("it stops", processor.stop());
    }
    const told: string[] = [];
    engine.ports.hints.onTold("held.*", (topic) => void told.push(topic));
    await engine.processor();
    await engine.pass(100);
    assert.equal(told, expected);
  });
}

/** Ports on which messages of the second node take so long to the queue. */
function slowToQueue(engine: VirtualEngine, ms: number): Ports {
  const { ports } = engine;
  const publish: Ports["tasks"]["publish"] = async (address, ...message) => {
    if (address.node === 1) await engine.sleep(ms);
    return await ports.tasks.publish(address, ...message);
  };
  return { ...ports, tasks: overriding(ports.tasks, { publish }) };
}

function twoNodes(onSecond: () => number): { wf: Workflow; tasks: AnyTask[] } {
  const first = task("first", () => 1);
  const second = task("second", (_: number) => onSecond());
  const wf = new Workflow("two");
  wf.call(second, wf.call(first));
  return { wf, tasks: [first, second] };
}

/** Ticks go to processors in turn: the next one goes to the one that came last. */
async function wakeNewest(engine: VirtualEngine, others: number): Promise<void> {
  for (let i = 0; i <= others; i++) {
    await engine.ports.ticks.wake("run");
    await engine.pass(1);
  }
}

for (const how of ["is asked for a run", "stops"]) {
  test(`who ${how} lets go of it when what it was sending is queued: nothing is sent twice`, async () => {
    const engine = new VirtualEngine();
    const { ports } = engine;
    let times = 0;
    const { wf, tasks } = twoNodes(() => ++times);
    await engine.worker(tasks);
    const before = await engine.processor(slowToQueue(engine, 500));
    const run = await engine.submit(wf);
    await engine.pass(100);
    assert.is((await ports.facts.scan(outcomesOf("run"))).length, 1, "the second is on its way");
    const held: string[] = [];
    ports.hints.onTold("held.run", (topic) => void held.push(topic));
    await engine.processor();
    if (how === "stops") await engine.until("it stops", before.stop());
    else await wakeNewest(engine, 1);
    assert.is((await engine.until("it ends", run.ended())).state, "SUCCESS");
    await engine.pass(2_000);
    assert.equal({ times, held }, { times: 1, held: ["held.run"] });
  });
}

test("who does not answer is waited for no longer than a second", async () => {
  const engine = new VirtualEngine();
  const { wf, tasks } = twoNodes(() => 1);
  await engine.worker(tasks);
  await engine.processor(slowToQueue(engine, 60_000));
  const run = await engine.submit(wf);
  await engine.pass(100);
  await engine.processor();
  await wakeNewest(engine, 1);
  await engine.pass(900);
  assert.is((await run.status()).state, "RUNNING");
  await engine.pass(600);
  assert.is((await run.status()).state, "SUCCESS");
});

test("of two processors the one with the later tick keeps the run, and says so to the other", async () => {
  const engine = new VirtualEngine();
  const { hints, ticks } = engine.ports;
  await engine.processor();
  const wf = new Workflow("one");
  wf.call(task("once", () => 1)).set({ queue: "nobody" });
  await engine.submit(wf);
  await ticks.wake("run");
  await ticks.wake("run");
  await engine.pass(100);
  const claim = (seq: number) => writeClaim({ by: "another", seq });
  const told: (number | undefined)[] = [];
  hints.onTold("held.run", (_, data) => void told.push(readClaim(data)?.seq));
  const ask = async (seq: number) => {
    const answer = await engine.until("it answers", hints.ask("asked.run", claim(seq), 100));
    return answer && new TextDecoder().decode(answer);
  };
  assert.is(await ask(2), "kept");
  hints.tell("held.run", claim(2));
  await engine.pass(10);
  assert.equal(told, [2, 3]);
  assert.is(await ask(3), "let go", "the same one was delivered to another");
  assert.is(await ask(3), undefined);
});

test("what cannot be read is believed: it may be of a version to come", async () => {
  const engine = new VirtualEngine();
  const { hints } = engine.ports;
  await engine.processor();
  const wf = new Workflow("one");
  wf.call(task("once", () => 1)).set({ queue: "nobody" });
  await engine.submit(wf);
  await engine.pass(100);
  const newer = new TextEncoder().encode('{"v":2,"holder":"another"}');
  const answer = await engine.until("it answers", hints.ask("asked.run", newer, 100));
  assert.is(new TextDecoder().decode(answer), "let go");
});

test("a task that ends while its log and its queue are read, unheard, is not sent again", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let times = 0;
  let isRead = false;
  /** Between the first answer, whichever it is, and the second. */
  const meanwhile = async <T>(answer: T): Promise<T> => {
    if (isRead) return answer;
    isRead = true;
    await engine.worker([task("once", () => ++times)]);
    await engine.sleep(100);
    return answer;
  };
  const next: Facts["next"] = async (filter, seq) => {
    const found = await ports.facts.next(filter, seq);
    return filter === outcomesOf("run") ? await meanwhile(found) : found;
  };
  const list: Ports["tasks"]["list"] = async (run) => meanwhile(await ports.tasks.list(run));
  const wf = new Workflow("one");
  wf.call(task("once", () => 1));
  const run = await engine.submit(wf);
  const before = await engine.processor();
  await engine.pass(100);
  await engine.until("it stops", before.stop());
  await engine.processor({
    ...deaf(ports, ".r."),
    facts: overriding(ports.facts, { next }),
    tasks: overriding(ports.tasks, { list }),
  });
  assert.is((await engine.until("it ends", run.ended())).state, "SUCCESS");
  await engine.pass(1_000);
  assert.is(times, 1);
});

test("whoever takes a run over notices at once that its child is gone", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const inner = new Workflow("inner");
  inner.waitFor("never");
  const wf = new Workflow("outer");
  wf.run(inner);
  await engine.worker([]);
  const before = await engine.processor();
  const run = await engine.submit(wf);
  await engine.pass(100);
  const expansion = (await ports.facts.scan(outcomesOf("run"), { bodies: true }))[0]!;
  await engine.until("it stops", before.stop());
  await ports.facts.purge(everythingOf(readExpansion(expansion.data)!.child));
  // Its tick goes from one to the next, and each has it no longer than it takes to look.
  await engine.processor();
  await engine.pass(100);
  assert.is((await engine.until("it is told", run.status())).state, "FAILURE");
});

test("a paused run that nobody waits for any more does not sleep for an hour", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const inner = new Workflow("inner");
  inner.waitFor("never");
  const wf = new Workflow("outer");
  wf.run(inner);
  await engine.worker([]);
  await engine.processor();
  await engine.submit(wf);
  await engine.pass(100);
  const [expansion] = await ports.facts.scan(outcomesOf("run"), { bodies: true });
  const child = new Run(ports, readExpansion(expansion!.data)!.child);
  await engine.until("it is paused", child.pause());
  await engine.pass(200_000);
  // A conductor that ends the run, and dies before it says so to whom it does not need.
  const counts = noCounts();
  const end = { state: "CANCELLED", at: ports.clock.now(), counts, failed: [] } as const;
  await ports.facts.create(endKey("run", 1), writeEnd(end));
  await engine.pass(60_000);
  assert.is((await engine.until("it is told", child.status())).state, "CANCELLED");
});

test.run();
