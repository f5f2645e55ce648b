/** Any value of any size goes from worker to dependent to client, on either side of what a record takes; with a codec and without. */
import fc from "fast-check";
import { currentTask, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { anyJson } from "../core/any_json.ts";
import { flipping, mixing } from "./codecs.ts";
import { locally } from "./local.ts";

const MAX_RECORD = 2_000;

/** What a task gives is said outside of the workflow: arguments have limits of their own. */
const values = new Map<string, unknown>();
const give = task("give", () => values.get(currentTask().workflowId));
const pass = task("pass", (value: unknown, label: string) => ({ value, label }));

/** A JSON value of exactly `bytes`, around a value of any shape. */
function padded(value: unknown, bytes: number): unknown {
  const bare = new TextEncoder().encode(JSON.stringify([value, ""])).length;
  return bytes < bare ? value : [value, "x".repeat(bytes - bare)];
}

const anySize = fc.oneof(
  fc.constantFrom(-1, 0, 1).map((more) => MAX_RECORD + more),
  fc.constantFrom(-1, 0, 1).map((more) => 4_096 + more), // What task messages carry.
  fc.nat({ max: 3 * MAX_RECORD }),
);

for (
  const [what, codec] of [["no codec", undefined], ["a codec", mixing(7)], [
    "a synchronous codec",
    flipping,
  ]] as const
) {
  test(`any value of any size survives worker, dependents and client with ${what}`, async () => {
    await locally({ codec, maxRecord: MAX_RECORD }, { tasks: [give, pass] }, async ({ app }) => {
      let runs = 0;
      await fc.assert(
        fc.asyncProperty(anyJson, anySize, async (shape, bytes) => {
          const value = padded(shape, bytes);
          const id = `run-${++runs}`;
          values.set(id, value);
          const wf = new Workflow("any");
          const given = wf.call(give);
          const passed = wf.call(pass, given, "one");
          const all = wf.call(
            task("pass", (_: unknown, __: string) => ({})),
            [given, passed],
            "all",
          );
          const run = await app.submit(wf.output({ given, all }), { id });
          const one = { value, label: "one" };
          assert.equal(await run.result(), {
            given: value,
            all: { value: [value, one], label: "all" },
          });
          assert.equal(await run.result(given), value);
          values.delete(id);
        }),
        { numRuns: 150 },
      );
    });
  });
}

test.run();
