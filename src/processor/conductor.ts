/**
 * Conducts one workflow while its tick is held here: facts come in, the scheduler says what follows, and it is done.
 * Everything in here can be thrown away at any moment; the next conductor rebuilds it from the log.
 */
import { type Definition, policyOfNode } from "../core/definition.ts";
import { controlKey, endKey, everythingOf, outcomeKey, parseKey } from "../core/keys.ts";
import { LIMITS } from "../core/limits.ts";
import { factOf } from "../core/recorded.ts";
import {
  type EndRecord,
  readEnd,
  type RunStatus,
  writeControl,
  writeEnd,
  writeStatus,
} from "../core/records.ts";
import {
  type Effect,
  type Fact,
  type FinalState,
  Scheduler,
  type WorkflowState,
} from "../core/scheduler.ts";
import type { Cancel, Hint, Ports, TaskAddress } from "../ports.ts";
import { DueQueue } from "./due.ts";
import { loadFacts } from "./load.ts";
import { TaskMessages } from "./task_messages.ts";

export interface ConductorOptions {
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
  /** Monotonic. */
  at: number;
}

/** Questions to the server at once when making sure. */
const ENSURE_BATCH = 256;
const VIEW_EVERY_MS = 1_000;

export class Conductor {
  readonly workflow: string;
  readonly definition: Definition;
  readonly submittedAt: number;
  readonly #ports: Ports;
  readonly #options: ConductorOptions;
  readonly #events: ConductorEvents;
  readonly #messages: TaskMessages;
  #scheduler: Scheduler;
  /** Due now, in the order they became so. */
  #ready: (Effect & { is: "dispatch" })[] = [];
  #readyFrom = 0;
  readonly #due = new DueQueue();
  readonly #sent = new Map<number, Sent>();
  #controls = 0;
  /** Until it is known what another conductor has sent already, nothing is sent. */
  #isTakingOver = true;
  /** Facts heard while the log is being read. */
  #heard: Hint[] | undefined = [];
  #unsubscribe: Cancel;
  #closed = false;
  #state: WorkflowState = "INITIAL";
  #viewedAt = -Infinity;
  #publishing = 0;
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
    this.#startedAt = submittedAt;
    this.#options = options;
    this.#events = events;
    this.#messages = new TaskMessages(definition, ports.maxRecord);
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
    const { isUntouched } = await this.#rebuild();
    await this.#takeOver({ isFirst: fresh && isUntouched });
    // A subscription made this moment may not be known to every server yet.
    if (this.#ports.hints.spreads) {
      this.#ports.clock.after(50, () => void this.ensure(0).catch(this.#events.onTrouble));
    }
  }

  /** While it is paused, nothing: what was sent before is looked for when it goes on. */
  async #takeOver({ isFirst }: { isFirst: boolean }): Promise<void> {
    if (this.#closed || this.#scheduler.paused) return;
    this.#isTakingOver = false;
    if (isFirst) this.#pump();
    else await this.#sendWhatIsMissing(this.#takeReady());
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
    if (this.#publishing > 0 || this.#heard !== undefined) return false;
    return this.#readyFrom === this.#ready.length || this.#scheduler.paused ||
      this.#sent.size >= this.#options.window;
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
    if (now >= this.#deadline) await this.#recordTimeout(now);
    this.#pump();
  }

  /** Reads what might not have been heard: outcomes of everything sent longer than `olderThanMs` ago, and control facts. */
  async ensure(olderThanMs: number): Promise<{ changed: boolean }> {
    if (this.#heard !== undefined || this.#closed) return { changed: false };
    const before = this.#ports.clock.monotonic() - olderThanMs;
    const open: TaskAddress[] = [];
    for (const [node, { attempt, at }] of this.#sent) {
      if (at <= before) open.push(this.#address(node, attempt));
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
    return { changed };
  }

  /** The queue first, then the log: an outcome is recorded before its message leaves the queue. */
  async #ensureOne(address: TaskAddress): Promise<boolean> {
    const { node, attempt } = address;
    const { tasks, facts } = this.#ports;
    if (await tasks.has(address)) return false;
    const stored = await facts.read(outcomeKey(this.workflow, node, attempt));
    if (this.#closed) return false;
    if (stored !== undefined) {
      this.#onHint(stored);
      return true;
    }
    if (this.#sent.get(node)?.attempt !== attempt) return false;
    const key = `${this.workflow}.${node}.${attempt}`;
    this.#ports.log("debug", `task message ${key} is not in the queue, and is sent`);
    this.#send(node, attempt);
    return true;
  }

  /** How it stands, for people. */
  status(finishedAt?: number): RunStatus {
    const { name, payload } = this.definition;
    return {
      id: this.workflow,
      name,
      state: this.#scheduler.workflowState,
      counts: this.#scheduler.counts(),
      round: this.#scheduler.round,
      submittedAt: this.submittedAt,
      ...(finishedAt === undefined ? {} : { finishedAt }),
      ...(payload === undefined ? {} : { payload: JSON.parse(payload) }),
    };
  }

  /** Shows how it stands, now or at most once a second. */
  async show(
    { now = false, finishedAt }: { now?: boolean; finishedAt?: number } = {},
  ): Promise<void> {
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
    if (fact.is === "control") void this.#refresh().catch(this.#events.onTrouble);
    else this.#onOutcome(fact, hint.data);
  }

  #knowsControl(key: string): boolean {
    const parsed = parseKey(key);
    return parsed?.is === "control" && parsed.n <= this.#controls;
  }

  #onOutcome(fact: Fact & { is: "succeeded" | "failed" }, data: Uint8Array): void {
    const { node, attempt } = fact;
    if (this.#sent.get(node)?.attempt === attempt) this.#sent.delete(node);
    if (fact.is === "succeeded") this.#messages.keep(node, data);
    this.#do(this.#scheduler.apply(fact));
    this.#pump();
  }

  #do(effects: readonly Effect[]): void {
    for (const effect of effects) {
      switch (effect.is) {
        case "dispatch":
          this.#enqueue(effect);
          break;
        case "withdraw":
          // Only control facts ask for it, and those are taken from the log: see #rebuild.
          break;
        case "finish":
          void this.#finish(effect.state).catch(this.#events.onTrouble);
          break;
        default:
          effect satisfies never;
      }
    }
  }

  #enqueue(effect: Effect & { is: "dispatch" }): void {
    const { node, attempt, notBefore } = effect;
    if (notBefore > this.#ports.clock.now()) this.#due.push({ at: notBefore, node, attempt });
    else this.#ready.push(effect);
  }

  /** Sends what is ready, as far as the window allows. */
  #pump(): void {
    if (this.#closed || this.#isTakingOver || this.#heard !== undefined) return;
    if (this.#scheduler.paused) return;
    const now = this.#ports.clock.now();
    for (let due = this.#due.first; due !== undefined && due.at <= now; due = this.#due.first) {
      this.#due.pop();
      this.#ready.push({ is: "dispatch", node: due.node, attempt: due.attempt, notBefore: 0 });
    }
    while (this.#sent.size < this.#options.window && this.#readyFrom < this.#ready.length) {
      const { node, attempt } = this.#ready[this.#readyFrom++]!;
      if (this.#isCurrent(node, attempt)) this.#send(node, attempt);
    }
    if (this.#readyFrom === this.#ready.length) this.#takeReady();
    if (this.#state === "INITIAL") this.#setState("RUNNING");
  }

  #takeReady(): (Effect & { is: "dispatch" })[] {
    const ready = this.#ready.slice(this.#readyFrom);
    this.#ready = [];
    this.#readyFrom = 0;
    return ready;
  }

  /** Whether this attempt is still to be made, and was not sent from here. */
  #isCurrent(node: number, attempt: number): boolean {
    return this.#scheduler.isOpen(node) && this.#scheduler.attemptOf(node) === attempt &&
      this.#sent.get(node)?.attempt !== attempt;
  }

  #send(node: number, attempt: number): void {
    const message = this.#messages.write(node, attempt, this.#scheduler);
    this.#sent.set(node, { attempt, at: this.#ports.clock.monotonic() });
    this.#publishing++;
    this.#ports.tasks.publish(this.#address(node, attempt), message).then(
      () => this.#publishing--,
      (error) => {
        this.#publishing--;
        this.#events.onTrouble(error);
      },
    );
  }

  #address(node: number, attempt: number): TaskAddress {
    const { queue, priority } = policyOfNode(this.definition, node);
    return { queue, priority, workflow: this.workflow, node, attempt };
  }

  /** Reads the whole log of this workflow anew. */
  async #rebuild(): Promise<{ isUntouched: boolean }> {
    this.#heard ??= [];
    const loaded = await loadFacts(this.#ports.facts, this.workflow);
    const scheduler = new Scheduler(this.definition, this.workflow, this.submittedAt);
    scheduler.begin();
    this.#timeouts = 0;
    let withdrawn = false;
    for (const fact of loaded.facts) {
      if (fact.is === "control") this.#noteTime(fact);
      for (const effect of scheduler.apply(fact)) withdrawn ||= effect.is === "withdraw";
    }
    const { finished } = scheduler;
    const isUntouched = loaded.outcomes + loaded.controls === 0;
    if (this.#closed) return { isUntouched };
    this.#scheduler = scheduler;
    this.#controls = loaded.controls;
    this.#takeReady();
    for (const [node, { attempt }] of this.#sent) {
      if (!scheduler.isOpen(node) || scheduler.attemptOf(node) !== attempt) this.#sent.delete(node);
    }
    for (const effect of scheduler.open()) {
      if (this.#isCurrent(effect.node, effect.attempt)) this.#enqueue(effect);
    }
    if (withdrawn) await this.#withdrawStale();
    const heard = this.#heard;
    this.#heard = undefined;
    for (const hint of heard) this.#onHint(hint);
    if (finished !== undefined) await this.#finish(finished);
    else if (scheduler.finished === undefined) {
      this.#setState(scheduler.paused ? "PAUSED" : isUntouched ? this.#state : "RUNNING");
    }
    return { isUntouched };
  }

  #noteTime({ control, at }: Fact & { is: "control" }): void {
    if (control.is === "timeout") this.#timeouts++;
    if (control.is !== "retry") return;
    this.#startedAt = at;
    this.#timeouts = 0;
  }

  /** After a control fact. */
  async #refresh(): Promise<void> {
    if (this.#heard !== undefined || this.#closed) return;
    await this.#rebuild();
    if (this.#isTakingOver) await this.#takeOver({ isFirst: false });
    else this.#pump();
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

  /** After another conductor: what is open may have been sent, may have run, or neither. */
  async #sendWhatIsMissing(open: readonly (Effect & { is: "dispatch" })[]): Promise<void> {
    for (let i = 0; i < open.length && !this.#closed; i += ENSURE_BATCH) {
      await Promise.all(
        open.slice(i, i + ENSURE_BATCH).map(async ({ node, attempt }) => {
          if (!this.#isCurrent(node, attempt)) return;
          this.#sent.set(node, { attempt, at: this.#ports.clock.monotonic() });
          await this.#ensureOne(this.#address(node, attempt));
        }),
      );
    }
    this.#pump();
  }

  async #recordTimeout(now: number): Promise<void> {
    const { facts, random } = this.#ports;
    const record = writeControl({ id: random.id(), at: now, control: { is: "timeout" } });
    await facts.create(controlKey(this.workflow, this.#controls + 1), record);
    // "exists" may be another conductor's timeout (a second one would end the cleanup too), or something that changes the
    // deadline: the log is read either way, and a deadline that is still over is recorded on the next turn.
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
    const written = await facts.create(endKey(this.workflow, round), writeEnd(end));
    // The first terminal record is the one that counts, whoever wrote it.
    const stored = written === "exists"
      ? await facts.read(endKey(this.workflow, round))
      : undefined;
    const first = (stored === undefined ? undefined : readEnd(stored.data)) ?? end;
    if (this.#closed) return;
    await this.show({ now: true, finishedAt: first.at });
    this.#setState(first.state);
    this.#events.onEnd(first.state);
  }

  #setState(state: WorkflowState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.onState(state);
  }
}
