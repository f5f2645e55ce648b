/**
 * The conductor's mind: which node may run, and how the workflow ends, as a function of its definition and its recorded
 * facts. Pure: no clock, no I/O; what must be done is returned as effects. The work for an outcome is proportional to
 * the number of nodes that wait for it.
 *
 * A node goes
 *   PENDING → SCHEDULED            every upstream has ended as its edge demands
 *   PENDING → UPSTREAM_FAILED, CANCELLED, SKIPPED   every upstream has ended, one not as demanded
 *   SCHEDULED, RETRY → SUCCESS, RETRY, FAILURE      an outcome was recorded
 *   any unfinished → CANCELLED, SKIPPED             a control fact says so
 *   FAILURE, UPSTREAM_FAILED, CANCELLED → PENDING   the finished workflow is retried: the next round
 *
 * Outcomes may come in any order and more than once. Control facts must come in the order of the stream, after all
 * facts before them: what was recorded before a cancel counts, what comes later does not.
 */
import type { Definition } from "./definition.ts";
import type { RecordedFailure } from "./errors.ts";
import { chanceOf, decideRetry } from "./retry.ts";

export type NodeState =
  | "PENDING"
  | "SCHEDULED"
  | "STARTED"
  | "RETRY"
  | "SUCCESS"
  | "FAILURE"
  | "SKIPPED"
  | "UPSTREAM_FAILED"
  | "CANCELLED";

export type WorkflowState =
  | "INITIAL"
  | "RUNNING"
  | "PAUSED"
  | "SUCCESS"
  | "FAILURE"
  | "ERROR"
  | "CANCELLED";
export type FinalState = "SUCCESS" | "FAILURE" | "ERROR" | "CANCELLED";

/** What somebody asked of a run. */
export type Control =
  | { readonly is: "cancel"; readonly reason?: string }
  | { readonly is: "timeout" }
  | { readonly is: "pause" }
  | { readonly is: "resume" }
  | { readonly is: "skip"; readonly nodes: readonly number[] }
  | { readonly is: "retry" };

/** What is recorded about a run. `at` is milliseconds since 1970, as recorded. */
export type Fact =
  | {
    readonly is: "succeeded";
    readonly node: number;
    readonly attempt: number;
    readonly at: number;
  }
  | {
    readonly is: "failed";
    readonly node: number;
    readonly attempt: number;
    readonly at: number;
    readonly failure: RecordedFailure;
  }
  | { readonly is: "control"; readonly control: Control; readonly at: number };

/** What follows from a fact. Doing any of it twice must be harmless. */
export type Effect =
  /** Publish this attempt, not before this moment (0: now). */
  | {
    readonly is: "dispatch";
    readonly node: number;
    readonly attempt: number;
    readonly notBefore: number;
  }
  /** Take this node's task message back; without a node, all of the workflow's. */
  | { readonly is: "withdraw"; readonly node?: number }
  | { readonly is: "finish"; readonly state: FinalState };

/** A node's state as a number: order matters, everything from SUCCESS on is final. */
const PENDING = 0;
const SCHEDULED = 1;
const RETRY = 2;
const SUCCESS = 3;
const FAILURE = 4;
const UPSTREAM_FAILED = 5;
const CANCELLED = 6;
/** A control fact skipped it: its dependents run, with `null` as its result. */
const SKIPPED = 7;
/** An edge of it can never come true though nothing failed: its dependents are not needed either. */
const NOT_NEEDED = 8;

const NAMES: readonly NodeState[] = [
  "PENDING",
  "SCHEDULED",
  "RETRY",
  "SUCCESS",
  "FAILURE",
  "UPSTREAM_FAILED",
  "CANCELLED",
  "SKIPPED",
  "SKIPPED",
];

/** Why a node cannot run any more: bits gathered from its upstreams. */
const BY_FAILURE = 1;
const BY_CANCEL = 2;
const BY_SKIP = 4;

const KIND_SUCCESS = 0;
const KIND_FAILURE = 2;

export type Counts = Record<NodeState, number>;

/** No node in any state. */
export function noCounts(): Counts {
  return {
    PENDING: 0,
    SCHEDULED: 0,
    STARTED: 0,
    RETRY: 0,
    SUCCESS: 0,
    FAILURE: 0,
    SKIPPED: 0,
    UPSTREAM_FAILED: 0,
    CANCELLED: 0,
  };
}

export class Scheduler {
  readonly #definition: Definition;
  readonly #runId: string;
  readonly #submittedAt: number;
  readonly #observe: ((node: number, state: NodeState) => void) | undefined;
  readonly #state: Uint8Array;
  /** Upstreams that have not ended yet. */
  readonly #waiting: Int32Array;
  /** Why a node cannot run, so far. */
  readonly #doomed: Uint8Array;
  readonly #attempt: Uint32Array;
  /** When the last upstream ended; only kept when some node has a countdown. */
  readonly #readyAt: Float64Array | undefined;
  /** For nodes that wait for a moment. */
  readonly #notBefore = new Map<number, number>();
  /** Attempts of earlier rounds, for nodes that had some: they do not count as retries. */
  readonly #earlierAttempts = new Map<number, number>();
  readonly #counts = new Int32Array(NAMES.length);
  /** The workflow's own nodes that have not ended; `onError` and `finally` nodes apart. */
  #openOwn = 0;
  #openCleanup = 0;
  #ownFailures = 0;
  #cleanupFailures = 0;
  /** How the workflow's own nodes were stopped, if they were. */
  #stopped: "CANCELLED" | "ERROR" | undefined;
  #reason: string | undefined;
  #paused = false;
  #finished: FinalState | undefined;
  #round = 1;
  #effects: Effect[] = [];
  /** Nodes whose end their dependents have not heard of yet, and when they ended. */
  readonly #ended: number[] = [];
  readonly #endedAt: number[] = [];

  /**
   * @param runId seeds the jitter of retries.
   * @param submittedAt milliseconds since 1970: countdowns of the first nodes count from here.
   * @param observe is told every change of a node's state.
   */
  constructor(
    definition: Definition,
    runId: string,
    submittedAt: number,
    observe?: (node: number, state: NodeState) => void,
  ) {
    this.#definition = definition;
    this.#runId = runId;
    this.#submittedAt = submittedAt;
    this.#observe = observe;
    const { size } = definition.graph;
    this.#state = new Uint8Array(size + 1);
    this.#waiting = new Int32Array(size + 1);
    this.#doomed = new Uint8Array(size + 1);
    this.#attempt = new Uint32Array(size);
    if (definition.policies.some((policy) => policy.countdownMs !== undefined)) {
      this.#readyAt = new Float64Array(size + 1);
    }
  }

  /** To be called once, before any fact. */
  begin(): Effect[] {
    this.#recount();
    this.#propagate();
    return this.#take();
  }

  /** Takes a fact in. Facts about unknown nodes and attempts, ended nodes and earlier attempts change nothing. */
  apply(fact: Fact): Effect[] {
    switch (fact.is) {
      case "succeeded":
      case "failed":
        this.#outcome(fact);
        break;
      case "control":
        this.#control(fact.control, fact.at);
        break;
      default:
        fact satisfies never;
    }
    this.#propagate();
    return this.#take();
  }

  /** Every attempt that is due and has no outcome yet: what a processor that just took over has to see to. */
  *open(): Generator<Effect & { is: "dispatch" }> {
    if (this.#finished !== undefined) return;
    for (let node = 0; node < this.#definition.graph.size; node++) {
      if (this.isOpen(node)) yield this.#dispatch(node);
    }
  }

  /** Whether the node's current attempt may run and has no outcome. */
  isOpen(node: number): boolean {
    return this.#state[node] === SCHEDULED || this.#state[node] === RETRY;
  }

  /** Whether the node has ended. */
  hasEnded(node: number): boolean {
    return this.#state[node]! >= SUCCESS;
  }

  stateOf(node: number): NodeState {
    return NAMES[this.#state[node]!]!;
  }

  /** The latest attempt, from 1; 0 before the first. */
  attemptOf(node: number): number {
    return this.#attempt[node]!;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Counted from 1; retrying a finished workflow opens the next. */
  get round(): number {
    return this.#round;
  }

  /** How it ended; undefined while it runs. */
  get finished(): FinalState | undefined {
    return this.#finished;
  }

  /** Why it was cancelled, as the canceller said. */
  get reason(): string | undefined {
    return this.#reason;
  }

  get workflowState(): WorkflowState {
    return this.#finished ?? (this.#paused ? "PAUSED" : "RUNNING");
  }

  /** Whether the workflow's own nodes have all ended (`onError` and `finally` may still run). */
  get ownEnded(): boolean {
    return this.#state[this.#definition.graph.main]! >= SUCCESS;
  }

  /** How many nodes are in each state. Joins are not counted: they run nothing. */
  counts(): Counts {
    const counts = noCounts();
    NAMES.forEach((name, code) => counts[name] += this.#counts[code]!);
    return counts;
  }

  /** Nodes that failed themselves, in order, at most `limit`. */
  failures(limit: number): number[] {
    const failed: number[] = [];
    for (let node = 0; node < this.#definition.graph.size && failed.length < limit; node++) {
      if (this.#state[node] === FAILURE) failed.push(node);
    }
    return failed;
  }

  #outcome(fact: Fact & { is: "succeeded" | "failed" }): void {
    const { node, attempt } = fact;
    if (!(node >= 0 && node < this.#definition.graph.size)) return;
    if (this.hasEnded(node) || attempt < this.#attempt[node]! || this.#finished !== undefined) {
      return;
    }
    const { join, retry } = this.#policy(node);
    // An attempt of an earlier round, or one that no decision could have made, says nothing about this one.
    const retries = attempt - 1 - (this.#earlierAttempts.get(node) ?? 0);
    if (join === true || !(retries >= 0 && retries <= (retry?.max ?? 0))) return;
    this.#attempt[node] = attempt;
    if (fact.is === "succeeded") return this.#end(node, SUCCESS, fact.at);
    const chance = chanceOf(`${this.#runId}.${node}.${attempt}`);
    const decision = decideRetry(retry, retries, fact.failure, chance);
    if (decision.is === "giveUp") return this.#end(node, FAILURE, fact.at);
    this.#attempt[node] = attempt + 1;
    this.#notBefore.set(node, fact.at + decision.delayMs);
    this.#enter(node, RETRY);
    this.#effects.push(this.#dispatch(node));
  }

  #control(control: Control, at: number): void {
    switch (control.is) {
      case "cancel":
        return this.#stop("CANCELLED", at, control.reason);
      case "timeout":
        return this.#stop("ERROR", at, "it ran longer than its timeout");
      case "pause":
        this.#paused = this.#finished === undefined;
        return;
      case "resume":
        this.#paused = false;
        return;
      case "skip":
        for (const node of control.nodes) {
          if (!(node >= 0 && node < this.#definition.graph.size) || this.hasEnded(node)) continue;
          if (this.isOpen(node)) this.#effects.push({ is: "withdraw", node });
          this.#end(node, SKIPPED, at);
        }
        return;
      case "retry":
        return this.#nextRound();
      default:
        control satisfies never;
    }
  }

  /** Ends the workflow's own nodes; once these have ended, a timeout ends the cleanup too. */
  #stop(as: "CANCELLED" | "ERROR", at: number, reason: string | undefined): void {
    if (this.#finished !== undefined || (this.ownEnded && as === "CANCELLED")) return;
    const cleanup = this.ownEnded;
    this.#stopped = as;
    this.#reason = reason;
    this.#paused = false;
    this.#effects.push({ is: "withdraw" });
    for (let node = 0; node < this.#definition.graph.size; node++) {
      if (this.#isCleanup(node) === cleanup && !this.hasEnded(node)) this.#end(node, CANCELLED, at);
    }
  }

  #nextRound(): void {
    if (this.#finished === undefined || this.#finished === "SUCCESS") return;
    this.#round++;
    this.#finished = undefined;
    this.#stopped = undefined;
    this.#reason = undefined;
    for (let node = 0; node < this.#definition.graph.size; node++) {
      const state = this.#state[node]!;
      if (this.#isCleanup(node) || (state !== SUCCESS && state !== SKIPPED)) {
        this.#enter(node, PENDING);
        if (this.#attempt[node]! > 0) this.#earlierAttempts.set(node, this.#attempt[node]!);
      }
    }
    this.#recount();
  }

  /** Works out from the nodes' states alone who waits for whom, and lets go whom nothing holds. */
  #recount(): void {
    const { graph } = this.#definition;
    this.#state[graph.main] = PENDING;
    this.#doomed.fill(0);
    this.#readyAt?.fill(this.#submittedAt);
    this.#counts.fill(0);
    this.#openOwn =
      this.#openCleanup =
      this.#ownFailures =
      this.#cleanupFailures =
        0;
    for (let node = 0; node < graph.size; node++) {
      if (this.#policy(node).join !== true) this.#counts[this.#state[node]!]!++;
      if (!this.hasEnded(node)) {
        if (this.#isCleanup(node)) this.#openCleanup++;
        else this.#openOwn++;
      }
      this.#waiting[node] = 0;
      for (let e = graph.up.offsets[node]!; e < graph.up.offsets[node + 1]!; e++) {
        const upstream = graph.up.nodes[e]!;
        if (upstream !== graph.main && this.hasEnded(upstream)) {
          this.#doomed[node]! |= verdict(graph.up.kinds[e]!, this.#state[upstream]!);
        } else {
          this.#waiting[node]!++;
        }
      }
    }
    for (let node = 0; node < graph.size; node++) {
      if (this.#waiting[node] === 0) this.#release(node, this.#submittedAt);
    }
    if (this.#openOwn === 0 && !this.ownEnded) {
      this.#end(graph.main, this.#ownVerdict(), this.#submittedAt);
    }
  }

  /** Carries the ends of nodes on to their dependents, in a loop: chains may be a million long. */
  #propagate(): void {
    const { graph } = this.#definition;
    for (let node = this.#ended.pop(); node !== undefined; node = this.#ended.pop()) {
      const at = this.#endedAt.pop()!;
      const state = this.#state[node]!;
      for (let e = graph.down.offsets[node]!; e < graph.down.offsets[node + 1]!; e++) {
        const dependent = graph.down.nodes[e]!;
        this.#doomed[dependent]! |= verdict(graph.down.kinds[e]!, state);
        this.#heldUntil(dependent, at);
        if (--this.#waiting[dependent]! === 0) this.#release(dependent, at);
      }
      if (node !== graph.main && !this.#isCleanup(node)) this.#heldUntil(graph.main, at);
      if (this.#openOwn === 0 && !this.ownEnded) {
        this.#end(graph.main, this.#ownVerdict(), this.#readyAt?.[graph.main] ?? at);
      }
    }
    if (this.ownEnded && this.#openCleanup === 0 && this.#finished === undefined) this.#finish();
  }

  /** The latest end counts, in whatever order the ends are heard. */
  #heldUntil(node: number, at: number): void {
    if (this.#readyAt !== undefined && this.#readyAt[node]! < at) this.#readyAt[node] = at;
  }

  /** All upstreams of `node` have ended, the one heard last at `lastAt`: it runs, or ends with them. */
  #release(node: number, lastAt: number): void {
    if (this.#state[node] !== PENDING) return;
    const at = this.#readyAt?.[node] ?? lastAt;
    const doomed = this.#doomed[node]!;
    if (doomed !== 0) {
      return this.#end(
        node,
        doomed & BY_FAILURE ? UPSTREAM_FAILED : doomed & BY_CANCEL ? CANCELLED : NOT_NEEDED,
        at,
      );
    }
    if (this.#policy(node).join === true) return this.#end(node, SUCCESS, at);
    this.#attempt[node]!++;
    const { countdownMs, notBefore = 0 } = this.#policy(node);
    const counted = countdownMs === undefined ? 0 : at + countdownMs;
    if (counted > 0 || notBefore > 0) this.#notBefore.set(node, Math.max(counted, notBefore));
    this.#enter(node, SCHEDULED);
    this.#effects.push(this.#dispatch(node));
  }

  /** Only marks the end; {@link #propagate} tells the dependents. */
  #end(node: number, state: number, at: number): void {
    this.#ended.push(node);
    this.#endedAt.push(at);
    if (node === this.#definition.graph.main) {
      this.#state[node] = state;
      return;
    }
    const failures = state === FAILURE ? 1 : 0;
    if (this.#isCleanup(node)) {
      this.#openCleanup--;
      this.#cleanupFailures += failures;
    } else {
      this.#openOwn--;
      this.#ownFailures += failures;
    }
    this.#notBefore.delete(node);
    this.#enter(node, state);
  }

  #ownVerdict(): number {
    if (this.#stopped !== undefined) return this.#stopped === "ERROR" ? FAILURE : CANCELLED;
    return this.#ownFailures > 0 ? FAILURE : SUCCESS;
  }

  #finish(): void {
    const failures = this.#ownFailures + this.#cleanupFailures;
    this.#finished = this.#stopped ?? (failures > 0 ? "FAILURE" : "SUCCESS");
    this.#paused = false;
    this.#effects.push({ is: "finish", state: this.#finished });
  }

  #enter(node: number, state: number): void {
    if (this.#policy(node).join !== true) {
      this.#counts[this.#state[node]!]!--;
      this.#counts[state]!++;
    }
    this.#state[node] = state;
    this.#observe?.(node, NAMES[state]!);
  }

  #dispatch(node: number): Effect & { is: "dispatch" } {
    return {
      is: "dispatch",
      node,
      attempt: this.#attempt[node]!,
      notBefore: this.#notBefore.get(node) ?? 0,
    };
  }

  #policy(node: number) {
    return this.#definition.policies[this.#definition.policyOf[node]!]!;
  }

  #isCleanup(node: number): boolean {
    return this.#policy(node).cleanup === true;
  }

  #take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

/** Why a node with an edge of this kind to an upstream in this state cannot run; 0 when it can. */
function verdict(kind: number, upstream: number): number {
  const ran = upstream === SUCCESS || upstream === SKIPPED;
  const failed = upstream === FAILURE || upstream === UPSTREAM_FAILED;
  if (kind === KIND_SUCCESS ? ran : kind === KIND_FAILURE ? failed : true) return 0;
  return failed ? BY_FAILURE : upstream === CANCELLED ? BY_CANCEL : BY_SKIP;
}
