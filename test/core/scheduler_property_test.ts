/** Whatever the workflow, whatever fails, in whatever order it is heard: the scheduler decides the same. */
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Definition, policyOfNode } from "../../src/core/definition.ts";
import {
  type Control,
  type Effect,
  type Fact,
  noCounts,
  Scheduler,
} from "../../src/core/scheduler.ts";
import type { Dispatch } from "./drive.ts";
import { fatesOf, hasEnded, type Outcome } from "./plain_fates.ts";
import {
  anyFaces,
  anySketch,
  Dice,
  edgesInto,
  isCleanup,
  isJoin,
  workflowOf,
} from "./random_workflow.ts";

const RUN = "any-run";
const SUBMITTED_AT = 100;

/** A scheduler that is told what happens, with a record of all that it said. */
class Live {
  readonly definition: Definition;
  readonly scheduler: Scheduler;
  /** What is recorded, in order. */
  readonly log: Fact[] = [];
  /** Attempts that somebody may be running: dispatched, and without a recorded outcome. */
  readonly running: Dispatch[] = [];
  readonly #dispatched = new Set<string>();
  /** Nodes that were let go in this round. */
  readonly started = new Map<number, number>();
  readonly skipped = new Set<number>();
  finishes = 0;
  #at = 100;

  constructor(definition: Definition) {
    this.definition = definition;
    this.scheduler = new Scheduler(definition, RUN, SUBMITTED_AT, (node, state) => {
      // PENDING is only entered by the next round.
      if (state === "PENDING") this.#anew(node);
      if (state === "SCHEDULED") this.started.set(node, (this.started.get(node) ?? 0) + 1);
    });
    this.#follow(this.scheduler.begin());
  }

  #anew(node: number): void {
    this.started.delete(node);
    this.skipped.delete(node);
  }

  /** The attempts that the scheduler waits for. */
  get open(): Dispatch[] {
    return this.running.filter(({ node, attempt }) =>
      this.scheduler.isOpen(node) && this.scheduler.attemptOf(node) === attempt
    );
  }

  get outcomes(): Outcome[] {
    return this.log.filter((fact): fact is Outcome => fact.is !== "control");
  }

  end(which: Dispatch, succeeds: boolean, dice: Dice): void {
    this.running.splice(this.running.indexOf(which), 1);
    const { node, attempt } = which;
    const at = this.#moment(dice);
    this.#record(
      succeeds ? { is: "succeeded", node, attempt, at } : {
        is: "failed",
        node,
        attempt,
        at,
        failure: { name: "Error", message: "no", ...(dice.roll(9) === 0 ? { fatal: true } : {}) },
      },
    );
  }

  control(control: Control, dice: Dice): void {
    if (control.is === "skip") {
      for (const node of control.nodes) {
        if (node < this.definition.graph.size && !this.scheduler.hasEnded(node)) {
          this.skipped.add(node);
        }
      }
    }
    this.#record({ is: "control", control, at: this.#moment(dice) });
  }

  /** The same fact once more, as hints and redeliveries bring it. */
  repeat(fact: Outcome): void {
    const before = snapshot(this.scheduler, this.definition);
    assert.equal(this.scheduler.apply(fact), [], "a repeated fact has effects");
    assert.equal(snapshot(this.scheduler, this.definition), before, "a repeated fact counts");
  }

  /** Moments are told by many clocks: they do not always grow. */
  #moment(dice: Dice): number {
    this.#at += dice.roll(40) - 10;
    return this.#at;
  }

  #record(fact: Fact): void {
    this.log.push(fact);
    this.#follow(this.scheduler.apply(fact));
  }

  #follow(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.is === "finish") this.finishes++;
      if (effect.is !== "dispatch") continue;
      this.#checkDispatch(effect);
      this.running.push(effect);
    }
  }

  /** S1: nothing starts before all it waits for has ended as its edge demands. */
  #checkDispatch({ node, attempt }: Dispatch): void {
    const { definition, scheduler } = this;
    const key = `${node}.${attempt}`;
    assert.not(this.#dispatched.has(key), `${key} is dispatched twice`);
    this.#dispatched.add(key);
    assert.not(isJoin(definition, node), "a join is dispatched");
    for (const { from, on } of edgesInto(definition, node)) {
      if (from === definition.graph.main) {
        assert.ok(scheduler.ownEnded, "cleanup starts before the workflow's own nodes have ended");
        continue;
      }
      const state = scheduler.stateOf(from);
      if (on === "success") {
        assert.ok(state === "SUCCESS" || this.skipped.has(from), `${from} is ${state}`);
      } else if (on === "failure") {
        assert.ok(state === "FAILURE" || state === "UPSTREAM_FAILED", `${from} is ${state}`);
      } else assert.ok(scheduler.hasEnded(from), `${from} is ${state}`);
    }
  }
}

/** Everything that can be seen of a scheduler. */
function snapshot(scheduler: Scheduler, { graph }: Definition): unknown {
  const nodes = Array.from({ length: graph.size }, (_, node) => node);
  return {
    nodes: nodes.map((node) => `${scheduler.stateOf(node)} ${scheduler.attemptOf(node)}`),
    counts: scheduler.counts(),
    round: scheduler.round,
    finished: scheduler.finished,
    state: scheduler.workflowState,
    reason: scheduler.reason,
    ownEnded: scheduler.ownEnded,
    failures: scheduler.failures(1_000),
    open: [...scheduler.open()],
  };
}

function replayed(definition: Definition, facts: readonly Fact[]): Scheduler {
  const scheduler = new Scheduler(definition, RUN, SUBMITTED_AT);
  scheduler.begin();
  for (const fact of facts) scheduler.apply(fact);
  return scheduler;
}

/** Ends what runs, in any order, until nothing is left or `steps` are made. @returns the live run. */
function conduct(definition: Definition, dice: Dice, steps = Infinity): Live {
  const live = new Live(definition);
  const failEvery = 2 + dice.roll(8);
  for (let step = 0; step < steps && live.scheduler.finished === undefined; step++) {
    assert.ok(live.open.length > 0, "the workflow is stuck: nothing may run");
    live.end(dice.pick(live.open), dice.roll(failEvery) !== 0, dice);
    if (dice.roll(3) === 0) live.repeat(dice.pick(live.outcomes));
  }
  return live;
}

const test = suite("any run");

test("every node ends as its upstreams and outcomes say, and the workflow with them", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, (sketch, faces) => {
      const definition = workflowOf(sketch).build();
      const { scheduler, outcomes, finishes } = conduct(definition, new Dice(faces));
      const { states, finished } = fatesOf(definition, outcomes);
      assert.equal(states.map((_, node) => scheduler.stateOf(node)), states);
      assert.is(scheduler.finished, finished);
      assert.is(finishes, 1);
      const counts = noCounts();
      states.forEach((state, node) => isJoin(definition, node) || counts[state]++);
      assert.equal(scheduler.counts(), counts);
    }),
    { numRuns: 300 },
  );
});

test("in the middle of a run, every node is as its upstreams and outcomes so far say", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 40 }), (sketch, faces, steps) => {
      const definition = workflowOf(sketch).build();
      const { scheduler, outcomes } = conduct(definition, new Dice(faces), steps);
      const { states, finished } = fatesOf(definition, outcomes);
      assert.equal(states.map((_, node) => scheduler.stateOf(node)), states);
      assert.is(scheduler.finished, finished);
    }),
    { numRuns: 200 },
  );
});

test("no node is tried more often than its policy allows", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, (sketch, faces) => {
      const definition = workflowOf(sketch).build();
      for (const fact of conduct(definition, new Dice(faces)).outcomes) {
        const most = 1 + (policyOfNode(definition, fact.node).retry?.max ?? 0);
        assert.ok(fact.attempt >= 1 && fact.attempt <= most, `attempt ${fact.attempt} of ${most}`);
      }
    }),
    { numRuns: 100 },
  );
});

test("outcomes in any other order, each heard any number of times, lead to the same state", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = workflowOf(sketch).build();
      const dice = new Dice(faces);
      const { scheduler, log } = conduct(definition, dice, steps);
      const again = replayed(definition, dice.shuffle([...log, ...log.slice(dice.roll(9))]));
      assert.equal(snapshot(again, definition), snapshot(scheduler, definition));
    }),
    { numRuns: 300 },
  );
});

test("who takes over finds open exactly what was dispatched and has no outcome", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = workflowOf(sketch).build();
      const { running, log } = conduct(definition, new Dice(faces), steps);
      const byNode = (a: Dispatch, b: Dispatch) => a.node - b.node;
      assert.equal([...replayed(definition, log).open()], [...running].sort(byNode));
    }),
    { numRuns: 200 },
  );
});

test.run();

const controlled = suite("any run that is controlled");

function anyControl(definition: Definition, dice: Dice): Control {
  const { size } = definition.graph;
  switch (dice.roll(8)) {
    case 0:
      return { is: "cancel", reason: "why not" };
    case 1:
      return { is: "timeout" };
    case 2:
      return { is: "pause" };
    case 3:
      return { is: "resume" };
    case 4:
    case 5:
      // One past the last, too: such a node does not exist.
      return { is: "skip", nodes: [dice.roll(size + 1), dice.roll(size + 1)] };
    default:
      return { is: "retry" };
  }
}

interface Watcher {
  /** Before a control fact is taken in. */
  readonly onControl?: (live: Live, control: Control) => void;
  /** Each time the workflow has finished. */
  readonly onFinish?: (live: Live) => void;
}

/** A run in which people press every button at any moment, and every worker may be late. Then it is left in peace. */
function disturb(definition: Definition, dice: Dice, steps: number, watcher: Watcher = {}): Live {
  const live = new Live(definition);
  let seen = 0;
  const look = () => {
    if (live.finishes > seen) watcher.onFinish?.(live);
    seen = live.finishes;
  };
  look();
  for (let step = 0; step < steps; step++) {
    const what = dice.roll(10);
    if (what < 6 && live.running.length > 0) {
      // Also attempts that were withdrawn or belong to an earlier round: their workers do not know.
      live.end(dice.pick(live.running), dice.roll(4) !== 0, dice);
    } else if (what < 8) {
      if (live.outcomes.length > 0) live.repeat(dice.pick(live.outcomes));
    } else {
      const control = anyControl(definition, dice);
      watcher.onControl?.(live, control);
      live.control(control, dice);
    }
    look();
  }
  const most = live.log.length + definition.graph.size * 5;
  for (let step = 0; live.scheduler.finished === undefined; step++) {
    assert.ok(live.open.length > 0, "the workflow is stuck: nothing may run");
    assert.ok(step <= most, "the workflow does not end");
    live.end(dice.pick(live.open), dice.roll(4) !== 0, dice);
    look();
  }
  return live;
}

controlled("can be brought to an end from everywhere, and every round finishes once", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = workflowOf(sketch).build();
      const { scheduler, finishes } = disturb(definition, new Dice(faces), steps, {
        onFinish({ scheduler, started }) {
          for (let node = 0; node < definition.graph.size; node++) {
            assert.ok(hasEnded(scheduler.stateOf(node)), `node ${node} has not ended`);
            assert.ok((started.get(node) ?? 0) <= 1, `node ${node} was let go twice in a round`);
          }
          assert.equal([...scheduler.open()], []);
          assert.not(scheduler.paused);
        },
      });
      assert.is(finishes, scheduler.round);
    }),
    { numRuns: 200 },
  );
});

controlled("the log read in its order gives the live state, at every moment", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = workflowOf(sketch).build();
      const states: unknown[] = [];
      const dice = new Dice(faces);
      const live = disturb(definition, dice, steps, {
        onControl: (live) => states.push(snapshot(live.scheduler, definition)),
      });
      states.push(snapshot(live.scheduler, definition));
      const again = replayed(definition, []);
      for (const fact of live.log) {
        if (fact.is === "control") assert.equal(snapshot(again, definition), states.shift());
        again.apply(fact);
      }
      assert.equal([snapshot(again, definition)], states);
    }),
    { numRuns: 200 },
  );
});

controlled(
  "between two control facts outcomes may come in any order, and again at any time later",
  () => {
    fc.assert(
      fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
        const definition = workflowOf(sketch).build();
        const dice = new Dice(faces);
        const { scheduler, log } = disturb(definition, dice, steps);
        const disordered: Fact[] = [];
        let from = 0;
        for (let i = 0; i <= log.length; i++) {
          if (i < log.length && log[i]!.is !== "control") continue;
          const repeated = log.slice(0, from).filter((fact) =>
            fact.is !== "control" && dice.roll(4) === 0
          );
          disordered.push(...dice.shuffle([...log.slice(from, i), ...repeated]));
          disordered.push(...log.slice(i, i + 1));
          from = i + 1;
        }
        assert.equal(
          snapshot(replayed(definition, disordered), definition),
          snapshot(scheduler, definition),
        );
      }),
      { numRuns: 200 },
    );
  },
);

/** What a round's end should be, from outside: which button was pressed first, and when. */
class Expectation {
  #own: "CANCELLED" | "ERROR" | undefined;
  #cleanupCut = false;

  onControl({ scheduler }: Live, control: Control): void {
    if (control.is === "retry") {
      if (scheduler.finished === undefined || scheduler.finished === "SUCCESS") return;
      this.#own = undefined;
      this.#cleanupCut = false;
    }
    if (scheduler.finished !== undefined) return;
    if (control.is !== "cancel" && control.is !== "timeout") return;
    if (!scheduler.ownEnded) this.#own = control.is === "cancel" ? "CANCELLED" : "ERROR";
    else if (control.is === "timeout") this.#cleanupCut = true;
  }

  onFinish({ definition, scheduler, started, skipped }: Live): void {
    const { size, main } = definition.graph;
    const nodes = Array.from({ length: size }, (_, node) => node);
    const ownFailed = this.#own === "ERROR" ||
      this.#own === undefined &&
        nodes.some((n) => !isCleanup(definition, n) && scheduler.stateOf(n) === "FAILURE");
    for (const node of nodes) {
      const edges = edgesInto(definition, node);
      const mainEdge = edges.find(({ from }) => from === main);
      // Others wait for more of the cleanup, which may have failed.
      const isFirst = edges.every(({ from, on }) => from === main || on === "done");
      if (mainEdge === undefined || !isFirst || skipped.has(node)) continue;
      const runs = mainEdge.on === "done" || ownFailed ? 1 : 0;
      if (runs === 1 && this.#cleanupCut) continue;
      assert.is(started.get(node) ?? 0, runs, `${mainEdge.on} node ${node}, stopped: ${this.#own}`);
    }
    const failed = scheduler.failures(1).length > 0;
    const expected = this.#cleanupCut ? "ERROR" : this.#own ?? (failed ? "FAILURE" : "SUCCESS");
    assert.is(scheduler.finished, expected);
  }
}

controlled("finally runs once in every round, onError exactly in those that failed", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const expected = new Expectation();
      disturb(workflowOf(sketch).build(), new Dice(faces), steps, {
        onControl: (live, control) => expected.onControl(live, control),
        onFinish: (live) => expected.onFinish(live),
      });
    }),
    { numRuns: 300 },
  );
});

controlled.run();
