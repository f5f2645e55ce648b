/**
 * Whether a run kept its promises, judged from its definition and its log alone: nothing here asks how the engine sees
 * things, but for the scheduler, which replays the log. The names of the invariants are those of
 * docs/architecture.md#invariants. Never reads or changes anything; what is found is returned as data.
 *
 * Tolerated is what a lost hint explains: an attempt that was made although a cancel, a time-out or a skip stands before
 * it in the log. Its outcome counts for nothing.
 */
import { type Definition, labelOf, policyOfNode } from "./definition.ts";
import type { Effect, Fact, FinalState, NodeEffect } from "./fact.ts";
import { EDGE_KINDS, type EdgeKind } from "./graph.ts";
import { controlKey, definitionKey, endKey, parseKey } from "./keys.ts";
import { LIMITS } from "./limits.ts";
import type { Counts, NodeState } from "./node_state.ts";
import { LogReader, type Recorded } from "./recorded.ts";
import { type EndRecord, readEnd, readOutcomeNote } from "./records.ts";
import { Scheduler } from "./scheduler.ts";

/**
 * What must hold for a run, and can be seen from outside of it:
 * - `S1` nothing ran before each upstream was recorded as its edge demands, and what a child run gave is how that ended;
 * - `S2`, `S3` an attempt has one outcome, a round one terminal record;
 * - `S4` a terminal record has its reason in the log;
 * - `S5` what was submitted, and what is recorded since, is there and can be read;
 * - `S11`, `S12` only nodes that exist have outcomes, and only attempts that the scheduler decided;
 * - `S13` a record of another form than the library's is neither used nor removed: here is one;
 * - `L1` every round ends, and when it has, so have its nodes;
 * - `L4` a run that has not ended has a tick;
 * - `L5` of a run that has ended no task message and no tick is left.
 */
export type Invariant =
  | "S1"
  | "S2"
  | "S3"
  | "S4"
  | "S5"
  | "S11"
  | "S12"
  | "S13"
  | "L1"
  | "L4"
  | "L5";

/** One invariant that does not hold, and where. */
export interface AuditFinding {
  readonly invariant: Invariant;
  readonly message: string;
  /** The run it was found in: the one that was asked about, or a child run. */
  readonly run: string;
  readonly node?: number;
  /** Where the edge that was violated comes from; absent when it is the workflow's own nodes together. */
  readonly upstream?: number;
  readonly attempt?: number;
}

/** A record and its place in the log. */
export interface Logged extends Recorded {
  readonly seq: number;
  /** Milliseconds since 1970, by the server's clock. */
  readonly at: number;
}

/** Where in the log an attempt became possible, and as what. */
export interface Allowed {
  readonly seq: number;
  readonly is: NodeEffect["is"];
}

/** How a round stood when it was over. */
interface RoundEnd {
  readonly state: FinalState | undefined;
  readonly counts: Counts;
  readonly failed: EndRecord["failed"];
}

type NodeFact = Exclude<Fact, { is: "control" }>;
type Where = Pick<AuditFinding, "node" | "upstream" | "attempt">;

/**
 * Replays a run's log.
 * @param log everything recorded about the run, in order; results and chunks of the definition without bodies will do.
 * @param options.atRest nothing can come any more: a run that has not ended never will.
 */
export function auditLog(
  run: string,
  definition: Definition,
  log: readonly Logged[],
  { atRest }: { readonly atRest: boolean },
): LogAudit {
  const submittedAt = log.find(({ key }) => key === definitionKey(run))?.at ?? 0;
  const audit = new LogAudit(run, definition, submittedAt);
  for (const logged of log) audit.take(logged);
  audit.close({ atRest });
  return audit;
}

/** Of what is recorded as the outcome of a child run: it is how that run had ended by then. */
export function toldByChildren(
  run: string,
  log: readonly Logged[],
  /** The terminal records of a child run; undefined when nothing of it is left: its time was over. */
  endsOf: (child: string) => readonly Logged[] | undefined,
): AuditFinding[] {
  const findings: AuditFinding[] = [];
  for (const { key, seq, note } of log) {
    const outcome = readOutcomeNote(note);
    if (outcome?.elsewhere?.is !== "run") continue;
    const { elsewhere: { run: child }, is } = outcome;
    const ends = endsOf(child);
    const isSaid = ends === undefined ||
      ends.some((end) =>
        end.seq < seq && (readEnd(end.data)?.state === "SUCCESS") === (is === "succeeded")
      );
    if (isSaid) continue;
    const parsed = parseKey(key);
    const where = parsed?.is === "outcome" ? { node: parsed.node, attempt: parsed.attempt } : {};
    const message = `${key} says that run ${child} ${is}, which it had not by then`;
    findings.push({ invariant: "S1", message, run, ...where });
  }
  return findings;
}

/** The log once more, in its order, and what is wrong with it. */
export class LogAudit {
  readonly findings: AuditFinding[] = [];
  readonly scheduler: Scheduler;
  /** By `<node>.<attempt>`. */
  readonly allowed: Map<string, Allowed> = new Map();
  readonly #reader = new LogReader();
  readonly #run: string;
  readonly #definition: Definition;
  /** By their numbers. */
  readonly #ends = new Map<number, EndRecord | undefined>();
  readonly #controls = new Set<number>();
  readonly #skipped = new Set<number>();
  readonly #seen = new Set<string>();
  /** What was asked for in this round. */
  readonly #asked = new Set<string>();
  #seq = 0;

  constructor(run: string, definition: Definition, submittedAt: number) {
    this.#run = run;
    this.#definition = definition;
    this.scheduler = new Scheduler(definition, run, submittedAt);
    this.#follow(this.scheduler.begin());
  }

  get nodes(): number {
    return this.#definition.graph.size;
  }

  /** The current round has its terminal record. */
  get hasEnded(): boolean {
    return this.#ends.has(this.scheduler.round);
  }

  take(logged: Logged): void {
    this.#seq = logged.seq;
    const { key } = logged;
    const parsed = parseKey(key);
    if (this.#seen.has(key)) {
      this.#find(parsed?.is === "end" ? "S3" : "S2", `${key} is recorded twice`);
    }
    this.#seen.add(key);
    const fact = this.#reader.take(logged);
    if (parsed?.is === "definition") return;
    if (parsed?.is === "control") this.#controls.add(parsed.n);
    if (parsed?.is === "end") return this.#end(parsed.round, logged);
    if (fact === undefined) return this.#find("S13", `${key} cannot be read`);
    if (fact.is === "control") this.#note(fact);
    else this.#checkDecided(fact);
    const { round } = this.scheduler;
    this.#follow(this.scheduler.apply(fact));
    if (this.scheduler.round !== round) this.#asked.clear();
  }

  /** To be called once, after the last record. */
  close({ atRest }: { readonly atRest: boolean }): void {
    const { round } = this.scheduler;
    if (atRest && !this.hasEnded) this.#find("L1", `round ${round} has no end`);
    this.#findGaps(this.#controls, (n) => controlKey(this.#run, n));
    this.#findGaps(this.#ends.keys(), (n) => endKey(this.#run, n));
  }

  #findGaps(numbers: Iterable<number>, keyOf: (n: number) => string): void {
    for (const [first, last] of gapsIn(numbers)) {
      const [from, to] = [keyOf(first), keyOf(last)];
      const what = first === last ? `${from} is` : `${from} to ${to} are`;
      this.#find("S5", `${what} missing: what was recorded later is there`);
    }
  }

  #roundEnd(): RoundEnd {
    const { scheduler } = this;
    const failed = scheduler.failures(LIMITS.namedFailures)
      .map((node) => ({ node, attempt: scheduler.attemptOf(node) }));
    return { state: scheduler.finished, counts: scheduler.counts(), failed };
  }

  #note({ control }: Fact & { is: "control" }): void {
    this.#asked.add(control.is);
    if (control.is !== "skip") return;
    for (const node of control.nodes) this.#skipped.add(node);
  }

  #follow(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.is === "withdraw" || effect.is === "finish") continue;
      const { node, attempt, is } = effect;
      const key = `${node}.${attempt}`;
      if (!this.allowed.has(key)) this.allowed.set(key, { seq: this.#seq, is });
      if (is !== "revive") this.#checkUpstreams(node, attempt, "may be made");
    }
  }

  /** What has an outcome was to be made: the log said so before. */
  #checkDecided({ node, attempt }: NodeFact): void {
    if (this.allowed.has(`${node}.${attempt}`)) return;
    const { graph: { size } } = this.#definition;
    if (node >= size) {
      const message = `node ${node} has an outcome, and there are only ${size} nodes`;
      return this.#find("S11", message, { node, attempt });
    }
    const state = this.scheduler.stateOf(node);
    if (state === "CANCELLED" || this.#skipped.has(node)) return;
    if (this.#checkUpstreams(node, attempt, "was made")) return;
    const last = this.scheduler.attemptOf(node);
    const message = last === 0
      ? `attempt ${attempt} of ${this.#label(node)} was made, and it was never to run`
      : `attempt ${attempt} of ${this.#label(node)} was made, and nobody decided it: ` +
        `its latest is ${last}, and the node ${state}`;
    this.#find("S12", message, { node, attempt });
  }

  /** S1: each upstream has ended as its edge demands; where one is enough, one has. @returns whether something is wrong. */
  #checkUpstreams(node: number, attempt: number, what: string): boolean {
    const { graph: { up, main } } = this.#definition;
    const [from, to] = [up.offsets[node]!, up.offsets[node + 1]!];
    const isAny = policyOfNode(this.#definition, node).any === true;
    const missing: number[] = [];
    for (let e = from; e < to; e++) {
      if (!this.#came(up.nodes[e]!, EDGE_KINDS[up.kinds[e]!]!)) missing.push(e);
    }
    if (missing.length === 0 || isAny && missing.length < to - from) return false;
    const made = `attempt ${attempt} of ${this.#label(node)} ${what}`;
    if (isAny) {
      this.#find("S1", `${made} before any of its edges came true`, { node, attempt });
      return true;
    }
    for (const e of missing) {
      const upstream = up.nodes[e]!;
      const kind = EDGE_KINDS[up.kinds[e]!]!;
      const [name, state] = upstream === main
        ? ["main", this.scheduler.ownEnded ? this.scheduler.ownState : "PENDING"]
        : [this.#label(upstream), this.scheduler.stateOf(upstream)];
      const where = upstream === main ? { node, attempt } : { node, attempt, upstream };
      this.#find("S1", `${made} while ${name} was ${state}: it waits for "${kind}"`, where);
    }
    return true;
  }

  /** Written apart from what the scheduler goes by: node_state.ts. */
  #came(upstream: number, on: EdgeKind): boolean {
    if (upstream === this.#definition.graph.main) return this.#mainCame(on);
    const state = this.scheduler.stateOf(upstream);
    const failed = state === "FAILURE" || state === "UPSTREAM_FAILED";
    const isSkipped = state === "SKIPPED" && (this.#skipped.has(upstream) ||
      policyOfNode(this.#definition, upstream).skip === true);
    switch (on) {
      case "success":
        return state === "SUCCESS" || isSkipped;
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

  #end(round: number, { key, data }: Logged): void {
    const end = readEnd(data);
    this.#ends.set(round, end);
    if (end === undefined) return this.#find("S13", `${key} cannot be read`);
    const { round: current } = this.scheduler;
    if (round !== current) {
      return this.#find(
        "S4",
        `round ${round} ended as ${end.state}, its log is in round ${current}`,
      );
    }
    // A control fact slipped in between the last look at the log and its end: it came too late.
    if ((end.controls ?? Infinity) < this.#controls.size) return;
    const expected = this.#roundEnd();
    if (expected.state !== end.state) {
      const says = expected.state ?? "that it goes on";
      this.#find("S4", `round ${round} ended as ${end.state}, its log says ${says}`);
    } else if (!isSame(expected, end)) {
      const [told, logged] = [end, expected].map(({ counts, failed }) =>
        JSON.stringify({ counts, failed })
      );
      this.#find("S4", `round ${round} ended with ${told}, its log says ${logged}`);
    }
    this.#checkReason(end);
  }

  /** Apart from how the scheduler sees it. */
  #checkReason({ state }: EndRecord): void {
    const { graph: { size } } = this.#definition;
    for (let node = 0; node < size; node++) {
      if (this.scheduler.hasEnded(node)) continue;
      const now = this.scheduler.stateOf(node);
      this.#find("L1", `its round has ended, and ${this.#label(node)} is ${now}`, { node });
    }
    const failed = this.scheduler.failures(size);
    for (const node of state === "SUCCESS" ? failed : []) {
      if (policyOfNode(this.#definition, node).optional === true) continue;
      this.#find("S4", `it ended as SUCCESS, and ${this.#label(node)} failed`, { node });
    }
    if (state === "FAILURE" && failed.length === 0) {
      this.#find("S4", "it ended as FAILURE, and no node failed");
    }
    if (state === "CANCELLED" && !this.#asked.has("cancel")) {
      this.#find("S4", "it ended as CANCELLED, and nobody cancelled it");
    }
    if (state === "ERROR" && !this.#asked.has("timeout")) {
      this.#find("S4", "it ended as ERROR, and its time was not up");
    }
  }

  #label(node: number): string {
    return labelOf(this.#definition, node);
  }

  #find(invariant: Invariant, message: string, where: Where = {}): void {
    this.findings.push({ invariant, message, run: this.#run, ...where });
  }
}

/** Numbers from 1 that are left out before the highest. @returns the first and the last of each gap */
function gapsIn(numbers: Iterable<number>): [first: number, last: number][] {
  const gaps: [number, number][] = [];
  let next = 1;
  for (const n of [...numbers].sort((a, b) => a - b)) {
    if (n > next) gaps.push([next, n - 1]);
    next = n + 1;
  }
  return gaps;
}

function isSame(a: RoundEnd, b: EndRecord): boolean {
  return Object.entries(a.counts).every(([state, n]) => b.counts[state as NodeState] === n) &&
    a.failed.length === b.failed.length &&
    a.failed.every(({ node, attempt }, i) =>
      b.failed[i]!.node === node && b.failed[i]!.attempt === attempt
    );
}
