/** What the roles of a deployment do, so that each of their permissions is used: together with `permissions_test.ts`. */
import type { NatsConnection } from "@nats-io/nats-core";
import { currentTask, type Dyrygent, type Schedule, task, Workflow } from "nats-dyrygent";
import * as assert from "uvu/assert";
import { eventually, rejection } from "./server.ts";

export const ROLES = ["client", "worker", "processor"] as const;
export type Role = typeof ROLES[number];

const add = task("add", (a: number, b: number) => a + b);
const long = task("long", (length: number) => "x".repeat(length));
const double = task("double", { timeout: "30s" }, (n: number) => 2 * n);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

export type Apps = Record<Role, Dyrygent>;

/** Everything that needs a permission, at least once. */
export async function useEverything(apps: Apps, admin: NatsConnection): Promise<void> {
  const { client, worker: forWorker, processor: forProcessor } = apps;
  const failing = task("failing", (): number => {
    throw new Error("always");
  });
  // Not before some task ran long enough to be told as started.
  const toldAsStarted = new Promise<void>((resolve) =>
    admin.subscribe("demo.event.started.>", { callback: () => resolve() })
  );
  const reporting = task("reporting", async () => {
    currentTask().progress(0.5);
    currentTask().log.info("half of it");
    await toldAsStarted;
  });
  const worker = forWorker.worker({ tasks: [add, sum, double, failing, reporting, long] });
  const conducting = { retention: 0, tick: { idle: [50, 50] }, feed: true } as const;
  const processor = forProcessor.processor(conducting);
  const other = forProcessor.processor(conducting);
  await Promise.all([worker.start(), processor.start(), other.start()]);

  await admin.request("demo.task.default.p5.junk", "not a task");
  const wf = new Workflow("allowed", { payload: "x".repeat(100) });
  const huge = wf.call(task("size", (text: string) => text.length), "x".repeat(600_000));
  wf.call(add, 1, 1).set({ priority: 1 });
  for (const max of [1, 2]) wf.call(add, 1, 1).set({ concurrency: { key: "shared", max } });
  wf.call(add, 1, 1).set({ rateLimit: { max: 1, per: "50ms" } });
  wf.call(reporting);
  wf.call(
    task("add", (a: string, b: string) => a + b),
    wf.call(long, 1_500_000).named("big"),
    "",
  );
  wf.call(failing).after(huge, { on: "failure" });
  wf.call(sum, [huge]).set({ payload: "y".repeat(600) });
  wf.call(add, 1, 1).set({ countdown: "1h" }).named("far");
  wf.call(task("size", (text: string) => text.length), "x".repeat(600_000));
  const served = { unknownTasks: "refuse", dedupe: { key: "served" } } as const;
  await (await client.submit(add.s(1, 1), { ...served, id: "served" })).result();
  assert.is((await client.submit(add.s(1, 1), served)).id, "served");
  assert.is((await client.workers()).length, 1);
  assert.is((await client.processors()).length, 2);
  const often = await client.schedule("often", { every: "1s" }, add.s(1, 1));
  await submittedBy(often);
  for await (const { id } of client.schedules()) await client.scheduleOf(id).pause();
  assert.is(await (await often.runNow()).result(), 2);
  await often.remove();
  const run = await client.submit(wf, { id: "allowed", unknownTasks: "ignore" });
  await run.pause();
  await run.resume();
  await run.skip(["far"]);
  assert.is((await run.ended()).state, "FAILURE");
  assert.is((await run.result("big") as string).length, 1_500_000);
  for await (const _ of run.watch()) { /* all of it */ }
  for await (const { message } of run.logs({ follow: true })) assert.is(message, "half of it");
  const junk = await admin.request("$JS.API.STREAM.INFO.demo_TASKS");
  assert.is(junk.json<{ state: { messages: number } }>().state.messages, 0);
  assert.match((await rejection(run.result())).message, /UnknownTaskError/);
  await run.retryFailed();
  await run.cancel("enough");
  assert.ok((await run.ended()).round === 2);
  const grown = new Workflow("grown");
  grown.map(double, [1]).after(grown.waitFor("go"));
  const growing = await client.submit(grown, { id: "grown" });
  await growing.send("go");
  assert.equal(await growing.result(), [2]);
  assert.equal((await growing.audit()).findings, []);
  const { findings } = await client.doctor();
  assert.not.ok(findings.some(({ code }) => code === "not-seen"));
  const late = new Workflow("late", { timeout: "200ms" });
  late.waitFor("never");
  assert.is((await (await client.submit(late, { id: "late" })).ended()).state, "ERROR");
  const gone = await client.submit(long.s(1_500_000), { id: "gone" });
  await gone.result();
  assert.ok((await gone.remove()).applied);
  for await (const { id } of client.list({ limit: 1 })) assert.is(id, "allowed");
  const removed = new Set((await processor.sweep()).removed.map((id) => id.split("-")[0]));
  assert.equal([...removed].toSorted(), ["allowed", "grown", "late", "often", "served"]);
  await Promise.all([worker.stop(), processor.stop(), other.stop()]);
}

/** Resolves when a run of the schedule was submitted. */
function submittedBy(schedule: Schedule): Promise<void> {
  return eventually("a run of the schedule", async () => {
    return (await schedule.status()).lastRun !== undefined;
  });
}

/** Somebody removes consumers while they are in use. */
export async function repair(
  { client, worker, processor }: Apps,
  admin: NatsConnection,
): Promise<void> {
  const working = worker.worker({ tasks: [add] });
  const conducting = processor.processor({ tick: { idle: [50, 50] } });
  await Promise.all([working.start(), conducting.start()]);
  await (await client.submit(add.s(1, 1))).result();
  for (const consumer of ["demo_TICKS.processor", "demo_TASKS.p5-default"]) {
    await admin.request(`$JS.API.CONSUMER.DELETE.${consumer}`);
  }
  assert.is(await (await client.submit(add.s(2, 2))).result(), 4);
  await Promise.all([working.stop(), conducting.stop()]);
}
