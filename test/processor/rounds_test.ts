/** Rounds of a run that is retried by several at once. On the memory adapter. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { task } from "nats-dyrygent";
import { controlKey, outcomeKey } from "../../src/core/keys.ts";
import { writeControl, writeFailure, writeOutcomeNote } from "../../src/core/records.ts";
import { locally } from "../data/local.ts";
import { within } from "../nats/server.ts";

const test = suite("rounds");

test("a retry that stands before the terminal record opens no round: the run ends, and can be retried", async () => {
  const add = task("add", (a: number, b: number) => a + b);
  await locally({}, { tasks: [add] }, async ({ app, ports }) => {
    // Its processor died after the outcome, and somebody who had seen an earlier end asked for a retry.
    const at = ports.clock.now();
    const times = { startedAt: at, endedAt: at, sentNs: "0", worker: "w" };
    const note = writeOutcomeNote({ is: "failed", ...times });
    const failure = writeFailure({ name: "Error", message: "no luck" });
    await ports.facts.create(outcomeKey("early", 0, 1), failure, note);
    const retry = writeControl({ id: "a", at, control: { is: "retry" } });
    await ports.facts.create(controlKey("early", 1), retry);
    const run = await app.submit(add.s(1, 1), { id: "early" });
    assert.is((await within("its end", run.ended())).state, "FAILURE");
    for await (const _ of run.watch()) { /* It ends, too. */ }
    assert.equal((await run.audit()).findings, []);

    assert.ok((await run.retryFailed()).applied);
    assert.is(await within("its result", run.result()), 2);
    assert.is((await run.status()).round, 2);
    assert.equal((await run.audit()).findings, []);
  });
});

test.run();
