/**
 * Conducts one workflow while its tick is held here: facts come in, the scheduler says what follows, and it is done.
 * Everything in here can be thrown away at any moment; the next conductor rebuilds it from the log.
 */
import { type Definition, policyOfNode } from "../core/definition.ts";
import { NotFoundError, type RecordedFailure } from "../core/errors.ts";
import type { Control, Effect, Fact, FinalState, NodeEffect, WorkflowState } from "../core/fact.ts";
import {
  begunKey,
  controlKey,
  definitionKey,
  expansionKey,
  outcomeKey,
  outcomesOf,
  outcomesOfNode,
  parseKey,
} from "../core/keys.ts";
import { factOf } from "../core/recorded.ts";
import {
  type EndRecord,
  type OutcomeNote,
  readBegun,
  readOutcomeNote,
  type RunStatus,
  writeControl,
  writeStatus,
} from "../core/records.ts";
import type { Scheduler } from "../core/scheduler.ts";
import type { Hint, Ports, TaskAddress } from "../ports.ts";
import { statusOf } from "../runs/submission.ts";
import { type Due, DueQueue } from "./due.ts";
import type { Ear } from "./ear.ts";
import { recordEnd, whyEnded } from "./ending.ts";
import { Family } from "./family.ts";
import { RunFeed } from "./feed.ts";
import { findQueued, type Waiting } from "./in_queue.ts";
import { Instrumentation } from "./instrumentation.ts";
import { type LoadedFacts, type LoadedWorkflow, loadFacts, untouched } from "./load.ts";
import { type Outcome, recordOutcome } from "./outcome.ts";
import { Outbox, type OutboxOptions } from "./outbox.ts";
import { lookAt, overdueFailure, timeoutOf } from "./overdue.ts";
import { deadlineOf, replay, type Replayed, unread } from "./replay.ts";
import type { Standing } from "./standing.ts";

export interface ConductorOptions extends OutboxOptions {
  /** Whether others are told what happens in it. */
  readonly feed: boolean;
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

const encoder = new TextEncoder();

/** Questions to the server at once when making sure. */
const ENSURE_BATCH = 256;
/** Tasks that a run may wait for to be looked after by how it stands: with more, reading its log costs no more. */
const MOST_WAITING = 4;
const VIEW_EVERY_MS = 1_000;
const YOUNG_MS = 500;
/** Until every server knows of a subscription. */
const SPREAD_MS = 50;
/** So many facts that were not heard are taken in one by one. */
const MOST_MISSED = 16;

export class Conductor {
  readonly workflow: string;
  readonly definition: Definition;
  readonly submittedAt: number;
  readonly #ports: Ports;
  readonly #events: ConductorEvents;
  readonly #outbox: Outbox;
  readonly #family: Family;
  readonly #feed: RunFeed | undefined;
  readonly #due = new DueQueue();
  /** Undefined where nobody is told. */
  readonly instruments: Instrumentation | undefined;
  /** The log as it was last read, and in its scheduler the facts heard since. */
  #replayed: Replayed;
  /** How many control facts were read. */
  #controls = 0;
  /** The place in the log of the last of them. */
  #controlledTo = 0;
  /** Until it is known what another conductor has sent already, nothing is sent. */
  #isTakingOver = true;
  /** The place in the log up to which it was read. */
  #readTo = 0;
  /** The fact that was learned last. */
  #latest: string | undefined;
  /** Nothing was heard since the log was read: what it says is all there is. */
  #isAsRead = false;
  /** Facts heard while the log is being read. */
  #heard: Hint[] | undefined = [];
  readonly #ear: Ear;
  #closed = false;
  #state: WorkflowState = "INITIAL";
  #viewedAt = -Infinity;
  /** Writes under way: not before their end is the workflow quiet. */
  #doing = 0;
  /** Who waits for their end, after it was closed. */
  #onSettled: (() => void)[] = [];
  /** The round whose end is being recorded. */
  #finishing = 0;

  /** @param ear has listened since before anything was read; this one closes it. */
  constructor(
    ports: Ports,
    workflow: string,
    ear: Ear,
    loaded: LoadedWorkflow,
    options: ConductorOptions,
    events: ConductorEvents,
  ) {
    const { definition, submittedAt, trace } = loaded;
    this.#ports = ports;
    this.workflow = workflow;
    this.#ear = ear;
    this.definition = definition;
    this.submittedAt = submittedAt;
    this.instruments = Instrumentation.of(ports, workflow, definition, trace);
    this.#outbox = new Outbox(ports, workflow, loaded, options, this.instruments, {
      scheduler: () => this.#scheduler,
      isOpen: (node, attempt) => this.#isOpen(node, attempt),
      follow: (write, onDone) => this.#follow(write, onDone),
      onExpiring: (node, attempt, at) => this.#due.push({ at: lookAt(at), node, attempt }),
      onUnreadable: (node, attempt) => this.#follow(this.#recordUnreadable(node, attempt)),
    });
    this.#events = events;
    this.#family = new Family(ports, workflow);
    if (options.feed) this.#feed = new RunFeed(ports, workflow, definition, submittedAt);
    this.#replayed = unread(definition, workflow, submittedAt);
    ear.listen((hint) => {
      try {
        this.#onHint(hint);
      } catch (error) {
        events.onTrouble(error);
      }
    });
  }

  /** @param isUntouched nothing was recorded about this workflow but its definition when that was read. */
  async begin({ isUntouched }: { isUntouched: boolean }): Promise<void> {
    await this.#takeOver(isUntouched ? untouched() : undefined);
    // Not left to this one's next look: its tick may go to another processor each time.
    await this.#ensureChildren();
    if (this.#ports.hints.spreads) {
      this.#ports.clock.after(SPREAD_MS, () => void this.#catchUp().catch(this.#events.onTrouble));
    }
  }

  /**
   * Whatever another conductor has sent is in the queue or has an outcome. The queue is looked at first, then the log: an
   * outcome is recorded before its message leaves the queue. While the run is paused, nothing is sent: this is done again
   * when it goes on.
   */
  async #takeOver(log?: LoadedFacts): Promise<void> {
    const queued = await this.#rebuild(log);
    if (this.#closed || this.#scheduler.paused) return;
    if (log === undefined) await this.#stopIfRemoved();
    this.#outbox.adopt(queued, (node) => this.#expiryOf(node));
    this.#isTakingOver = false;
    this.#pump();
  }

  /**
   * A run that was over, and was removed while its log was read, looks as if nothing of it had begun: nothing of it may run.
   * The tick brings this to an end: there is no definition any more. A run is not removed so soon after its submit.
   */
  async #stopIfRemoved(): Promise<void> {
    const { facts, clock } = this.#ports;
    if (Math.abs(clock.now() - this.submittedAt) < YOUNG_MS) return;
    if (await facts.read(definitionKey(this.workflow)) !== undefined) return;
    throw new NotFoundError(`${this.workflow} was removed`, { hint: "There is nothing to do." });
  }

  /** Of a node that is open. */
  #expiryOf(node: number): number | undefined {
    const effect = this.#scheduler.effectFor(node);
    return effect.is === "dispatch" ? effect.expiresAt : undefined;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#ear.close();
  }

  /** Resolves when nothing that was begun here is under way any more, after it was closed. */
  async settled(): Promise<void> {
    if (this.#doing > 0) await new Promise<void>((resolve) => this.#onSettled.push(resolve));
  }

  get #scheduler(): Scheduler {
    return this.#replayed.scheduler;
  }

  get state(): WorkflowState {
    return this.#state;
  }

  /** Nothing can be sent, nothing is being sent, and there is no end to be recorded. */
  get isQuiet(): boolean {
    if (this.#doing > 0 || this.#heard !== undefined) return false;
    if (this.#scheduler.finished !== undefined) return false;
    return this.#outbox.isBlocked || this.#scheduler.paused;
  }

  /**
   * Nothing can come but what its tick, a control fact or time brings: it need not be kept here. Not one that another run
   * waits for: nobody tells it when that one has ended without it.
   */
  get isDormant(): boolean {
    return this.definition.parent === undefined && this.isQuiet && this.#outbox.size === 0 &&
      (this.#scheduler.paused || !this.#isTakingOver) &&
      this.#scheduler.children().next().done === true;
  }

  /** How it stands, while it waits for a few tasks and for nothing else; undefined: that would not tell enough of it. */
  get standing(): Standing | undefined {
    if (!this.isQuiet || !this.#isAsRead || this.#isTakingOver || this.#scheduler.paused) {
      return undefined;
    }
    if (this.#outbox.size === 0 || this.#outbox.size > MOST_WAITING) return undefined;
    if (this.definition.parent !== undefined) return undefined;
    if (this.#scheduler.children().next().done !== true) return undefined;
    const waiting = this.#outbox.lasting();
    if (waiting === undefined) return undefined;
    return { latest: this.#latest ?? definitionKey(this.workflow), dueAt: this.dueAt, waiting };
  }

  /** Its round's end is being recorded, and told. */
  get isEnding(): boolean {
    return this.#finishing === this.#scheduler.round;
  }

  /** When something is to be done although nothing is heard; milliseconds since 1970. */
  get dueAt(): number {
    const due = this.#scheduler.paused ? undefined : this.#due.first;
    return Math.min(due?.at ?? Infinity, this.#deadline);
  }

  get #deadline(): number {
    return deadlineOf(this.#replayed, this.definition.timeoutMs);
  }

  /** Does what has become due. */
  async onDue(): Promise<void> {
    const now = this.#ports.clock.now();
    if (now >= this.#deadline) await this.#recordControl({ is: "timeout" });
    this.#pump();
  }

  /**
   * Reads what might not have been heard: outcomes of everything that the server has had for longer than `olderThanMs`, and
   * control facts. What it may not have yet could be done, and gone, while it is looked for.
   */
  async ensure(olderThanMs: number): Promise<{ changed: boolean }> {
    if (this.#heard !== undefined || this.#closed) return { changed: false };
    const before = this.#ports.clock.monotonic() - olderThanMs;
    const open = this.#outbox.waitingSince(before);
    const { facts, tasks } = this.#ports;
    let changed = await facts.read(controlKey(this.workflow, this.#controls + 1)) !== undefined;
    if (changed) await this.#refresh();
    const isQueued = await findQueued(tasks, open);
    for (let i = 0; i < open.length && !this.#closed; i += ENSURE_BATCH) {
      const answers = await Promise.all(
        open.slice(i, i + ENSURE_BATCH).map(({ address }) =>
          this.#ensureOne(address, isQueued(address))
        ),
      );
      changed ||= answers.includes(true);
    }
    changed ||= await this.#ensureChildren();
    const { finished } = this.#scheduler;
    if (finished !== undefined && !this.#closed) await this.#finish(finished);
    return { changed };
  }

  /**
   * A subscription that was made a moment ago was not known to every server at once. What was recorded until it was is one
   * piece of the log: from where that was read to, up to the first fact that was heard.
   */
  async #catchUp(): Promise<void> {
    const { facts } = this.#ports;
    if (this.#heard !== undefined || this.#closed) return;
    const control = await facts.read(controlKey(this.workflow, this.#controls + 1));
    if (control !== undefined) return await this.#refresh();
    let seq = this.#readTo;
    for (let missed = 0; missed < MOST_MISSED; missed++) {
      const stored = await facts.next(outcomesOf(this.workflow), seq + 1);
      if (stored === undefined || this.#closed || this.#knows(stored.key)) return;
      this.#onHint(stored);
      seq = stored.seq;
    }
    await this.ensure(0);
  }

  #knows(key: string): boolean {
    const parsed = parseKey(key);
    if (parsed?.is !== "outcome" && parsed?.is !== "expansion") return false;
    const { node, attempt } = parsed;
    return this.#scheduler.attemptOf(node) >= attempt && !this.#isOpen(node, attempt);
  }

  /**
   * After the server was away: hints may have been missed, and a server that lost power may have lost the end of its log.
   * @throws {NotFoundError} when what was known last is not recorded any more: this conductor knows too much.
   */
  async afterGap(): Promise<void> {
    const latest = this.#latest ?? definitionKey(this.workflow);
    if (await this.#ports.facts.read(latest) === undefined) {
      throw new NotFoundError(`${latest} was recorded and is not there any more`, {
        hint: "The server lost writes that it had acknowledged: see its sync_interval.",
      });
    }
    await this.ensure(0);
  }

  /**
   * The queue first, then the log: an outcome is recorded before its message leaves the queue. The log also while the message
   * is there: whoever recorded the outcome may have died, or its server's disk been full, before the message was removed.
   */
  async #ensureOne(address: TaskAddress, isQueued: boolean): Promise<boolean> {
    const { node, attempt } = address;
    if (await this.#hearLatest(node, attempt)) return true;
    if (isQueued) return this.#giveUpIfOverdue(node, attempt);
    if (this.#closed || this.#outbox.sent(node, attempt) === undefined) return false;
    // Nothing new is queued meanwhile: it is looked for again when the run goes on.
    if (this.#scheduler.paused) return false;
    const key = `${this.workflow}.${node}.${attempt}`;
    this.#ports.log("debug", `task message ${key} is not in the queue, and is sent`, {
      event: "task-message-sent-again",
      run: this.workflow,
      node,
      attempt,
      queue: address.queue,
    });
    this.#outbox.send(node, attempt, this.#expiryOf(node));
    return true;
  }

  async #lookFor(waiting: Waiting): Promise<void> {
    const isQueued = await findQueued(this.#ports.tasks, [waiting]);
    await this.#ensureOne(waiting.address, isQueued(waiting.address));
  }

  /** Takes in what is recorded of an attempt, and may not have been heard. @returns whether there is anything. */
  async #hearLatest(node: number, attempt: number): Promise<boolean> {
    const latest = await this.#ports.facts.last(outcomesOfNode(this.workflow, node));
    if (latest === undefined || this.#closed) return false;
    switch (latest.key) {
      case outcomeKey(this.workflow, node, attempt):
      case expansionKey(this.workflow, node, attempt):
        this.#onHint(latest);
        return true;
      default:
        // Of another attempt, or not of this library.
        return await this.#hear(outcomeKey(this.workflow, node, attempt)) ||
          await this.#hear(expansionKey(this.workflow, node, attempt));
    }
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
    for (const child of [...this.#scheduler.children()]) {
      const outcome = outcomeKey(this.workflow, child.node, child.attempt);
      const isTold = await this.#hear(outcome) ||
        await this.#family.endFor(child) && await this.#hear(outcome);
      changed ||= isTold;
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
    const sent = this.#outbox.sent(node, attempt);
    if (sent === undefined) return false;
    const { expiresAt } = sent;
    const timeoutMs = timeoutOf(this.definition, node);
    if (timeoutMs === undefined && expiresAt === undefined) return false;
    const { views, clock, tasks } = this.#ports;
    const begun = await views.get(begunKey(this.workflow, node, attempt));
    const begunAt = begun === undefined ? undefined : readBegun(begun.data)?.at;
    const { leaseMs } = tasks;
    const failure = overdueFailure({ now: clock.now(), begunAt, timeoutMs, expiresAt, leaseMs });
    if (failure === undefined || this.#closed) return false;
    // Before the outcome: afterwards there may be a message of the next attempt.
    await tasks.withdraw(this.workflow, node);
    await this.#recordFailure(node, attempt, failure);
    return true;
  }

  /** For what no worker does. */
  async #recordOutcome(node: number, attempt: number, outcome: Outcome): Promise<void> {
    const { facts, clock } = this.#ports;
    const key = outcomeKey(this.workflow, node, attempt);
    const now = clock.now();
    await recordOutcome(facts, key, outcome, { startedAt: now, endedAt: now });
    await this.#hear(key);
  }

  #recordFailure(node: number, attempt: number, failure: RecordedFailure): Promise<void> {
    return this.#recordOutcome(node, attempt, { is: "failed", failure });
  }

  #recordUnreadable(node: number, attempt: number): Promise<void> {
    const message = "its signature cannot be read";
    return this.#recordFailure(node, attempt, { name: "BadMessageError", message, fatal: true });
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
    this.#isAsRead = false;
    const note = readOutcomeNote(hint.note);
    const fact = factOf(hint, note);
    if (fact === undefined || (fact.is === "control" && this.#knowsControl(hint.key))) return;
    this.#events.onActivity();
    if (this.#closed) return;
    this.#latest = hint.key;
    // What was recorded before a control fact counts, what came later does not: only the log knows the order.
    if (fact.is === "control") this.#follow(this.#refresh());
    else this.#onNodeFact(fact, note, hint);
  }

  #knowsControl(key: string): boolean {
    const parsed = parseKey(key);
    return parsed?.is === "control" && parsed.n <= this.#controls;
  }

  #onNodeFact(
    fact: Exclude<Fact, { is: "control" }>,
    note: OutcomeNote | undefined,
    hint: Hint,
  ): void {
    const { node, attempt } = fact;
    this.#outbox.take(node, attempt, note);
    if (fact.is === "succeeded" && note?.elsewhere === undefined) {
      this.#outbox.keep(node, hint.data);
    }
    this.instruments?.take(hint, fact);
    const isAhead = this.#scheduler.isHeld(node);
    this.#feed?.taking(fact);
    this.#do(this.#scheduler.apply(fact));
    // The log has, in order, what was not heard.
    if (isAhead) this.#follow(this.#refresh());
    // A run that took a node's place too late to be asked with the others.
    const isLate = fact.is === "expanded" &&
      (this.#scheduler.paused || this.#scheduler.hasEnded(node));
    if (isLate) this.#follow(this.#keepInStep());
    this.#pump();
    this.instruments?.taken(fact, this.#scheduler.isOpen(node));
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
        if (effect.notBefore <= this.#ports.clock.now()) this.#outbox.push(effect);
        else this.#due.push({ at: effect.notBefore, node, attempt });
        break;
      case "await":
        if (effect.until !== undefined) this.#due.push({ at: effect.until, node, attempt });
        break;
      case "settle":
        this.#follow(this.#recordOutcome(node, attempt, {
          is: "succeeded",
          result: encoder.encode(JSON.stringify(effect.data)),
        }));
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
    await this.#recordFailure(node, attempt, { name: "WorkflowFailedError", message });
  }

  /** Runs in the place of nodes do as this one does. */
  #keepInStep(): Promise<void> {
    const { scheduler: { paused, reason }, lastPausing } = this.#replayed;
    return this.#family.keepInStep({
      running: [...this.#scheduler.children()],
      abandoned: [...this.#scheduler.abandoned()],
      // A pause also ends with a cancel, and with the round.
      pausing: lastPausing === undefined
        ? undefined
        : { is: paused ? "pause" : "resume", n: lastPausing },
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
    this.#outbox.pump();
    if (this.#state === "INITIAL" && this.#scheduler.startAt <= now) this.#setState("RUNNING");
  }

  /** Its moment to be sent, to stop waiting for an event, or to have begun. */
  #onNodeDue({ node, attempt }: Due): void {
    if (!this.#isOpen(node, attempt)) return;
    const waiting = this.#outbox.waitingFor(node, attempt);
    if (waiting !== undefined) return this.#follow(this.#lookFor(waiting));
    const effect = this.#scheduler.effectFor(node);
    if (effect.is === "dispatch") this.#outbox.push(effect);
    if (effect.is !== "await") return;
    const { event } = policyOfNode(this.definition, node);
    const message = `nobody sent "${event}" in time`;
    this.#follow(this.#recordFailure(node, attempt, { name: "TimeoutError", message }));
  }

  /** Whether this attempt is still to be made. */
  #isOpen(node: number, attempt: number): boolean {
    return this.#scheduler.isOpen(node) && this.#scheduler.attemptOf(node) === attempt;
  }

  #follow(write: Promise<unknown>, onDone?: () => void): void {
    this.#doing++;
    write.then(
      () => {
        this.#countDone();
        onDone?.();
      },
      (error) => {
        this.#countDone();
        this.#events.onTrouble(error);
      },
    );
  }

  #countDone(): void {
    if (--this.#doing > 0 || !this.#closed) return;
    for (const call of this.#onSettled.splice(0)) call();
  }

  /**
   * Reads the whole log of this workflow anew.
   * @param log as it was read with the definition, if nobody has sent anything for this workflow.
   * @returns what was in the queue before, as far as it is to be known.
   */
  async #rebuild(log?: LoadedFacts): Promise<readonly TaskAddress[]> {
    this.#heard ??= [];
    const { queued, loaded } = await this.#readLog(log);
    if (this.#closed) return [];
    const replayed = replay(
      this.definition,
      this.workflow,
      this.submittedAt,
      loaded.facts,
      this.#feed,
    );
    const { scheduler, withdrawn } = replayed;
    const { finished } = scheduler;
    this.#replayed = replayed;
    this.#controls = loaded.controls;
    this.#controlledTo = loaded.controlledTo;
    this.#latest = loaded.latest?.key;
    this.#readTo = loaded.latest?.seq ?? 0;
    this.instruments?.recall(loaded.traces);
    const onTheirWay = this.#outbox.restart();
    for (const effect of scheduler.open()) {
      const { node, attempt } = effect;
      if (this.#outbox.sent(node, attempt) === undefined) this.#enqueue(effect);
    }
    if (withdrawn) await this.#outbox.withdrawStale(onTheirWay);
    await this.#keepInStep();
    const heard = this.#heard;
    this.#heard = undefined;
    this.#isAsRead = true;
    for (const hint of heard) this.#onHint(hint);
    if (finished !== undefined) await this.#finish(finished);
    else if (scheduler.finished === undefined) {
      this.#setState(scheduler.paused ? "PAUSED" : isUntouched(loaded) ? this.#state : "RUNNING");
    }
    return queued;
  }

  /** While taking over, the queue first and then the log. */
  async #readLog(
    log?: LoadedFacts,
  ): Promise<{ queued: readonly TaskAddress[]; loaded: LoadedFacts }> {
    const { facts, tasks } = this.#ports;
    if (log !== undefined) return { queued: [], loaded: log };
    const queued = this.#isTakingOver ? await tasks.list(this.workflow) : [];
    return { queued, loaded: await loadFacts(facts, this.workflow) };
  }

  /** After a control fact. */
  async #refresh(): Promise<void> {
    if (this.#heard !== undefined || this.#closed) return;
    if (this.#isTakingOver) {
      await this.#takeOver();
    } else {
      await this.#rebuild();
      this.#pump();
    }
    await this.show({ now: true });
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
    const first = await this.#recordEnd(state);
    if (first === "behind") {
      // The run may not have ended, or not like this: it is decided anew, from the log.
      this.#finishing = 0;
      return await this.#refresh();
    }
    this.#feed?.ended(first, round);
    await this.#tellParent(first);
    if (this.#closed) return;
    await this.show({ now: true, finishedAt: first.at });
    // Meanwhile somebody may have opened the next round, and this conductor gone on with it.
    if (this.#scheduler.round !== round) return;
    this.#setState(first.state);
    this.#events.onEnd(first.state);
  }

  /** @returns "behind" when a control fact is not taken into account yet, whether it was heard or not. */
  async #recordEnd(state: FinalState): Promise<EndRecord | "behind"> {
    if (this.#heard !== undefined) return "behind";
    const decided = { state, controls: this.#controls, controlledTo: this.#controlledTo };
    return await recordEnd(
      this.#ports,
      this.workflow,
      this.definition,
      this.#scheduler,
      decided,
    );
  }

  async #tellParent(end: EndRecord): Promise<void> {
    const { parent } = this.definition;
    if (parent === undefined) return;
    const { state, at } = end;
    const why = whyEnded(this.definition, end);
    const attempt = this.#scheduler.parentAttempt;
    await this.#family.tellParent(parent, attempt, { state, at, startedAt: this.submittedAt, why });
  }

  #setState(state: WorkflowState): void {
    if (state === this.#state) return;
    this.#state = state;
    if (state === "RUNNING") this.#feed?.started(this.#scheduler.startAt);
    this.#events.onState(state);
  }
}

function isUntouched({ outcomes, controls }: LoadedFacts): boolean {
  return outcomes + controls === 0;
}
