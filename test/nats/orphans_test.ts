/** What is recorded of a run after it was removed does not stay, and of a run that is submitted meanwhile nothing is lost. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { chain, task, Workflow } from "nats-dyrygent";
import { outcomeKey } from "../../src/core/keys.ts";
import { writeOutcomeNote } from "../../src/core/records.ts";
import type { Ports } from "../../src/ports.ts";
import { removeOrphans } from "../../src/processor/orphans.ts";
import { jetstreamManager } from "@nats-io/jetstream";
import { eventually, Moment, type Scope, TestServer } from "./server.ts";
import { add, arithmetic } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const note = writeOutcomeNote({
  is: "succeeded",
  startedAt: 1,
  endedAt: 2,
  sentNs: "1",
  worker: "late",
});

/** As a worker records the outcome of an attempt whose run was removed. */
async function recordLate({ facts }: Ports, workflow: string): Promise<void> {
  await facts.create(outcomeKey(workflow, 0, 1), new TextEncoder().encode("99"), note);
}

async function messagesIn(scope: Scope, stream: string): Promise<number> {
  const { streams } = await jetstreamManager(await scope.raw);
  return (await streams.info(stream)).state.messages;
}

test(
  "the outcome of a handler that went on after its run was removed is removed, with its blob",
  tests.scope(async (scope) => {
    const began = new Moment("the handler begins");
    const goOn = new Moment("the handler may end");
    const deaf = task("deaf", async () => {
      began.come();
      await goOn.wait;
      return "x".repeat(1_500_000);
    });
    const app = await scope.running({ tasks: [deaf] }, { sweep: "1h" });
    const run = await app.submit(deaf.s(), { id: "removed" });
    await began.reached();
    await run.cancel();
    await run.ended();
    assert.ok((await run.remove()).applied);
    goOn.come();
    await eventually("it is recorded", async () => (await scope.contents()).facts === 1);
    await app.processor().sweep();
    assert.is((await scope.contents()).facts, 0);
    assert.is(await messagesIn(scope, `OBJ_${scope.namespace}_RESULTS`), 0);
  }),
);

test(
  "of a run that is being submitted again only what its predecessor left is removed",
  tests.scope(async (scope) => {
    const ports = await scope.ports();
    await recordLate(ports, "again");
    // Its submitter has written a part of the definition, and not yet the head.
    await ports.facts.create("again.def.0123456789abcdef-1", new Uint8Array(10));
    await removeOrphans(ports);
    assert.equal(await ports.facts.keys(">"), ["again.def.0123456789abcdef-1"]);
    const app = await scope.running({ tasks: arithmetic }, { sweep: "1h" });
    assert.is(await (await app.submit(add.s(1, 1), { id: "again" })).result(), 2);
  }),
);

test(
  "a run that is submitted while a sweep looks keeps all that it records",
  tests.scope(async (scope) => {
    const ports = await scope.ports();
    const app = await scope.running({ tasks: arithmetic }, { sweep: "1h" });
    await recordLate(ports, "meanwhile");
    const { facts } = ports;
    const keys = facts.keys.bind(facts);
    facts.keys = async (filter) => {
      const heads = await keys(filter);
      const run = await app.submit(chain(add.s(1, 1), add.s(1)), { id: "meanwhile" });
      // The outcome of its first node is what its predecessor left.
      assert.is(await run.result(), 100);
      return heads;
    };
    await removeOrphans(ports);
    assert.equal((await keys(">")).toSorted(), [
      "meanwhile.def.0",
      "meanwhile.end.1",
      "meanwhile.r.1.1",
    ]);
    assert.ok(await ports.views.get("wf.meanwhile"));
  }),
);

test(
  "views of runs that are gone are removed, those of others are not",
  tests.scope(async (scope) => {
    const ports = await scope.ports();
    const app = await scope.running({ tasks: arithmetic }, { sweep: "1h" });
    const wf = new Workflow("there");
    wf.waitFor("never");
    await app.submit(wf, { id: "there" });
    for (const key of ["wf.gone", "begun.gone.0.1", "begun.there.0.1", "rate.gone.key"]) {
      await ports.views.put(key, new TextEncoder().encode("{}"));
    }
    await removeOrphans(ports);
    const left = await Promise.all(
      ["wf.", "begun.", "rate."].map((prefix) => ports.views.keys(prefix)),
    );
    assert.equal(left, [["wf.there"], ["begun.there.0.1"], ["rate.gone.key"]]);
  }, { leavesWork: true }),
);

test(
  "a second look goes on where the first one ended",
  tests.scope(async (scope) => {
    const ports = await scope.ports();
    await recordLate(ports, "first");
    await removeOrphans(ports);
    const from: number[] = [];
    const { facts } = ports;
    const recordedFrom = facts.recordedFrom.bind(facts);
    facts.recordedFrom = (seq) => {
      from.push(seq);
      return recordedFrom(seq);
    };
    await removeOrphans(ports);
    await recordLate(ports, "second");
    await removeOrphans(ports);
    await removeOrphans(ports);
    assert.equal(from, [2, 2, 3]);
    assert.is((await scope.contents()).facts, 0);
  }),
);

test.run();
