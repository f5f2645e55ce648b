/** Whatever the workflow, whatever fails, in whatever order it is heard: the scheduler decides the same. */
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Definition, MAP_TASK, policyOfNode, RUN_TASK } from "../../src/core/definition.ts";
import { descendants, EDGE_KINDS, type EdgeKind } from "../../src/core/graph.ts";
import {
  type Control,
  type Effect,
  type Fact,
  noCounts,
  Scheduler,
} from "../../src/core/scheduler.ts";
import { fatesOf, hasEnded, type NodeFact } from "./plain_fates.ts";
import {
  anyFaces,
  anySketch,
  definitionOf,
  Dice,
  edgesInto,
  EVENTS,
  isCleanup,
  isJoin,
  type Sketch,
} from "./random_workflow.ts";

const RUN = "any-run";
const SUBMITTED_AT = 100;

/** An attempt that is somebody's business: a worker's, an event's, a child run's, a processor's. */
interface Open {
  readonly is: "dispatch" | "await" | "settle" | "revive" | "child";
  readonly node: number;
  readonly attempt: number;
  readonly expires: boolean;
  /** It may be given up. */
  readonly ends: boolean;
}

interface Watcher {
  /** Before a control fact is taken in. */
  readonly onControl?: (live: Live, control: Control) => void;
  /** Each time the workflow has finished. */
  readonly onFinish?: (live: Live) => void;
  /** When a node is let go. */
  readonly onStart?: (live: Live, node: number) => void;
}

/** A scheduler that is told what happens, with a record of all that it said. */
class Live {
  readonly definition: Definition;
  readonly scheduler: Scheduler;
  /** What is recorded, in order. */
  readonly log: Fact[] = [];
  /** Attempts that somebody may be at: asked for, and without a recorded outcome. */
  readonly running: Open[] = [];
  readonly #dispatched = new Set<string>();
  /** Nodes that were let go in this round. */
  readonly started = new Map<number, number>();
  readonly skipped = new Set<number>();
  readonly #watcher: Watcher;
  finishes = 0;
  #at = 100;

  constructor(definition: Definition, watcher: Watcher = {}) {
    this.definition = definition;
    this.#watcher = watcher;
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
  get open(): Open[] {
    return this.running.filter((open) => this.isCurrent(open));
  }

  isCurrent({ node, attempt }: Open): boolean {
    // In a later round a node that waits again still has the attempt of the round before.
    const isLetGo = this.scheduler.stateOf(node) !== "PENDING" && !this.scheduler.hasEnded(node);
    return isLetGo && this.scheduler.attemptOf(node) === attempt;
  }

  get nodeFacts(): NodeFact[] {
    return this.log.filter((fact): fact is NodeFact => fact.is !== "control");
  }

  /** What becomes of an attempt next. */
  go(which: Open, dice: Dice, failEvery: number): void {
    switch (which.is) {
      case "dispatch":
        if (dice.roll(6) === 0) return this.#expand(which, dice);
        if (which.expires && dice.roll(5) === 0) return this.#end(which, "ExpiredError", dice);
        return this.#end(which, dice.roll(failEvery) === 0 ? "Error" : undefined, dice);
      case "child":
        return this.#end(which, dice.roll(failEvery) === 0 ? "Error" : undefined, dice);
      case "await":
        if (which.ends && dice.roll(3) === 0) return this.#end(which, "TimeoutError", dice);
        return this.control({ is: "event", name: this.eventOf(which.node), data: 1 }, dice);
      case "settle":
        return this.#end(which, undefined, dice);
      case "revive":
        return this.#expand(which, dice);
    }
    return which.is satisfies never;
  }

  eventOf(node: number): string {
    return policyOfNode(this.definition, node).event!;
  }

  #end(which: Open, failure: string | undefined, dice: Dice): void {
    this.running.splice(this.running.indexOf(which), 1);
    const { node, attempt } = which;
    const at = this.#moment(dice);
    if (failure === undefined) return this.#record({ is: "succeeded", node, attempt, at });
    const fatal = dice.roll(9) === 0 ? { fatal: true } : {};
    this.#record({
      is: "failed",
      node,
      attempt,
      at,
      failure: { name: failure, message: "no", ...fatal },
    });
  }

  /** A run takes its place. */
  #expand(which: Open, dice: Dice): void {
    const { node, attempt } = which;
    this.running[this.running.indexOf(which)] = { ...which, is: "child" };
    const child = `child-${node}-${attempt}`;
    this.#record({ is: "expanded", node, attempt, at: this.#moment(dice), child });
  }

  control(control: Control, dice: Dice): void {
    this.#watcher.onControl?.(this, control);
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
  repeat(fact: NodeFact): void {
    const before = snapshot(this.scheduler, this.definition);
    assert.equal(this.scheduler.apply(fact), [], "a repeated fact has effects");
    assert.equal(snapshot(this.scheduler, this.definition), before, "a repeated fact counts");
  }

  /** Whatever was heard before it. */
  hear(fact: NodeFact): void {
    this.#record(fact);
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
      if (effect.is === "finish" || effect.is === "withdraw") continue;
      const { is, node, attempt } = effect;
      const expires = is === "dispatch" && effect.expiresAt !== undefined;
      const ends = is === "await" && effect.until !== undefined;
      const waited = this.running.findIndex((open) =>
        open.is === "await" && open.node === node && open.attempt === attempt
      );
      if (waited !== -1) this.running.splice(waited, 1);
      else if (is !== "revive") this.#checkStart(node, attempt);
      this.running.push({ is, node, attempt, expires, ends });
    }
  }

  /** S1: nothing starts before what it waits for has ended as its edges demand. */
  #checkStart(node: number, attempt: number): void {
    const { definition } = this;
    this.#watcher.onStart?.(this, node);
    const key = `${node}.${attempt}`;
    assert.not(this.#dispatched.has(key), `${key} is let go twice`);
    this.#dispatched.add(key);
    assert.not(isJoin(definition, node), "a join is dispatched");
    const edges = edgesInto(definition, node);
    const held = edges.filter(({ from, on }) => !this.#isTrue(from, on));
    const isFree = policyOfNode(definition, node).any === true
      ? held.length < edges.length || edges.length === 0
      : held.length === 0;
    assert.ok(isFree, `${key} is held by ${held.map(({ from, on }) => `${on} of ${from}`)}`);
  }

  #isTrue(from: number, on: EdgeKind): boolean {
    const { definition, scheduler } = this;
    const isMain = from === definition.graph.main;
    if (isMain ? !scheduler.ownEnded : !scheduler.hasEnded(from)) return false;
    const state = isMain ? scheduler.ownState : scheduler.stateOf(from);
    const failed = state === "FAILURE" || state === "UPSTREAM_FAILED" || state === "ERROR";
    switch (on) {
      case "success":
        return state === "SUCCESS" || this.skipped.has(from) || this.#isSkipped(from);
      case "done":
        return true;
      case "failure":
        return failed;
      case "notFailed":
        return state === "SUCCESS" || state === "SKIPPED";
      case "error":
        return state === "FAILURE";
      case "notSuccess":
        return failed || state === "CANCELLED";
      case "ran":
        return state === "SUCCESS";
    }
    return on satisfies never;
  }

  #isSkipped(node: number): boolean {
    return policyOfNode(this.definition, node).skip === true;
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
    children: [...scheduler.children()].sort((a, b) => a.node - b.node),
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
    live.go(dice.pick(live.open), dice, failEvery);
    if (dice.roll(3) === 0 && live.nodeFacts.length > 0) live.repeat(dice.pick(live.nodeFacts));
  }
  return live;
}

/** Facts about nodes in any order, each at least once; control facts among them anywhere, in their order. */
function disordered(log: readonly Fact[], dice: Dice): Fact[] {
  const facts = log.filter(({ is }) => is !== "control");
  const mixed = dice.shuffle([...facts, ...facts.slice(dice.roll(9))]);
  let from = 0;
  for (const control of log.filter(({ is }) => is === "control")) {
    from += dice.roll(mixed.length - from + 1);
    mixed.splice(from++, 0, control);
  }
  return mixed;
}

const test = suite("any run");

test("every node ends as its upstreams and outcomes say, and the workflow with them", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, (sketch, faces) => {
      const definition = definitionOf(sketch);
      const { scheduler, nodeFacts, finishes } = conduct(definition, new Dice(faces));
      const { states, finished } = fatesOf(definition, nodeFacts);
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
      const definition = definitionOf(sketch);
      const { scheduler, nodeFacts } = conduct(definition, new Dice(faces), steps);
      const { states, finished } = fatesOf(definition, nodeFacts);
      assert.equal(states.map((_, node) => scheduler.stateOf(node)), states);
      assert.is(scheduler.finished, finished);
    }),
    { numRuns: 200 },
  );
});

test("no node is tried more often than its policy allows", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, (sketch, faces) => {
      const definition = definitionOf(sketch);
      for (const fact of conduct(definition, new Dice(faces)).nodeFacts) {
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
      const definition = definitionOf(sketch);
      const dice = new Dice(faces);
      const { scheduler, log } = conduct(definition, dice, steps);
      const again = replayed(definition, disordered(log, dice));
      assert.equal(snapshot(again, definition), snapshot(scheduler, definition));
    }),
    { numRuns: 300 },
  );
});

test("in whatever order outcomes are heard, nothing is let go before what it waits for is known", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = definitionOf(sketch);
      const dice = new Dice(faces);
      const { nodeFacts, scheduler } = conduct(definition, dice, steps);
      const live = new Live(definition);
      for (const fact of dice.shuffle(nodeFacts)) live.hear(fact);
      const told = live.running.map(({ node, attempt }) => `${node}.${attempt}`);
      for (const { is, node, attempt } of scheduler.open()) {
        // Events come as control facts, which are not heard here.
        const key = `${node}.${attempt}`;
        if (is === "dispatch") assert.ok(told.includes(key), `${key} is not let go`);
      }
    }),
    { numRuns: 300 },
  );
});

test("who takes over finds open exactly what was dispatched and has no outcome", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = definitionOf(sketch);
      const { running, log, scheduler } = conduct(definition, new Dice(faces), steps);
      const again = replayed(definition, log);
      const found = [
        ...[...again.open()].map(({ is, node, attempt }) => `${is} ${node}.${attempt}`),
        ...[...again.children()].map(({ node, attempt }) => `child ${node}.${attempt}`),
      ];
      const known = running.map(({ is, node, attempt }) => `${is} ${node}.${attempt}`);
      assert.equal(found.sort(), known.sort());
      assert.equal([...again.open()], [...scheduler.open()]);
    }),
    { numRuns: 200 },
  );
});

test.run();

const controlled = suite("any run that is controlled");

function anyControl(definition: Definition, dice: Dice): Control {
  const { size } = definition.graph;
  switch (dice.roll(11)) {
    case 8:
    case 9:
      return { is: "rerun", nodes: [dice.roll(size + 1)] };
    case 10:
      return { is: "event", name: dice.pick(EVENTS), data: dice.roll(3) };
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

/** A run in which people press every button at any moment, and every worker may be late. Then it is left in peace. */
function disturb(definition: Definition, dice: Dice, steps: number, watcher: Watcher = {}): Live {
  const live = new Live(definition, watcher);
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
      live.go(dice.pick(live.running), dice, 4);
    } else if (what < 8) {
      if (live.nodeFacts.length > 0) live.repeat(dice.pick(live.nodeFacts));
    } else {
      live.control(anyControl(definition, dice), dice);
    }
    look();
  }
  const most = live.log.length + definition.graph.size * 12;
  for (let step = 0; live.scheduler.finished === undefined; step++) {
    assert.ok(live.open.length > 0, "the workflow is stuck: nothing may run");
    assert.ok(step <= most, "the workflow does not end");
    live.go(dice.pick(live.open), dice, 4);
    look();
  }
  return live;
}

controlled("can be brought to an end from everywhere, and every round finishes once", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = definitionOf(sketch);
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
      const definition = definitionOf(sketch);
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
        const definition = definitionOf(sketch);
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
    if (control.is === "retry" || control.is === "rerun") {
      if (scheduler.finished === undefined) return;
      if (control.is === "retry" && scheduler.finished === "SUCCESS") return;
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
    const spoilers = new Set(
      scheduler.failures(size).filter((node) => policyOfNode(definition, node).optional !== true),
    );
    const ownFailed = this.#own === "ERROR" ||
      this.#own === undefined && [...spoilers].some((node) => !isCleanup(definition, node));
    for (const node of nodes) {
      const edges = edgesInto(definition, node);
      const mainEdge = edges.find(({ from }) => from === main);
      const undoes = edges.filter(({ on }) => on === "ran").map(({ from }) => from);
      // Others wait for more of the cleanup, which may have failed.
      const isFirst = edges.every(({ from, on }) => from === main || on === "done" || on === "ran");
      if (mainEdge === undefined || !isFirst || skipped.has(node)) continue;
      const mainIs = mainEdge.on === "done" || ownFailed ||
        mainEdge.on === "notSuccess" && this.#own === "CANCELLED";
      const runs = mainIs && undoes.every((from) => scheduler.stateOf(from) === "SUCCESS") ? 1 : 0;
      if (runs === 1 && this.#cleanupCut) continue;
      assert.is(started.get(node) ?? 0, runs, `${mainEdge.on} node ${node}, stopped: ${this.#own}`);
    }
    const failed = spoilers.size > 0;
    const expected = this.#cleanupCut ? "ERROR" : this.#own ?? (failed ? "FAILURE" : "SUCCESS");
    assert.is(scheduler.finished, expected);
  }
}

controlled(
  "finally runs once in every round, onError and compensations exactly when they are to",
  () => {
    fc.assert(
      fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
        const expected = new Expectation();
        disturb(definitionOf(sketch), new Dice(faces), steps, {
          onControl: (live, control) => expected.onControl(live, control),
          onFinish: (live) => expected.onFinish(live),
        });
      }),
      { numRuns: 300 },
    );
  },
);

/** The nodes that were undone, as their compensations tell. */
function undone({ definition, scheduler }: Live): number[] {
  return Array.from({ length: definition.graph.size }, (_, node) => node)
    .filter((node) => isCleanup(definition, node) && scheduler.stateOf(node) === "SUCCESS")
    .flatMap((node) => edgesInto(definition, node))
    .flatMap(({ from, on }) => on === "ran" ? [from] : []);
}

controlled("what was undone or is rerun, and all that depends on it, is not done any more", () => {
  let seen = 0;
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = definitionOf(sketch);
      const { graph } = definition;
      const dice = new Dice(faces);
      const live = disturb(definition, dice, steps);
      const from = [...undone(live), ...dice.roll(2) === 0 ? [dice.roll(graph.size + 1)] : []];
      const attempts = Array.from({ length: graph.size }, (_, n) => live.scheduler.attemptOf(n));
      live.control({ is: "rerun", nodes: from.slice(-1) }, dice);
      descendants(graph, from).forEach((again, node) => {
        if (again !== 1 || isJoin(definition, node)) return;
        seen++;
        const { scheduler } = live;
        assert.is.not(scheduler.stateOf(node), "SUCCESS", `node ${node} is done still`);
        const wasBegun = ["SCHEDULED", "STARTED"].includes(scheduler.stateOf(node));
        if (wasBegun) assert.ok(scheduler.attemptOf(node) > attempts[node]!);
      });
    }),
    { numRuns: 200 },
  );
  assert.ok(seen > 200, `only ${seen} nodes were to be done again`);
});

controlled("in every round what was done last is undone first", () => {
  let ordered = 0;
  fc.assert(
    fc.property(anySketch, anyFaces, fc.nat({ max: 80 }), (sketch, faces, steps) => {
      const definition = definitionOf(sketch);
      const { graph } = definition;
      const entries = Array.from({ length: graph.size }, (_, node) => node).flatMap((entry) => {
        const of = edgesInto(definition, entry).find(({ on }) => on === "ran")?.from;
        return of === undefined ? [] : [{ entry, later: descendants(graph, [of]), of }];
      });
      const live = disturb(definition, new Dice(faces), steps, {
        onStart: ({ scheduler, skipped }, node) => {
          // Who skips a part of them has given the order up.
          if ([...skipped].some((node) => isCleanup(definition, node))) return;
          const begun = entries.find(({ entry }) => entry === node);
          for (const { entry, of } of entries) {
            if (begun === undefined || of === begun.of || begun.later[of] !== 1) continue;
            ordered++;
            assert.ok(scheduler.hasEnded(entry), `${node} is undone before ${entry}`);
          }
        },
      });
      assert.ok(live.scheduler.finished !== undefined);
    }),
    { numRuns: 200 },
  );
  assert.ok(ordered > 5, `only ${ordered} orders were seen`);
});

controlled.run();

const samples = suite("the workflows of these properties");

samples("contain every feature, each often enough to mean something", () => {
  const seen = new Map<string, number>();
  const see = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
  for (const sketch of fc.sample(anySketch, { numRuns: 300, seed: 1 })) {
    for (const feature of featuresOf(sketch)) see(feature);
  }
  for (const feature of FEATURES) {
    const times = seen.get(feature) ?? 0;
    assert.ok(times >= 15, `${feature} is in ${times} of 300 workflows`);
  }
});

const FEATURES = [
  ...EDGE_KINDS.map((kind) => `edge ${kind}`),
  ...["any", "optional", "side", "skip", "event", "eventMs", "join", "cleanup", "retry"],
  ...["countdownMs", "notBefore", "expiresMs", "start", "input", MAP_TASK, RUN_TASK],
];

function featuresOf(sketch: Sketch): Set<string> {
  const definition = definitionOf(sketch);
  const features = new Set<string>();
  for (const kind of definition.graph.up.kinds) features.add(`edge ${EDGE_KINDS[kind]}`);
  for (const policy of definition.policies) {
    for (const key of Object.keys(policy)) features.add(key);
  }
  for (const said of ["start", "input"] as const) {
    if (definition[said] !== undefined) features.add(said);
  }
  for (let node = 0; node < definition.graph.size; node++) {
    for (const task of [MAP_TASK, RUN_TASK]) {
      if (definition.signatures.text(node).includes(`"task":"${task}"`)) features.add(task);
    }
  }
  return features;
}

samples.run();
