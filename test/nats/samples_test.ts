/** The samples of the public API, as users will write them, as one program. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { connect } from "@nats-io/transport-node";
import {
  chain,
  chord,
  chunks,
  currentTask,
  Dyrygent,
  group,
  map,
  starmap,
  type Submittable,
  task,
  Workflow,
} from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { startServer } from "./server.ts";

// Tasks: plain functions.

const add = task("add", (a: number, b: number) => a + b);
const mul = task("mul", (a: number, b: number) => a * b);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

const fetchPage = task(
  "pages.fetch",
  {
    queue: "io",
    timeout: "30s",
    retry: { max: 3, backoff: "exponential", base: "1s", cap: "1m", jitter: true },
  },
  async (url: string) => {
    const { signal, attempt, progress } = currentTask();
    const res = await fetch(url, { signal });
    progress(1);
    return { url, bytes: (await res.arrayBuffer()).byteLength, attempt };
  },
);

/** A canvas in which a member does not take what the one before gives. */
export function doesNotCompile(): void {
  // @ts-expect-error: number is not number[]
  chain(add.s(1, 2), sum.s());
  const wf = new Workflow("report");
  const a = wf.call(add, 1, 2);
  // @ts-expect-error: Node<number> is not number[]
  wf.call(sum, a);
}

function report() {
  const wf = new Workflow("report", { timeout: "1h", payload: { team: "storage" } });
  const a = wf.call(add, 1, 2);
  const b = wf.call(mul, a, 10);
  const c = wf.call(sum, [a, b]);
  const d = wf.call(add, 0, 0).after(c).named("last");
  wf.add(chord([add.s(1, 1)], sum.s()), { after: [d] });
  wf.onError(add.si(0, 0));
  wf.finally(add.si(9, 9));
  wf.output(c);
  return { wf, a, d };
}

/** Answers every request with a page of 1,000 bytes. */
async function startPages() {
  const server = createServer((_request, response) => response.end("p".repeat(1_000)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () => {
      server.closeAllConnections();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

test("a task is still its function", async () => {
  assert.is(await add(1, 2), 3);
});

test("the samples of the README and the API run as written", async () => {
  await using server = await startServer();
  await using pages = await startPages();
  const printed: unknown[] = [];
  const console = { log: (line: unknown) => void printed.push(line) };

  const nc = await connect({ servers: server.url });
  const app = await Dyrygent.open(nc, { namespace: "demo" });

  const worker = app.worker({
    tasks: [add, mul, sum, fetchPage],
    queues: ["default", "io"],
    concurrency: 64,
  });
  await worker.start();
  const processor = app.processor();
  processor.on("stateChange", (workflow, state) => console.log([workflow.name, state]));
  processor.on("activeTick", (_workflow) => {});
  processor.on("finish", (workflow) => console.log([workflow.name, "finished"]));
  await processor.start();

  const { wf, a, d } = report();
  const run = await app.submit(wf, { id: "report-2026-11-22" });
  for await (const event of run.watch()) console.log(event);
  const value: number = await run.result();
  assert.is(value, 33);
  const three: number = await run.result(a);
  assert.is(three, 3);
  const status = await run.status();
  assert.equal([status.id, status.name], ["report-2026-11-22", "report"]);
  assert.equal([status.state, status.counts.SUCCESS], ["SUCCESS", 7]);
  assert.equal(status.payload, { team: "storage" });
  assert.ok(status.submittedAt <= status.finishedAt!);
  assert.ok(printed.length > 10, `it printed ${printed.length} lines`);

  await run.cancel("no longer needed");
  await run.pause();
  await run.resume();
  await run.retryFailed();
  await run.skip([d]);
  const again = app.run("report-2026-11-22");
  assert.is(await again.result(), 33);
  for await (const s of app.list({ state: "RUNNING" })) console.log(s.id);

  const canvases: Submittable<unknown>[] = [
    add.s(2, 2),
    add.si(2, 2),
    add.s(2, 2).set({ queue: "io", countdown: "10ms", priority: 9, payload: { user: 42 } }),
    chain(add.s(2, 2), mul.s(8)),
    add.s(2, 2).pipe(mul.s(8)),
    group([add.s(1, 1), add.s(2, 2)]),
    chord([add.s(1, 1), add.s(2, 2)], sum.s()),
    chunks(add, [[1, 1], [2, 2], [3, 3]], 2),
    map(sum, [[1, 2], [3]]),
    starmap(add, [[1, 2], [3, 4]]),
  ];
  const results: unknown[] = [];
  for (const canvas of canvases) results.push(await (await app.submit(canvas)).result());
  assert.equal(results, [4, 4, 4, 32, 32, [2, 4], 6, [[2, 4], [6]], [3, 3], [3, 7]]);

  const page = await (await app.submit(fetchPage.s(pages.url))).result();
  assert.equal(page, { url: pages.url, bytes: 1_000, attempt: 1 });

  await worker.stop();
  await processor.stop();
  await processor.runOnce({ maxDuration: "10s" });
  await nc.close();
});

test("the same workflow runs without a server", async () => {
  const { wf } = report();
  const { state, result, order } = await runLocally(wf, { tasks: [add, mul, sum] });
  assert.equal([state, result], ["SUCCESS", 33]);
  assert.is(order.length, 7);
});

test("a workflow shows as a Mermaid flowchart", () => {
  assert.match(report().wf.toMermaid(), /^flowchart/);
});

test.run();
