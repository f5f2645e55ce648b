/** What the scheduler decides, rule by rule. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { chain, group } from "../../src/core/canvas.ts";
import type { Control, Effect, Fact, NodeState } from "../../src/core/scheduler.ts";
import { Scheduler } from "../../src/core/scheduler.ts";
import { task } from "../../src/core/task.ts";
import { type Node, Workflow } from "../../src/core/workflow.ts";

const work = task("work", (...inputs: unknown[]) => inputs.length);

/** Numbers are node numbers; an effect is `"0.1"`: node 0, attempt 1. */
class Story {
  readonly scheduler: Scheduler;
  /** What followed from `begin()`. */
  readonly begun: string[];
  readonly #size: number;

  constructor(wf: Workflow, submittedAt = 0) {
    this.scheduler = new Scheduler(wf.build(), "story", submittedAt);
    this.#size = wf.size;
    this.begun = this.scheduler.begin().map(shown);
  }

  ok(node: number, attempt = 1, at = 0): string[] {
    return this.take({ is: "succeeded", node, attempt, at });
  }

  fail(node: number, attempt = 1, at = 0, fatal = false): string[] {
    const failure = { name: "Error", message: "no", ...(fatal ? { fatal } : {}) };
    return this.take({ is: "failed", node, attempt, at, failure });
  }

  control(control: Control, at = 0): string[] {
    return this.take({ is: "control", control, at });
  }

  take(fact: Fact): string[] {
    return this.scheduler.apply(fact).map(shown);
  }

  get states(): NodeState[] {
    return Array.from({ length: this.#size }, (_, node) => this.scheduler.stateOf(node));
  }
}

function shown(effect: Effect): string {
  switch (effect.is) {
    case "dispatch":
      return `${effect.node}.${effect.attempt}` +
        (effect.notBefore === 0 ? "" : ` at ${effect.notBefore}`);
    case "withdraw":
      return `withdraw ${effect.node ?? "all"}`;
    case "finish":
      return effect.state;
    case "await":
    case "settle":
    case "revive":
      return `${effect.is} ${effect.node}.${effect.attempt}`;
  }
  return effect satisfies never;
}

/** A workflow whose node n waits for the nodes in the n-th list. */
function shaped(...upstreams: number[][]): { wf: Workflow; nodes: Node[] } {
  const wf = new Workflow("shaped");
  const nodes: Node[] = [];
  for (const upstream of upstreams) {
    nodes.push(wf.call(work).after(upstream.map((index) => nodes[index]!)));
  }
  return { wf, nodes };
}

const starting = suite("letting nodes go");

starting("nodes that wait for nobody are dispatched at the beginning", () => {
  const { begun, states } = new Story(shaped([], [], [0]).wf);
  assert.equal(begun, ["0.1", "1.1"]);
  assert.equal(states, ["SCHEDULED", "SCHEDULED", "PENDING"]);
});

starting("a node is dispatched when its last upstream has succeeded, not before", () => {
  const story = new Story(shaped([], [], [0, 1]).wf);
  assert.equal(story.ok(1), []);
  assert.equal(story.states, ["SCHEDULED", "SUCCESS", "PENDING"]);
  assert.equal(story.ok(0), ["2.1"]);
});

starting("an empty workflow finishes as it begins", () => {
  const story = new Story(new Workflow("empty"));
  assert.equal(story.begun, ["SUCCESS"]);
  assert.is(story.scheduler.finished, "SUCCESS");
});

starting("the workflow succeeds when every node has", () => {
  const story = new Story(shaped([], [0]).wf);
  assert.is(story.scheduler.workflowState, "RUNNING");
  story.ok(0);
  assert.equal(story.ok(1), ["SUCCESS"]);
  assert.is(story.scheduler.workflowState, "SUCCESS");
});

starting("a join is never dispatched nor counted: it ends with its upstreams", () => {
  const wide = group(Array.from({ length: 8 }, () => work.si()));
  const story = new Story(Workflow.of(chain(wide, group([work.si(), work.si()]))));
  const join = story.states.length - 2;
  for (let node = 0; node < 7; node++) assert.equal(story.ok(node), []);
  assert.equal(story.ok(7), ["8.1", `${join + 1}.1`]);
  assert.is(story.scheduler.counts().SUCCESS, 8);
  assert.is(story.scheduler.counts().SCHEDULED, 2);
});

starting("counts and observed changes follow every node", () => {
  const { wf, nodes } = shaped([], [0]);
  nodes[0]!.set({ retry: { max: 1 } });
  const seen: string[] = [];
  const scheduler = new Scheduler(
    wf.build(),
    "r",
    0,
    (node, state) => seen.push(`${node} ${state}`),
  );
  scheduler.begin();
  assert.is(scheduler.counts().PENDING, 1);
  const failure = { name: "Error", message: "no" };
  scheduler.apply({ is: "failed", node: 0, attempt: 1, at: 0, failure });
  assert.is(scheduler.counts().RETRY, 1);
  scheduler.apply({ is: "failed", node: 0, attempt: 2, at: 0, failure });
  assert.equal(seen, ["0 SCHEDULED", "0 RETRY", "0 FAILURE", "1 UPSTREAM_FAILED"]);
  assert.equal(scheduler.failures(9), [0]);
});

starting("a chain of 100,000 that fails at its head ends in one step, without a deep stack", () => {
  const story = new Story(Workflow.of(chain(Array.from({ length: 100_000 }, () => work.si()))));
  assert.equal(story.fail(0), ["FAILURE"]);
  assert.is(story.scheduler.counts().UPSTREAM_FAILED, 99_999);
});

starting.run();

const failing = suite("failures");

failing("dependents of a failed node never run, independent branches do", () => {
  const story = new Story(shaped([], [], [0], [2], [1]).wf);
  assert.equal(story.fail(0), []);
  assert.equal(story.ok(1), ["4.1"]);
  assert.equal(story.ok(4), ["FAILURE"]);
  assert.equal(story.states, [
    "FAILURE",
    "SUCCESS",
    "UPSTREAM_FAILED",
    "UPSTREAM_FAILED",
    "SUCCESS",
  ]);
});

failing("a node's fate is decided only when all its upstreams have ended", () => {
  const story = new Story(shaped([], [], [0, 1]).wf);
  story.fail(0);
  assert.is(story.states[2], "PENDING");
  assert.equal(story.ok(1), ["FAILURE"]);
  assert.is(story.states[2], "UPSTREAM_FAILED");
});

failing("an edge on failure lets its node run after a failure only", () => {
  const build = () => {
    const { wf, nodes } = shaped([], []);
    nodes[1]!.after(nodes[0]!, { on: "failure" });
    return new Story(wf);
  };
  assert.equal(build().fail(0), ["1.1"]);
  const fine = build();
  assert.equal(fine.ok(0), ["SUCCESS"]);
  assert.is(fine.states[1], "SKIPPED");
});

failing("an edge on failure counts a failure further up, too", () => {
  const { wf, nodes } = shaped([], [0], []);
  nodes[2]!.after(nodes[1]!, { on: "failure" });
  assert.equal(new Story(wf).fail(0), ["2.1"]);
});

failing("an edge on done lets its node run after any end", () => {
  const build = () => {
    const { wf, nodes } = shaped([], [0], []);
    nodes[2]!.after(nodes[1]!, { on: "done" });
    return new Story(wf);
  };
  assert.equal(build().fail(0), ["2.1"]);
  const fine = build();
  fine.ok(0);
  assert.equal(fine.ok(1), ["2.1"]);
});

failing("what waits for the success of a node that was not needed is not needed either", () => {
  const { wf, nodes } = shaped([], [], [1], []);
  nodes[1]!.after(nodes[0]!, { on: "failure" });
  nodes[3]!.after(nodes[2]!, { on: "done" });
  const story = new Story(wf);
  assert.equal(story.ok(0), ["3.1"]);
  assert.equal(story.states.slice(1, 3), ["SKIPPED", "SKIPPED"]);
  assert.equal(story.ok(3), ["SUCCESS"]);
});

failing("a failure that was dealt with by a failure edge still fails the workflow", () => {
  const { wf, nodes } = shaped([], []);
  nodes[1]!.after(nodes[0]!, { on: "failure" });
  const story = new Story(wf);
  story.fail(0);
  assert.equal(story.ok(1), ["FAILURE"]);
});

failing("failures lists failed nodes in order, up to a limit", () => {
  const story = new Story(shaped([], [], [], [0]).wf);
  story.fail(2);
  story.fail(0);
  story.ok(1);
  assert.equal(story.scheduler.failures(9), [0, 2]);
  assert.equal(story.scheduler.failures(1), [0]);
});

failing.run();

const retrying = suite("retries");

function retried(max: number, base = 100): Workflow {
  const wf = new Workflow("retried");
  wf.call(work).set({ retry: { max, base, backoff: "fixed", jitter: false } });
  return wf;
}

retrying("a failed attempt is followed by another, not before its delay", () => {
  const story = new Story(retried(1));
  assert.equal(story.fail(0, 1, 1_000), ["0.2 at 1100"]);
  assert.equal(story.states, ["RETRY"]);
  assert.is(story.scheduler.attemptOf(0), 2);
  assert.equal(story.ok(0, 2), ["SUCCESS"]);
});

retrying("max counts retries after the first attempt", () => {
  const story = new Story(retried(2));
  story.fail(0, 1);
  story.fail(0, 2);
  assert.equal(story.fail(0, 3), ["FAILURE"]);
  assert.is(story.scheduler.attemptOf(0), 3);
});

retrying("a fatal failure is not tried again", () => {
  assert.equal(new Story(retried(5)).fail(0, 1, 0, true), ["FAILURE"]);
});

retrying("the outcome of an earlier attempt changes nothing", () => {
  const story = new Story(retried(2));
  story.fail(0, 1);
  assert.equal(story.ok(0, 1), []);
  assert.equal(story.fail(0, 1), []);
  assert.equal(story.states, ["RETRY"]);
});

retrying("a later attempt's outcome may be heard first", () => {
  const story = new Story(retried(2));
  assert.equal(story.fail(0, 2, 50), ["0.3 at 150"]);
  assert.equal(story.fail(0, 1, 0), []);
  assert.equal(story.ok(0, 3), ["SUCCESS"]);
});

retrying.run();

const waiting = suite("moments");

waiting(
  "a countdown counts from the end of the last upstream, in whatever order the ends are heard",
  () => {
    const build = () => {
      const { wf, nodes } = shaped([], [], [0, 1]);
      nodes[2]!.set({ countdown: 1_000 });
      return new Story(wf, 5);
    };
    const one = build();
    one.ok(0, 1, 70);
    assert.equal(one.ok(1, 1, 40), ["2.1 at 1070"]);
    const other = build();
    other.ok(1, 1, 40);
    assert.equal(other.ok(0, 1, 70), ["2.1 at 1070"]);
  },
);

waiting(
  "the end of the last upstream is known through a join and through the whole workflow",
  () => {
    const wf = new Workflow("joined").finally(work.si().set({ countdown: 100 }));
    const wide = Array.from({ length: 8 }, () => work.si());
    wf.add(chain(group(wide), group([work.si(), work.si()]).set({ countdown: 1_000 })));
    const story = new Story(wf);
    for (let node = 1; node <= 7; node++) story.ok(node, 1, 10 * node);
    assert.equal(story.ok(8, 1, 5), ["9.1 at 1070", "11.1 at 1070"]);
    story.ok(9, 1, 2_000);
    assert.equal(story.ok(11, 1, 1_900), ["0.1 at 2100"]);
  },
);

waiting("a first node's countdown counts from the submit", () => {
  const wf = new Workflow("first");
  wf.call(work).set({ countdown: "1s" });
  assert.equal(new Story(wf, 500).begun, ["0.1 at 1500"]);
});

waiting("an eta is a moment; with a countdown the later of the two counts", () => {
  const wf = new Workflow("eta");
  wf.call(work).set({ eta: 800 });
  wf.call(work).set({ eta: 800, countdown: 200 });
  wf.call(work).set({ eta: 800, countdown: 700 });
  assert.equal(new Story(wf, 500).begun, ["0.1 at 800", "1.1 at 800", "2.1 at 1200"]);
});

waiting("who takes over hears the same moments", () => {
  const story = new Story(retried(1), 0);
  story.fail(0, 1, 1_000);
  assert.equal([...story.scheduler.open()].map(shown), ["0.2 at 1100"]);
});

waiting.run();

const nonsense = suite("facts that say nothing");

nonsense("an outcome of a node that does not exist changes nothing", () => {
  const story = new Story(shaped([]).wf);
  for (const node of [1, 2, 999, -1, NaN]) assert.equal(story.ok(node), []);
  assert.equal(story.states, ["SCHEDULED"]);
});

nonsense("an outcome of an attempt that no policy allows changes nothing", () => {
  const story = new Story(retried(1));
  for (const attempt of [0, -1, 3, 65_537, NaN]) assert.equal(story.ok(0, attempt), []);
  assert.equal(story.states, ["SCHEDULED"]);
});

nonsense("an outcome of a join changes nothing", () => {
  const wide = group(Array.from({ length: 8 }, () => work.si()));
  const story = new Story(Workflow.of(chain(wide, group([work.si(), work.si()]))));
  const join = 9;
  assert.equal(story.ok(join), []);
  assert.equal(story.fail(join), []);
  assert.is(story.states[join], "PENDING");
});

nonsense("a second outcome of a node that has ended changes nothing", () => {
  const story = new Story(shaped([], []).wf);
  story.ok(0);
  assert.equal(story.fail(0), []);
  assert.is(story.states[0], "SUCCESS");
  story.fail(1);
  assert.equal(story.ok(1), []);
  assert.equal(story.states, ["SUCCESS", "FAILURE"]);
});

nonsense("facts after the end change nothing", () => {
  const story = new Story(shaped([]).wf);
  story.ok(0);
  const controls: Control[] = [
    { is: "cancel" },
    { is: "timeout" },
    { is: "pause" },
    { is: "resume" },
    { is: "skip", nodes: [0] },
    { is: "retry" },
  ];
  for (const control of controls) assert.equal(story.control(control), [], control.is);
  assert.is(story.scheduler.workflowState, "SUCCESS");
  assert.is(story.scheduler.round, 1);
  assert.equal([...story.scheduler.open()], []);
});

nonsense.run();

const cleaning = suite("onError and finally");

/** Node 0 is finally, 1 is onError, 2 and 3 are its own. */
function cleaned(): Workflow {
  const wf = new Workflow("cleaned").finally(work.si()).onError(work.si());
  wf.call(work);
  wf.call(work);
  return wf;
}

cleaning("they wait for all of the workflow's own nodes, also after a failure", () => {
  const story = new Story(cleaned());
  assert.equal(story.begun, ["2.1", "3.1"]);
  assert.equal(story.fail(2), []);
  assert.equal(story.ok(3), ["1.1"]);
});

cleaning(
  "a cancel that comes too late for the workflow's own nodes ends a pause all the same",
  () => {
    const story = new Story(cleaned());
    story.control({ is: "pause" });
    story.ok(2);
    story.ok(3);
    assert.ok(story.scheduler.paused);
    story.control({ is: "cancel" });
    assert.not(story.scheduler.paused, "finally is held up for ever");
    assert.is(story.scheduler.reason, undefined);
  },
);

cleaning("finally waits for onError, and the workflow for both", () => {
  const story = new Story(cleaned());
  story.fail(2);
  story.ok(3);
  assert.equal(story.ok(1), ["0.1"]);
  assert.ok(story.scheduler.ownEnded);
  assert.equal(story.ok(0), ["FAILURE"]);
});

cleaning("after success onError is skipped", () => {
  const story = new Story(cleaned());
  story.ok(2);
  assert.equal(story.ok(3), ["0.1"]);
  assert.equal(story.ok(0), ["SUCCESS"]);
  assert.is(story.states[1], "SKIPPED");
});

cleaning("finally runs also when onError fails", () => {
  const story = new Story(cleaned());
  story.fail(2);
  story.ok(3);
  assert.equal(story.fail(1), ["0.1"]);
});

cleaning("a failing finally fails the workflow, without onError", () => {
  const story = new Story(cleaned());
  story.ok(2);
  story.ok(3);
  assert.equal(story.fail(0), ["FAILURE"]);
  assert.is(story.states[1], "SKIPPED");
});

cleaning(
  "a cleanup failure that is heard first does not make the workflow's own nodes fail",
  () => {
    const story = new Story(cleaned());
    assert.equal(story.fail(0), []);
    story.ok(2);
    assert.equal(story.ok(3), ["FAILURE"]);
    assert.is(story.states[1], "SKIPPED");
  },
);

cleaning("an empty workflow with a finally still runs it", () => {
  const story = new Story(new Workflow("only").finally(work.si()));
  assert.equal(story.begun, ["0.1"]);
  assert.equal(story.ok(0), ["SUCCESS"]);
});

cleaning.run();

const controls = suite("control facts");

controls("cancel ends every node that has not ended, and takes everything back", () => {
  const story = new Story(shaped([], [], [1]).wf);
  story.ok(0);
  assert.equal(story.control({ is: "cancel", reason: "enough" }), ["withdraw all", "CANCELLED"]);
  assert.equal(story.states, ["SUCCESS", "CANCELLED", "CANCELLED"]);
  assert.is(story.scheduler.reason, "enough");
});

controls("after a cancel finally runs, onError does not", () => {
  const story = new Story(cleaned());
  story.fail(2);
  assert.equal(story.control({ is: "cancel" }), ["withdraw all", "0.1"]);
  assert.is(story.states[1], "CANCELLED");
  assert.equal(story.ok(0), ["CANCELLED"]);
});

controls("what is recorded after a cancel does not count, what was before does", () => {
  const story = new Story(cleaned());
  story.ok(2);
  story.control({ is: "cancel" });
  assert.equal(story.ok(3), []);
  assert.equal(story.states, ["SCHEDULED", "CANCELLED", "SUCCESS", "CANCELLED"]);
});

controls("a cancel while finally runs changes nothing", () => {
  const story = new Story(cleaned());
  story.ok(2);
  story.ok(3);
  assert.equal(story.control({ is: "cancel" }), []);
  assert.equal(story.ok(0), ["SUCCESS"]);
});

controls("a timeout ends the workflow's own nodes as ERROR; onError and finally run", () => {
  const story = new Story(cleaned());
  assert.equal(story.control({ is: "timeout" }), ["withdraw all", "1.1"]);
  assert.equal(story.ok(1), ["0.1"]);
  assert.equal(story.ok(0), ["ERROR"]);
  assert.match(story.scheduler.reason ?? "", /timeout/);
});

controls("a second timeout ends the cleanup too", () => {
  const story = new Story(cleaned());
  story.control({ is: "timeout" });
  assert.equal(story.control({ is: "timeout" }), ["withdraw all", "ERROR"]);
  assert.equal(story.states, ["CANCELLED", "CANCELLED", "CANCELLED", "CANCELLED"]);
});

controls("pause and resume change the workflow's state, not what may run", () => {
  const story = new Story(shaped([], [0]).wf);
  assert.equal(story.control({ is: "pause" }), []);
  assert.is(story.scheduler.workflowState, "PAUSED");
  assert.equal(story.ok(0), ["1.1"]);
  assert.equal([...story.scheduler.open()].map(shown), ["1.1"]);
  story.control({ is: "resume" });
  assert.is(story.scheduler.workflowState, "RUNNING");
});

controls("what a parent has taken back since changes nothing when it is passed on late", () => {
  const story = new Story(shaped([], [0]).wf);
  const is = () => story.scheduler.workflowState;
  story.control({ is: "pause", following: 3 });
  assert.is(is(), "PAUSED");
  story.control({ is: "resume", following: 4 });
  story.control({ is: "pause", following: 3 });
  assert.is(is(), "RUNNING");
  story.control({ is: "pause" });
  assert.is(is(), "PAUSED", "somebody's own pause is no parent's");
});

controls("a paused workflow whose last task ends is finished", () => {
  const story = new Story(shaped([]).wf);
  story.control({ is: "pause" });
  assert.equal(story.ok(0), ["SUCCESS"]);
  assert.not(story.scheduler.paused);
});

controls("a skipped node is taken back, and its dependents run", () => {
  const story = new Story(shaped([], [0]).wf);
  assert.equal(story.control({ is: "skip", nodes: [0] }), ["withdraw 0", "1.1"]);
  assert.equal(story.states, ["SKIPPED", "SCHEDULED"]);
  assert.equal(story.ok(0), []);
  assert.equal(story.ok(1), ["SUCCESS"]);
});

controls("a node can be skipped before its upstreams have ended", () => {
  const story = new Story(shaped([], [0], [1]).wf);
  assert.equal(story.control({ is: "skip", nodes: [1] }), ["2.1"]);
  story.ok(2);
  assert.equal(story.ok(0), ["SUCCESS"]);
});

controls("skipping a node that has ended or does not exist changes nothing", () => {
  const story = new Story(shaped([], [0]).wf);
  story.fail(0);
  assert.equal(story.control({ is: "skip", nodes: [0, 1, 2, 99, -1] }), []);
  assert.equal(story.states, ["FAILURE", "UPSTREAM_FAILED"]);
});

controls("everything can be skipped: the workflow succeeds", () => {
  const story = new Story(shaped([], [0]).wf);
  assert.equal(story.control({ is: "skip", nodes: [0, 1] }), ["withdraw 0", "SUCCESS"]);
});

controls.run();

const rounds = suite("retrying a finished workflow");

const again: Control = { is: "retry" };

rounds("what failed runs again, and what waited for it; what succeeded does not", () => {
  const story = new Story(shaped([], [], [1]).wf);
  story.ok(0);
  assert.equal(story.fail(1), ["FAILURE"]);
  assert.equal(story.control(again), ["1.2"]);
  assert.is(story.scheduler.round, 2);
  assert.is(story.scheduler.workflowState, "RUNNING");
  assert.equal(story.states, ["SUCCESS", "SCHEDULED", "PENDING"]);
  assert.equal(story.ok(1, 2), ["2.1"]);
  assert.equal(story.ok(2), ["SUCCESS"]);
});

rounds("a run that goes on is not retried", () => {
  const story = new Story(shaped([], []).wf);
  story.fail(0);
  assert.equal(story.control(again), []);
  assert.is(story.scheduler.round, 1);
});

rounds("attempts go on counting, retries are counted anew", () => {
  const story = new Story(retried(1));
  story.fail(0, 1, 0);
  story.fail(0, 2, 0);
  assert.equal(story.control(again, 500), ["0.3"]);
  assert.equal(story.fail(0, 3, 600), ["0.4 at 700"]);
  assert.equal(story.fail(0, 4, 800), ["FAILURE"]);
});

rounds("the outcome of an attempt of an earlier round changes nothing", () => {
  const story = new Story(cleaned());
  story.fail(2);
  story.ok(3);
  story.ok(1);
  assert.equal(story.ok(0), ["FAILURE"]);
  assert.equal(story.control(again), ["2.2"]);
  // Heard once more, they must not pass for this round's.
  for (const node of [0, 1]) assert.equal(story.ok(node), []);
  assert.equal(story.ok(2, 2), ["0.2"]);
  assert.equal(story.ok(0, 2), ["SUCCESS"]);
});

rounds("an attempt that was still running when the run was cancelled is not waited for", () => {
  const { wf, nodes } = shaped([], []);
  nodes[1]!.after(nodes[0]!, { on: "done" });
  const story = new Story(wf);
  story.fail(0);
  story.control({ is: "cancel" });
  assert.equal(story.control(again), ["0.2"]);
  assert.equal(story.ok(1, 1), []);
  assert.is(story.states[1], "PENDING");
});

rounds(
  "what is recorded of an attempt after a cancel is not counted, but its number is taken",
  () => {
    // Who has not heard of the cancel goes on: node 0 succeeds late, and node 1 is let go, and ends.
    const story = new Story(shaped([], [0]).wf);
    story.control({ is: "cancel" });
    assert.equal([...story.ok(0), ...story.ok(1)], []);
    assert.equal(story.states, ["CANCELLED", "CANCELLED"]);
    assert.equal(story.control(again), ["0.2"]);
    assert.equal(story.ok(0, 2), ["1.2"]);
    assert.equal(story.ok(1, 2), ["SUCCESS"]);
  },
);

rounds(
  "so is that of a retry after a cancel, and of a node that was skipped before it began",
  () => {
    const story = new Story(retried(2));
    story.control({ is: "cancel" });
    story.fail(0, 1, 0);
    story.fail(0, 2, 0);
    assert.equal(story.control(again, 500), ["0.3"]);

    const skipped = new Story(shaped([], [0]).wf);
    skipped.control({ is: "skip", nodes: [1] });
    skipped.ok(0);
    skipped.ok(1);
    skipped.control({ is: "rerun", nodes: [0] });
    assert.equal(skipped.ok(0, 2), ["1.2"]);
  },
);

rounds("onError and finally belong to each round", () => {
  const story = new Story(cleaned());
  story.fail(2);
  story.ok(3);
  story.ok(1);
  story.ok(0);
  story.control(again);
  assert.equal(story.states, ["PENDING", "PENDING", "SCHEDULED", "SUCCESS"]);
  assert.equal(story.fail(2, 2), ["1.2"]);
  assert.equal(story.ok(1, 2), ["0.2"]);
});

rounds("a cancelled and a timed out run can be retried", () => {
  for (const is of ["cancel", "timeout"] as const) {
    const story = new Story(shaped([], [0]).wf);
    story.control({ is });
    assert.equal(story.control(again), ["0.2"]);
    assert.is(story.scheduler.reason, undefined);
    story.ok(0, 2);
    assert.equal(story.ok(1), ["SUCCESS"]);
  }
});

rounds("what was skipped by hand stays skipped", () => {
  const story = new Story(shaped([], [], [0]).wf);
  story.control({ is: "skip", nodes: [0] });
  story.fail(1);
  story.fail(2);
  assert.equal(story.control(again), ["1.2", "2.2"]);
  assert.is(story.states[0], "SKIPPED");
});

rounds("what was not needed may be needed now", () => {
  const { wf, nodes } = shaped([], [], []);
  nodes[2]!.after(nodes[0]!, { on: "failure" }).after(nodes[1]!);
  const story = new Story(wf);
  story.ok(1);
  story.control({ is: "cancel" });
  assert.is(story.states[2], "CANCELLED");
  story.control(again);
  assert.equal(story.fail(0, 2), ["2.1"]);
});

rounds("a failed finally alone is retried without the workflow's own nodes", () => {
  const story = new Story(cleaned());
  story.ok(2);
  story.ok(3);
  story.fail(0);
  assert.equal(story.control(again), ["0.2"]);
  assert.equal(story.ok(0, 2), ["SUCCESS"]);
});

rounds.run();

const rules = suite("rules, expiry and rounds, case by case");

rules("one edge that is true is enough, also when all ended before it was looked at", () => {
  const wf = new Workflow("any");
  const skipped = wf.call(work);
  wf.call(work).after(skipped).after(skipped, { on: "failure" }).when("anySucceeded");
  wf.skip(skipped);
  assert.equal(new Story(wf).begun, ["1.1"]);
});

rules("what ran because one edge was true runs in the next round because of that edge too", () => {
  const wf = new Workflow("any");
  const [a, b] = [wf.call(work), wf.call(work)];
  wf.call(work).after(a).after(b, { on: "done" }).when("anyFailed");
  const story = new Story(wf);
  story.ok(0);
  assert.equal(story.ok(1), ["2.1"]);
  assert.equal(story.fail(2), ["FAILURE"]);
  assert.equal(story.control({ is: "retry" }), ["2.2"]);
});

rules("a node expires so long after it was ready, in whatever order that is heard", () => {
  const wf = new Workflow("expiry");
  const first = wf.call(work);
  wf.call(work).set({ expires: 50, retry: { max: 1, base: 0 } }).after(first);
  const facts: Fact[] = [
    { is: "succeeded", node: 0, attempt: 1, at: 100 },
    { is: "failed", node: 1, attempt: 1, at: 110, failure: { name: "Error", message: "no" } },
  ];
  const open = [facts, [...facts].reverse()].map((order) => {
    const story = new Story(wf);
    for (const fact of order) story.take(fact);
    return [...story.scheduler.open()];
  });
  assert.equal(open[0], [{ is: "dispatch", node: 1, attempt: 2, notBefore: 110, expiresAt: 150 }]);
  assert.equal(open[1], open[0]);
});

rules("what waits with a countdown for a node that ran nothing counts from its end", () => {
  const wf = new Workflow("countdown");
  const a = wf.call(work);
  const notNeeded = wf.call(work).after(a).when("anyFailed");
  wf.call(work).after(notNeeded, { on: "done" }).set({ countdown: 10 });
  assert.equal(new Story(wf).ok(0, 1, 500), ["2.1 at 510"]);
});

rules(
  "a run in the place of a finally node is not tried again before the round's own nodes",
  () => {
    const wf = new Workflow("cleanup");
    wf.call(work);
    wf.finally(work.si());
    const story = new Story(wf);
    assert.equal(story.fail(0), ["1.1"]);
    story.take({ is: "expanded", node: 1, attempt: 1, at: 0, child: "c" });
    assert.equal(story.fail(1), ["FAILURE"]);
    assert.equal(story.control({ is: "retry" }), ["0.2"]);
    assert.equal(story.states, ["SCHEDULED", "PENDING"]);
  },
);

rules(
  "a run that was retried for itself already still tells the attempt that its parent asks for",
  () => {
    const wf = new Workflow("child");
    wf.call(work);
    const story = new Story(wf);
    story.fail(0);
    story.control({ is: "retry" });
    story.control({ is: "retry", attempt: 2 });
    assert.is(story.scheduler.parentAttempt, 2);
    story.ok(0, 2);
    story.control({ is: "retry", attempt: 3 });
    assert.is(story.scheduler.parentAttempt, 3);
    assert.is(story.scheduler.finished, "SUCCESS");
  },
);

rules("a compensation without nodes adds nothing", () => {
  const wf = new Workflow("empty");
  wf.call(work).compensate(chain());
  assert.is(wf.size, 1);
  assert.equal(new Story(wf.finally(work.si())).ok(0), ["1.1"]);
});

rules.run();
