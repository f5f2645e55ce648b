/**
 * Takes task messages as slots get free, runs them, records each outcome, and only then acknowledges. A crash anywhere
 * repeats the task, and the second outcome is refused by the log. Knows nothing of workflows but the names in messages.
 */
import { type Duration, durationMs } from "../core/duration.ts";
import { InvalidOptionError } from "../core/errors.ts";
import type { Control } from "../core/fact.ts";
import { controlsOf, parseKey, QUARANTINE } from "../core/keys.ts";
import { isLimited as isLimitedLane, laneKind, type Rate, urgencyOf } from "../core/lanes.ts";
import { type AnnouncedTask, type LiveWorker, WORKERS } from "../core/presence.ts";
import type { LogFields } from "../core/log_event.ts";
import { failureOf, readControl } from "../core/records.ts";
import { schemaHash } from "../core/schema_hash.ts";
import { sealJson } from "../core/sealing.ts";
import type { Sources } from "../core/template.ts";
import type { Cancel, Hint, Intake, Ports, TaskDelivery } from "../ports.ts";
import { Presence } from "../runs/presence.ts";
import { atMost } from "../runs/time.ts";
import { Attempt } from "./attempt.ts";
import { Beginnings } from "./beginnings.ts";
import { BUILTIN_TASKS } from "./builtin.ts";
import { execute, type Executed } from "./execution.ts";
import type { InHand } from "./in_hand.ts";
import { Instrumentation } from "./instrumentation.ts";
import { Inputs } from "./inputs.ts";
import { type CheckedOptions, checkOptions, type WorkerOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { Recorder } from "./recorder.ts";
import { fetchSources } from "./sources.ts";
import { TaskLog } from "./task_log.ts";
import { isSealedTask, unsealTask } from "./unsealed_task.ts";
import { type Handler, judge, type Verdict } from "./verdict.ts";

const encoder = new TextEncoder();
const WATCH_MS = 250;
const NEWER_DELAY_MS = 5_000;
const UNAVAILABLE_DELAY_MS = 1_000;
/** How long a task that was told to stop may take to end. */
const ABORT_GRACE_MS = 5_000;
/** How long a message of a limited lane may wait for a slot: held any longer, it would keep others from theirs. */
const LIMITED_HOLD_MS = 1_000;
/** How long an outcome waits for what its task logged, where the server is slow. */
const LOG_MS = 1_000;
/** How long a message is given back for because its moment is far away: the rate may change meanwhile. */
const LONGEST_DELAY_MS = 600_000;

/** Runs tasks: takes messages of its queues, calls the functions, records what came of it. Made by `app.worker(…)`. */
export class Worker {
  readonly id: string;
  readonly #ports: Ports;
  readonly #options: CheckedOptions;
  readonly #presence: Presence | undefined;
  readonly #inputs: Inputs;
  readonly #pace: Pace;
  readonly #beginnings: Beginnings;
  readonly #recorder: Recorder;
  readonly #instruments: Instrumentation | undefined;
  readonly #inHand = new Set<InHand>();
  /** In hand and waiting for a slot: the most urgent first, of equals those of limited lanes, then the oldest. */
  readonly #waiting: InHand[] = [];
  #running = 0;
  #filling = false;
  #state: "new" | "started" | "stopping" | "stopped" = "new";
  #intake: Intake | undefined;
  #cancels: Cancel[] = [];
  #watching = false;
  #onIdle: (() => void)[] = [];

  /**
   * @param isAnnounced whether others can see that it runs.
   * @throws {InvalidOptionError}
   */
  constructor(
    ports: Ports,
    options: WorkerOptions,
    { isAnnounced = true }: { isAnnounced?: boolean } = {},
  ) {
    this.#ports = ports;
    this.#options = checkOptions(options);
    this.id = this.#options.id ?? ports.random.id();
    this.#inputs = new Inputs(ports, this.#options);
    this.#pace = new Pace(ports);
    this.#beginnings = new Beginnings(ports, this.#options.maxCrashes);
    this.#recorder = new Recorder(ports, this.id, {
      isHeld: (held) => this.#inHand.has(held),
      onRecorded: (held) => this.#settle(held),
    });
    this.#instruments = Instrumentation.of(ports, this.id);
    if (isAnnounced) this.#presence = this.#present();
  }

  /** Begins to take tasks. @throws {UnavailableError} */
  async start(): Promise<void> {
    if (this.#state === "started") return;
    if (this.#state !== "new") {
      throw new InvalidOptionError(
        "start",
        `Worker ${this.id} has been stopped and cannot start again`,
        {
          hint: "Make another one: app.worker({ … }).",
        },
      );
    }
    this.#state = "started";
    // Cancels reach running tasks this way. One that gets lost costs only time: its outcome will not count.
    this.#cancels.push(this.#ports.hints.onFact("*.ctl.*", (hint) => this.#onControl(hint)));
    try {
      const demand = { queues: this.#options.queues, ahead: this.#options.prefetch };
      this.#intake = await this.#ports.tasks.take(demand, (task) => this.#onTask(task));
    } catch (error) {
      for (const cancel of this.#cancels.splice(0)) cancel();
      this.#state = "new";
      throw error;
    }
    if (this.#state !== "started") return await this.#intake.close(); // It was stopped meanwhile.
    this.#intake.want(this.#options.concurrency + this.#options.prefetch);
    if (this.#instruments !== undefined) {
      this.#cancels.push(this.#instruments.observe(this.#inHand));
    }
    await this.#presence?.begin();
  }

  #present(): Presence {
    const tasks = [...this.#options.handlers].flatMap(([name, handler]) =>
      BUILTIN_TASKS.has(name) ? [] : [announced(name, handler)]
    );
    const startedAt = this.#ports.clock.now();
    return new Presence(this.#ports, WORKERS + this.id, (at): LiveWorker => ({
      id: this.id,
      queues: this.#options.queues,
      tasks,
      concurrency: this.#options.concurrency,
      running: this.#running,
      ...this.#recorder.counts,
      startedAt,
      at,
    }));
  }

  /**
   * Stops: takes no more, gives back what has not started, waits for what runs.
   * @param options.timeout after this, running tasks are aborted and given back too. @default "30s"
   */
  async stop({ timeout = "30s" }: { timeout?: Duration } = {}): Promise<void> {
    const timeoutMs = durationMs("timeout", timeout);
    if (this.#state !== "started") return;
    this.#state = "stopping";
    const gone = this.#presence?.end();
    this.#waiting.length = 0;
    for (const held of [...this.#inHand]) if (held.startedAt === undefined) this.#drop(held);
    await this.#intake?.close();
    await atMost(this.#ports.clock, timeoutMs, this.#idle());
    const logged = [...this.#inHand].map((held) => {
      held.attempt?.abort(new Error("the worker is stopping"));
      this.#drop(held);
      return held.attempt?.endLog();
    });
    this.#state = "stopped";
    for (const stop of this.#cancels) stop();
    if (logged.length > 0) await atMost(this.#ports.clock, LOG_MS, Promise.all(logged));
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #onTask(task: TaskDelivery): void {
    if (this.#state !== "started") return task.giveBack();
    const isLimited = task.address !== undefined && isLimitedLane(task.address.lane);
    if (isLimited && !this.#hasPlaceForLimited()) return task.giveBack();
    const held: InHand = {
      task,
      heldAt: this.#ports.clock.monotonic(),
      startedAt: undefined,
      told: false,
      attempt: undefined,
      isCleanup: false,
      isLimited,
      cancelWait: () => {},
      begun: false,
      countedAs: undefined,
      isBegunAgain: false,
      span: undefined,
      trace: undefined,
      progress: undefined,
    };
    this.#inHand.add(held);
    this.#watchSoon();
    this.#wait(held);
    this.#fill();
  }

  /** At most one of them waits for a slot: it is the next to begin. */
  #hasPlaceForLimited(): boolean {
    return this.#running < this.#options.concurrency ||
      !this.#waiting.some(({ isLimited }) => isLimited);
  }

  /** Begins what waits, as far as there are slots. A loop: what ends at once must not begin the next from inside. */
  #fill(): void {
    if (this.#filling) return;
    this.#filling = true;
    while (
      this.#state === "started" && this.#running < this.#options.concurrency &&
      this.#waiting.length > 0
    ) {
      this.#begin(this.#waiting.shift()!);
    }
    this.#filling = false;
  }

  #wait(held: InHand): void {
    let at = this.#waiting.length;
    while (at > 0 && rank(this.#waiting[at - 1]!) < rank(held)) at--;
    this.#waiting.splice(at, 0, held);
    if (!held.isLimited) return;
    held.cancelWait = this.#ports.clock.after(LIMITED_HOLD_MS, () => {
      this.#waiting.splice(this.#waiting.indexOf(held), 1);
      this.#drop(held);
    });
  }

  #begin(held: InHand): void {
    this.#running++;
    held.cancelWait();
    held.startedAt = this.#ports.clock.now();
    const verdict = judge(held.task, this.#options.handlers);
    if (!isRated(verdict)) this.#countAsBegun(held);
    // The common case runs through without a turn of the event loop for each step.
    const executed = verdict.is === "run" && isReady(verdict) && held.task.deliveries === 1 &&
        !isSealedTask(verdict)
      ? this.#execute(held, verdict, { resultOf: (node) => verdict.message.results[node] })
      : this.#prepare(held, verdict);
    if (executed instanceof Promise) executed.then((done) => this.#end(held, verdict, done));
    else this.#end(held, verdict, executed);
  }

  /** Everything that needs the server before a handler can run. Undefined: there is nothing to record. */
  async #prepare(held: InHand, verdict: Verdict): Promise<Executed | undefined> {
    try {
      // Delivered before: whoever had it may have recorded its outcome and died before acknowledging.
      if (
        "address" in verdict && held.task.deliveries > 1 &&
        await this.#beginnings.isRecorded(verdict)
      ) {
        held.task.ack();
        return undefined;
      }
      switch (verdict.is) {
        case "giveBack":
          this.#ports.log("info", `a task is given back: ${verdict.why}`, {
            event: "task-given-back",
            ...this.#fieldsOf(held),
          });
          this.#drop(held, NEWER_DELAY_MS);
          return undefined;
        case "quarantine":
          await this.#quarantine(held, verdict.why);
          held.task.ack();
          return undefined;
        case "fail":
          if (verdict.keep) await this.#quarantine(held, verdict.failure.message);
          return { is: "failed", failure: verdict.failure };
        case "run": {
          const task = await unsealTask(this.#ports.codec, verdict);
          const fetched = await fetchSources(this.#ports, this.#inputs, task);
          if (fetched.is === "failed") {
            this.#countAsBegun(held);
            return fetched;
          }
          if (isRated(verdict) && !await this.#awaitMoment(held, verdict)) return undefined;
          const failure = await this.#beginnings.whyNotBegin(held, task);
          return failure === undefined
            ? await this.#execute(held, task, fetched.sources)
            : { is: "failed", failure };
        }
      }
    } catch (error) {
      const why = failureOf(error).message;
      this.#ports.log("warn", `a task could not be prepared and is given back: ${why}`, {
        event: "task-not-prepared",
        ...this.#fieldsOf(held),
        error,
      });
      this.#drop(held, UNAVAILABLE_DELAY_MS);
      return undefined;
    }
    return verdict satisfies never;
  }

  #countAsBegun(held: InHand): void {
    held.begun = true;
    held.task.begin();
  }

  /**
   * Until it may begin by the rate of its lane. When that is not soon, it gives its slot to others meanwhile.
   * @returns whether it may begin now.
   */
  async #awaitMoment(
    held: InHand,
    { address, message: { rate } }: RatedVerdict,
  ): Promise<boolean> {
    const { clock, tasks } = this.#ports;
    const claimed = await this.#pace.claim(address, rate);
    if (!this.#inHand.has(held)) return false;
    if (claimed.is === "later") {
      held.startedAt = undefined;
      if (this.#state !== "started") this.#drop(held);
      else if (claimed.afterMs > tasks.leaseMs) {
        // Far away: the queue keeps it meanwhile.
        this.#drop(held, Math.min(claimed.afterMs, LONGEST_DELAY_MS));
      } else {
        held.cancelWait = clock.after(claimed.afterMs, () => {
          this.#wait(held);
          this.#fill();
        });
      }
      return false;
    }
    held.startedAt = clock.now();
    this.#countAsBegun(held);
    return true;
  }

  #execute(
    held: InHand,
    verdict: Verdict & { is: "run" },
    sources: Sources,
  ): Executed | Promise<Executed> {
    const { handler, signature, message, address } = verdict;
    held.attempt = new Attempt(address, signature, message.workflow, (value) => {
      const topic = `progress.${address.workflow}.${address.node}.${address.attempt}`;
      // Nothing depends on it, so nothing fails by it: what JSON cannot carry is told as null.
      this.#tellProgress(held, topic, JSON.stringify(value) ?? "null");
    }, () => new TaskLog(this.#ports, address, this.id));
    held.isCleanup = message.isCleanup;
    if (this.#instruments !== undefined) {
      held.span = this.#instruments.begin(held, verdict);
      held.trace = held.span.trace;
    }
    return execute({
      handler,
      signature,
      attempt: held.attempt,
      span: held.span,
      sources,
      clock: this.#ports.clock,
      maxResult: this.#options.maxResult,
    });
  }

  #tellProgress(held: InHand, topic: string, json: string): void {
    const { codec, hints, log } = this.#ports;
    if (codec === undefined) return hints.tell(topic, encoder.encode(json));
    // One after the other: a codec may take longer for the first than for the second.
    held.progress = (held.progress ?? Promise.resolve())
      .then(async () => hints.tell(topic, encoder.encode(await sealJson(codec, json))))
      .catch((error) =>
        log("debug", "progress cannot be sealed", {
          event: "progress-not-sealed",
          ...this.#fieldsOf(held),
          error,
        })
      );
  }

  /** The handler is done: its slot is free. The message stays in hand until its outcome is recorded. */
  #end(held: InHand, verdict: Verdict, executed: Executed | undefined): void {
    this.#running--;
    // Without a start it goes on waiting for its moment.
    if (executed === undefined || !("address" in verdict)) {
      if (held.startedAt !== undefined) this.#release(held);
    } else if (this.#inHand.has(held)) {
      this.#instruments?.end(held, verdict, executed);
      const logged = held.attempt?.endLog();
      if (logged === undefined) this.#recorder.record(held, verdict, executed);
      else void this.#recordAfter(logged, held, verdict, executed);
    }
    this.#fill();
  }

  /** Who sees an outcome can read what was logged before it, unless that cannot be written soon. */
  async #recordAfter(
    logged: Promise<void>,
    held: InHand,
    verdict: Verdict & { is: "run" | "fail" },
    executed: Executed,
  ): Promise<void> {
    const endedAt = this.#ports.clock.now();
    await atMost(this.#ports.clock, LOG_MS, logged);
    if (this.#inHand.has(held)) this.#recorder.record(held, verdict, executed, endedAt);
  }

  /** Recorded: now it may be acknowledged. */
  #settle(held: InHand): void {
    if (this.#inHand.has(held)) held.task.ack();
    this.#release(held);
    this.#beginnings.forget(held);
  }

  /** What is logged about it. */
  #fieldsOf({ task: { subject, address } }: InHand): Omit<LogFields, "event"> {
    if (address === undefined) return { worker: this.id, subject };
    const { workflow: run, node, attempt, queue } = address;
    return { run, node, attempt, queue, worker: this.id, subject };
  }

  async #quarantine(held: InHand, why: string): Promise<void> {
    const { task } = held;
    this.#ports.log("error", `a task message was put in quarantine: ${why}`, {
      event: "task-quarantined",
      ...this.#fieldsOf(held),
    });
    const name = task.address === undefined
      ? `unknown.${task.sentNs}`
      : `${task.address.workflow}.${task.address.node}.${task.address.attempt}`;
    await this.#ports.views.put(QUARANTINE + name, task.data);
  }

  #drop(held: InHand, delayMs?: number): void {
    if (!this.#inHand.has(held)) return;
    held.span?.end({ outcome: "given back" });
    held.span = undefined;
    held.task.giveBack(delayMs);
    this.#release(held);
  }

  #release(held: InHand): void {
    if (!this.#inHand.delete(held)) return;
    held.cancelWait();
    if (this.#state === "started" && (held.begun || !held.isLimited)) this.#intake?.want(1);
    if (this.#inHand.size === 0) { for (const call of this.#onIdle.splice(0)) call(); }
  }

  #idle(): Promise<void> {
    return this.#inHand.size === 0
      ? Promise.resolve()
      : new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #onControl({ key, data }: Hint): void {
    const parsed = parseKey(key);
    const control = readControl(data)?.control;
    if (parsed === undefined || control === undefined) return;
    for (const held of this.#inHand) {
      if (held.task.address?.workflow === parsed.workflow) this.#stopIfAsked(held, control);
    }
  }

  #stopIfAsked({ task: { address }, attempt, isCleanup }: InHand, control: Control): void {
    if (attempt === undefined || !stops(control, address!.node, isCleanup)) return;
    const reason = new Error(`the workflow's control fact: ${control.is}`);
    reason.name = "AbortError";
    attempt.abort(reason);
    // Its outcome counts no more: a handler that does not listen must not keep its slot for ever.
    this.#ports.clock.after(ABORT_GRACE_MS, () => attempt.cutOff(reason));
  }

  /** A control fact may have been told before the task came here: what takes a while looks once. */
  async #lookForControls(held: InHand, workflow: string): Promise<void> {
    const { facts } = this.#ports;
    if (await facts.next(controlsOf(workflow), 0) === undefined) return;
    const records = (await facts.scan(controlsOf(workflow), { bodies: true })).sort((a, b) =>
      a.seq - b.seq
    );
    const controls = records.flatMap(({ data }) => readControl(data)?.control ?? []);
    // What was asked of an earlier round is over.
    const opening = controls.findLastIndex(({ is }) => is === "retry" || is === "rerun");
    const thisRound = controls.slice(opening + 1);
    for (const control of thisRound) if (this.#inHand.has(held)) this.#stopIfAsked(held, control);
  }

  #watchSoon(): void {
    if (this.#watching) return;
    this.#watching = true;
    this.#ports.clock.after(WATCH_MS, () => this.#watch());
  }

  /** Keeps what is in hand from being delivered to others, and tells watchers about tasks that take a while. */
  #watch(): void {
    this.#watching = false;
    const now = this.#ports.clock.monotonic();
    for (const held of this.#inHand) {
      if (now - held.heldAt >= this.#ports.tasks.leaseMs / 3) {
        held.heldAt = now;
        held.task.extend();
      }
      if (held.begun && !held.told && held.task.address !== undefined) {
        held.told = true;
        const { workflow, node, attempt } = held.task.address;
        this.#ports.hints.tell(`started.${workflow}.${node}.${attempt}`, encoder.encode(this.id));
        this.#lookForControls(held, workflow).catch((error) =>
          this.#ports.log("debug", `the control facts of ${workflow} cannot be read`, {
            event: "controls-not-read",
            run: workflow,
            error,
          })
        );
      }
    }
    if (this.#inHand.size > 0) this.#watchSoon();
  }
}

/** Whether a handler can run with what is at hand. */
function isReady({ missing, isTimed, message }: Verdict & { is: "run" }): boolean {
  return missing.length === 0 && !isTimed && message.failures.length === 0 &&
    message.summary === undefined && message.rate === undefined;
}

type RatedVerdict = Verdict & { is: "run"; message: { readonly rate: Rate } };

/** Whether it may run, but only at its moment. */
function isRated(verdict: Verdict): verdict is RatedVerdict {
  return verdict.is === "run" && verdict.message.rate !== undefined &&
    laneKind(verdict.address.lane).is === "rated";
}

/** What begins before what. A message of a limited lane is held at the cost of others. */
function rank({ task: { address }, isLimited }: InHand): number {
  return address === undefined ? -1 : urgencyOf(address.lane) + (isLimited ? 0.5 : 0);
}

/** Whether a control fact means that this node, while it runs, is to stop. */
function stops(control: Control, node: number, isCleanup: boolean): boolean {
  switch (control.is) {
    case "cancel":
      return !isCleanup;
    case "timeout":
      return true;
    case "skip":
      return control.nodes.includes(node);
    case "pause":
    case "resume":
    case "retry":
    case "rerun":
    case "event":
      return false;
  }
  return control satisfies never;
}

function announced(name: string, { input, output }: Handler): AnnouncedTask {
  return {
    name,
    ...(input === undefined ? {} : { input: schemaHash(input, "input") }),
    ...(output === undefined ? {} : { output: schemaHash(output, "output") }),
  };
}
