/** Scans of the log are whole, whatever happens to what they ask for and to what they are told. */
import { jetstream } from "@nats-io/jetstream";
import type { Msg, NatsConnection, SubscriptionOptions } from "@nats-io/nats-core";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { natsPorts } from "../../src/nats/open.ts";
import type { Facts } from "../../src/ports.ts";
import { type Scope, TestServer } from "./server.ts";

const server = new TestServer();
const test = suite("a scan");
test.after(() => server.stop());

/** More than one request asks for; and fewer. */
const [MANY, FEW] = [5_000, 1_500];
const NEXT = "$JS.API.CONSUMER.MSG.NEXT.";

/** The log of a namespace with `count` facts, as it is seen on this connection. */
async function filled(scope: Scope, count: number, nc: NatsConnection): Promise<Facts> {
  const { facts } = await natsPorts(nc, {
    namespace: scope.namespace,
    replicas: 1,
    storage: "file",
    log: () => {},
    tickLeaseMs: 2_000,
    taskLeaseMs: 2_000,
  });
  const js = jetstream(await scope.raw);
  const body = "x".repeat(200);
  await Promise.all(
    Array.from(
      { length: count },
      (_, i) => js.publish(`$KV.${scope.namespace}.w.r.${i}.1`, body, { timeout: 20_000 }),
    ),
  );
  return facts;
}

/** `nc`, with some of its methods changed. */
function changed(nc: NatsConnection, methods: Partial<NatsConnection>): NatsConnection {
  return new Proxy(nc, {
    get(target, key) {
      const value = Reflect.get(methods, key) ?? Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test(
  "what comes too late for one request is asked for again",
  server.scope(async (scope) => {
    const nc = await scope.connect();
    let hurried = 0;
    const facts = await filled(
      scope,
      MANY,
      changed(nc, {
        // The server gives each request up before it can have answered it.
        publish: (subject, payload, options) => {
          const isNext = subject.startsWith(NEXT);
          if (isNext) hurried++;
          const { batch } = isNext ? JSON.parse(payload as string) : { batch: 0 };
          nc.publish(
            subject,
            isNext ? JSON.stringify({ batch, expires: 1_000_000 }) : payload,
            options,
          );
        },
      }),
    );
    assert.is((await facts.scan("w.>", { bodies: true })).length, MANY);
    assert.ok(hurried > MANY / 2_000, "a request was given up");
  }, { leavesWork: true }),
);

test(
  "a scan that lost a message begins again",
  server.scope(async (scope) => {
    const nc = await scope.connect();
    let lost = 0;
    const isLost = (msg: Msg) => msg.subject.endsWith(".w.r.1234.1") && lost++ === 0;
    const facts = await filled(
      scope,
      FEW,
      changed(nc, {
        subscribe: (subject, options: SubscriptionOptions = {}) => {
          const { callback } = options;
          return nc.subscribe(subject, {
            ...options,
            ...(callback === undefined ? {} : {
              callback: (error: Error | null, msg: Msg) => {
                if (error !== null || !isLost(msg)) callback(error, msg);
              },
            }),
          });
        },
      }),
    );
    assert.is((await facts.scan("w.>", { bodies: true })).length, FEW);
    assert.ok(lost > 1, "it was lost, and came");
  }, { leavesWork: true }),
);

test.run();
