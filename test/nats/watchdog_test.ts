/**
 * Consumers and streams that somebody deletes, changes, pauses or empties while there is work: what can be cured is, what only
 * that somebody can cure is said, and the work goes on as soon as it can.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { chain, type Dyrygent } from "nats-dyrygent";
import { systemClock } from "../../src/nats/clock.ts";
import { PullIntake } from "../../src/nats/intake.ts";
import { namesIn } from "../../src/nats/names.ts";
import { ensureConsumer, tickConsumerConfig } from "../../src/nats/setup.ts";
import { lookForStall, stallOf } from "../../src/nats/stall.ts";
import { eventually, type LogLine, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, mul } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const NEVER_STARTED = "x";
const DOUBT_MS = 400;

/** The intake of a namespace's ticks, inspected sooner than usual, with what it says and hands out. */
async function openIntake(scope: Scope, nc?: NatsConnection) {
  await scope.open();
  const connection = nc ?? await scope.connect();
  const jsm = await jetstreamManager(connection);
  const names = namesIn(scope.namespace);
  const config = tickConsumerConfig(names, 10_000);
  const stream = names.ticksStream;
  const said: LogLine[] = [];
  const came: string[] = [];
  const intake = new PullIntake(
    connection,
    systemClock,
    (level, message) => void said.push({ level, message }),
    {
      stream,
      consumer: names.tickConsumer,
      restore: async () => void await ensureConsumer(jsm, stream, config),
      inspect: () => lookForStall(jsm, stream, config),
      remove: () => jsm.consumers.delete(stream, names.tickConsumer),
      doubtMs: DOUBT_MS,
      onMessage: (msg) => {
        came.push(msg.subject.split(".").at(-1)!);
        msg.respond("+ACK");
      },
    },
  );
  const heard = (text: RegExp) =>
    eventually(`${text} is said`, () => said.some(({ message }) => text.test(message)));
  const tick = async (id: string) => {
    await jetstream(await scope.raw).publish(`${scope.namespace}.tick.${id}`, '{"v":1}');
  };
  const handed = (...ids: string[]) =>
    eventually(`${ids} came`, () => came.join() === ids.join() || came.join());
  return { intake, jsm, stream, said, heard, tick, handed, consumer: names.tickConsumer, config };
}

test(
  "a consumer whose filter somebody changed is named with the field, once; set back, it is made anew",
  tests.scope(async (scope) => {
    const { intake, jsm, stream, consumer, said, heard, tick, handed } = await openIntake(scope);
    intake.want(10);
    const other = `${scope.namespace}.tick.${NEVER_STARTED}.>`;
    await jsm.consumers.update(stream, consumer, { filter_subject: other });
    await tick("a");
    await heard(/nothing comes from consumer processor: .*filter_subject.*Set it back/);
    await new Promise((resolve) => setTimeout(resolve, 2 * DOUBT_MS));
    assert.is(said.filter(({ level }) => level === "error").length, 1);
    const wanted = `${scope.namespace}.tick.>`;
    await jsm.consumers.update(stream, consumer, { filter_subject: wanted });
    // Meanwhile it has gone past what came: set back alone, it would never hand it out.
    await heard(/passed over 1 messages: it is made anew/);
    await handed("a");
    await intake.close();
  }),
);

test(
  "a consumer whose limit of unacknowledged messages somebody lowered is named with the field",
  tests.scope(async (scope) => {
    const { intake, jsm, stream, consumer, heard, tick } = await openIntake(scope);
    await jsm.consumers.update(stream, consumer, { max_ack_pending: 1 });
    await tick("held");
    const held = await (await jetstream(await scope.raw).consumers.get(stream, consumer)).next();
    await tick("waits");
    intake.want(10);
    await heard(/nothing comes from consumer processor: .*max_ack_pending = 1, needs -1/);
    held!.ack();
    await intake.close();
  }, { leavesWork: true }),
);

test(
  "a consumer that somebody paused is said to be, with the time that is left, and goes on after it",
  tests.scope(async (scope) => {
    const { intake, jsm, stream, consumer, heard, tick, handed } = await openIntake(scope);
    intake.want(10);
    if ((await scope.raw).info!.version.startsWith("2.10.")) {
      return await intake.close(); // It has no pauses.
    }
    await jsm.consumers.pause(stream, consumer, new Date(Date.now() + 4_000));
    await tick("a");
    await heard(/somebody paused consumer processor, for another [1-4] s/);
    await handed("a");
    await intake.close();
  }),
);

test(
  "a consumer that is quiet because there is nothing is left alone, and looked at less and less",
  tests.scope(async (scope) => {
    const { intake, said, tick, handed } = await openIntake(scope);
    intake.want(1);
    await new Promise((resolve) => setTimeout(resolve, 5 * DOUBT_MS));
    await tick("a");
    await handed("a");
    assert.equal(said, []);
    await intake.close();
  }),
);

/** A connection whose pull requests get lost, as long as it is told so. */
class Deaf {
  isDeaf = true;
  readonly nc: NatsConnection;

  constructor(nc: NatsConnection) {
    const publish = nc.publish.bind(nc);
    nc.publish = (subject, ...rest) => {
      if (!this.isDeaf || !subject.includes(".CONSUMER.MSG.NEXT.")) publish(subject, ...rest);
    };
    this.nc = nc;
  }
}

test(
  "messages that wait though they are asked for are asked for again",
  tests.scope(async (scope) => {
    const deaf = new Deaf(await scope.connect());
    const { intake, heard, tick, handed } = await openIntake(scope, deaf.nc);
    await tick("a");
    intake.want(1);
    await heard(/has 1 messages and hands none out: asking again/);
    deaf.isDeaf = false;
    await handed("a");
    await intake.close();
  }),
);

test("what keeps a consumer's messages is told apart", async () => {
  const wanted = tickConsumerConfig(namesIn("demo"), 10_000);
  const info = (more: object = {}, config: object = {}) => ({
    num_pending: 3,
    num_ack_pending: 2,
    delivered: { consumer_seq: 7 },
    ...more,
    config: { ...wanted, ...config },
  });
  const { max_ack_pending: _, ...anyLimit } = wanted;
  const is = (given: object, want: object = wanted) => stallOf(given as never, "S", want).is;
  assert.is(is(info()), "waiting");
  assert.is(is(info({ num_pending: 0 })), "none");
  assert.is(is(info({ paused: true, pause_remaining: 5e9 })), "paused");
  assert.is(is(info({}, { max_deliver: 3 })), "changed");
  assert.is(is(info({}, { max_ack_pending: 2 })), "changed");
  assert.is(is(info({}, { max_ack_pending: 2 }), anyLimit), "none");
  assert.is(is(info({}, { max_ack_pending: 3 }), anyLimit), "waiting");
});

async function startedApp(scope: Scope): Promise<Dyrygent> {
  const often = { sweep: "1s", tick: { idle: ["100ms", "500ms"] } } as const;
  const app = await scope.running({ tasks: arithmetic }, often);
  assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
  await scope.rest();
  return app;
}

for (const stream of ["TASKS", "TICKS"] as const) {
  test(
    `a run goes on when somebody empties the stream ${stream} under it`,
    tests.scope(async (scope) => {
      const app = await startedApp(scope);
      const run = await app.submit(chain(add.s(2, 2).set({ queue: "later" }), mul.s(2)));
      await eventually("it waits", async () => (await scope.contents()).tasks === 1);
      const { streams } = await jetstreamManager(await scope.raw);
      await streams.purge(`${scope.namespace}_${stream}`);
      await scope.worker(await scope.open(), { tasks: arithmetic, queues: ["later"] });
      assert.is(await run.result(), 8);
    }),
  );

  test(
    `runs go on when somebody deletes the stream ${stream} under them and it is made again`,
    tests.scope(async (scope) => {
      const app = await startedApp(scope);
      const before = await app.submit(chain(add.s(2, 2).set({ queue: "later" }), mul.s(2)));
      await eventually("it waits", async () => (await scope.contents()).tasks === 1);
      const { streams } = await jetstreamManager(await scope.raw);
      await streams.delete(`${scope.namespace}_${stream}`);
      await eventually(
        "that is noticed",
        () => scope.logs.some(({ message }) => message.includes("cannot be made again yet")),
      );
      const fresh = await scope.open();
      await scope.worker(fresh, { tasks: arithmetic, queues: ["later"] });
      const after = await app.submit(add.s(5, 5));
      assert.equal([await before.result(), await after.result()], [8, 10]);
      // Of the same consumer the same is said once, not four times a second.
      const warned = scope.logs.filter(({ level, message }) =>
        level === "warn" && message.includes("cannot be made again yet")
      ).map(({ message }) => message);
      assert.is(warned.length, new Set(warned).size);
    }),
  );
}

test(
  "a lane that lost its consumer while no worker was there is opened again by who queues into it",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app, { tick: { idle: ["100ms", "500ms"] } });
    const run = await app.submit(add.s(2, 2).set({ priority: 9 }));
    await eventually("it is queued", async () => (await scope.contents()).tasks === 1);
    const { consumers } = await jetstreamManager(await scope.raw);
    await consumers.delete(`${scope.namespace}_TASKS`, "p9-default");
    await scope.worker(await scope.open(), { tasks: arithmetic });
    assert.is(await run.result(), 4);
  }, { within: 40_000 }),
);

test(
  "workers say, by themselves, that somebody changed the consumer they take from",
  tests.scope(async (scope) => {
    const app = await startedApp(scope);
    const { consumers } = await jetstreamManager(await scope.raw);
    const [stream, name] = [`${scope.namespace}_TASKS`, "p5-default"];
    const other = `${scope.namespace}.task.default.p5.nobody.>`;
    await consumers.update(stream, name, { filter_subject: other });
    const run = await app.submit(add.s(2, 2));
    await eventually(
      "it is said",
      () =>
        scope.logs.some(({ level, message }) => level === "error" && /filter_sub/.test(message)),
      25_000,
    );
    await consumers.update(stream, name, {
      filter_subject: `${scope.namespace}.task.default.p5.>`,
    });
    assert.is(await run.result(), 4);
  }, { within: 40_000 }),
);

test.run();
