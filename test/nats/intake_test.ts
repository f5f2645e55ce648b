/**
 * Messages on demand, against a real server: what was wanted is asked for, whatever came before.
 */
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { systemClock } from "../../src/nats/clock.ts";
import { PullIntake } from "../../src/nats/intake.ts";
import { eventually, type Scope, TestServer } from "./server.ts";

const server = new TestServer();
const test = suite("an intake");
test.after(() => server.stop());

interface Opened {
  readonly intake: PullIntake;
  readonly received: string[];
  readonly unused: number[];
  publish(text: string): Promise<unknown>;
}

/** On a stream of its own, which nobody serves otherwise. */
async function open(scope: Scope): Promise<Opened> {
  const nc = await scope.raw;
  const jsm = await jetstreamManager(nc);
  const stream = `INTAKE_${scope.namespace}`;
  const subjects = [`intake.${scope.namespace}`];
  await jsm.streams.add({ name: stream, subjects, retention: RetentionPolicy.Workqueue });
  const config = { durable_name: "all", ack_policy: AckPolicy.Explicit };
  await jsm.consumers.add(stream, config);
  const received: string[] = [];
  const unused: number[] = [];
  const intake = new PullIntake(nc, systemClock, () => {}, {
    stream,
    consumer: "all",
    onMessage: (msg) => {
      received.push(msg.string());
      msg.respond("+ACK");
    },
    restore: () => Promise.resolve(),
    onUnused: (count) => void unused.push(count),
  });
  return {
    intake,
    received,
    unused,
    publish: (text) => jetstream(nc).publish(subjects[0]!, text),
  };
}

test(
  "what is wanted while more is under way is asked for when that has come",
  server.scope(async (scope) => {
    const { intake, received, publish } = await open(scope);
    intake.want(4);
    await Promise.resolve();
    intake.want(3);
    for (const text of ["a", "b", "c", "d", "e", "f", "g"]) await publish(text);
    await eventually("all have come", () => received.length === 7 || received);
    await intake.close();
  }),
);

test(
  "what is wanted while more is under way is asked for when that does not come",
  server.scope(async (scope) => {
    const { intake, received, unused, publish } = await open(scope);
    intake.want(4);
    await Promise.resolve();
    intake.want(3);
    await eventually("nothing came", () => unused.length > 0);
    assert.equal(unused, [4]);
    await publish("late");
    await eventually("it has come", () => received.length === 1);
    await intake.close();
  }),
);

test.run();
