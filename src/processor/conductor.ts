/**
 * Conducts one workflow while its tick is held here: facts come in, the scheduler says what follows, and it is done.
 * Everything in here can be thrown away at any moment; the next conductor rebuilds it from the log.
 */
import { type Definition, labelOf, policyOfNode } from "../core/definition.ts";
import type { RecordedFailure } from "../core/errors.ts";
import type { Control, Effect, Fact, FinalState, NodeEffect, WorkflowState } from "../core/fact.ts";
import {
  begunKey,
  controlKey,
  endKey,
  everythingOf,
  expansionKey,
  outcomeKey,
  parseKey,
} from "../core/keys.ts";
import { laneFor, type LanePolicy } from "../core/lanes.ts";
import { isCount, LIMITS } from "../core/limits.ts";
import { factOf } from "../core/recorded.ts";
import {
  type EndRecord,
  type Keeping,
  type OutcomeNote,
  parseRecord,
  readBegun,
  readEnd,
  readOutcomeNote,
  type RunStatus,
  writeControl,
  writeEnd,
  writeEndNote,
  writeFailure,
  writeOutcomeNote,
  writeStatus,
} from "../core/records.ts";
import { Scheduler, startOf } from "../core/scheduler.ts";
import type { Cancel, Hint, Ports, TaskAddress } from "../ports.ts";
import { statusOf } from "../runs/submission.ts";
import { type Due, DueQueue } from "./due.ts";
import { Family } from "./family.ts";
import { type LoadedFacts, loadFacts } from "./load.ts";
import { lookAt, overdueFailure } from "./overdue.ts";
import { TaskMessages } from "./task_messages.ts";
import { Window } from "./window.ts";

export interface ConductorOptions {
  /** Limits of whole queues, by name; for nodes without a limit of their own. */
  readonly queues: ReadonlyMap<string, LanePolicy>;
  /** Task messages of one workflow in the queue at once. */
  readonly window: number;
}

export interface ConductorEvents {
  /** Something was recorded: the workflow is not quiet. */
  readonly onActivity: () => void;
  readonly onState: (state: WorkflowState) => void;
  /** The terminal record is durable. */
  readonly onEnd: (state: FinalState) => void;
  /** It cannot go on here; the tick will bring it back. */
  readonly onTrouble: (error: unknown) => void;
}

/** A task message that was sent and has no outcome yet. */
interface Sent {
  readonly attempt: number;
  /** Where it is queued: another processor may have had other limits. */
  readonly lane: string;
  /** Monotonic. */
  at: number;
  /** It may begin until then; milliseconds since 1970. */
  readonly expiresAt: number | undefined;
}

type Dispatch = NodeEffect & { is: "dispatch" };

const encoder = new TextEncoder();

/** Questions to the server at once when making sure. */
const ENSURE_BATCH = 256;
const VIEW_EVERY_MS = 1_000;

export class Conductor {
  readonly workflow: string;
  readonly definition: Definition;
  readonly submittedAt: number;
  readonly #ports: Ports;
  readonly #events: ConductorEvents;
  readonly #messages: TaskMessages;
  readonly #family: Family;
  readonly #window: Window;
  readonly #queues: ReadonlyMap<string, LanePolicy>;
  #scheduler: Scheduler;
  /** Due now, in the order they became so. */
  #ready: Dispatch[] = [];
  #readyFrom = 0;
  readonly #due = new DueQueue();
  readonly #sent = new Map<number, Sent>();
  #controls = 0;
  /** Which control fact was the last pause or resume. */
  #lastPausing: number | undefined;
  /** Until it is known what another conductor has sent already, nothing is sent. */
  #isTakingOver = true;
  /** Facts heard while the log is being read. */
  #heard: Hint[] | undefined = [];
  #unsubscribe: Cancel;
  #closed = false;
  #state: WorkflowState = "INITIAL";
  #viewedAt = -Infinity;
  /** Writes under way: not before their end is the workflow quiet. */
  #doing = 0;
  /** The round whose end is being recorded. */
  #finishing = 0;
  /** When this round began, milliseconds since 1970. */
  #startedAt: number;
  /** Timeouts recorded in this round: the first ends the workflow's own nodes, the second what cleans up after them. */
  #timeouts = 0;

  constructor(
    ports: Ports,
    workflow: string,
    { definition, submittedAt }: { definition: Definition; submittedAt: number },
    options: ConductorOptions,
    events: ConductorEvents,
  ) {
    this.#ports = ports;
    this.workflow = workflow;
    this.definition = definition;
    this.submittedAt = submittedAt;
    this.#startedAt = startOf(definition, submittedAt);
    this.#window = new Window(Math.min(options.window, definition.maxParallel ?? Infinity));
    this.#queues = options.queues;
    this.#events = events;
    this.#family = new Family(ports, workflow);
    this.#messages = new TaskMessages(definition, submittedAt, ports.maxRecord);
    this.#scheduler = new Scheduler(definition, workflow, submittedAt);
    // Before the log is read: what is recorded meanwhile is heard or read, or both.
    this.#unsubscribe = ports.hints.onFact(everythingOf(workflow), (hint) => {
      try {
        this.#onHint(hint);
      } catch (error) {
        events.onTrouble(error);
      }
    });
  }

  /** @param fresh nobody can have sent anything for this workflow yet. */
  async begin({ fresh }: { fresh: boolean }): Promise<void> {
    await this.#ports.hints.settled();
    await this.#takeOver({ fresh });
    if (this.definition.parent !== undefined) await this.#endIfOrphan();
    // A subscription made this moment may not be known to every server yet.
    if (this.#ports.hints.spreads) {
      this.#ports.clock.after(50, () => void this.ensure(0).catch(this.#events.onTrouble));
    }
  }

  /**
   * Whatever another conductor has sent is in the queue or has an outcome. The queue is looked at first, then the log: an
   * outcome is recorded before its message leaves the queue. While the run is paused, nothing is sent: this is done again
   * when it goes on.
   */
  async #takeOver({ fresh }: { fresh: boolean }): Promise<void> {
    const queued = await this.#rebuild({ fresh });
    if (this.#closed || this.#scheduler.paused) return;
    const at = this.#ports.clock.monotonic();
    for (const { node, attempt, lane } of queued) {
      if (!this.#isCurrent(node, attempt)) continue;
      this.#sent.set(node, { attempt, lane, at, expiresAt: this.#expiryOf(node) });
    }
    this.#isTakingOver = false;
    this.#pump();
  }

  /** Of a node that is open. */
  #expiryOf(node: number): number | undefined {
    const effect = this.#scheduler.effectFor(node);
    return effect.is === "dispatch" ? effect.expiresAt : undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsubscribe();
  }

  get state(): WorkflowState {
    return this.#state;
  }

  /** Nothing can be sent, nothing is being sent. */
  get isQuiet(): boolean {
    if (this.#doing > 0 || this.#heard !== undefined) return false;
    return this.#readyFrom === this.#ready.length || this.#scheduler.paused ||
      this.#sent.size >= this.#window.size;
  }

  /** Nothing can come but what its tick, a control fact or time brings: it need not be kept here. */
  get isDormant(): boolean {
    return this.isQuiet && this.#sent.size === 0 &&
      (this.#scheduler.paused || !this.#isTakingOver) &&
      this.#scheduler.children().next().done === true;
  }

  /** When something is to be done although nothing is heard; milliseconds since 1970. */
  get dueAt(): number {
    const due = this.#scheduler.paused ? undefined : this.#due.first;
    return Math.min(due?.at ?? Infinity, this.#deadline);
  }

  get #deadline(): number {
    return this.#timeouts < 2
      ? this.#startedAt + (this.#timeouts + 1) * this.definition.timeoutMs
      : Infinity;
  }

  /** Does what has become due. */
  async onDue(): Promise<void> {
    const now = this.#ports.clock.now();
    if (now >= this.#deadline) await this.#recordControl({ is: "timeout" });
    this.#pump();
  }

  /** Reads what might not have been heard: outcomes of everything sent longer than `olderThanMs` ago, and control facts. */
  async ensure(olderThanMs: number): Promise<{ changed: boolean }> {
    if (this.#heard !== undefined || this.#closed) return { changed: false };
    const before = this.#ports.clock.monotonic() - olderThanMs;
    const open: TaskAddress[] = [];
    for (const [node, { attempt, lane, at }] of this.#sent) {
      if (at <= before) open.push(this.#address(node, attempt, lane));
    }
    const { facts } = this.#ports;
    let changed = await facts.read(controlKey(this.workflow, this.#controls + 1)) !== undefined;
    if (changed) await this.#refresh();
    for (let i = 0; i < open.length && !this.#closed; i += ENSURE_BATCH) {
      const answers = await Promise.all(
        open.slice(i, i + ENSURE_BATCH).map((address) => this.#ensureOne(address)),
      );
      changed ||= answers.includes(true);
    }
    changed ||= await this.#ensureChildren();
    return { changed };
  }

  /** The queue first, then the log: an outcome is recorded before its message leaves the queue. */
  async #ensureOne(address: TaskAddress): Promise<boolean> {
    const { node, attempt } = address;
    const { tasks } = this.#ports;
    if (await tasks.has(address)) return this.#giveUpIfOverdue(node, attempt);
    if (await this.#hear(outcomeKey(this.workflow, node, attempt))) return true;
    if (await this.#hear(expansionKey(this.workflow, node, attempt))) return true;
    if (this.#closed || this.#sent.get(node)?.attempt !== attempt) return false;
    const key = `${this.workflow}.${node}.${attempt}`;
    this.#ports.log("debug", `task message ${key} is not in the queue, and is sent`);
    this.#send(node, attempt, this.#expiryOf(node));
    return true;
  }

  /** Takes in what may not have been heard. @returns whether it is there. */
  async #hear(key: string): Promise<boolean> {
    const stored = await this.#ports.facts.read(key);
    if (stored === undefined || this.#closed) return false;
    this.#onHint(stored);
    return true;
  }

  /** The ends of runs that take the place of nodes; and, for such a run itself, whether it is still needed. */
  async #ensureChildren(): Promise<boolean> {
    let changed = false;
    for (const { node, attempt } of [...this.#scheduler.children()]) {
      changed = await this.#hear(outcomeKey(this.workflow, node, attempt)) || changed;
    }
    if (this.definition.parent !== undefined) await this.#endIfOrphan();
    return changed;
  }

  async #endIfOrphan(): Promise<void> {
    if (this.#closed || !await this.#family.isOrphan(this.definition.parent!)) return;
    await this.#recordControl({ is: "cancel", reason: "the run that needed it has ended" });
  }

  /** A worker that stands still cannot say that time is up. */
  async #giveUpIfOverdue(node: number, attempt: number): Promise<boolean> {
    const sent = this.#sent.get(node);
    const timeoutMs = this.#timeoutOf(node);
    if (sent?.attempt !== attempt) return false;
    if (timeoutMs === undefined && sent.expiresAt === undefined) return false;
    const { views, clock, tasks } = this.#ports;
    const begun = await views.get(begunKey(this.workflow, node, attempt));
    const { expiresAt } = sent;
    const begunAt = begun === undefined ? undefined : readBegun(begun.data)?.at;
    const { leaseMs } = tasks;
    const failure = overdueFailure({ now: clock.now(), begunAt, timeoutMs, expiresAt, leaseMs });
    if (failure === undefined || this.#closed) return false;
    // Before the outcome: afterwards there may be a message of the next attempt.
    await tasks.withdraw(this.workflow, node);
    await this.#recordOutcome(node, attempt, { failure });
    return true;
  }

  /** Only what may have one is looked into. */
  #timeoutOf(node: number): number | undefined {
    const { signatures } = this.definition;
    if (!signatures.text(node).includes('"timeoutMs":')) return undefined;
    const { timeoutMs } = parseRecord(signatures.bytes(node)) ?? {};
    return isCount(timeoutMs) ? timeoutMs : undefined;
  }

  /** For what no worker does. The first record stands, whoever wrote it. */
  async #recordOutcome(
    node: number,
    attempt: number,
    outcome: { result: unknown } | { failure: RecordedFailure },
  ): Promise<void> {
    const { facts, clock } = this.#ports;
    const failed = "failure" in outcome;
    const note = writeOutcomeNote({
      is: failed ? "failed" : "succeeded",
      startedAt: clock.now(),
      endedAt: clock.now(),
      sentNs: "0",
      worker: "processor",
    });
    const data = failed
      ? writeFailure(outcome.failure)
      : encoder.encode(JSON.stringify(outcome.result));
    const key = outcomeKey(this.workflow, node, attempt);
    await facts.create(key, data, note);
    await this.#hear(key);
  }

  /** How it stands, for people. */
  status(finishedAt?: number): RunStatus {
    return statusOf(this.workflow, this.definition, this.submittedAt, {
      state: this.#scheduler.workflowState,
      counts: this.#scheduler.counts(),
      round: this.#scheduler.round,
      ...(finishedAt === undefined ? {} : { finishedAt }),
    });
  }

  /** Shows how it stands, now or at most once a second. */
  async show(
    { now = false, finishedAt }: { now?: boolean; finishedAt?: number } = {},
  ): Promise<void> {
    // How it ended is shown once, when that is recorded.
    if (this.#closed || (this.#scheduler.finished !== undefined && finishedAt === undefined)) {
      return;
    }
    const at = this.#ports.clock.monotonic();
    if (!now && at - this.#viewedAt < VIEW_EVERY_MS) return;
    this.#viewedAt = at;
    await this.#ports.views.put(`wf.${this.workflow}`, writeStatus(this.status(finishedAt)));
  }

  #onHint(hint: Hint): void {
    if (this.#closed) return;
    if (this.#heard !== undefined) {
      this.#heard.push(hint);
      return;
    }
    const fact = factOf(hint);
    if (fact === undefined || (fact.is === "control" && this.#knowsControl(hint.key))) return;
    this.#events.onActivity();
    if (this.#closed) return;
    // What was recorded before a control fact counts, what came later does not: only the log knows the order.
    if (fact.is === "control") this.#follow(this.#refresh());
    else this.#onNodeFact(fact, hint);
  }

  #knowsControl(key: string): boolean {
    const parsed = parseKey(key);
    return parsed?.is === "control" && parsed.n <= this.#controls;
  }

  #onNodeFact(fact: Exclude<Fact, { is: "control" }>, { note, data }: Hint): void {
    const { node, attempt } = fact;
    const sent = this.#sent.get(node);
    if (sent?.attempt === attempt) {
      this.#sent.delete(node);
      this.#noteWait(node, sent, readOutcomeNote(note));
    }
    if (fact.is === "succeeded" && readOutcomeNote(note)?.elsewhere === undefined) {
      this.#messages.keep(node, data);
    }
    this.#do(this.#scheduler.apply(fact));
    // A run that took a node's place too late to be asked with the others.
    const isLate = fact.is === "expanded" &&
      (this.#scheduler.paused || this.#scheduler.hasEnded(node));
    if (isLate) this.#follow(this.#keepInStep());
    this.#pump();
  }

  /** A limited one waits for its limit, whatever the workers do. */
  #noteWait(node: number, { at }: Sent, outcome: OutcomeNote | undefined): void {
    if (outcome === undefined || this.#limitOf(node) !== undefined) return;
    const tookMs = this.#ports.clock.monotonic() - at;
    this.#window.onWaited(tookMs - (outcome.endedAt - outcome.startedAt));
  }

  #do(effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.is) {
        case "dispatch":
        case "await":
        case "settle":
        case "revive":
          this.#enqueue(effect);
          break;
        case "withdraw":
          // Only control facts ask for it, and those are taken from the log: see #rebuild.
          break;
        case "finish":
          this.#follow(this.#finish(effect.state));
          break;
        default:
          effect satisfies never;
      }
    }
  }

  #enqueue(effect: NodeEffect): void {
    const { node, attempt } = effect;
    switch (effect.is) {
      case "dispatch":
        if (effect.notBefore <= this.#ports.clock.now()) this.#ready.push(effect);
        else this.#due.push({ at: effect.notBefore, node, attempt });
        break;
      case "await":
        if (effect.until !== undefined) this.#due.push({ at: effect.until, node, attempt });
        break;
      case "settle":
        this.#follow(this.#recordOutcome(node, attempt, { result: effect.data }));
        break;
      case "revive":
        this.#follow(this.#revive(effect));
        break;
      default:
        effect satisfies never;
    }
  }

  async #revive({ node, attempt, child }: NodeEffect & { is: "revive" }): Promise<void> {
    if (await this.#family.revive({ node, attempt, child })) return;
    const message = `run ${child} was removed: it cannot be tried again`;
    await this.#recordOutcome(node, attempt, { failure: { name: "WorkflowFailedError", message } });
  }

  /** Runs in the place of nodes do as this one does. */
  #keepInStep(): Promise<void> {
    const { paused, reason } = this.#scheduler;
    return this.#family.keepInStep({
      running: [...this.#scheduler.children()],
      abandoned: [...this.#scheduler.abandoned()],
      // A pause also ends with a cancel, and with the round.
      pausing: this.#lastPausing === undefined
        ? undefined
        : { is: paused ? "pause" : "resume", n: this.#lastPausing },
      reason,
    });
  }

  /** Sends what is ready, as far as the window allows. */
  #pump(): void {
    if (this.#closed || this.#isTakingOver || this.#heard !== undefined) return;
    if (this.#scheduler.paused) return;
    const now = this.#ports.clock.now();
    for (let due = this.#due.first; due !== undefined && due.at <= now; due = this.#due.first) {
      this.#due.pop();
      this.#onNodeDue(due);
    }
    while (this.#sent.size < this.#window.size && this.#readyFrom < this.#ready.length) {
      const { node, attempt, expiresAt } = this.#ready[this.#readyFrom++]!;
      if (this.#isCurrent(node, attempt)) this.#send(node, attempt, expiresAt);
    }
    if (this.#readyFrom === this.#ready.length) this.#takeReady();
    if (this.#state === "INITIAL" && this.#scheduler.startAt <= now) this.#setState("RUNNING");
  }

  /** Its moment to be sent, to stop waiting for an event, or to have begun. */
  #onNodeDue({ node, attempt }: Due): void {
    if (!this.#scheduler.isOpen(node) || this.#scheduler.attemptOf(node) !== attempt) return;
    const sent = this.#sent.get(node);
    if (sent?.attempt === attempt) {
      return this.#follow(this.#ensureOne(this.#address(node, attempt, sent.lane)));
    }
    const effect = this.#scheduler.effectFor(node);
    if (effect.is === "dispatch") this.#ready.push(effect);
    if (effect.is !== "await") return;
    const { event } = policyOfNode(this.definition, node);
    const message = `nobody sent "${event}" in time`;
    this.#follow(
      this.#recordOutcome(node, attempt, { failure: { name: "TimeoutError", message } }),
    );
  }

  #takeReady(): void {
    this.#ready = [];
    this.#readyFrom = 0;
  }

  /** Whether this attempt is still to be made, and was not sent from here. */
  #isCurrent(node: number, attempt: number): boolean {
    return this.#scheduler.isOpen(node) && this.#scheduler.attemptOf(node) === attempt &&
      this.#sent.get(node)?.attempt !== attempt;
  }

  #send(node: number, attempt: number, expiresAt: number | undefined): void {
    const message = this.#messages.write(node, attempt, this.#scheduler, expiresAt);
    if (message === undefined) {
      const failure = { name: "BadMessageError", message: "its signature cannot be read" };
      return this.#follow(
        this.#recordOutcome(node, attempt, { failure: { ...failure, fatal: true } }),
      );
    }
    const limit = this.#limitOf(node);
    const lane = laneFor({ priority: policyOfNode(this.definition, node).priority, limit });
    this.#sent.set(node, { attempt, lane, at: this.#ports.clock.monotonic(), expiresAt });
    if (expiresAt !== undefined) this.#due.push({ at: lookAt(expiresAt), node, attempt });
    const address = this.#address(node, attempt, lane);
    this.#follow(this.#ports.tasks.publish(address, message, limit?.max));
  }

  #follow(write: Promise<unknown>): void {
    this.#doing++;
    write.then(
      () => this.#doing--,
      (error) => {
        this.#doing--;
        this.#events.onTrouble(error);
      },
    );
  }

  #address(node: number, attempt: number, lane: string): TaskAddress {
    const { queue } = policyOfNode(this.definition, node);
    return { queue, lane, workflow: this.workflow, node, attempt };
  }

  #limitOf(node: number): LanePolicy | undefined {
    const { limit, queue } = policyOfNode(this.definition, node);
    return limit ?? this.#queues.get(queue);
  }

  /**
   * Reads the whole log of this workflow anew.
   * @param options.fresh nothing is in the queue, unless the log says that somebody has conducted it.
   * @returns what was in the queue before, as far as it is to be known.
   */
  async #rebuild({ fresh = false }: { fresh?: boolean } = {}): Promise<TaskAddress[]> {
    this.#heard ??= [];
    const { facts, tasks } = this.#ports;
    let queued: TaskAddress[] = [];
    let loaded = fresh || !this.#isTakingOver ? await loadFacts(facts, this.workflow) : undefined;
    if (loaded === undefined || (this.#isTakingOver && !isUntouched(loaded))) {
      queued = await tasks.list(this.workflow);
      loaded = await loadFacts(facts, this.workflow);
    }
    const scheduler = new Scheduler(this.definition, this.workflow, this.submittedAt);
    scheduler.begin();
    this.#timeouts = 0;
    let withdrawn = false;
    let lastPausing: number | undefined;
    let n = 0;
    for (const fact of loaded.facts) {
      if (fact.is === "control") {
        n++;
        const { is } = fact.control;
        if (is === "timeout") this.#timeouts++;
        if (is === "pause" || is === "resume") lastPausing = n;
      }
      const { round } = scheduler;
      for (const effect of scheduler.apply(fact)) withdrawn ||= effect.is === "withdraw";
      if (scheduler.round === round) continue;
      this.#startedAt = fact.at;
      this.#timeouts = 0;
    }
    const { finished } = scheduler;
    if (this.#closed) return [];
    this.#scheduler = scheduler;
    this.#controls = loaded.controls;
    this.#lastPausing = lastPausing;
    this.#takeReady();
    for (const [node, { attempt }] of this.#sent) {
      if (!scheduler.isOpen(node) || scheduler.attemptOf(node) !== attempt) this.#sent.delete(node);
    }
    for (const effect of scheduler.open()) {
      if (this.#sent.get(effect.node)?.attempt !== effect.attempt) this.#enqueue(effect);
    }
    if (withdrawn) await this.#withdrawStale();
    await this.#keepInStep();
    const heard = this.#heard;
    this.#heard = undefined;
    for (const hint of heard) this.#onHint(hint);
    if (finished !== undefined) await this.#finish(finished);
    else if (scheduler.finished === undefined) {
      this.#setState(scheduler.paused ? "PAUSED" : isUntouched(loaded) ? this.#state : "RUNNING");
    }
    return queued;
  }

  /** After a control fact. */
  async #refresh(): Promise<void> {
    if (this.#heard !== undefined || this.#closed) return;
    if (this.#isTakingOver) {
      await this.#takeOver({ fresh: false });
    } else {
      await this.#rebuild();
      this.#pump();
    }
    await this.show({ now: true });
  }

  /** Takes back messages whose node may not run any more. */
  async #withdrawStale(): Promise<void> {
    const { tasks } = this.#ports;
    const stale = (await tasks.list(this.workflow)).filter(({ node, attempt }) =>
      !this.#scheduler.isOpen(node) || this.#scheduler.attemptOf(node) !== attempt
    );
    for (let i = 0; i < stale.length; i += ENSURE_BATCH) {
      await Promise.all(
        stale.slice(i, i + ENSURE_BATCH).map(({ node }) => tasks.withdraw(this.workflow, node)),
      );
    }
  }

  /**
   * "exists" may be another conductor's timeout (a second one would end the cleanup too), or something that changes the
   * deadline: the log is read either way, and a deadline that is still over is recorded on the next turn.
   */
  async #recordControl(control: Control): Promise<void> {
    const { facts, random, clock } = this.#ports;
    const record = writeControl({ id: random.id(), at: clock.now(), control });
    await facts.create(controlKey(this.workflow, this.#controls + 1), record);
    await this.#refresh();
  }

  /** Durable before anybody hears of it, and before the tick is acknowledged. */
  async #finish(state: FinalState): Promise<void> {
    const { round } = this.#scheduler;
    if (this.#finishing === round) return;
    this.#finishing = round;
    const { facts, clock } = this.#ports;
    const failed = this.#scheduler.failures(LIMITS.namedFailures).map((node) => ({
      node,
      attempt: this.#scheduler.attemptOf(node),
    }));
    const reason = this.#scheduler.reason;
    const end: EndRecord = {
      state,
      at: clock.now(),
      counts: this.#scheduler.counts(),
      failed,
      ...(reason === undefined ? {} : { reason }),
    };
    const written = await facts.create(endKey(this.workflow, round), writeEnd(end), this.#endNote);
    // The first terminal record is the one that counts, whoever wrote it.
    const stored = written === "exists"
      ? await facts.read(endKey(this.workflow, round))
      : undefined;
    const first = (stored === undefined ? undefined : readEnd(stored.data)) ?? end;
    await this.#tellParent(first);
    if (this.#closed) return;
    await this.show({ now: true, finishedAt: first.at });
    this.#setState(first.state);
    this.#events.onEnd(first.state);
  }

  get #endNote(): string | undefined {
    const { parent, retentionMs } = this.definition;
    const keeping: Keeping | undefined = parent === undefined ? retentionMs : "parent";
    return keeping === undefined ? undefined : writeEndNote(keeping);
  }

  async #tellParent({ state, at, failed, reason }: EndRecord): Promise<void> {
    const { parent } = this.definition;
    if (parent === undefined) return;
    const why = reason ?? failed.map(({ node }) => labelOf(this.definition, node)).join(", ");
    const attempt = this.#scheduler.parentAttempt;
    const end = { state, at, startedAt: this.submittedAt, why };
    await this.#family.tellParent(parent, attempt, end);
  }

  #setState(state: WorkflowState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.onState(state);
  }
}

function isUntouched({ outcomes, controls }: LoadedFacts): boolean {
  return outcomes + controls === 0;
}
