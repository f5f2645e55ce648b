/** Lists of runs: filters, and pages that are right also while runs come and go. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { NatsConnection } from "@nats-io/nats-core";
import { type Dyrygent, InvalidOptionError, type ListOptions, type RunStatus } from "nats-dyrygent";
import { writeStatus } from "../../src/core/records.ts";
import { noCounts } from "../../src/core/scheduler.ts";
import { rejection, type Scope, TestServer } from "./server.ts";

const tests = new TestServer({ syncInterval: "default" });
test.after(() => tests.stop());

function status(id: string, more: Partial<RunStatus> = {}): RunStatus {
  return {
    id,
    name: "report",
    state: "SUCCESS",
    counts: noCounts(),
    round: 1,
    submittedAt: 1_000,
    ...more,
  };
}

const viewOf = ({ namespace }: Scope, id: string) => `$KV.${namespace}_STATE.wf.${id}`;

/** Written as they are, and there when the last of them is acknowledged. */
async function write(scope: Scope, statuses: Iterable<RunStatus>): Promise<NatsConnection> {
  const nc = await scope.raw;
  let sent = 0;
  let last = "";
  for (const one of statuses) {
    last = one.id;
    nc.publish(viewOf(scope, one.id), writeStatus(one));
    if (++sent % 5_000 === 0) await nc.flush();
  }
  await nc.request(viewOf(scope, last), writeStatus(status(last)));
  return nc;
}

async function idsOf(app: Dyrygent, options: ListOptions): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of app.list(options)) ids.push(id);
  return ids;
}

test(
  "runs are filtered by state, name, time and payload, and come in the order of their ids",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await write(scope, [
      status("d", { payload: { team: "storage", tags: [1, { a: 1, b: 2 }] } }),
      status("b", { state: "RUNNING", name: "import", submittedAt: 2_000 }),
      status("a", { state: "FAILURE", submittedAt: 3_000, payload: "text" }),
      status("c", { state: "PAUSED", payload: { team: "network" } }),
      status("z"),
    ]);
    await (await scope.raw).request(viewOf(scope, "broken"), "not a status");
    const cases: [ListOptions, string][] = [
      [{}, "abcdz"],
      [{ state: "RUNNING" }, "b"],
      [{ state: ["RUNNING", "PAUSED"] }, "bc"],
      [{ state: [] }, ""],
      [{ name: "import" }, "b"],
      [{ submittedAfter: 1_000 }, "ab"],
      [{ submittedAfter: new Date(1_000), submittedBefore: 3_000 }, "b"],
      [{ payload: { team: "storage" } }, "d"],
      [{ payload: { tags: [1, { b: 2, a: 1 }] } }, "d"],
      [{ payload: { tags: [1] } }, ""],
      [{ payload: { toString: "x" } }, ""],
      [{ payload: {} }, "cd"],
      [{ limit: 2 }, "ab"],
      [{ after: "b" }, "cdz"],
      [{ after: "bb", limit: 1 }, "c"],
      [{ after: "z" }, ""],
      [{ state: "SUCCESS", limit: 1, after: "a" }, "d"],
    ];
    for (const [options, expected] of cases) {
      assert.is((await idsOf(app, options)).join(""), expected, JSON.stringify(options));
    }
  }),
);

test(
  "options that make no sense are refused",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const bad: unknown[] = [
      { state: "DONE" },
      { state: ["RUNNING", 5] },
      { limit: 0 },
      { limit: 1.5 },
      { after: "a.b" },
      { payload: "x" },
      { payload: [1] },
      { submittedAfter: "yesterday" },
      { submittedBefore: new Date(NaN) },
      { offset: 5 },
    ];
    for (const options of bad) {
      const error = await rejection(idsOf(app, options as ListOptions));
      assert.instance(error, InvalidOptionError, JSON.stringify(options));
    }
  }),
);

test(
  "100,000 runs are read in pages: each once, while others come and go",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const total = 100_000;
    const idOf = (i: number) => `run-${String(i).padStart(6, "0")}`;
    const nc = await write(scope, Array.from({ length: total + 5 }, (_, i) => status(idOf(i))));
    const begun = performance.now();
    const seen: string[] = [];
    let pages = 0;
    for (let after = "-";; pages++) {
      const page = await idsOf(app, { limit: 25_000, after });
      if (page.length === 0) break;
      seen.push(...page);
      after = page.at(-1)!;
      // One that was read goes, and one comes where the list has been already.
      await nc.request(
        `$JS.API.STREAM.PURGE.KV_${scope.namespace}_STATE`,
        JSON.stringify({ filter: viewOf(scope, page[0]!) }),
      );
      await nc.request(viewOf(scope, `run-0-${pages}`), writeStatus(status(`run-0-${pages}`)));
    }
    const ms = Math.round(performance.now() - begun);
    console.log(`    ${seen.length} runs in ${pages} pages in ${ms} ms`);
    const expected = Array.from({ length: total + 5 }, (_, i) => idOf(i));
    assert.is(new Set(seen).size, seen.length, "one came twice");
    assert.is(seen.length, expected.length);
    assert.ok(seen.every((id, i) => id === expected[i]), "not in order");
    const last = await idsOf(app, { after: idOf(total - 3), limit: 3 });
    assert.equal(
      last,
      [total - 2, total - 1, total + 1].map(idOf),
      "the first of a page was removed",
    );
  }, { within: 100_000, leavesWork: true }),
);

test.run();
