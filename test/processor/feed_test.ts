/** What processors tell others: each thing once while one conducts, and with the same id when another one tells it again. */
import { readFileSync } from "node:fs";
import { FatalTaskError, type FeedEvent, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { FEED_EVENTS, feedTopic } from "../../src/core/feed_event.ts";
import type { Ports } from "../../src/ports.ts";
import { Processor } from "../../src/processor/processor.ts";
import { overriding, VirtualEngine } from "../virtual_engine.ts";

const work = task("work", (n: number) => n);
const shaky = task("shaky", { retry: { max: 1, base: "1s", jitter: false } }, (): number => {
  throw new RangeError("no luck");
});
const fatal = task("fatal", (): number => {
  throw new FatalTaskError("never");
});
const each = task("each", (n: number) => n);

interface Told {
  readonly topic: string;
  readonly event: FeedEvent;
  readonly id: string;
}

class FedEngine extends VirtualEngine {
  readonly told: Told[] = [];

  override async processor(ports: Ports = this.ports): Promise<Processor> {
    const hints = overriding(ports.hints, {
      broadcast: (topic, data, id) => {
        const event = JSON.parse(new TextDecoder().decode(data)) as FeedEvent;
        this.told.push({ topic, event, id });
      },
    });
    const options = { sweep: "30d", feed: true } as const;
    const processor = new Processor({ ...ports, hints }, options, { isAnnounced: false });
    await processor.start();
    return processor;
  }

  /** Without what was told again. */
  get distinct(): FeedEvent[] {
    return [...new Map(this.told.map(({ id, event }) => [id, event])).values()];
  }

  /** `run.ended SUCCESS`, `node.failed shaky-1 2 RangeError`. */
  get lines(): string[] {
    return this.told.map(({ event }) => lineOf(event));
  }
}

function lineOf(event: FeedEvent): string {
  const { label, attempt, error, state, child } = event as unknown as Record<
    string,
    unknown
  >;
  const parts = [event.event, label, attempt, error, state, child];
  return parts.filter((part) => part !== undefined).join(" ");
}

async function runToEnd(engine: FedEngine, wf: Workflow, id = "run"): Promise<void> {
  const run = await engine.submit(wf, id);
  await engine.until("it ends", run.ended());
  await engine.pass(100);
}

test("a run that goes well is told from its submit to its end, in order", async () => {
  const engine = new FedEngine();
  await engine.worker([work]);
  await engine.processor();
  const wf = new Workflow("pair");
  wf.call(work, wf.call(work, 1).named("first")).named("second");
  await runToEnd(engine, wf);
  assert.equal(engine.lines, [
    "run.submitted",
    "run.started",
    "node.succeeded first 1",
    "node.succeeded second 1",
    "run.ended SUCCESS",
  ]);
  const { event, topic, id } = engine.told[3]!;
  assert.is(topic, "node.succeeded.run");
  assert.is(id, event.id);
  assert.equal({ ...event, id: "", at: 0 }, {
    v: 1,
    id: "",
    event: "node.succeeded",
    run: "run",
    name: "pair",
    round: 1,
    at: 0,
    node: 1,
    label: "second",
    attempt: 1,
  });
  assert.is(new Set(engine.told.map(({ id }) => id)).size, engine.told.length);
});

test("retries, failures and what follows from them are told, with the name of the failure only", async () => {
  const engine = new FedEngine();
  await engine.worker([work, shaky]);
  await engine.processor();
  const wf = new Workflow("failing");
  const failing = wf.call(shaky).named("shaky");
  wf.call(work, failing).named("needs-it");
  wf.call(work, 1).after(failing, { on: "failure" }).named("reacts");
  const idle = wf.call(work, 2).named("idle");
  wf.call(work, 3).after(idle, { on: "failure" }).named("not-needed");
  await runToEnd(engine, wf);
  assert.equal(engine.lines.toSorted(), [
    "node.failed shaky 2 RangeError",
    "node.retried shaky 1 RangeError",
    "node.skipped not-needed 0",
    "node.succeeded idle 1",
    "node.succeeded reacts 1",
    "node.upstream-failed needs-it 0",
    "run.ended FAILURE",
    "run.started",
    "run.submitted",
  ]);
  assert.not.match(JSON.stringify(engine.told), /no luck/);
});

test("steering is told: pause, resume, cancel, and the round that a retry opens", async () => {
  const engine = new FedEngine();
  await engine.worker([work, fatal]);
  await engine.processor();
  const wf = new Workflow("steered");
  wf.call(work, 1).set({ countdown: "1h" }).named("late");
  wf.call(fatal).named("fatal");
  const run = await engine.submit(wf);
  await engine.pass(1_000);
  await run.pause();
  await engine.pass(1_000);
  await run.resume();
  await engine.pass(1_000);
  await run.cancel("enough");
  await engine.until("it ends", run.ended());
  await engine.pass(1_000);
  await run.retryFailed();
  await engine.pass(1_000);
  await run.skip("late");
  await engine.until("it ends again", run.ended());
  await engine.pass(1_000);
  assert.equal(engine.distinct.map((event) => `${event.round} ${lineOf(event)}`), [
    "1 run.submitted",
    "1 run.started",
    "1 node.failed fatal 1 FatalTaskError",
    "1 run.paused",
    "1 run.resumed",
    "1 node.cancelled late 1",
    "1 run.ended CANCELLED",
    "2 run.reopened",
    "2 node.failed fatal 2 FatalTaskError",
    "2 node.skipped late 2",
    "2 run.ended FAILURE",
  ]);
});

test("runs that take the place of nodes are told, with whose place it is", async () => {
  const engine = new FedEngine();
  await engine.worker([work, each]);
  await engine.processor();
  const wf = new Workflow("grown");
  wf.map(each, [1, 2]);
  await runToEnd(engine, wf);
  const expanded = engine.told.find(({ event }) => event.event === "node.expanded")!.event;
  const { child } = expanded as FeedEvent & { child: string };
  const ofChild = engine.told.filter(({ event }) => event.run === child);
  assert.equal(ofChild.map(({ event }) => lineOf(event)).toSorted(), [
    "node.succeeded each-0 1",
    "node.succeeded each-1 1",
    "run.ended SUCCESS",
    "run.started",
    "run.submitted",
  ]);
  assert.equal(ofChild[0]!.event.parent, { run: "run", node: 0 });
  assert.is(engine.lines.filter((line) => line.startsWith("node.succeeded map")).length, 1);
});

test("whoever takes over tells again what happened lately, with the same ids, and what was not told", async () => {
  const engine = new FedEngine();
  await engine.worker([work]);
  const wf = new Workflow("handed-over");
  const [first, second] = [wf.call(work, 1).named("first"), wf.call(work, 2).named("second")];
  wf.call(work, 3).set({ countdown: "30s" }).after([first, second]).named("third");
  // The first one dies without a word when it has sent the tasks: it hears of no outcome.
  const silent = overriding(engine.ports.hints, { onFact: () => () => {} });
  const dead = await engine.processor({ ...engine.ports, hints: silent });
  const run = await engine.submit(wf);
  await engine.pass(500);
  assert.equal(engine.lines, ["run.submitted", "run.started"]);
  await dead.stop();
  await engine.processor();
  await engine.until("it ends", run.ended());
  await engine.pass(100);
  assert.equal(engine.distinct.map(lineOf), [
    "run.submitted",
    "run.started",
    "node.succeeded first 1",
    "node.succeeded second 1",
    "node.succeeded third 1",
    "run.ended SUCCESS",
  ]);
  assert.ok(engine.told.length > engine.distinct.length, "nothing was told again");
  for (const { id, event } of engine.told) {
    const again = engine.told.filter((other) => other.id === id);
    again.forEach((other) => assert.equal(other.event, event));
  }
});

test("what happened long before a takeover is not told again", async () => {
  const engine = new FedEngine();
  await engine.worker([work]);
  const before = await engine.processor();
  const wf = new Workflow("long");
  wf.call(work, 2).set({ countdown: "1h" }).after(wf.call(work, 1).named("first")).named("second");
  const run = await engine.submit(wf);
  await engine.pass(600_000);
  await before.stop();
  const told = engine.told.length;
  await engine.processor();
  await engine.until("it ends", run.ended());
  await engine.pass(100);
  assert.equal(engine.lines.slice(told), ["node.succeeded second 1", "run.ended SUCCESS"]);
});

test("a feed that cannot be told breaks nothing", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const hints = overriding(ports.hints, {
    broadcast: () => {
      throw new Error("the connection is draining");
    },
  });
  await engine.worker([work]);
  const options = { sweep: "30d", feed: true } as const;
  await new Processor({ ...ports, hints }, options, { isAnnounced: false }).start();
  const wf = new Workflow("untold");
  wf.call(work, wf.call(work, 1));
  const run = await engine.submit(wf);
  assert.is((await engine.until("it ends", run.ended())).state, "SUCCESS");
});

test("without being asked to, a processor tells nobody", async () => {
  const engine = new FedEngine();
  await engine.worker([work]);
  const { ports } = engine;
  const broadcast = () => assert.unreachable("it was told");
  const hints = overriding(ports.hints, { broadcast });
  await new Processor({ ...ports, hints }, { sweep: "30d" }, { isAnnounced: false }).start();
  const wf = new Workflow("quiet");
  wf.call(work, 1);
  await runToEnd(engine, wf);
});

test("a run whose definition cannot be read is told as ended", async () => {
  const engine = new FedEngine();
  await engine.processor();
  await engine.ports.facts.create("broken.def.0", new TextEncoder().encode("junk"));
  await engine.ports.ticks.ensure("broken");
  await engine.pass(1_000);
  assert.equal(engine.lines, ["run.ended ERROR"]);
  assert.is(feedTopic(engine.told[0]!.event), "run.ended.broken");
});

test("the guide's table has exactly the events that there are", () => {
  const page = readFileSync("docs/guide/events-feed.md", "utf8");
  const table = /^\| event +\| when[^]*?\n\n/m.exec(page)?.[0] ?? "";
  const names = [...table.matchAll(/^\| `([\w.-]+)`/gm)].map(([, name]) => name!);
  assert.equal(names, [...FEED_EVENTS]);
});

test("feed must be true or false", async () => {
  const engine = new FedEngine();
  assert.throws(
    () => new Processor(engine.ports, { feed: "yes" as never }),
    /feed = "yes" is neither true nor false/,
  );
});

test.run();
