/** Ticks that are given back, on a real server. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import type { TickDelivery } from "../../src/ports.ts";
import { eventually, TestServer } from "./server.ts";

const server = new TestServer();
const test = suite("ticks");
test.after(() => server.stop());

/** Longer than what is given back may wait for others. */
const BUSY_MS = 200;
const DELAY_MS = 60_000;

test(
  "a delay counts from when the tick was given back, also where the process is busy then",
  server.scope(async (scope) => {
    const { ticks } = await scope.ports();
    const answers: string[] = [];
    const raw = await scope.raw;
    const heard = raw.subscribe(`$JS.ACK.${scope.namespace}_TICKS.>`, {
      callback: (_, msg) => void answers.push(msg.string()),
    });
    await raw.flush();
    const taken: TickDelivery[] = [];
    const intake = await ticks.take((tick) => void taken.push(tick));
    intake.want(1);
    await ticks.wake("w");
    await eventually("the tick", () => taken.length === 1);
    taken[0]!.giveBack(DELAY_MS);
    const busyUntil = performance.now() + BUSY_MS;
    while (performance.now() < busyUntil) { /* so no timer can run */ }
    await eventually("its answer", () => answers.length === 1);
    const { delay } = JSON.parse(answers[0]!.slice("-NAK ".length)) as { delay: number };
    assert.ok(delay / 1e6 <= DELAY_MS - BUSY_MS, `${delay / 1e6} ms`);
    assert.ok(delay > 0);
    await intake.close();
    heard.unsubscribe();
  }, { leavesWork: true }),
);

test.run();
