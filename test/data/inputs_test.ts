/** A worker reads a result once, however many tasks take it, and never one of another run. */
import { task, Workflow, WorkflowFailedError } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Facts } from "../../src/ports.ts";
import { locally } from "./local.ts";

let text = "";
const make = task("make", () => text);
const size = task("size", (value: string, _: number) => value.length);
const tasks = [make, size];

/** A workflow in which `count` nodes take the result of one. */
function fanOut(count: number) {
  const wf = new Workflow("fan-out");
  const made = wf.call(make);
  return wf.output(Array.from({ length: count }, (_, i) => wf.call(size, made, i)));
}

/** Counts how often each fact is read. */
function countReads(facts: Facts): Map<string, number> {
  const reads = new Map<string, number>();
  const read = facts.readRecorded.bind(facts);
  facts.readRecorded = (key) => {
    reads.set(key, (reads.get(key) ?? 0) + 1);
    return read(key);
  };
  return reads;
}

test("a big result that a thousand tasks take is read once", async () => {
  text = "x".repeat(500_000);
  await locally({ maxRecord: 100_000 }, { tasks, concurrency: 100 }, async ({ app, ports }) => {
    const reads = countReads(ports.facts);
    let blobs = 0;
    const get = ports.blobs.get.bind(ports.blobs);
    ports.blobs.get = (name) => {
      blobs++;
      return get(name);
    };
    const run = await app.submit(fanOut(1_000), { id: "wide" });
    await run.ended();
    assert.equal([reads.get("wide.r.0.1"), blobs], [1, 1]);
    assert.equal(await run.result(), Array(1_000).fill(500_000));
  });
});

test("what does not fit the cache is read again, and only then", async () => {
  text = "x".repeat(10_000);
  for (const [inputCache, most] of [[10_601, 20], [10_602, 1], [0, 20]] as const) {
    await locally(
      {},
      { tasks, concurrency: 1, prefetch: 0, inputCache },
      async ({ app, ports }) => {
        const reads = countReads(ports.facts);
        await (await app.submit(fanOut(20), { id: "wide" })).ended();
        assert.is(reads.get("wide.r.0.1"), most, `with a cache of ${inputCache} bytes`);
      },
    );
  }
});

test("what was used longest ago makes room", async () => {
  text = "x".repeat(10_000);
  const limits = { tasks, concurrency: 1, prefetch: 0, inputCache: 25_000 };
  await locally({}, limits, async ({ app, ports }) => {
    const wf = new Workflow("three");
    const [a, b, c] = [wf.call(make), wf.call(make), wf.call(make)];
    let last = wf.call(size, a, 0);
    for (const node of [b, a, c, a, b, a]) last = wf.call(size, node, 0).after(last);
    const reads = countReads(ports.facts);
    await (await app.submit(wf, { id: "three" })).ended();
    assert.equal(["0", "1", "2"].map((node) => reads.get(`three.r.${node}.1`)), [1, 2, 1]);
  });
});

test("small results take the room of all that is kept with them", async () => {
  const one = task("one", () => 1);
  const count = task("count", (values: number[], _: number) => values.length);
  const limits = { tasks: [one, count], concurrency: 1, prefetch: 0, inputCache: 60_000 };
  await locally({}, limits, async ({ app, ports }) => {
    const wf = new Workflow("small");
    // More than fit a message where others take them too, as a third one does.
    const ones = Array.from({ length: 3_000 }, () => wf.call(one));
    const second = wf.call(count, ones, 1).after(wf.call(count, ones, 0));
    wf.call(count, ones, 2).after(second);
    const reads = countReads(ports.facts);
    await (await app.submit(wf, { id: "small" })).ended();
    const readOnce = [...reads.values()].filter((times) => times === 1).length;
    assert.ok(reads.size > 1_000, `only ${reads.size} were read`);
    assert.ok(readOnce <= 100, `${readOnce} were kept, in 60,000 bytes`);
  });
});

test("a run that has the id of one that was removed gets its own results", async () => {
  await locally({}, { tasks }, async ({ app, ports }) => {
    for (const length of [10_000, 20_000]) {
      text = "x".repeat(length);
      const run = await app.submit(fanOut(3), { id: "again" });
      assert.equal(await run.result(), [length, length, length]);
      await ports.facts.purge("again.>");
      await new Promise((later) => setTimeout(later, 2)); // They are told apart by milliseconds.
    }
  });
});

test("each task gets a value of its own to change", async () => {
  const list = task("list", () => Array.from({ length: 3_000 }, (_, i) => i));
  const eat = task("eat", (values: number[]) => values.splice(0).length);
  await locally({}, { tasks: [list, eat], concurrency: 1 }, async ({ app }) => {
    const wf = new Workflow("eaters");
    const values = wf.call(list);
    const run = await app.submit(wf.output([wf.call(eat, values), wf.call(eat, values)]));
    assert.equal(await run.result(), [3_000, 3_000]);
  });
});

test("more inputs than a worker takes fail the attempt for good, and no blob is read for it", async () => {
  text = "x".repeat(10_000);
  const retrying = task("retrying", { retry: { max: 5 } }, (all: string[]) => all.length);
  const limits = { tasks: [make, retrying], maxInputs: 30_005 };
  await locally({ maxRecord: 4_000 }, limits, async ({ app, ports }) => {
    const gather = (count: number) => {
      const wf = new Workflow("gather");
      return wf.output(wf.call(retrying, Array.from({ length: count }, () => wf.call(make))));
    };
    assert.is(await (await app.submit(gather(2))).result(), 2);
    ports.blobs.get = () => {
      throw new Error("a blob was read");
    };
    const error = await (await app.submit(gather(3))).result().catch((error) => error);
    assert.instance(error, WorkflowFailedError);
    assert.match(
      error.message,
      /attempt 1: PayloadTooLargeError: What the task takes has 30006 bytes; at most 30005 fit/,
    );
  });
});

test("what was too much for one task is read anew for the next, and takes no room meanwhile", async () => {
  text = "x".repeat(10_000);
  const all = task("all", (texts: string[]) => texts.length);
  await locally({}, { tasks: [make, size, all], maxInputs: 15_000 }, async ({ app, ports }) => {
    const wf = new Workflow("much");
    const [a, b] = [wf.call(make), wf.call(make)];
    const much = wf.call(all, [a, b]);
    const one = wf.call(size, a, 0).after(much, { on: "done" });
    const reads = countReads(ports.facts);
    const run = await app.submit(wf, { id: "much" });
    assert.is(await run.result(one), 10_000);
    assert.equal(["0", "1"].map((node) => reads.get(`much.r.${node}.1`)), [2, 1]);
  });
});

test("a result above the worker's limit fails the attempt for good, one at the limit does not", async () => {
  let calls = 0;
  const give = task("give", { retry: { max: 5 } }, (length: number) => {
    calls++;
    return "x".repeat(length - 2);
  });
  await locally({ maxRecord: 4_000 }, { tasks: [give], maxResult: 9_000 }, async ({ app }) => {
    assert.is((await (await app.submit(give.s(9_000))).result()).length, 8_998);
    const error = await (await app.submit(give.s(9_001))).result().catch((error) => error);
    assert.match(
      error.message,
      /attempt 1: PayloadTooLargeError: The result has 9001 bytes; at most 9000/,
    );
    assert.is(calls, 2);
  });
});

test("a result that is ignored is null for everybody, whatever it was", async () => {
  let seen: unknown[] = [];
  const quiet = task("quiet", { ignoreResult: true }, () => new Map([["not", "JSON"]]) as unknown);
  const see = task("see", (...values: unknown[]) => void (seen = values));
  await locally({}, { tasks: [quiet, see] }, async ({ app, ports }) => {
    const wf = new Workflow("quiet");
    const [ignored, kept] = [
      wf.call(quiet),
      wf.call(task("quiet", () => 1 as unknown)).set({ ignoreResult: true }),
    ];
    wf.call(see, ignored, kept);
    const run = await app.submit(Workflow.fromJSON(JSON.stringify(wf)), { id: "quiet" });
    assert.is(await run.result(), null);
    assert.equal(seen, [null, null]);
    assert.is(await run.result(0), null);
    const stored = await ports.facts.read("quiet.r.0.1");
    assert.is(new TextDecoder().decode(stored!.data), "null");
  });
});

test("limits that make no sense are refused, with their names", async () => {
  await locally({}, { tasks }, async ({ app }) => {
    for (const option of ["maxResult", "maxInputs", "inputCache"]) {
      for (const value of [-1, 0.5, NaN, "1 MB", 2 ** 40]) {
        assert.throws(
          () => app.worker({ tasks, [option]: value }),
          (error: Error) => error.name === "InvalidOptionError" && error.message.includes(option),
        );
      }
    }
  });
});

test.run();
