/** Journals of `npm run chaos`: what was written is read, in the order of time. */
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { Journal, readHistory } from "../../chaos/history.ts";
import { SCENARIOS, stepsOf } from "../../chaos/plan.ts";
import { workloadOf } from "../../chaos/workload.ts";
import { Rolls } from "../mixed/plans.ts";

const test = suite("histories of chaos");

test("journals are read together; a line that its writer did not live to finish is none", () => {
  const folder = mkdtempSync(join(tmpdir(), "history-"));
  try {
    const [a, b] = [new Journal(folder, "a"), new Journal(folder, "b")];
    a.write({ is: "invoked", call: 1, run: "r", what: "submit" });
    b.write({ is: "stood still", from: 1, until: 2 });
    a.close();
    b.close();
    appendFileSync(join(folder, "a.jsonl"), '{"is":"answered","call":1,"ans');
    const history = readHistory(folder);
    assert.equal(history.map(({ by, is }) => `${by} ${is}`).sort(), ["a invoked", "b stood still"]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a seed chooses the same faults and the same workflows again", () => {
  for (const { lanes } of SCENARIOS) {
    for (const lane of lanes) {
      const first = () => {
        const steps = stepsOf(lane, new Rolls(7));
        return Array.from({ length: 20 }, () => steps.next().value);
      };
      assert.equal(first(), first());
    }
  }
  const options = { seed: 7, mayBeBig: true };
  for (let index = 0; index < 20; index++) {
    const [one, other] = [workloadOf(index, options), workloadOf(index, options)];
    assert.equal(one.workflow.toJSON(), other.workflow.toJSON());
  }
});

test.run();
