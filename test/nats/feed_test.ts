/** The feed, for whoever has a NATS client and nothing else: a plain subscription, and a stream that keeps it. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import { type FeedEvent, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, Moment, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const add = task("add", (a: number, b: number) => a + b);
const bad = task("bad", (): number => {
  throw new RangeError("a secret");
});

function pair(): Workflow {
  const wf = new Workflow("pair", { payload: { secret: "a secret" } });
  wf.call(add, wf.call(add, 1, 2).named("first"), 3).named("second");
  wf.call(bad).optional().named("bad");
  return wf;
}

/** What a plain subscription gets. */
async function heardIn(
  scope: Scope,
  subject = ">",
  nc?: NatsConnection,
): Promise<Msg[]> {
  const heard: Msg[] = [];
  nc ??= await scope.connect();
  nc.subscribe(`${scope.namespace}.feed.${subject}`, {
    callback: (_, msg) => void heard.push(msg),
  });
  await nc.flush();
  return heard;
}

const eventIn = (msg: Msg) => msg.json<FeedEvent>();

test(
  "a plain subscription hears what happens, and nothing that users own",
  tests.scope(async (scope) => {
    const heard = await heardIn(scope);
    const ends = await heardIn(scope, "run.ended.*");
    const ofRun = await heardIn(scope, "*.*.two");
    const app = await scope.running({ tasks: [add, bad] }, { feed: true });
    for (const id of ["one", "two"]) await (await app.submit(pair(), { id })).ended();
    await eventually("all is heard", () => heard.length === 12 || heard.length);
    await eventually("the ends are heard", () => ends.length === 2 || ends.length);
    assert.equal(ends.map((msg) => eventIn(msg).run), ["one", "two"]);
    assert.is(ofRun.length, 6);
    const names = ofRun.map((msg) => eventIn(msg).event);
    assert.equal(names.slice(0, 2), ["run.submitted", "run.started"]);
    assert.is(names.at(-1), "run.ended");
    assert.equal(names.slice(2, -1).toSorted(), [
      "node.failed",
      "node.succeeded",
      "node.succeeded",
    ]);
    for (const msg of heard) {
      const { id, event, run, v } = eventIn(msg);
      assert.is(msg.subject, `${scope.namespace}.feed.${event}.${run}`);
      assert.is(msg.headers?.get("Nats-Msg-Id"), id);
      assert.is(v, 1);
      assert.not.match(msg.string(), /secret/);
    }
  }),
);

test(
  "a stream of a user's own keeps the feed, each event once, through a change of processors",
  tests.scope(async (scope) => {
    await scope.open();
    const jsm = await jetstreamManager(await scope.raw);
    const name = `${scope.namespace}_KEPT`;
    await jsm.streams.add({ name, subjects: [`${scope.namespace}.feed.>`] });
    const heard = await heardIn(scope);
    const begun = new Moment("the task runs");
    const goOn = new Moment("the processors have changed");
    const wait = task("wait", async () => {
      begun.come();
      await goOn.wait;
    });
    await scope.worker(await scope.open(), { tasks: [add, bad, wait] });
    const first = (await scope.open()).processor({ feed: true });
    await first.start();
    const wf = pair();
    wf.call(wait).named("waits");
    const run = await (await scope.open()).submit(wf, { id: "kept" });
    await begun.reached();
    await eventually("what has ended is told", () => heard.length >= 5 || heard.length);
    await first.stop();
    await scope.processor(await scope.open(), { feed: true });
    goOn.come();
    await run.ended();
    await eventually(
      "its end is heard",
      () => heard.some((msg) => eventIn(msg).event === "run.ended"),
    );
    const ids = new Set(heard.map((msg) => eventIn(msg).id));
    assert.is(ids.size, 7);
    assert.ok(heard.length > ids.size, "the second processor tells what happened lately again");
    await eventually("the stream has it", async () => {
      const { messages } = (await jsm.streams.info(name)).state;
      return messages === ids.size || messages;
    });
    const consumer = await jetstream(await scope.raw).consumers.get(name);
    const kept: string[] = [];
    for await (const msg of await consumer.fetch({ max_messages: ids.size })) {
      kept.push(msg.json<FeedEvent>().id);
    }
    assert.equal(kept.toSorted(), [...ids].toSorted());
    await jsm.streams.delete(name);
  }),
);

test(
  "nothing is told unless a processor is asked to",
  tests.scope(async (scope) => {
    const nc = await scope.connect();
    const heard = await heardIn(scope, ">", nc);
    const app = await scope.running({ tasks: [add, bad] });
    await (await app.submit(pair(), { id: "quiet" })).ended();
    // The server would have sent that it was submitted before it took its end.
    await nc.flush();
    assert.is(heard.length, 0);
  }),
);

test.run();
