/** What is asked is kept until it is answered, and no longer. */
import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { systemClock } from "../../src/nats/clock.ts";
import { Requests } from "../../src/nats/requests.ts";
import { TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

const keeps = "Deno" in globalThis ? test.skip : test;
keeps(
  "what waited for its turn is forgotten when it has been answered, though others wait all the time",
  tests.scope(async (scope) => {
    const nc = await scope.raw;
    nc.subscribe("echo", { callback: (_, msg) => void msg.respond(msg.data) });
    const requests = new Requests(nc, systemClock, {
      timeoutMs: 5_000,
      patienceMs: 5_000,
      window: 2,
    });
    const early: WeakRef<Uint8Array>[] = [];
    let asked = 0;
    const ask = async (): Promise<void> => {
      while (asked++ < 5_000) {
        const data = new Uint8Array(10);
        if (asked < 50) early.push(new WeakRef(data));
        await requests.message("echo", "echo", data);
      }
    };
    const all = Promise.all(Array.from({ length: 20 }, ask));
    while (asked < 4_000) await new Promise((resolve) => setTimeout(resolve, 1));
    collectGarbage();
    const kept = early.filter((data) => data.deref() !== undefined).length;
    await all;
    assert.is(kept, 0, process.version);
  }),
);

test.run();
