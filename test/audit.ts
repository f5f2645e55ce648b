/**
 * Whether runs kept their promises, judged from what is recorded and from what their tasks noted themselves. The names of
 * the invariants are those of docs/architecture.md#invariants. Nothing here asks the engine how it sees things, but for the
 * scheduler, which replays the log: that it decides rightly is what the properties in core/ are for.
 */
import { type Definition, labelOf, policyOfNode } from "../src/core/definition.ts";
import { decodeHead } from "../src/core/definition_codec.ts";
import type { Control, Effect, Fact } from "../src/core/fact.ts";
import { EDGE_KINDS, type EdgeKind } from "../src/core/graph.ts";
import { parseKey } from "../src/core/keys.ts";
import { type EndRecord, readEnd, readOutcomeNote } from "../src/core/records.ts";
import { factOf, wholeDefinition } from "../src/core/recorded.ts";
import { Scheduler } from "../src/core/scheduler.ts";
import type { Stored } from "../src/ports.ts";

/** A task's own note that it began. */
export interface Execution {
  readonly workflow: string;
  readonly node: number;
  readonly attempt: number;
  /** The last place of the log that was written when it began. */
  readonly after: number;
}

export interface Evidence {
  /** Everything recorded, with bodies. */
  readonly facts: readonly Stored[];
  readonly executions: readonly Execution[];
  /** Messages that are left in the queues of tasks and of ticks, when all is done. */
  readonly left: { readonly tasks: number; readonly ticks: number };
  /** Something died on the way: attempts may have been executed more than once. */
  readonly crashed: boolean;
}

/** @returns what was broken, a line each; nothing when all is well. */
export async function audit(evidence: Evidence): Promise<string[]> {
  const { facts, executions, left } = evidence;
  const broken: string[] = [];
  if (left.tasks > 0) broken.push(`L5: ${left.tasks} task messages are left`);
  if (left.ticks > 0) broken.push(`L5: ${left.ticks} ticks are left`);
  const logs = new Map<string, Stored[]>();
  for (const stored of [...facts].sort((a, b) => a.seq - b.seq)) {
    const workflow = stored.key.split(".")[0]!;
    const log = logs.get(workflow);
    if (log === undefined) logs.set(workflow, [stored]);
    else log.push(stored);
  }
  for (const { workflow } of executions) {
    if (!logs.has(workflow)) broken.push(`S11: a task of ${workflow} ran, which is not recorded`);
  }
  for (const [workflow, log] of logs) {
    const own = executions.filter((execution) => execution.workflow === workflow);
    broken.push(...await auditRun(workflow, log, own, evidence.crashed));
    broken.push(...toldByChildren(workflow, log, logs));
  }
  return broken;
}

async function auditRun(
  workflow: string,
  log: readonly Stored[],
  executions: readonly Execution[],
  crashed: boolean,
): Promise<string[]> {
  const byKey = new Map(log.map((stored) => [stored.key, stored]));
  const head = byKey.get(`${workflow}.def.0`);
  if (head === undefined) return [`S5: ${workflow} has no definition`];
  let definition: Definition;
  try {
    definition = await wholeDefinition(
      workflow,
      head.data,
      (key) => Promise.resolve(byKey.get(key)),
    );
  } catch (error) {
    return [`S5: the definition of ${workflow} cannot be read: ${(error as Error).message}`];
  }
  const replay = new Replay(workflow, definition, head.at);
  for (const stored of log) replay.take(stored);
  const say = (line: string) => `${line} (${workflow}, ${decodeHead(head.data).nodes} nodes)`;
  return [
    ...replay.broken,
    ...onlyOnce(log),
    ...executed(definition, executions, replay.dispatched, crashed),
    ...ended(definition, replay),
    ...sameInAnyOrder(workflow, definition, head.at, replay.facts, replay.scheduler),
  ].map(say);
}

/** Control facts after which something may not be sent any more. */
const STOPPING: readonly Control["is"][] = ["cancel", "timeout", "skip", "pause"];

/** The log once more, in its order. */
export class Replay {
  readonly scheduler: Scheduler;
  readonly facts: Fact[] = [];
  /** Where in the log each attempt became possible. */
  readonly dispatched = new Map<string, number>();
  readonly ends = new Map<number, EndRecord>();
  readonly skipped = new Set<number>();
  readonly broken: string[] = [];
  readonly controls: string[] = [];
  readonly #definition: Definition;
  readonly #workflow: string;
  readonly #submittedAt: number;
  /** As it is for whoever has not heard of this round's control facts. */
  #deaf: Scheduler | undefined;
  #seq = 0;

  constructor(workflow: string, definition: Definition, submittedAt: number) {
    this.#definition = definition;
    this.#workflow = workflow;
    this.#submittedAt = submittedAt;
    this.scheduler = new Scheduler(definition, workflow, submittedAt);
    this.#follow(this.scheduler.begin());
  }

  take(stored: Stored): void {
    this.#seq = stored.seq;
    const key = parseKey(stored.key);
    if (key?.is === "end") return this.#end(key.round, stored);
    const fact = factOf(stored);
    if (fact === undefined) {
      if (key?.is !== "definition") this.broken.push(`S13: ${stored.key} cannot be read`);
      return;
    }
    this.facts.push(fact);
    if (fact.is === "control") {
      this.controls.push(fact.control.is);
      if (fact.control.is === "skip") {
        for (const node of fact.control.nodes) this.skipped.add(node);
      }
    }
    const { round } = this.scheduler;
    this.#follow(this.scheduler.apply(fact));
    this.#followDeaf(fact, round);
  }

  /**
   * A processor that has not heard of a control fact may go on as if it were not there, until it reads the log: what it
   * sends is what was to be sent before.
   */
  #followDeaf(fact: Fact, round: number): void {
    if (this.scheduler.round !== round) this.#deaf = undefined;
    else if (fact.is !== "control") {
      for (const effect of this.#deaf?.apply(fact) ?? []) this.#note(effect);
    } else if (STOPPING.includes(fact.control.is)) {
      this.#deaf ??= this.#replayed(this.facts.slice(0, -1));
    } else this.#deaf?.apply(fact);
  }

  #replayed(facts: readonly Fact[]): Scheduler {
    const scheduler = new Scheduler(this.#definition, this.#workflow, this.#submittedAt);
    scheduler.begin();
    for (const fact of facts) scheduler.apply(fact);
    return scheduler;
  }

  #follow(effects: ReturnType<Scheduler["apply"]>): void {
    for (const effect of effects) {
      this.#note(effect);
      if (effect.is === "dispatch") this.#checkUpstreams(effect.node);
    }
  }

  #note(effect: Effect): void {
    if (effect.is !== "dispatch") return;
    const key = `${effect.node}.${effect.attempt}`;
    if (!this.dispatched.has(key)) this.dispatched.set(key, this.#seq);
  }

  /** S1: each upstream has ended as its edge demands; where one is enough, one has. */
  #checkUpstreams(node: number): void {
    const { graph: { up, main } } = this.#definition;
    const came: boolean[] = [];
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      const upstream = up.nodes[e]!;
      const on = EDGE_KINDS[up.kinds[e]!]!;
      came.push(upstream === main ? this.#mainCame(on) : this.#came(upstream, on));
    }
    const { any } = policyOfNode(this.#definition, node);
    if (any === true ? came.length === 0 || came.includes(true) : !came.includes(false)) return;
    this.broken.push(
      `S1: ${labelOf(this.#definition, node)} may run before its upstreams allow it`,
    );
  }

  #came(upstream: number, on: EdgeKind): boolean {
    const state = this.scheduler.stateOf(upstream);
    const failed = state === "FAILURE" || state === "UPSTREAM_FAILED";
    const isSkipped = state === "SKIPPED" && (this.skipped.has(upstream) ||
      policyOfNode(this.#definition, upstream).skip === true);
    switch (on) {
      case "success":
        return state === "SUCCESS" || state === "SKIPPED" && isSkipped;
      case "done":
        return this.scheduler.hasEnded(upstream);
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

  #mainCame(on: EdgeKind): boolean {
    if (!this.scheduler.ownEnded) return false;
    const succeeded = this.scheduler.ownState === "SUCCESS";
    return on === "done" || (on === "success" ? succeeded : !succeeded);
  }

  /** The log as it was for whoever wrote an end: control facts that slipped in came too late. */
  #without(controls = Infinity): Scheduler {
    if (controls >= this.controls.length) return this.scheduler;
    let n = 0;
    return this.#replayed(
      this.facts.filter((fact) => fact.is !== "control" || ++n <= controls),
    );
  }

  #end(round: number, stored: Stored): void {
    const end = readEnd(stored.data);
    if (end === undefined) return void this.broken.push(`S13: ${stored.key} cannot be read`);
    this.ends.set(round, end);
    const { finished } = this.#without(end.controls);
    if (round !== this.scheduler.round || finished !== end.state) {
      this.broken.push(
        `S4: round ${round} ended as ${end.state}, its log says round ${this.scheduler.round} ${finished}`,
      );
    }
  }
}

/** S1: what is recorded as the outcome of a run in a node's place is how that run had ended by then. */
function toldByChildren(
  workflow: string,
  log: readonly Stored[],
  logs: ReadonlyMap<string, readonly Stored[]>,
): string[] {
  return log.flatMap(({ key, seq, note }) => {
    const outcome = readOutcomeNote(note);
    if (outcome?.elsewhere?.is !== "run") return [];
    const { run } = outcome.elsewhere;
    const said = (logs.get(run) ?? []).some((stored) =>
      parseKey(stored.key)?.is === "end" && stored.seq < seq &&
      (readEnd(stored.data)?.state === "SUCCESS") === (outcome.is === "succeeded")
    );
    return said ? [] : [`S1: ${key} says "${outcome.is}", ${run} did not (${workflow})`];
  });
}

/** S2, S3: one record for each key. */
function onlyOnce(log: readonly Stored[]): string[] {
  const seen = new Set<string>();
  return log.flatMap(({ key }) => seen.size === seen.add(key).size ? [`S2: ${key} twice`] : []);
}

/** S1, S10, S11, S12: what ran was to run, not earlier, and not more often than a crash explains. */
function executed(
  definition: Definition,
  executions: readonly Execution[],
  dispatched: ReadonlyMap<string, number>,
  crashed: boolean,
): string[] {
  const broken: string[] = [];
  const times = new Map<string, number>();
  for (const { node, attempt, after } of executions) {
    if (node >= definition.graph.size) {
      broken.push(`S11: node ${node} ran, which does not exist`);
      continue;
    }
    const what = `attempt ${attempt} of ${labelOf(definition, node)}`;
    const key = `${node}.${attempt}`;
    const allowed = dispatched.get(key);
    if (allowed === undefined) broken.push(`S12: ${what} ran, which nobody decided`);
    else if (allowed > after) broken.push(`S1: ${what} began at ${after}, allowed at ${allowed}`);
    times.set(key, (times.get(key) ?? 0) + 1);
    if (!crashed && times.get(key)! > 1) broken.push(`S10: ${what} ran again without a crash`);
  }
  return broken;
}

/** S4, S7: it has ended, and its end has a reason. */
function ended(definition: Definition, { scheduler, ends, controls }: Replay): string[] {
  const end = ends.get(scheduler.round);
  if (end === undefined) return [`L1: round ${scheduler.round} has no end`];
  const broken: string[] = [];
  for (let node = 0; node < definition.graph.size; node++) {
    if (!scheduler.hasEnded(node)) broken.push(`L1: node ${node} is ${scheduler.stateOf(node)}`);
  }
  for (const node of scheduler.failures(definition.graph.size)) {
    if (end.state !== "SUCCESS" || policyOfNode(definition, node).optional === true) continue;
    broken.push(`S4: SUCCESS, but node ${node} failed`);
  }
  const failed = scheduler.failures(1).length > 0;
  if (end.state === "FAILURE" && !failed) broken.push("S4: FAILURE without a failed node");
  if (end.state === "CANCELLED" && !controls.includes("cancel")) {
    broken.push("S4: nobody cancelled");
  }
  if (end.state === "ERROR" && !controls.includes("timeout")) broken.push("S4: no time was up");
  return broken;
}

/** S9: between two control facts, order and repetition change nothing. */
function sameInAnyOrder(
  workflow: string,
  definition: Definition,
  submittedAt: number,
  facts: readonly Fact[],
  scheduler: Scheduler,
): string[] {
  const again = new Scheduler(definition, workflow, submittedAt);
  again.begin();
  let stretch: Fact[] = [];
  const flush = () => {
    for (const fact of [...stretch, ...stretch].reverse()) again.apply(fact);
    stretch = [];
  };
  for (const fact of facts) {
    if (fact.is !== "control") {
      stretch.push(fact);
      continue;
    }
    flush();
    again.apply(fact);
  }
  flush();
  const differs = Array.from({ length: definition.graph.size }, (_, node) => node)
    .filter((node) =>
      again.stateOf(node) !== scheduler.stateOf(node) ||
      again.attemptOf(node) !== scheduler.attemptOf(node)
    );
  return differs.length === 0 && again.finished === scheduler.finished
    ? []
    : [`S9: in another order nodes ${differs.join()} come out differently`];
}
