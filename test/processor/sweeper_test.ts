/** A sweep costs what there is to do, not what there is. */
import { Dyrygent, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ALL_CONTROLS, ALL_HEADS } from "../../src/core/keys.ts";
import { rateKey, writeLastStart } from "../../src/core/rate.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { systemClock } from "../../src/nats/clock.ts";
import type { Ports } from "../../src/ports.ts";
import { Sweeper } from "../../src/processor/sweeper.ts";
import { Moment } from "../nats/server.ts";

const one = task("one", () => 1);
const HOUR_MS = 3_600_000;

function somePorts(): Ports {
  return memoryPorts({ clock: systemClock, random: new SeededRandom(1), log: () => {} });
}

/** Runs that have ended. */
async function finishedRuns(ports: Ports, count: number): Promise<string[]> {
  const app = new Dyrygent(ports, "local");
  await using worker = app.worker({ tasks: [one] });
  await using processor = app.processor({ sweep: "1h" });
  await worker.start();
  await processor.start();
  const runs = await Promise.all(Array.from({ length: count }, () => app.submit(one.s())));
  for (const run of runs) await run.ended();
  return runs.map(({ id }) => id);
}

test("a sweep asks nothing about each run that is kept", async () => {
  const ports = somePorts();
  await finishedRuns(ports, 20);
  let asked = 0;
  const { facts } = ports;
  for (const name of ["next", "last", "read"] as const) {
    const ask: (...args: never[]) => unknown = facts[name].bind(facts);
    Object.assign(facts, { [name]: (...args: never[]) => ++asked && ask(...args) });
  }
  const swept = await new Sweeper(ports, { everyMs: HOUR_MS, retentionMs: HOUR_MS }).sweep();
  assert.equal([swept, asked], [{ revived: [], removed: [] }, 0]);
});

test("calls of runOnce share the sweeps: as many as the interval says, however many calls", async () => {
  const ports = somePorts();
  let sweeps = 0;
  const list = ports.ticks.list.bind(ports.ticks);
  ports.ticks.list = () => {
    sweeps++;
    return list();
  };
  const app = new Dyrygent(ports, "local");
  const call = (sweep: "1h" | "100ms") => app.processor({ sweep }).runOnce();
  await call("1h");
  await call("1h");
  assert.is(sweeps, 1);
  await call("100ms");
  assert.is(sweeps, 2);
});

test("a sweep removes many runs at the same time", async () => {
  const ports = somePorts();
  const runs = await finishedRuns(ports, 20);
  let [now, most] = [0, 0];
  const purge = ports.facts.purge.bind(ports.facts);
  ports.facts.purge = async (filter) => {
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 1));
    await purge(filter);
    now--;
  };
  const { removed } = await new Sweeper(ports, { everyMs: HOUR_MS, retentionMs: -1 }).sweep();
  assert.equal([...removed].sort(), runs.sort());
  assert.ok(most > 1);
});

test("a run that is retried while a sweep looks is not removed", async () => {
  const ports = somePorts();
  const app = new Dyrygent(ports, "local");
  const wf = new Workflow("retried");
  wf.waitFor("never");
  const run = await app.submit(wf);
  const processor = app.processor({ sweep: "1h" });
  await processor.start();
  await run.cancel();
  await run.ended();
  await processor.stop();
  const scan = ports.facts.scan.bind(ports.facts);
  ports.facts.scan = async (filter, options) => {
    const found = await scan(filter, options);
    if (filter === ALL_CONTROLS) await run.retryFailed();
    return found;
  };
  const { removed } = await new Sweeper(ports, { everyMs: HOUR_MS, retentionMs: -1 }).sweep();
  assert.equal(removed, []);
});

test("a sweep that takes longer than its interval is not begun a second time meanwhile", async () => {
  const ports = somePorts();
  const again = new Moment("three sweeps");
  let [now, most, begun] = [0, 0, 0];
  const keys = ports.facts.keys.bind(ports.facts);
  ports.facts.keys = async (filter) => {
    if (filter !== ALL_HEADS) return keys(filter);
    most = Math.max(most, ++now);
    await new Promise((resolve) => setTimeout(resolve, 150));
    now--;
    if (++begun === 3) again.come();
    return keys(filter);
  };
  const sweeper = new Sweeper(ports, { everyMs: 20, retentionMs: HOUR_MS });
  sweeper.start();
  await again.reached();
  sweeper.stop();
  assert.is(most, 1);
});

test("the last start of a rate is forgotten when it cannot matter any more", async () => {
  const now = Date.now();
  const ports = somePorts();
  const [old, recent] = [rateKey("default", "old"), rateKey("default", "recent")];
  await ports.views.put(old, writeLastStart(now - 26 * HOUR_MS));
  await ports.views.put(recent, writeLastStart(now - 24 * HOUR_MS));
  await ports.views.put("rate.default.newer", new TextEncoder().encode('{"v":2,"at":0}'));
  await new Sweeper(ports, { everyMs: HOUR_MS, retentionMs: HOUR_MS }).sweep();
  assert.equal(await ports.views.keys("rate."), [recent, "rate.default.newer"]);
});

test.run();
