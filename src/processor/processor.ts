/**
 * Takes ticks and conducts their workflows. A tick is the lease: while it is held here it is extended; when a workflow
 * is quiet it is parked, its tick given back with a delay; when this process dies, its ticks come back by themselves.
 *
 *   tick → loading → active ⇄ parked → ended (tick acknowledged)
 *   any → dropped: the lease was lost, another processor has it, or the server was out of reach. Nothing is lost by it.
 */
import { type Duration, durationMs } from "../core/duration.ts";
import { InvalidOptionError } from "../core/errors.ts";
import { endKey, everythingOf } from "../core/keys.ts";
import { quote } from "../core/ids.ts";
import { type LiveProcessor, PROCESSORS } from "../core/presence.ts";
import { type EndRecord, failureOf, type RunStatus, writeEnd } from "../core/records.ts";
import { noCounts } from "../core/scheduler.ts";
import type { Reading } from "../core/metrics.ts";
import type { Cancel, Intake, Ports, TickDelivery } from "../ports.ts";
import { lastEnd } from "../runs/end.ts";
import { Presence } from "../runs/presence.ts";
import { atMost, sleep } from "../runs/time.ts";
import { Conductor } from "./conductor.ts";
import { Ear } from "./ear.ts";
import { tellUnreadEnd } from "./feed.ts";
import { type Answer, HandOver } from "./hand_over.ts";
import { Hooks, type ProcessorEvents } from "./hooks.ts";
import { loadDefinition, type LoadedDefinition, loadNew } from "./load.ts";
import { type CheckedOptions, checkOptions, type ProcessorOptions } from "./options.ts";
import { LOOK_EVERY_MS, nextLook } from "./quiet.ts";
import { Recurrences } from "./recurring.ts";
import { type Standing, standsStill } from "./standing.ts";
import { Sweeper, type Swept } from "./sweeper.ts";

/** What {@link Processor.runOnce} did. */
export interface RunOnceReport {
  /** Workflows it looked after. */
  readonly conducted: number;
  /** Those of them that ended. */
  readonly finished: number;
}

/** A workflow whose tick is held here. Monotonic times. */
interface Held {
  tick: TickDelivery;
  /** Absent while it is loaded, and of most that are parked where very many are. */
  conductor: Conductor | undefined;
  /** Stops answering who asks for it. */
  stopAnswering: Cancel | undefined;
  /** Whoever had it before has let go of it. */
  taken: Promise<unknown>;
  /** Stops listening for it, while it is parked without a conductor. */
  stopListening: Cancel | undefined;
  /** While it is parked like that: how it stands, unless something was heard of it since. */
  standing: Standing | undefined;
  extendedAt: number;
  activeAt: number;
  /** While parked: when the tick comes back. */
  parkedUntil: number | undefined;
  idleMs: number;
  ensuredAt: number;
  busy: boolean;
  /** A tick came while the end was being recorded: it may be about what somebody asked of the run after that. */
  cameWhileEnding: boolean;
  /** It takes one of the places that the intake may fill. */
  takesPlace: boolean;
}

const HOUSEKEEPING_MS = 100;
/** A workflow is parked when nothing was recorded for so long. */
const QUIET_MS = 1_000;
const QUIET_ONCE_MS = 300;
const NEWER_DELAY_MS = 5_000;
const TROUBLE_DELAY_MS = 1_000;
/** A workflow with nothing under way and nothing to do for so long is forgotten until its tick comes back. */
const DORMANT_FROM_MS = 60_000;
/** Some ten megabytes, of small ones. */
const KEEP = 1_000;
/** A tick is never away longer, unless the longest idle delay says so. */
const LONGEST_SLEEP_MS = 3_600_000;
/** How long a processor that stops waits for what it has begun. */
const SETTLE_MS = 1_000;
/** What was sent less long ago need not be asked for. */
const ENSURE_AFTER_MS = 2_000;
/** A lease not extended for this share of it is taken for lost: somebody else may have the tick. */
const FENCE = 0.8;

/** Conducts workflows: queues what is ready until each has ended. Any number share the work. Made by `app.processor(…)`. */
export class Processor {
  readonly id: string;
  readonly #ports: Ports;
  readonly #options: CheckedOptions;
  readonly #hooks: Hooks;
  readonly #handOver: HandOver;
  readonly #sweeper: Sweeper;
  readonly #recurrences: Recurrences;
  readonly #isAnnounced: boolean;
  readonly #keep: number;
  #presence: Presence | undefined;
  #stopObserving: Cancel = () => {};
  readonly #held = new Map<string, Held>();
  /** Those of `#held` that are not parked. */
  readonly #active = new Set<Held>();
  /** Those that are parked with their conductors; the longest parked first. */
  readonly #parked = new Set<Held>();
  #state: "idle" | "running" | "once" | "stopping" = "idle";
  #intake: Intake | undefined;
  #cancels: Cancel[] = [];
  #housekeeping = false;
  #cancelHousekeeping: Cancel = () => {};
  #tickedAt = 0;
  /** Only of `runOnce`: a processor that goes on would remember every run. */
  #report: { readonly conducted: Set<string>; finished: number } | undefined;

  /**
   * @param isAnnounced whether others can see that it runs.
   * @param keep parked workflows that are kept at hand; of the others only is known that they are there.
   * @throws {InvalidOptionError}
   */
  constructor(
    ports: Ports,
    options: ProcessorOptions = {},
    { isAnnounced = true, keep = KEEP }: { isAnnounced?: boolean; keep?: number } = {},
  ) {
    this.#isAnnounced = isAnnounced;
    this.#keep = keep;
    this.#options = checkOptions(options);
    this.#ports = ports;
    this.#hooks = new Hooks(ports.log, ports.codec);
    this.#sweeper = new Sweeper(ports, {
      everyMs: this.#options.sweepMs,
      retentionMs: this.#options.retentionMs,
    });
    this.#recurrences = new Recurrences(ports, { everyMs: this.#options.schedulesMs });
    this.id = ports.random.id();
    this.#handOver = new HandOver(ports.hints, this.id);
  }

  /** Attaches a hook. Returns what detaches it. */
  on<E extends keyof ProcessorEvents>(event: E, handler: ProcessorEvents[E]): () => void {
    if (this.#hooks.has(event)) return this.#hooks.add(event, handler);
    throw new InvalidOptionError("event", `There is no processor event ${quote(event)}`, {
      hint: "Use stateChange, activeTick or finish.",
    });
  }

  /** Begins to conduct. @throws {UnavailableError} */
  async start(): Promise<void> {
    if (this.#state !== "idle") return;
    this.#state = "running";
    await this.#orEnd(() => this.#begin());
    if (this.#state !== "running") return;
    this.#sweeper.start();
    this.#recurrences.start();
    this.#stopObserving = this.#ports.telemetry?.observe(() => this.#readings()) ?? (() => {});
    if (!this.#isAnnounced) return;
    this.#presence = this.#present();
    await this.#presence.begin();
  }

  #present(): Presence {
    const startedAt = this.#ports.clock.now();
    return new Presence(this.#ports, PROCESSORS + this.id, (at): LiveProcessor => ({
      id: this.id,
      concurrency: this.#options.concurrency,
      active: this.#active.size,
      parked: this.#held.size - this.#active.size,
      startedAt,
      at,
    }));
  }

  async #readings(): Promise<Reading[]> {
    const active = this.#active.size;
    const conducted = { is: "conducted", active, parked: this.#held.size - active } as const;
    try {
      const lanes = await this.#ports.tasks.depths();
      return [conducted, ...lanes.map((lane) => ({ is: "lane", ...lane }) as const)];
    } catch (error) {
      this.#ports.log("debug", "how full the queues are cannot be seen", {
        event: "queues-not-read",
        error,
      });
      return [conducted];
    }
  }

  /** Stops: other processors get its workflows at once. */
  async stop(): Promise<void> {
    if (this.#state !== "running") return;
    await this.#end(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /**
   * Does what is due, also of schedules, then returns: for cron and edge runtimes. A workflow is conducted until it ends or nothing of it
   * has happened for a moment; the rest is due again after `tick.active`.
   * @param options.maxDuration it returns after this at the latest (plus one answer of the server). @default "10s"
   */
  async runOnce({ maxDuration = "10s" }: { maxDuration?: Duration } = {}): Promise<RunOnceReport> {
    if (this.#state !== "idle") {
      throw new InvalidOptionError("runOnce", "runOnce was called on a processor that is running", {
        hint: "Use start() or runOnce(), not both at once.",
      });
    }
    const { clock } = this.#ports;
    const until = clock.monotonic() + durationMs("maxDuration", maxDuration, { least: 1 });
    this.#state = "once";
    const report = this.#report = { conducted: new Set<string>(), finished: 0 };
    await this.#orEnd(async () => {
      // First, so that what it submits is taken up now.
      await this.#recurrences.once(until);
      await this.#begin();
      while (clock.monotonic() < until && !this.#isIdle()) {
        await sleep(clock, Math.min(HOUSEKEEPING_MS, until - clock.monotonic()));
      }
      await this.#sweeper.sweepIfDue();
    });
    await this.#end(this.#options.activeMs);
    return { conducted: report.conducted.size, finished: report.finished };
  }

  /** Looks for lost ticks and removes old runs now. Processors do this by themselves. */
  sweep(): Promise<Swept> {
    return this.#sweeper.sweep();
  }

  #isIdle(): boolean {
    return this.#active.size === 0 &&
      this.#ports.clock.monotonic() - this.#tickedAt > QUIET_ONCE_MS;
  }

  async #begin(): Promise<void> {
    const { ticks, hints, clock } = this.#ports;
    this.#cancels = [
      this.#handOver.onHeld((workflow, { seq }) => this.#onHeld(workflow, seq)),
      hints.onGap(() => this.#afterGap()),
    ];
    this.#tickedAt = clock.monotonic();
    this.#intake = await ticks.take((tick) => this.#onTick(tick));
    this.#intake.want(this.#options.concurrency);
  }

  /** Whatever was begun is ended when it fails. */
  async #orEnd<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#end(0);
      throw error;
    }
  }

  async #end(delayMs: number): Promise<void> {
    this.#state = "stopping";
    this.#sweeper.stop();
    this.#stopObserving();
    this.#cancelHousekeeping();
    this.#housekeeping = false;
    for (const cancel of this.#cancels) cancel();
    const gone = this.#presence?.end();
    this.#presence = undefined;
    await Promise.all([this.#recurrences.stop(), this.#settleAll()]);
    for (const held of [...this.#held.values()]) {
      held.tick.giveBack(delayMs);
      this.#drop(held);
    }
    await this.#intake?.close();
    this.#intake = undefined;
    this.#report = undefined;
    await gone;
    this.#state = "idle";
  }

  /** Before others take over: nothing more is begun, and what was is done. */
  async #settleAll(): Promise<void> {
    const settling = [...this.#held.values()].map(async (held) => {
      const { conductor } = held;
      const shown = conductor?.show({ now: true }).catch(() => {});
      this.#close(held);
      await conductor?.settled();
      await shown;
    });
    await atMost(this.#ports.clock, SETTLE_MS, Promise.all(settling));
  }

  #onTick(tick: TickDelivery): void {
    if (this.#state === "stopping" || this.#state === "idle") return tick.giveBack();
    const now = this.#ports.clock.monotonic();
    this.#tickedAt = now;
    const known = this.#held.get(tick.workflow);
    if (known !== undefined) return this.#onTickAgain(known, tick, now);
    this.#measureLateness(tick);
    const held: Held = {
      tick,
      conductor: undefined,
      stopAnswering: undefined,
      taken: Promise.resolve(),
      stopListening: undefined,
      standing: undefined,
      extendedAt: now,
      activeAt: now,
      parkedUntil: undefined,
      idleMs: this.#options.idleMs[0],
      ensuredAt: now,
      busy: true,
      cameWhileEnding: false,
      takesPlace: true,
    };
    this.#held.set(tick.workflow, held);
    this.#activate(held);
    this.#report?.conducted.add(tick.workflow);
    void this.#load(held, { from: tick.deliveries === 1 ? "nobody" : "others", isNews: true });
  }

  /** The safety net, a wake, or a tick that was redelivered although it is held. */
  #onTickAgain(held: Held, tick: TickDelivery, now: number): void {
    held.tick = tick;
    held.extendedAt = now;
    held.cameWhileEnding ||= held.conductor?.isEnding === true;
    // The tick was let in on a place of its own.
    this.#leavePlace(held);
    held.takesPlace = true;
    if (held.parkedUntil !== undefined) {
      // Before its time it was woken.
      if (now >= held.parkedUntil) this.#tellLate(now - held.parkedUntil);
      held.parkedUntil = undefined;
      this.#activate(held);
    }
    if (held.busy) return;
    if (held.conductor === undefined) return void this.#lookAgain(held);
    this.#hooks.call("activeTick", () => [held.conductor!.status()]);
    held.busy = true;
    void this.#ensure(held, held.conductor);
  }

  /** One that was given back before is due at a moment that this processor need not know. */
  #measureLateness({ deliveries, sentNs }: TickDelivery): void {
    if (this.#ports.telemetry === undefined || deliveries > 1) return;
    this.#tellLate(Math.max(0, this.#ports.clock.now() - Number(sentNs) / 1e6));
  }

  #tellLate(lateMs: number): void {
    this.#ports.telemetry?.measure({ is: "ticked", lateMs });
  }

  async #ensure(held: Held, conductor: Conductor): Promise<void> {
    held.ensuredAt = this.#ports.clock.monotonic();
    try {
      await conductor.onDue();
      const { changed } = await conductor.ensure(ENSURE_AFTER_MS);
      held.idleMs = changed
        ? this.#options.idleMs[0]
        : Math.min(2 * held.idleMs, this.#options.idleMs[1]);
      // Nothing new: no need to stay up and wait for more.
      if (!changed && this.#active.has(held) && conductor.isQuiet) this.#park(held, conductor);
    } catch (error) {
      this.#onTrouble(held, error);
    } finally {
      held.busy = false;
    }
  }

  async #onDue(held: Held, conductor: Conductor): Promise<void> {
    try {
      await conductor.onDue();
    } catch (error) {
      this.#onTrouble(held, error);
    } finally {
      held.busy = false;
    }
  }

  /** One of those that are parked without a conductor. Most of them stand as they stood. */
  async #lookAgain(held: Held): Promise<void> {
    const { standing } = held;
    if (standing !== undefined) {
      held.busy = true;
      const isStill = await standsStill(this.#ports, standing).catch(() => false);
      held.busy = false;
      if (this.#held.get(held.tick.workflow) !== held || this.#state === "stopping") return;
      // Not if something was heard of it meanwhile.
      if (isStill && held.standing === standing) return this.#rest(held, standing.dueAt);
    }
    this.#loadAgain(held, { isNews: false });
  }

  #loadAgain(held: Held, { isNews }: { isNews: boolean }): void {
    held.busy = true;
    void this.#load(held, { from: "here", isNews });
  }

  /**
   * @param from who has conducted it; "nobody": unless something is recorded about it.
   * @param isNews it is more than a look at one that is quiet: there may be millions of those, of which nobody is told.
   */
  async #load(
    held: Held,
    { from, isNews }: { from: "nobody" | "others" | "here"; isNews: boolean },
  ): Promise<void> {
    const { workflow } = held.tick;
    const { facts, hints } = this.#ports;
    let ear: Ear | undefined;
    try {
      ear = new Ear(hints, workflow);
      const taking = from === "others" ? this.#takeFromOthers(held) : undefined;
      const { loaded, isUntouched } = from === "nobody"
        ? await loadNew(facts, workflow)
        : { loaded: await loadDefinition(facts, workflow), isUntouched: false };
      await (from === "nobody" && !isUntouched ? this.#takeFromOthers(held) : taking);
      if (this.#held.get(workflow) !== held) return ear.close();
      if (loaded.is !== "definition") {
        ear.close();
        return await this.#settleUnconductable(held, loaded);
      }
      const conductor = new Conductor(this.#ports, workflow, ear, loaded, this.#options, {
        onActivity: () => this.#onActivity(held),
        onState: (state) => this.#hooks.call("stateChange", () => [conductor.status(), state]),
        onEnd: () => this.#onEnd(held, conductor),
        onTrouble: (error) => this.#onTrouble(held, error),
      });
      held.conductor = conductor;
      held.stopAnswering ??= this.#answer(held);
      if (isNews) conductor.instruments?.wake();
      held.stopListening?.();
      held.stopListening = held.standing = undefined;
      await conductor.begin({ isUntouched });
      if (this.#held.get(workflow) === held) {
        this.#hooks.call("activeTick", () => [conductor.status()]);
      }
    } catch (error) {
      ear?.close();
      this.#onTrouble(held, error);
    } finally {
      held.busy = false;
      held.activeAt = this.#ports.clock.monotonic();
    }
  }

  /** It is dropped when another processor has a later tick of it. */
  async #takeFromOthers(held: Held): Promise<void> {
    while (this.#held.get(held.tick.workflow) === held) {
      const { workflow, seq } = held.tick;
      // It is not asked itself: what it answers from here on, it answers to others.
      held.stopAnswering?.();
      const answer = this.#handOver.ask(workflow, seq);
      held.taken = answer;
      held.stopAnswering = this.#answer(held);
      const said = await answer;
      // It may have gone on to the next one.
      if (this.#held.get(workflow) !== held) return;
      if (said === "let go") return this.#handOver.tell(workflow, held.tick.seq);
      // Unless a later one came here meanwhile.
      if (held.tick.seq === seq) return this.#drop(held);
    }
  }

  #answer(held: Held): Cancel {
    return this.#handOver.onAsked(held.tick.workflow, ({ seq }) => this.#onAsked(held, seq));
  }

  /** Another processor has got a tick of what is, or was, conducted here. */
  async #onAsked(held: Held, seq: number): Promise<Answer> {
    if (this.#held.get(held.tick.workflow) === held && seq < held.tick.seq) return "kept";
    this.#drop(held);
    await held.taken;
    await held.conductor?.settled();
    return "let go";
  }

  async #settleUnconductable(
    held: Held,
    loaded: Exclude<LoadedDefinition, { is: "definition" }>,
  ): Promise<void> {
    const { workflow } = held.tick;
    const { log } = this.#ports;
    switch (loaded.is) {
      case "missing":
        // A submit writes the definition before the tick, so this one was removed since.
        log("debug", `the tick of ${workflow} has no definition and is removed`, {
          event: "tick-without-workflow",
          run: workflow,
        });
        held.tick.ack();
        break;
      case "newer":
        log(
          "info",
          `${workflow} has definition version ${loaded.version}, which this processor cannot read: left to others`,
          { event: "definition-newer", run: workflow, version: loaded.version },
        );
        held.tick.giveBack(NEWER_DELAY_MS);
        break;
      case "unreadable":
        log("error", `${workflow} cannot be read and ends as ERROR: ${loaded.error.message}`, {
          event: "definition-unreadable",
          run: workflow,
          error: loaded.error,
        });
        await this.#endUnread(workflow, loaded.error.message);
        // Its conductor looks after its children, and tells itself what this one cannot.
        if (loaded.parent !== undefined) await this.#ports.ticks.wake(loaded.parent.workflow);
        held.tick.ack();
        break;
      default:
        loaded satisfies never;
    }
    this.#drop(held);
  }

  async #endUnread(workflow: string, reason: string): Promise<void> {
    const { facts, clock } = this.#ports;
    const last = await lastEnd(facts, workflow);
    if (last?.reopened === false) return;
    const end: EndRecord = {
      state: "ERROR",
      at: clock.now(),
      counts: noCounts(),
      failed: [],
      reason,
    };
    const round = (last?.round ?? 0) + 1;
    await facts.create(endKey(workflow, round), writeEnd(end));
    if (this.#options.feed) tellUnreadEnd(this.#ports, workflow, round, end);
  }

  /** Something was recorded. A parked workflow is taken up again: its tick is still ours, only delayed. */
  #onActivity(held: Held): void {
    const now = this.#ports.clock.monotonic();
    const { leaseMs } = this.#ports.ticks;
    held.activeAt = now;
    if (held.parkedUntil !== undefined) {
      if (now > held.parkedUntil) return this.#drop(held);
      held.parkedUntil = undefined;
      held.extendedAt = now;
      held.tick.extend();
      this.#activate(held);
      held.conductor?.instruments?.wake();
      if (held.conductor === undefined) this.#loadAgain(held, { isNews: true });
      else this.#hooks.call("activeTick", () => [held.conductor!.status()]);
    } else if (now - held.extendedAt > FENCE * leaseMs) {
      const stoodStillMs = Math.round(now - held.extendedAt);
      const { workflow: run } = held.tick;
      this.#ports.log(
        "warn",
        `the lease of ${run} was lost: this process stood still for ${stoodStillMs} ms`,
        { event: "lease-lost", run, processor: this.id, stoodStillMs },
      );
      this.#loseLease(held);
    } else this.#extendIfDue(held, now);
    held.idleMs = this.#options.idleMs[0];
  }

  /** Also whenever something was recorded: where much comes in, timers may have to wait for seconds. */
  #extendIfDue(held: Held, now: number): void {
    if (now - held.extendedAt <= this.#ports.ticks.leaseMs / 3) return;
    held.extendedAt = now;
    held.tick.extend();
  }

  #onEnd(held: Held, conductor: Conductor): void {
    // Given back, it makes somebody look again.
    if (held.cameWhileEnding) held.tick.giveBack();
    else held.tick.ack();
    this.#tellEnd(conductor);
    if (this.#report !== undefined) this.#report.finished++;
    this.#drop(held);
    this.#hooks.call(
      "finish",
      () => [conductor.status(this.#ports.clock.now()) satisfies RunStatus],
    );
  }

  #tellEnd({ instruments, definition, submittedAt, state }: Conductor): void {
    instruments?.rest(state);
    const ms = Math.max(0, this.#ports.clock.now() - submittedAt);
    this.#ports.telemetry?.measure({ is: "ended", workflow: definition.name, state, ms });
  }

  #onTrouble(held: Held, error: unknown): void {
    if (this.#held.get(held.tick.workflow) !== held) return;
    this.#ports.log("warn", `${held.tick.workflow} is put aside: ${failureOf(error).message}`, {
      event: "workflow-put-aside",
      run: held.tick.workflow,
      processor: this.id,
      error,
    });
    held.tick.giveBack(TROUBLE_DELAY_MS);
    this.#drop(held);
  }

  /** Another processor has a tick of it. */
  #onHeld(workflow: string, seq: number): void {
    const held = this.#held.get(workflow);
    if (held === undefined) return;
    if (seq >= held.tick.seq) this.#drop(held);
    else this.#handOver.tell(workflow, held.tick.seq);
  }

  /** Hints may have been missed: look after everything; one after the other, after what is parked without a conductor. */
  #afterGap(): void {
    let looks = 0;
    for (const held of [...this.#held.values()]) {
      if (held.conductor !== undefined) {
        void held.conductor.afterGap().catch((error) => this.#onTrouble(held, error));
      } else if (held.stopListening !== undefined && !held.busy) {
        held.tick.extend();
        held.tick.giveBack(++looks * LOOK_EVERY_MS);
        this.#drop(held);
      }
    }
  }

  #loseLease(held: Held): void {
    this.#ports.telemetry?.measure({ is: "leaseLost", lease: "tick" });
    this.#drop(held);
  }

  #drop(held: Held): void {
    if (this.#held.get(held.tick.workflow) !== held) return;
    this.#close(held);
    held.conductor?.instruments?.rest("let go");
    held.stopListening?.();
    this.#held.delete(held.tick.workflow);
    this.#active.delete(held);
    this.#parked.delete(held);
    this.#leavePlace(held);
  }

  /** Who asks for it is answered until nothing is under way. */
  #close(held: Held): void {
    const { conductor, stopAnswering, taken } = held;
    held.stopAnswering = undefined;
    conductor?.close();
    if (stopAnswering === undefined) return;
    void taken.then(() => conductor?.settled()).then(stopAnswering);
  }

  #leavePlace(held: Held): void {
    if (!held.takesPlace) return;
    held.takesPlace = false;
    this.#intake?.want(1);
  }

  #park(held: Held, conductor: Conductor): void {
    const { clock } = this.#ports;
    const longestMs = Math.max(LONGEST_SLEEP_MS, this.#options.idleMs[1]);
    const sleepMs = Math.min(conductor.dueAt - clock.now(), longestMs);
    if (conductor.isDormant && sleepMs > DORMANT_FROM_MS && this.#state === "running") {
      // Only its tick, a control fact or time can bring anything: nothing of it is kept here.
      void conductor.show({ now: true }).catch(() => {});
      held.tick.giveBack(sleepMs);
      return this.#drop(held);
    }
    this.#rest(held, conductor.dueAt);
    conductor.instruments?.rest("parked");
    void conductor.show().catch(() => {});
    this.#parked.add(held);
    if (this.#parked.size > this.#keep) {
      this.#letGo(this.#parked.keys().next().value!);
    }
  }

  /** Its tick comes back when it is due, or when it is to be looked after. */
  #rest(held: Held, dueAt: number): void {
    const { clock, random } = this.#ports;
    const now = clock.monotonic();
    const quiet = { idleMs: held.idleMs, held: this.#held.size, keep: this.#keep };
    const idleMs = this.#state === "once"
      ? this.#options.activeMs
      : nextLook(now, quiet, random.chance()) - now;
    const delayMs = Math.max(1, Math.min(idleMs, dueAt - clock.now()));
    held.tick.giveBack(delayMs);
    held.parkedUntil = now + delayMs;
    this.#active.delete(held);
    this.#leavePlace(held);
  }

  /** All but how it stands is forgotten, and read again when something is heard of it or it stands no longer so. */
  #letGo(held: Held): void {
    this.#parked.delete(held);
    const { conductor } = held;
    if (conductor === undefined) return;
    const { hints } = this.#ports;
    held.standing = conductor.standing;
    held.stopListening = hints.onFact(everythingOf(held.tick.workflow), () => {
      held.standing = undefined;
      if (!held.busy) this.#onActivity(held);
    });
    this.#close(held);
    held.conductor = undefined;
  }

  #activate(held: Held): void {
    this.#parked.delete(held);
    this.#active.add(held);
    this.#housekeepLater();
  }

  /** Only while something is active: parked workflows cost no turns. */
  #housekeepLater(): void {
    if (this.#housekeeping || this.#active.size === 0) return;
    this.#housekeeping = true;
    this.#cancelHousekeeping = this.#ports.clock.after(HOUSEKEEPING_MS, () => this.#housekeep());
  }

  #housekeep(): void {
    this.#housekeeping = false;
    if (this.#state === "stopping" || this.#state === "idle") return;
    const { clock, ticks } = this.#ports;
    const now = clock.monotonic();
    const quietMs = this.#state === "once" ? QUIET_ONCE_MS : QUIET_MS;
    for (const held of [...this.#active]) {
      if (now - held.extendedAt > FENCE * ticks.leaseMs) {
        this.#loseLease(held);
        continue;
      }
      this.#extendIfDue(held, now);
      const { conductor } = held;
      if (conductor === undefined || held.busy) continue;
      if (conductor.dueAt <= clock.now()) {
        held.busy = true;
        void this.#onDue(held, conductor);
      } else if (now - held.activeAt > quietMs && conductor.isQuiet) {
        this.#park(held, conductor);
      } else if (now - held.ensuredAt > this.#options.idleMs[1]) {
        // A busy workflow is never parked, so its tick does not remind us of hints that got lost.
        held.busy = true;
        void this.#ensure(held, conductor);
      } else {
        void conductor.show().catch(() => {});
      }
    }
    this.#housekeepLater();
  }
}
