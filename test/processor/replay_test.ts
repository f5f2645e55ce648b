/** What a log amounts to for the processor that takes a workflow over. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { chain } from "../../src/core/canvas.ts";
import type { Control, Fact } from "../../src/core/fact.ts";
import { task } from "../../src/core/task.ts";
import { Workflow } from "../../src/core/workflow.ts";
import { deadlineOf, replay, type Replayed, unread } from "../../src/processor/replay.ts";

const work = task("work", (n: unknown) => n);
const SUBMITTED = 1_000;
const TIMEOUT_MS = 60_000;

/** Nodes 0 and 1, one after the other. */
function definition(countdownMs?: number) {
  const built = Workflow.of(chain(work.s(1), work.s())).build();
  return countdownMs === undefined ? built : { ...built, start: { countdownMs } };
}

const after = (...facts: Fact[]): Replayed => replay(definition(), "w", SUBMITTED, facts);

const control = (control: Control, at = SUBMITTED): Fact => ({ is: "control", control, at });
const succeeded = (node: number, attempt = 1): Fact => ({
  is: "succeeded",
  node,
  attempt,
  at: SUBMITTED,
});
const failed = (node: number, attempt = 1): Fact => ({
  is: "failed",
  node,
  attempt,
  at: SUBMITTED,
  failure: { name: "Error", message: "no" },
});

const open = ({ scheduler }: Replayed) => [...scheduler.open()].map(({ node }) => node);

test("nothing has begun before the log is read; an empty log lets the first nodes run", () => {
  assert.equal(open(unread(definition(), "w", SUBMITTED)), []);
  assert.equal(open(after()), [0]);
});

test("outcomes count whatever their order, and lead to where the workflow stands", () => {
  assert.equal(open(after(succeeded(0))), [1]);
  for (const facts of [[succeeded(0), succeeded(1)], [succeeded(1), succeeded(0)]]) {
    assert.is(after(...facts).scheduler.finished, "SUCCESS");
  }
});

test("a round begins when the run was to begin, and the next one when it was asked for", () => {
  assert.is(after().startedAt, SUBMITTED);
  assert.is(replay(definition(500), "w", SUBMITTED, []).startedAt, SUBMITTED + 500);
  const again = after(failed(0), control({ is: "retry" }, 9_000));
  assert.equal([again.scheduler.round, again.startedAt], [2, 9_000]);
});

test("a retry that nothing asked for changes no round, and no beginning", () => {
  const { scheduler, startedAt } = after(succeeded(0), control({ is: "retry" }, 9_000));
  assert.equal([scheduler.round, startedAt], [1, SUBMITTED]);
});

test("timeouts are counted in their round only", () => {
  const timeout = control({ is: "timeout" });
  assert.is(after(timeout).timeouts, 1);
  assert.is(after(timeout, timeout).timeouts, 2);
  assert.is(after(timeout, control({ is: "retry" }, 9_000)).timeouts, 0);
});

test("a deadline is one timeout away, then another for the cleanup, then there is none", () => {
  const timeout = control({ is: "timeout" });
  const deadline = (...facts: Fact[]) => deadlineOf(after(...facts), TIMEOUT_MS);
  assert.is(deadline(), SUBMITTED + TIMEOUT_MS);
  assert.is(deadline(timeout), SUBMITTED + 2 * TIMEOUT_MS);
  assert.is(deadline(timeout, timeout), Infinity);
  assert.is(deadline(timeout, control({ is: "retry" }, 9_000)), 9_000 + TIMEOUT_MS);
});

test("the last pause or resume is known by its place among the control facts", () => {
  assert.is(after(succeeded(0)).lastPausing, undefined);
  const skip = control({ is: "skip", nodes: [1] });
  const pause = control({ is: "pause" });
  const resume = control({ is: "resume" });
  assert.is(after(skip, succeeded(0), pause).lastPausing, 2);
  assert.is(after(pause, resume, skip).lastPausing, 2);
});

test("only what takes nodes back that may be queued asks for messages to be withdrawn", () => {
  assert.is(after(succeeded(0), failed(1)).withdrawn, false);
  assert.is(after(control({ is: "pause" })).withdrawn, false);
  assert.is(after(control({ is: "skip", nodes: [1] })).withdrawn, false);
  assert.is(after(control({ is: "skip", nodes: [0] })).withdrawn, true);
  assert.is(after(control({ is: "cancel" }), succeeded(0)).withdrawn, true);
});

test.run();
