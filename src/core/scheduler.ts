/**
 * The conductor's mind: which node may run, and how the workflow ends, as a function of its definition and its recorded
 * facts. Pure: no clock, no I/O; what must be done is returned as effects. The work for an outcome is proportional to
 * the number of nodes that wait for it.
 *
 * A node goes
 *   PENDING → SCHEDULED            every upstream has ended as its edge demands (or, by its policy, one of them has)
 *   PENDING → UPSTREAM_FAILED, CANCELLED, SKIPPED   every upstream has ended, and not as demanded
 *   SCHEDULED, RETRY → SUCCESS, RETRY, FAILURE      an outcome was recorded
 *   SCHEDULED, RETRY → STARTED     its task gave a workflow that takes its place
 *   STARTED → SUCCESS, RETRY, FAILURE               that workflow ended
 *   SCHEDULED, RETRY → CANCELLED   it expired before it began
 *   any unfinished → CANCELLED, SKIPPED             a control fact says so
 *   any final → PENDING, STARTED   the finished workflow is retried or rerun: the next round
 *
 * Outcomes may come in any order and more than once; a retry that is heard of before what its node waits for is let go
 * when that is known too, because only then is it known with what it runs. Control facts must come in the order of the
 * stream, after all facts before them: what was recorded before a cancel counts, what comes later does not. What opens the
 * next round counts only after the terminal record of this one, or that would never be written.
 */
import { chanceOf } from "./chance.ts";
import type { Definition } from "./definition.ts";
import {
  type Effect,
  EXPIRED,
  type Fact,
  type FinalState,
  INPUT_EVENT,
  type NodeEffect,
  type WorkflowState,
} from "./fact.ts";
import { descendants, EDGE_KINDS } from "./graph.ts";
import {
  CANCELLED,
  type Counts,
  EXPANDED,
  FAILURE,
  noCounts,
  type NodeState,
  PENDING,
  RETRY,
  SCHEDULED,
  SKIPPED,
  STATE_NAMES,
  stateOfDoomed,
  SUCCESS,
  verdict,
} from "./node_state.ts";
import type { Policy } from "./options.ts";
import { decideRetry } from "./retry.ts";

export type { Control, Effect, Fact, FinalState, WorkflowState } from "./fact.ts";
export { type Counts, noCounts, type NodeState } from "./node_state.ts";

const KIND_RAN = EDGE_KINDS.indexOf("ran");

/** A run that takes the place of a node. */
export interface Child {
  readonly node: number;
  readonly attempt: number;
  readonly run: string;
}

export class Scheduler {
  readonly #definition: Definition;
  readonly #runId: string;
  readonly #observe: ((node: number, state: NodeState) => void) | undefined;
  readonly #state: Uint8Array;
  /** Upstreams that have not ended yet. */
  readonly #waiting: Int32Array;
  /** Why a node cannot run, so far. */
  readonly #doomed: Uint8Array;
  readonly #attempt: Uint32Array;
  /** When a node became ready: its last upstream ended. Only kept when some policy counts from it. */
  readonly #readyAt: Float64Array | undefined;
  /** Whether some node runs as soon as one of its edges came true. */
  readonly #someAny: boolean;
  /** When the first nodes may run: the submit, or the moment it asked for. */
  readonly #startAt: number;
  readonly #isDelayed: boolean;
  /** When the first edge came true, for nodes to which one is enough. Only kept when some policy counts from it. */
  readonly #cameAt = new Map<number, number>();
  /** For nodes that wait for a moment. */
  readonly #notBefore = new Map<number, number>();
  readonly #expiresAt = new Map<number, number>();
  /** Attempts of earlier rounds, for nodes that had some: they do not count as retries. */
  readonly #earlierAttempts = new Map<number, number>();
  /** Nodes that were tried, as was heard, though not yet that what they wait for has ended. */
  readonly #ahead = new Set<number>();
  /** Nodes whose last attempt was not begun in time. */
  readonly #expired = new Set<number>();
  /** The runs that take, or took, the place of nodes. */
  readonly #children = new Map<number, Child>();
  /** Nodes whose run is to be tried again, and has not been told so. */
  readonly #reviving = new Set<number>();
  /** What came from outside, by name; the first of each name counts. */
  readonly #events = new Map<string, unknown>();
  /** Ids of control facts that were taken in. */
  readonly #asked = new Set<string>();
  readonly #counts = new Int32Array(STATE_NAMES.length);
  /** The workflow's own nodes that have not ended; `onError`, `finally` and compensations apart. */
  #openOwn = 0;
  #openCleanup = 0;
  #ownFailures = 0;
  #cleanupFailures = 0;
  /** How the workflow's own nodes were stopped, if they were. */
  #stopped: "CANCELLED" | "ERROR" | undefined;
  #reason: string | undefined;
  #paused = false;
  /** The last of the parent's control facts that was passed on to this run. */
  #followed = 0;
  #finished: FinalState | undefined;
  #round = 1;
  #parentAttempt: number;
  #effects: Effect[] = [];
  /** Nodes whose end their dependents have not heard of yet, and when they ended. */
  readonly #ended: number[] = [];
  readonly #endedAt: number[] = [];

  /**
   * @param runId seeds the jitter of retries.
   * @param submittedAt milliseconds since 1970: delays of the first nodes count from here.
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
    this.#observe = observe;
    const { graph: { size }, policies, start = {}, input, parent } = definition;
    this.#state = new Uint8Array(size + 1);
    this.#waiting = new Int32Array(size + 1);
    this.#doomed = new Uint8Array(size + 1);
    this.#attempt = new Uint32Array(size);
    if (policies.some(countsFromReady)) this.#readyAt = new Float64Array(size + 1);
    this.#someAny = policies.some(({ any }) => any === true);
    this.#startAt = startAt(definition, submittedAt);
    this.#isDelayed = start.countdownMs !== undefined || start.notBefore !== undefined;
    this.#parentAttempt = parent?.attempt ?? 0;
    if (input !== undefined) this.#events.set(INPUT_EVENT, JSON.parse(input));
  }

  /** To be called once, before any fact. */
  begin(): Effect[] {
    this.#recount(this.#startAt);
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
      case "expanded":
        this.#expand(fact);
        break;
      case "control":
        if (this.#isNew(fact.id)) this.#control(fact);
        break;
      default:
        fact satisfies never;
    }
    this.#propagate();
    return this.#take();
  }

  /** What is to be done for nodes that have no outcome yet: what a processor that just took over has to see to. */
  *open(): Generator<NodeEffect> {
    if (this.#finished !== undefined) return;
    for (let node = 0; node < this.#definition.graph.size; node++) {
      if (this.isOpen(node)) yield this.effectFor(node);
    }
    for (const node of this.#reviving) yield this.#revival(node);
  }

  /** What is to be done for a node that is open. */
  effectFor(node: number): NodeEffect {
    const attempt = this.#attempt[node]!;
    const until = this.#expiresAt.get(node);
    const { event } = this.#policy(node);
    if (event !== undefined) {
      return this.#events.has(event)
        ? { is: "settle", node, attempt, data: this.#events.get(event) }
        : { is: "await", node, attempt, ...(until === undefined ? {} : { until }) };
    }
    const notBefore = this.#notBefore.get(node) ?? 0;
    return until === undefined
      ? { is: "dispatch", node, attempt, notBefore }
      : { is: "dispatch", node, attempt, notBefore, expiresAt: until };
  }

  /** The runs that take the place of nodes now. */
  *children(): Generator<Child> {
    for (const child of this.#children.values()) {
      if (this.#state[child.node] === EXPANDED && !this.#reviving.has(child.node)) yield child;
    }
  }

  /** The run that takes the node's place now. */
  childOf(node: number): string | undefined {
    return this.#state[node] === EXPANDED ? this.#children.get(node)?.run : undefined;
  }

  /** The runs whose node was cancelled or skipped meanwhile. */
  *abandoned(): Generator<Child> {
    for (const child of this.#children.values()) {
      const state = this.#state[child.node];
      if (state === CANCELLED || state === SKIPPED) yield child;
    }
  }

  /** Whether the node's current attempt may run and has no outcome. */
  isOpen(node: number): boolean {
    const state = this.#state[node];
    return state === SCHEDULED || (state === RETRY && !this.#ahead.has(node));
  }

  /** Whether nothing is known yet that would let the node run: then a new fact about it means that others were missed. */
  isHeld(node: number): boolean {
    return this.#state[node] === PENDING || this.#ahead.has(node);
  }

  /** Whether the node has ended. */
  hasEnded(node: number): boolean {
    return this.#state[node]! >= SUCCESS;
  }

  stateOf(node: number): NodeState {
    return STATE_NAMES[this.#state[node]!]!;
  }

  /** The latest attempt, from 1; 0 before the first. */
  attemptOf(node: number): number {
    return this.#attempt[node]!;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Counted from 1; retrying or rerunning a finished workflow opens the next. */
  get round(): number {
    return this.#round;
  }

  /** When the first nodes may run, milliseconds since 1970. */
  get startAt(): number {
    return this.#startAt;
  }

  /** The attempt of the parent's node that this round is for; 0 for a run of its own. */
  get parentAttempt(): number {
    return this.#parentAttempt;
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

  /** Whether the workflow's own nodes have all ended (`onError`, `finally` and compensations may still run). */
  get ownEnded(): boolean {
    return this.#state[this.#definition.graph.main]! >= SUCCESS;
  }

  /** How the workflow's own nodes ended; only has a meaning when they have. */
  get ownState(): FinalState {
    return this.#stopped ?? (this.#ownFailures > 0 ? "FAILURE" : "SUCCESS");
  }

  /** How many nodes are in each state. Joins are not counted: they run nothing. */
  counts(): Counts {
    const counts = noCounts();
    STATE_NAMES.forEach((name, code) => counts[name] += this.#counts[code]!);
    return counts;
  }

  /** Nodes that failed themselves or expired, in order, at most `limit`. */
  failures(limit: number): number[] {
    const failed: number[] = [];
    for (let node = 0; node < this.#definition.graph.size && failed.length < limit; node++) {
      if (this.#state[node] === FAILURE || this.#expired.has(node)) failed.push(node);
    }
    return failed;
  }

  #outcome(fact: Fact & { is: "succeeded" | "failed" }): void {
    const { node, attempt } = fact;
    if (!this.#isPossible(node, attempt)) return;
    if (this.hasEnded(node)) return this.#noteLate(node, attempt);
    this.#attempt[node] = attempt;
    this.#reviving.delete(node);
    if (fact.is === "succeeded") return this.#end(node, SUCCESS, fact.at);
    if (fact.failure.name === EXPIRED && this.#mayExpire(node)) {
      this.#expired.add(node);
      return this.#end(node, CANCELLED, fact.at);
    }
    const chance = chanceOf(`${this.#runId}.${node}.${attempt}`);
    const decision = decideRetry(
      this.#policy(node).retry,
      this.#retriesBefore(node, attempt),
      fact.failure,
      chance,
    );
    if (decision.is === "giveUp") return this.#end(node, FAILURE, fact.at);
    this.#attempt[node] = attempt + 1;
    this.#notBefore.set(node, fact.at + decision.delayMs);
    if (this.isHeld(node)) this.#ahead.add(node);
    this.#enter(node, RETRY);
    if (this.isOpen(node)) this.#effects.push(this.effectFor(node));
  }

  /** What came too late does not count, but its number is taken: the next round must not use it again. */
  #noteLate(node: number, attempt: number): void {
    const state = this.#state[node];
    if (state !== SUCCESS && state !== FAILURE) this.#attempt[node] = attempt;
  }

  /** An attempt of an earlier round, or one that no decision could have made, says nothing. */
  #isPossible(node: number, attempt: number): boolean {
    if (!(node >= 0 && node < this.#definition.graph.size)) return false;
    const { join, retry } = this.#policy(node);
    const retries = this.#retriesBefore(node, attempt);
    return join !== true && attempt >= this.#attempt[node]! && retries >= 0 &&
      retries <= (retry?.max ?? 0);
  }

  #retriesBefore(node: number, attempt: number): number {
    return attempt - 1 - (this.#earlierAttempts.get(node) ?? 0);
  }

  #mayExpire(node: number): boolean {
    const { expiresMs, expiresAt } = this.#policy(node);
    return (expiresMs ?? expiresAt) !== undefined || this.#definition.start !== undefined;
  }

  #expand({ node, attempt, child }: Fact & { is: "expanded" }): void {
    if (!this.#isPossible(node, attempt)) return;
    if (this.#finished !== undefined) return this.#noteLate(node, attempt);
    // Also of a node that was cancelled meanwhile: its run is to be cancelled too.
    this.#children.set(node, { node, attempt, run: child });
    if (this.hasEnded(node)) return this.#noteLate(node, attempt);
    this.#attempt[node] = attempt;
    this.#reviving.delete(node);
    this.#notBefore.delete(node);
    if (this.isHeld(node)) this.#ahead.add(node);
    if (this.#state[node] !== EXPANDED) this.#enter(node, EXPANDED);
  }

  /** Two conductors may have recorded the same request: late, it must not undo what was asked in between. */
  #isNew(id: string | undefined): boolean {
    if (id === undefined) return true;
    const isNew = !this.#asked.has(id);
    this.#asked.add(id);
    return isNew;
  }

  /** A processor that lost the parent may pass on late what the parent has taken back since. */
  #isOvertaken(following = this.#followed): boolean {
    if (following < this.#followed) return true;
    this.#followed = following;
    return false;
  }

  #control({ control, at, endedRound = Infinity }: Fact & { is: "control" }): void {
    switch (control.is) {
      case "cancel":
        return this.#stop("CANCELLED", at, control.reason);
      case "timeout":
        return this.#stop("ERROR", at, "it ran longer than its timeout");
      case "pause":
      case "resume":
        if (this.#isOvertaken(control.following)) return;
        this.#paused = control.is === "pause" && this.#finished === undefined;
        return;
      case "skip":
        return this.#skip(control.nodes, at);
      case "retry":
        // Also of a run that somebody else has retried already: its end is what the parent waits for now.
        this.#parentAttempt = control.attempt ?? this.#parentAttempt;
        if (this.#finished === "SUCCESS" || endedRound < this.#round) return;
        return this.#nextRound(at, []);
      case "rerun":
        if (endedRound < this.#round) return;
        return this.#nextRound(at, control.nodes);
      case "event":
        return this.#event(control.name, control.data);
      default:
        control satisfies never;
    }
  }

  #skip(nodes: readonly number[], at: number): void {
    for (const node of nodes) {
      if (!(node >= 0 && node < this.#definition.graph.size) || this.hasEnded(node)) continue;
      if (this.isOpen(node)) this.#effects.push({ is: "withdraw", node });
      this.#end(node, SKIPPED, at);
    }
  }

  /** The first of its name counts, also for nodes that wait for it later. */
  #event(name: string, data: unknown): void {
    if (this.#events.has(name)) return;
    this.#events.set(name, data);
    if (!this.#definition.policies.some(({ event }) => event === name)) return;
    for (let node = 0; node < this.#definition.graph.size; node++) {
      if (this.isOpen(node) && this.#policy(node).event === name) {
        this.#effects.push(this.effectFor(node));
      }
    }
  }

  /** Ends the workflow's own nodes; once these have ended, a timeout ends the cleanup too. What is left is not held up by a pause. */
  #stop(as: "CANCELLED" | "ERROR", at: number, reason: string | undefined): void {
    if (this.#finished !== undefined) return;
    this.#paused = false;
    if (this.ownEnded && as === "CANCELLED") return;
    const cleanup = this.ownEnded;
    this.#stopped = as;
    this.#reason = reason;
    this.#effects.push({ is: "withdraw" });
    for (let node = 0; node < this.#definition.graph.size; node++) {
      if (this.#isCleanup(node) === cleanup && !this.hasEnded(node)) this.#end(node, CANCELLED, at);
    }
  }

  /** @param from nodes that run anew, with all that depends on them, though they succeeded. */
  #nextRound(at: number, from: readonly number[]): void {
    if (this.#finished === undefined) return;
    this.#round++;
    this.#finished = undefined;
    this.#stopped = undefined;
    this.#reason = undefined;
    this.#expired.clear();
    const { graph } = this.#definition;
    const again = descendants(graph, [...from, ...this.#undone()]);
    const runs = new Uint8Array(graph.size);
    for (let node = 0; node < graph.size; node++) {
      const state = this.#state[node];
      const stays = (state === SUCCESS || state === SKIPPED) && again[node] !== 1;
      runs[node] = this.#isCleanup(node) || !stays ? 1 : 0;
    }
    for (let node = 0; node < graph.size; node++) {
      if (runs[node] === 1) {
        // Cleanup waits for the workflow's own nodes in every round.
        const hasSameInputs = !this.#isCleanup(node) && again[node] !== 1 &&
          !this.#hasUpstreamIn(node, runs);
        this.#runAnew(node, hasSameInputs);
      }
    }
    this.#recount(at);
  }

  /** Nodes whose compensation has succeeded: what they did is not there any more. */
  *#undone(): Generator<number> {
    const { up, size } = this.#definition.graph;
    for (let node = 0; node < size; node++) {
      if (!this.#isCleanup(node) || this.#state[node] !== SUCCESS) continue;
      for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
        if (up.kinds[e] === KIND_RAN) yield up.nodes[e]!;
      }
    }
  }

  /** @param hasSameInputs what it depends on does not change: then the run that took its place has nodes worth keeping. */
  #runAnew(node: number, hasSameInputs: boolean): void {
    const attempt = this.#attempt[node]!;
    if (attempt > 0) this.#earlierAttempts.set(node, attempt);
    const wasExpanded = this.#children.get(node)?.attempt === attempt;
    if (this.#state[node] !== FAILURE || !wasExpanded || !hasSameInputs) {
      return this.#enter(node, PENDING);
    }
    this.#attempt[node] = attempt + 1;
    this.#reviving.add(node);
    this.#enter(node, EXPANDED);
    this.#effects.push(this.#revival(node));
  }

  #hasUpstreamIn(node: number, runs: Uint8Array): boolean {
    const { up } = this.#definition.graph;
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      if (runs[up.nodes[e]!] === 1) return true;
    }
    return false;
  }

  #revival(node: number): NodeEffect {
    const { run } = this.#children.get(node)!;
    return { is: "revive", node, attempt: this.#attempt[node]!, child: run };
  }

  /** Works out from the nodes' states alone who waits for whom, and lets go whom nothing holds. */
  #recount(at: number): void {
    const { graph } = this.#definition;
    if (this.#definition.policies.some(({ skip }) => skip === true)) {
      for (let node = 0; node < graph.size; node++) {
        if (this.#policy(node).skip === true && this.#state[node] === PENDING) {
          this.#enter(node, SKIPPED);
        }
      }
    }
    this.#state[graph.main] = PENDING;
    this.#doomed.fill(0);
    this.#readyAt?.fill(at);
    this.#cameAt.clear();
    this.#counts.fill(0);
    this.#openOwn =
      this.#openCleanup =
      this.#ownFailures =
      this.#cleanupFailures =
        0;
    const ready: number[] = [];
    for (let node = 0; node < graph.size; node++) {
      if (this.#policy(node).join !== true) this.#counts[this.#state[node]!]!++;
      if (!this.hasEnded(node)) {
        if (this.#isCleanup(node)) this.#openCleanup++;
        else this.#openOwn++;
      }
      this.#waiting[node] = 0;
      let came = false;
      for (let e = graph.up.offsets[node]!; e < graph.up.offsets[node + 1]!; e++) {
        const upstream = graph.up.nodes[e]!;
        if (upstream !== graph.main && this.hasEnded(upstream)) {
          const why = verdict(graph.up.kinds[e]!, this.#state[upstream]!);
          this.#doomed[node]! |= why;
          came ||= why === 0;
        } else {
          this.#waiting[node]!++;
        }
      }
      const isLetGo = came && this.#isAny(node);
      // One edge is enough: that others never come true does not matter.
      if (isLetGo) this.#doomed[node] = 0;
      if (isLetGo || this.#waiting[node] === 0) ready.push(node);
    }
    for (const node of ready) {
      if (this.#waiting[node]! > 0) this.#letGo(node, at);
      else this.#release(node, at);
    }
    if (this.#openOwn === 0 && !this.ownEnded) this.#end(graph.main, this.#ownVerdict(), at);
  }

  /** Carries the ends of nodes on to their dependents, in a loop: chains may be a million long. */
  #propagate(): void {
    const { graph } = this.#definition;
    for (let node = this.#ended.pop(); node !== undefined; node = this.#ended.pop()) {
      const at = this.#endedAt.pop()!;
      const state = this.#state[node]!;
      for (let e = graph.down.offsets[node]!; e < graph.down.offsets[node + 1]!; e++) {
        const dependent = graph.down.nodes[e]!;
        const why = verdict(graph.down.kinds[e]!, state);
        this.#doomed[dependent]! |= why;
        this.#waiting[dependent]!--;
        this.#heldUntil(dependent, at);
        if (why === 0 && this.#isAny(dependent)) this.#letGo(dependent, at);
        if (this.#waiting[dependent] === 0) this.#release(dependent, at);
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

  /** One of its edges came true, which is enough. The earliest counts, in whatever order they are heard. */
  #letGo(node: number, at: number): void {
    if (this.#readyAt !== undefined) {
      if (this.#cameAt.get(node)! <= at) return;
      this.#cameAt.set(node, at);
      if (this.#state[node] !== PENDING) this.#clock(node, at);
    }
    this.#start(node, at);
  }

  /** All upstreams of `node` have ended, the one heard last at `lastAt`: it runs, or ends with them. */
  #release(node: number, lastAt: number): void {
    const at = this.#readyAt?.[node] ?? lastAt;
    const doomed = this.#doomed[node]!;
    // What became of it may have been heard before what it waited for.
    if (this.#state[node] !== PENDING) {
      if (this.#readyAt !== undefined && doomed === 0 && !this.#isAny(node)) this.#clock(node, at);
      return this.#catchUp(node);
    }
    if (doomed !== 0) return this.#end(node, stateOfDoomed(doomed), at);
    if (this.#policy(node).join === true) return this.#end(node, SUCCESS, at);
    this.#start(node, at);
  }

  /** What it waits for has ended, and it was tried already. */
  #catchUp(node: number): void {
    if (this.#ahead.delete(node) && this.isOpen(node)) this.#effects.push(this.effectFor(node));
  }

  #start(node: number, at: number): void {
    if (this.#state[node] !== PENDING) return this.#catchUp(node);
    this.#attempt[node]!++;
    this.#clock(node, at);
    this.#enter(node, SCHEDULED);
    this.#effects.push(this.effectFor(node));
  }

  /** Works out between which moments a node that is ready since `at` may begin. A retry has its moment already. */
  #clock(node: number, at: number): void {
    if (this.hasEnded(node)) return;
    const { up } = this.#definition.graph;
    const isFirst = up.offsets[node] === up.offsets[node + 1];
    const { countdownMs, notBefore = 0, eventMs, ...own } = this.#policy(node);
    const start = isFirst ? this.#definition.start : undefined;
    const from = Math.max(
      countdownMs === undefined ? 0 : at + countdownMs,
      notBefore,
      isFirst && this.#isDelayed ? this.#startAt : 0,
    );
    const isRetry = this.#state[node] === RETRY || this.#state[node] === EXPANDED;
    if (from > 0 && !isRetry) this.#notBefore.set(node, from);
    const expiresMs = own.expiresMs ?? eventMs ?? start?.expiresMs;
    const until = Math.min(
      own.expiresAt ?? start?.expiresAt ?? Infinity,
      expiresMs === undefined ? Infinity : at + expiresMs,
    );
    if (until < Infinity) this.#expiresAt.set(node, until);
  }

  /** Only marks the end; {@link #propagate} tells the dependents. */
  #end(node: number, state: number, at: number): void {
    this.#ended.push(node);
    this.#endedAt.push(at);
    if (node === this.#definition.graph.main) {
      this.#state[node] = state;
      return;
    }
    const failed = (state === FAILURE || this.#expired.has(node)) &&
      this.#policy(node).optional !== true;
    if (this.#isCleanup(node)) {
      this.#openCleanup--;
      this.#cleanupFailures += failed ? 1 : 0;
    } else {
      this.#openOwn--;
      this.#ownFailures += failed ? 1 : 0;
    }
    this.#notBefore.delete(node);
    this.#expiresAt.delete(node);
    this.#reviving.delete(node);
    this.#ahead.delete(node);
    this.#enter(node, state);
  }

  #ownVerdict(): number {
    const { ownState } = this;
    if (ownState === "SUCCESS") return SUCCESS;
    return ownState === "CANCELLED" ? CANCELLED : FAILURE;
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
    this.#observe?.(node, STATE_NAMES[state]!);
  }

  #policy(node: number): Policy {
    return this.#definition.policies[this.#definition.policyOf[node]!]!;
  }

  #isCleanup(node: number): boolean {
    return this.#policy(node).cleanup === true;
  }

  #isAny(node: number): boolean {
    return this.#someAny && this.#policy(node).any === true;
  }

  #take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

function countsFromReady({ countdownMs, expiresMs, eventMs }: Policy): boolean {
  return countdownMs !== undefined || expiresMs !== undefined || eventMs !== undefined;
}

/** When the first nodes of a run may begin. */
export function startAt({ start }: Definition, submittedAt: number): number {
  return Math.max(submittedAt + (start?.countdownMs ?? 0), start?.notBefore ?? 0);
}
