/** With the real SDK, on a real server: the metrics that are read back. */
import { chain, currentTask, group, task } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type MetricName, METRICS } from "../../src/core/metrics.ts";
import { eventually, Moment, TestServer } from "../nats/server.ts";
import { Collector, type Point } from "./collector.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const add = task("add", (a: number, b: number) => a + b);
const flaky = task("flaky", { retry: { max: 1, base: "200ms", jitter: false } }, () => {
  if (currentTask().attempt === 1) throw new RangeError("not yet");
});

function at(points: readonly Point[], metric: MetricName, labels: Point["labels"] = {}) {
  const found = points.filter((point) =>
    point.metric === metric &&
    Object.entries(labels).every(([name, value]) => point.labels[name] === value)
  );
  assert.ok(found.length <= 1, `${found.length} points of ${metric}`);
  return found[0]?.value;
}

const countAt = (...asked: Parameters<typeof at>) => {
  const value = at(...asked);
  return typeof value === "object" ? value.count : value;
};

test(
  "what happened is counted, each where it happened",
  tests.scope(async (scope) => {
    const [submitter, processor, worker] = [new Collector(), new Collector(), new Collector()];
    await scope.worker(await scope.open({ telemetry: worker.telemetry }), { tasks: [add, flaky] });
    await scope.processor(await scope.open({ telemetry: processor.telemetry }));
    const app = await scope.open({ telemetry: submitter.telemetry });
    const run = await app.submit(chain(add.s(1, 2), add.s(3), flaky.si()));
    await run.result();

    assert.is(countAt(await submitter.points(), "dyrygent.run.submitted"), 1);
    const worked = await worker.points();
    const of = (name: string) => ({
      "messaging.destination.name": "default",
      "dyrygent.task.name": name,
    });
    const outcomes = (name: string, outcome: string) =>
      countAt(worked, "dyrygent.task.outcomes", { ...of(name), "dyrygent.outcome": outcome });
    assert.is(outcomes("add", "succeeded"), 2);
    assert.is(outcomes("flaky", "failed"), 1);
    assert.is(outcomes("flaky", "succeeded"), 1);
    assert.is(countAt(worked, "dyrygent.task.wait", of("add")), 2);
    assert.is(countAt(worked, "messaging.process.duration", of("add")), 2);
    const failed = { ...of("flaky"), "error.type": "RangeError", "messaging.system": "nats" };
    assert.is(countAt(worked, "messaging.process.duration", failed), 1);

    await eventually(
      "the end is told",
      async () => countAt(await processor.points(), "dyrygent.run.duration") === 1,
    );
    const conducted = await processor.points();
    assert.is(countAt(conducted, "dyrygent.task.retries", of("flaky")), 1);
    assert.is(countAt(conducted, "dyrygent.tick.lateness"), 1);
    // From add to add, and from add to flaky. The retry waited for its moment.
    const hops = at(conducted, "dyrygent.hop.duration") as { count: number; sum: number };
    assert.is(hops.count, 2);
    assert.ok(hops.sum > 0 && hops.sum < 5, `${hops.sum} s`);
    for (const { metric, unit } of [...worked, ...conducted]) {
      assert.is(unit, METRICS[metric as MetricName].unit, metric);
    }
  }),
);

test(
  "gauges say how it stands when they are read: what runs, waits and is conducted",
  tests.scope(async (scope) => {
    const collector = new Collector();
    const app = await scope.open({ telemetry: collector.telemetry });
    const [began, release] = [new Moment("the task began"), new Moment("it may end")];
    const held = task("held", async () => {
      began.come();
      await release.wait;
    });
    await scope.worker(app, { tasks: [held], concurrency: 1, prefetch: 0 });
    await scope.processor(app);
    const run = await app.submit(group([held.s(), held.s(), held.s()]));
    await began.reached();
    const gauges = async () => {
      const points = await collector.points();
      const lane = { "messaging.destination.name": "default", "dyrygent.lane": "p5" };
      return JSON.stringify([
        at(points, "dyrygent.task.in_flight", { "dyrygent.task.name": "held" }),
        at(points, "dyrygent.queue.depth", lane),
        at(points, "dyrygent.queue.in_hand", lane),
        at(points, "dyrygent.run.conducted", { "dyrygent.activity": "active" }),
      ]);
    };
    const wait = (seen: string) =>
      eventually(seen, async () => {
        const now = await gauges();
        return now === seen || now;
      });
    await wait("[1,2,1,1]");
    release.come();
    await run.result();
    await wait("[0,0,0,0]");
  }),
);

test(
  "an attempt that is begun again has lost its lease, and its wait is not told twice",
  tests.scope(async (scope) => {
    const collector = new Collector();
    const lost = task("lost", () => currentTask().attempt);
    let isFirst = true;
    const began = new Moment("it was begun");
    const hangs = task("lost", () => {
      if (isFirst) began.come();
      isFirst = false;
      return new Promise<number>(() => {});
    });
    // It dies with the task in hand: its connection is closed under it.
    const nc = await scope.connect();
    const doomed = await scope.open({ taskLease: "1s" }, nc);
    await doomed.worker({ tasks: [hangs] }).start();
    await scope.processor(await scope.open({ taskLease: "1s" }));
    const app = await scope.open({ taskLease: "1s", telemetry: collector.telemetry });
    const run = await app.submit(lost.s().set({ timeout: "1m" }));
    await began.reached();
    await nc.close();
    await scope.worker(app, { tasks: [lost] });
    assert.is(await run.result(), 1);
    const points = await collector.points();
    assert.is(countAt(points, "dyrygent.lease.lost", { "dyrygent.lease": "task" }), 1);
    assert.is(countAt(points, "dyrygent.task.wait"), undefined);
    assert.is(countAt(points, "messaging.process.duration"), 1);
  }),
);

test.run();
