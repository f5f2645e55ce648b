/** Messages of a consumer on demand: every one that is wanted is asked for. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { systemClock } from "../../src/nats/clock.ts";
import { PullIntake } from "../../src/nats/intake.ts";
import { eventually, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** A stream with a consumer, and an intake that counts what it is given and what comes back unused. */
async function intakeOf(scope: Scope) {
  const nc = await scope.raw;
  const jsm = await jetstreamManager(nc);
  const stream = `${scope.namespace}_TASKS`;
  const subject = `${scope.namespace}.message`;
  await jsm.streams.add({
    name: stream,
    subjects: [subject],
    retention: RetentionPolicy.Workqueue,
  });
  await jsm.consumers.add(stream, { durable_name: "one", ack_policy: AckPolicy.Explicit });
  const seen = { messages: 0, unused: 0 };
  const intake = new PullIntake(nc, systemClock, () => {}, {
    stream,
    consumer: "one",
    restore: () => Promise.resolve(),
    onMessage: (msg) => {
      seen.messages++;
      msg.respond();
    },
    onUnused: (count) => void (seen.unused += count),
  });
  const asked = async () => (await jsm.consumers.info(stream, "one")).num_waiting;
  return { intake, seen, asked, publish: () => jetstream(nc).publish(subject) };
}

test(
  "what is wanted while more is under way is asked for once that has come, with no further wish",
  tests.scope(async (scope) => {
    const { intake, seen, asked, publish } = await intakeOf(scope);
    intake.want(3);
    await eventually("three are asked for", async () => await asked() === 1 || await asked());
    intake.want(1);
    for (let i = 0; i < 4; i++) await publish();
    await eventually("the fourth comes", () => seen.messages === 4 || seen.messages);
    await intake.close();
  }),
);

test(
  "what is wanted while more is under way is asked for when that comes back unused",
  tests.scope(async (scope) => {
    const { intake, seen, asked, publish } = await intakeOf(scope);
    intake.want(3);
    await eventually("three are asked for", async () => await asked() === 1 || await asked());
    intake.want(1);
    await eventually("three come back", () => seen.unused === 3 || seen.unused);
    await publish();
    await eventually("the fourth is used", () => seen.messages === 1 || seen.messages);
    assert.is(seen.unused, 3);
    await intake.close();
  }),
);

test.run();
