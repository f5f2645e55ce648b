/**
 * Takes task messages as slots get free, runs them, records each outcome, and only then acknowledges. A crash anywhere
 * repeats the task, and the second outcome is refused by the log. Knows nothing of workflows but the names in messages.
 */
import type { NodeFailure, RunSummary } from "../core/canvas.ts";
import type { Definition } from "../core/definition.ts";
import { type Duration, durationMs } from "../core/duration.ts";
import {
  CodecError,
  InvalidOptionError,
  type RecordedFailure,
  UnavailableError,
} from "../core/errors.ts";
import { type Control, expiredFailure } from "../core/fact.ts";
import { checkId, quote } from "../core/ids.ts";
import { begunKey, controlsOf, expansionKey, outcomeKey, parseKey } from "../core/keys.ts";
import { isLimited as isLimitedLane, laneKind, type Rate, urgencyOf } from "../core/lanes.ts";
import { DEFAULT_QUEUE, refuseUnknown } from "../core/options.ts";
import { type AnnouncedTask, type LiveWorker, WORKERS } from "../core/presence.ts";
import {
  blobIn,
  blobName,
  failureOf,
  type OutcomeNote,
  readBegun,
  readControl,
  writeBegun,
  writeBlobReference,
  writeFailure,
  writeOutcomeNote,
} from "../core/records.ts";
import { schemaHash } from "../core/schema_hash.ts";
import { sealFailure, unsealFailure } from "../core/sealed_failure.ts";
import { sealJson } from "../core/sealing.ts";
import type { AnyTask } from "../core/task.ts";
import type { Sources } from "../core/template.ts";
import type { Cancel, Hint, Intake, Ports, TaskAddress, TaskDelivery } from "../ports.ts";
import { recordExpansion } from "../runs/expansion.ts";
import { Presence } from "../runs/presence.ts";
import { Attempt } from "./attempt.ts";
import { BUILTIN_TASKS } from "./builtin.ts";
import { execute, type Executed } from "./execution.ts";
import { Inputs } from "./inputs.ts";
import { isSealedTask, unsealTask } from "./unsealed_task.ts";
import { Pace } from "./pace.ts";
import { type Handler, judge, type Verdict } from "./verdict.ts";

export interface WorkerOptions {
  /** The tasks it can run. */
  tasks: readonly AnyTask[];
  /** The queues it serves. @default ["default"] */
  queues?: readonly string[];
  /** Tasks that run at the same time. @default 16 */
  concurrency?: number;
  /** Messages held ready beyond those that run, so that a slot never waits for the server. @default as many as run, at most 32 */
  prefetch?: number;
  /** Who it is, in records. @default a random id */
  id?: string;
  /**
   * An attempt that was begun again this often without an outcome is recorded as failed (WorkerLostError): it has cost
   * too many workers their lives. What a worker gives back before it began does not count. @default 5
   */
  maxCrashes?: number;
  /** Bytes of a result, as JSON; a larger one is a failure (PayloadTooLargeError). @default 64 MiB */
  maxResult?: number;
  /** Bytes of all results that one task takes and its message does not bring; more is a failure (PayloadTooLargeError). @default 256 MiB */
  maxInputs?: number;
  /** Bytes of results kept for other tasks that take them too; 0: none. @default 64 MiB */
  inputCache?: number;
}

/** A message in hand: waiting for a slot, running, or being recorded. */
interface InHand {
  readonly task: TaskDelivery;
  heldAt: number;
  startedAt: number | undefined;
  told: boolean;
  attempt: Attempt | undefined;
  isCleanup: boolean;
  /** Its lane is limited: it does not count as one of those wanted before it begins. */
  readonly isLimited: boolean;
  /** Ends what it does while it has no slot: waiting for one, or for its moment. */
  cancelWait: Cancel;
  begun: boolean;
  /** Where it is counted that this attempt was begun again. */
  countedAs: string | undefined;
  /** With a codec: the last of what was told is being sealed. */
  progress: Promise<void> | undefined;
}

/** What is recorded as an outcome. */
type Ended = Exclude<Executed, { is: "expanded" }>;

/** An outcome, ready to be recorded. */
interface Outcome {
  readonly key: string;
  readonly data: Uint8Array;
  readonly note: string;
}

const encoder = new TextEncoder();
const WATCH_MS = 250;
const NEWER_DELAY_MS = 5_000;
const UNAVAILABLE_DELAY_MS = 1_000;
/** How long a task that was told to stop may take to end. */
const ABORT_GRACE_MS = 5_000;
const MIB = 1_048_576;
/** More than any text of this runtime may have. */
const MOST_BYTES = 1_024 * MIB;
/** How long a message of a limited lane may wait for a slot: held any longer, it would keep others from theirs. */
const LIMITED_HOLD_MS = 1_000;
/** How long a message is given back for because its moment is far away: the rate may change meanwhile. */
const LONGEST_DELAY_MS = 600_000;

export class Worker {
  readonly id: string;
  readonly #ports: Ports;
  readonly #handlers: ReadonlyMap<string, Handler>;
  readonly #queues: readonly string[];
  readonly #concurrency: number;
  readonly #prefetch: number;
  readonly #maxCrashes: number;
  readonly #presence: Presence | undefined;
  readonly #maxResult: number;
  readonly #inputs: Inputs;
  readonly #pace: Pace;
  readonly #inHand = new Set<InHand>();
  /** In hand and waiting for a slot: the most urgent first, of equals those of limited lanes, then the oldest. */
  readonly #waiting: InHand[] = [];
  #running = 0;
  /** Outcomes recorded. */
  readonly #recorded = { succeeded: 0, failed: 0 };
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
    refuseUnknown("worker option", options, [
      "tasks",
      "queues",
      "concurrency",
      "prefetch",
      "id",
      "maxCrashes",
      "maxResult",
      "maxInputs",
      "inputCache",
    ]);
    this.#ports = ports;
    this.#handlers = handlersOf(options.tasks);
    this.#queues = [
      ...new Set((options.queues ?? [DEFAULT_QUEUE]).map((queue) => checkId("queue", queue))),
    ];
    this.#concurrency = count("concurrency", options.concurrency ?? 16, 1);
    this.#prefetch = count("prefetch", options.prefetch ?? Math.min(this.#concurrency, 32), 0);
    this.#maxCrashes = count("maxCrashes", options.maxCrashes ?? 5, 1);
    this.#maxResult = count("maxResult", options.maxResult ?? 64 * MIB, 1, MOST_BYTES);
    this.#inputs = new Inputs(ports, {
      maxInputs: count("maxInputs", options.maxInputs ?? 256 * MIB, 1, MOST_BYTES),
      inputCache: count("inputCache", options.inputCache ?? 64 * MIB, 0, MOST_BYTES),
    });
    this.#pace = new Pace(ports);
    this.id = checkId("worker id", options.id ?? ports.random.id());
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
      const demand = { queues: this.#queues, ahead: this.#prefetch };
      this.#intake = await this.#ports.tasks.take(demand, (task) => this.#onTask(task));
    } catch (error) {
      for (const cancel of this.#cancels.splice(0)) cancel();
      this.#state = "new";
      throw error;
    }
    if (this.#state !== "started") return await this.#intake.close(); // It was stopped meanwhile.
    this.#intake.want(this.#concurrency + this.#prefetch);
    await this.#presence?.begin();
  }

  #present(): Presence {
    const tasks = [...this.#handlers].flatMap(([name, handler]) =>
      BUILTIN_TASKS.has(name) ? [] : [announced(name, handler)]
    );
    const startedAt = this.#ports.clock.now();
    return new Presence(this.#ports, WORKERS + this.id, (at): LiveWorker => ({
      id: this.id,
      queues: this.#queues,
      tasks,
      concurrency: this.#concurrency,
      running: this.#running,
      ...this.#recorded,
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
    let cancel: Cancel = () => {};
    await Promise.race([
      this.#idle(),
      new Promise<void>((resolve) => cancel = this.#ports.clock.after(timeoutMs, resolve)),
    ]);
    cancel();
    for (const held of [...this.#inHand]) {
      held.attempt?.abort(new Error("the worker is stopping"));
      this.#drop(held);
    }
    this.#state = "stopped";
    for (const stop of this.#cancels) stop();
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
      progress: undefined,
    };
    this.#inHand.add(held);
    this.#watchSoon();
    this.#wait(held);
    this.#fill();
  }

  /** At most one of them waits for a slot: it is the next to begin. */
  #hasPlaceForLimited(): boolean {
    return this.#running < this.#concurrency || !this.#waiting.some(({ isLimited }) => isLimited);
  }

  /** Begins what waits, as far as there are slots. A loop: what ends at once must not begin the next from inside. */
  #fill(): void {
    if (this.#filling) return;
    this.#filling = true;
    while (
      this.#state === "started" && this.#running < this.#concurrency && this.#waiting.length > 0
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
    const verdict = judge(held.task, this.#handlers);
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
      if ("address" in verdict && held.task.deliveries > 1 && await this.#isRecorded(verdict)) {
        held.task.ack();
        return undefined;
      }
      switch (verdict.is) {
        case "giveBack":
          this.#ports.log("info", `a task is given back: ${verdict.why}`, {
            subject: held.task.subject,
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
          const fetched = await this.#fetch(task);
          if (fetched.is === "failed") {
            this.#countAsBegun(held);
            return fetched;
          }
          if (isRated(verdict) && !await this.#awaitMoment(held, verdict)) return undefined;
          const failure = await this.#whyNotBegin(held, task);
          return failure === undefined
            ? await this.#execute(held, task, fetched.sources)
            : { is: "failed", failure };
        }
      }
    } catch (error) {
      const why = failureOf(error).message;
      this.#ports.log("warn", `a task could not be prepared and is given back: ${why}`, {
        subject: held.task.subject,
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

  async #isRecorded({ address }: Verdict & { is: "run" | "fail" }): Promise<boolean> {
    const { workflow, node, attempt } = address;
    const [outcome, expansion] = await Promise.all([
      this.#ports.facts.read(outcomeKey(workflow, node, attempt)),
      this.#ports.facts.read(expansionKey(workflow, node, attempt)),
    ]);
    return (outcome ?? expansion) !== undefined;
  }

  /** An attempt that may have been begun before, or whose time is limited, is only begun when that is known to all. */
  async #whyNotBegin(
    held: InHand,
    verdict: Verdict & { is: "run" },
  ): Promise<RecordedFailure | undefined> {
    const { expiresAt } = verdict.message;
    if (held.task.deliveries === 1 && !verdict.isTimed) return undefined;
    const now = this.#ports.clock.now();
    const times = await this.#countBegin(held, verdict, now);
    if (expiresAt !== undefined && now > expiresAt && times === 1) return expiredFailure(expiresAt);
    const crashes = held.task.deliveries === 1 ? times - 1 : times;
    return crashes > this.#maxCrashes ? workerLost(this.#maxCrashes) : undefined;
  }

  /** Counted outside of the message: the server's count of deliveries includes those that were given back unbegun. */
  async #countBegin(
    held: InHand,
    { address }: Verdict & { is: "run" },
    now: number,
  ): Promise<number> {
    const { views } = this.#ports;
    const key = begunKey(address.workflow, address.node, address.attempt);
    const seen = held.task.deliveries === 1 ? undefined : await views.get(key);
    const times = 1 + (seen === undefined ? 0 : readBegun(seen.data)?.times ?? 0);
    await views.put(key, writeBegun({ at: now, times }));
    held.countedAs = key;
    return times;
  }

  /** "failed": it takes more than this worker lets it. */
  async #fetch(
    { address, message, missing }: Verdict & { is: "run" },
  ): Promise<{ is: "sources"; sources: Sources } | { is: "failed"; failure: RecordedFailure }> {
    const { facts, codec } = this.#ports;
    const failures = new Map<number, NodeFailure>();
    const [inputs] = await Promise.all([
      this.#inputs.fetch(address.workflow, message, missing),
      ...message.failures.map(async ({ node, label, attempt }) => {
        const stored = await facts.readRecorded(outcomeKey(address.workflow, node, attempt));
        const failure = await unsealFailure(codec, stored?.data ?? new Uint8Array());
        failures.set(node, { node: label, attempt, name: failure.name, message: failure.message });
      }),
    ]);
    if (inputs.is === "tooLarge") {
      return { is: "failed", failure: { ...failureOf(inputs.error), fatal: true } };
    }
    const { values } = inputs;
    const sources: Sources = {
      resultOf: (node) => values.has(node) ? values.get(node) : message.results[node],
      failureOf: (node) => failures.get(node),
      summary: message.summary && {
        id: address.workflow,
        name: message.workflow.workflowName,
        ...message.summary,
        failures: message.failures.flatMap(({ node }) => failures.get(node) ?? []),
        ...(message.workflow.workflowPayload === undefined
          ? {}
          : { payload: message.workflow.workflowPayload }),
      } satisfies RunSummary,
    };
    return { is: "sources", sources };
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
    });
    held.isCleanup = message.isCleanup;
    return execute({
      handler,
      signature,
      attempt: held.attempt,
      sources,
      clock: this.#ports.clock,
      maxResult: this.#maxResult,
    });
  }

  #tellProgress(held: InHand, topic: string, json: string): void {
    const { codec, hints, log } = this.#ports;
    if (codec === undefined) return hints.tell(topic, encoder.encode(json));
    // One after the other: a codec may take longer for the first than for the second.
    held.progress = (held.progress ?? Promise.resolve())
      .then(async () => hints.tell(topic, encoder.encode(await sealJson(codec, json))))
      .catch((error) => log("debug", "progress cannot be sealed", { topic, error }));
  }

  /** The handler is done: its slot is free. The message stays in hand until its outcome is recorded. */
  #end(held: InHand, verdict: Verdict, executed: Executed | undefined): void {
    this.#running--;
    // Without a start it goes on waiting for its moment.
    if (executed === undefined || !("address" in verdict)) {
      if (held.startedAt !== undefined) this.#release(held);
    } else if (this.#inHand.has(held)) this.#record(held, verdict, executed);
    this.#fill();
  }

  #record(held: InHand, verdict: Verdict & { is: "run" | "fail" }, executed: Executed): void {
    if (executed.is === "expanded") return void this.#expand(held, verdict, executed.definition);
    const { address } = verdict;
    const note: OutcomeNote = {
      is: executed.is,
      startedAt: held.startedAt!,
      endedAt: this.#ports.clock.now(),
      sentNs: held.task.sentNs,
      worker: this.id,
    };
    const { codec, maxRecord } = this.#ports;
    const data = executed.is === "succeeded" ? executed.data : writeFailure(executed.failure);
    this.#recorded[executed.is]++;
    if (codec !== undefined || data.length > maxRecord) {
      void this.#recordInSteps(held, address, executed, note);
    } else {
      const key = outcomeKey(address.workflow, address.node, address.attempt);
      this.#write(held, { key, data, note: writeOutcomeNote(note) });
    }
  }

  /** Sealed first, then put into a blob if it is too big for a record. */
  async #recordInSteps(
    held: InHand,
    address: TaskAddress,
    executed: Ended,
    note: OutcomeNote,
  ): Promise<void> {
    if (!this.#inHand.has(held)) return;
    const { blobs, random, clock, log, maxRecord } = this.#ports;
    const { workflow, node, attempt } = address;
    const key = outcomeKey(workflow, node, attempt);
    try {
      const data = await this.#sealed(executed);
      if (executed.is === "failed" || data.length <= maxRecord) {
        return this.#write(held, { key, data, note: writeOutcomeNote(note) });
      }
      // A name of its own: another execution of this attempt may be doing the same.
      const blob = blobName(workflow, node, attempt, random.id());
      await blobs.put(blob, data);
      this.#write(held, {
        key,
        data: writeBlobReference(blob, data.length),
        note: writeOutcomeNote({ ...note, elsewhere: { is: "blob", blob } }),
      });
    } catch (error) {
      const why = failureOf(error).message;
      log("warn", `the outcome ${key} cannot be recorded yet: ${why}`, { error });
      clock.after(
        UNAVAILABLE_DELAY_MS,
        () => void this.#recordInSteps(held, address, executed, note),
      );
    }
  }

  async #sealed(executed: Ended): Promise<Uint8Array> {
    const { codec } = this.#ports;
    switch (executed.is) {
      case "succeeded":
        return codec === undefined
          ? executed.data
          : encoder.encode(await sealJson(codec, executed.data));
      case "failed":
        return codec === undefined
          ? writeFailure(executed.failure)
          : await sealFailure(codec, executed.failure);
    }
    return executed satisfies never;
  }

  async #expand(
    held: InHand,
    verdict: Verdict & { is: "run" | "fail" },
    definition: Definition,
  ): Promise<void> {
    const { clock, log } = this.#ports;
    const above = verdict.is === "run" ? verdict.message.workflow : { depth: 0 };
    try {
      await recordExpansion(this.#ports, verdict.address, above, definition);
    } catch (error) {
      if (!(error instanceof UnavailableError || error instanceof CodecError)) {
        const failure = { ...failureOf(error), fatal: true };
        return this.#record(held, verdict, { is: "failed", failure });
      }
      log("warn", `${held.task.subject} cannot be expanded yet`, { error });
      clock.after(UNAVAILABLE_DELAY_MS, () => {
        if (this.#inHand.has(held)) void this.#expand(held, verdict, definition);
      });
      return;
    }
    this.#settle(held);
  }

  /** Recorded before the ack: a crash in between repeats the task, and the second outcome is refused. */
  #write(held: InHand, outcome: Outcome): void {
    const { key, data, note } = outcome;
    // Given back meanwhile: whoever gets it next records it.
    if (!this.#inHand.has(held)) return this.#removeIfRefused(outcome);
    const { facts, clock, log } = this.#ports;
    facts.create(key, data, note).then(
      (written) => {
        this.#settle(held);
        if (written === "exists") this.#removeIfRefused(outcome);
      },
      (error) => {
        log("warn", `the outcome ${key} cannot be recorded yet`, { error });
        clock.after(UNAVAILABLE_DELAY_MS, () => this.#write(held, outcome));
      },
    );
  }

  /** A blob that no record will name: another outcome was first. Not if that is ours after all, and only its answer was lost. */
  #removeIfRefused({ key, note }: Outcome): void {
    const blob = blobIn(note);
    if (blob === undefined) return;
    const { facts, blobs, log } = this.#ports;
    const remove = async () => {
      const stored = await facts.read(key);
      // With no record at all, ours may still be on its way: what it leaves goes with the run.
      if (stored !== undefined && blobIn(stored.note) !== blob) await blobs.remove(blob);
    };
    remove().catch((error) => log("debug", `${blob} is left to retention`, { error }));
  }

  /** Recorded: now it may be acknowledged. */
  #settle(held: InHand): void {
    if (this.#inHand.has(held)) held.task.ack();
    this.#release(held);
    if (held.countedAs !== undefined) this.#forgetCount(held.countedAs);
  }

  #forgetCount(key: string): void {
    this.#ports.views.remove(key).catch((error) =>
      this.#ports.log("debug", `${key} cannot be removed`, { error })
    );
  }

  async #quarantine({ task }: InHand, why: string): Promise<void> {
    this.#ports.log("error", `a task message was put in quarantine: ${why}`, {
      subject: task.subject,
    });
    const name = task.address === undefined
      ? `unknown.${task.sentNs}`
      : `${task.address.workflow}.${task.address.node}.${task.address.attempt}`;
    await this.#ports.views.put(`quarantine.${name}`, task.data);
  }

  #drop(held: InHand, delayMs?: number): void {
    if (!this.#inHand.has(held)) return;
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
          this.#ports.log("debug", `the control facts of ${workflow} cannot be read`, { error })
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

function workerLost(maxCrashes: number): RecordedFailure {
  return {
    name: "WorkerLostError",
    message:
      `begun again ${maxCrashes} times without an outcome: the workers that ran it died, or lost their connection`,
    fatal: true,
  };
}

function announced(name: string, { input, output }: Handler): AnnouncedTask {
  return {
    name,
    ...(input === undefined ? {} : { input: schemaHash(input, "input") }),
    ...(output === undefined ? {} : { output: schemaHash(output, "output") }),
  };
}

function handlersOf(tasks: readonly AnyTask[]): ReadonlyMap<string, Handler> {
  const handlers = new Map<string, Handler>(BUILTIN_TASKS as ReadonlyMap<string, Handler>);
  for (const task of tasks) {
    if (typeof task !== "function" || typeof task.taskName !== "string") {
      throw new InvalidOptionError(
        "tasks",
        `a worker's tasks contain ${quote(task)}, which is no task`,
        { hint: 'Make it with task("name", fn).' },
      );
    }
    const known = handlers.get(task.taskName);
    if (known !== undefined && known !== task) {
      throw new InvalidOptionError("tasks", `two tasks are called "${task.taskName}"`, {
        hint: "Give one of them another name.",
      });
    }
    handlers.set(task.taskName, task);
  }
  return handlers;
}

function count(option: string, value: number, least: number, most = 100_000): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new InvalidOptionError(
    option,
    `${option} = ${quote(value)} is not a whole number from ${least} to ${most}`,
    { hint: "Start with the default." },
  );
}
