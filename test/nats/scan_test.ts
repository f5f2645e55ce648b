/** A scan gives all that it is asked for, however slowly it comes. */
import { jetstreamManager } from "@nats-io/jetstream";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { systemClock } from "../../src/nats/clock.ts";
import { NatsFacts } from "../../src/nats/facts.ts";
import { namesIn } from "../../src/nats/names.ts";
import { Patience } from "../../src/nats/patience.ts";
import { Requests } from "../../src/nats/requests.ts";
import { type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** Longer than one request for messages lasts. */
const PAUSE_MS = 6_000;

/** Facts, of which a scan's consumer delivers nothing for a while. */
async function slowFacts(scope: Scope): Promise<NatsFacts> {
  await scope.open();
  const nc = await scope.raw;
  const jsm = await jetstreamManager(nc);
  const add = jsm.consumers.add.bind(jsm.consumers);
  jsm.consumers.add = (stream, config) => {
    const pause_until = new Date(Date.now() + PAUSE_MS).toISOString();
    return add(stream, { ...config, pause_until });
  };
  return new NatsFacts({
    nc,
    jsm,
    requests: new Requests(nc, systemClock, { timeoutMs: 5_000, patienceMs: 5_000, window: 100 }),
    patience: new Patience(nc, systemClock),
    names: namesIn(scope.namespace),
    clock: systemClock,
    log: () => {},
  });
}

test(
  "what has not come when a request for it ends is asked for again",
  tests.scope(async (scope) => {
    // Older ones cannot pause a consumer.
    if (Number((await scope.server).version.split(".")[1]) < 11) return;
    const facts = await slowFacts(scope);
    for (const n of [1, 2, 3]) await facts.create(`run.ctl.${n}`, new Uint8Array([n]));
    const found = await facts.scan("run.ctl.*", { bodies: true });
    assert.equal(found.map(({ key, data }) => [key, data[0]]), [
      ["run.ctl.1", 1],
      ["run.ctl.2", 2],
      ["run.ctl.3", 3],
    ]);
  }),
);

test.run();
