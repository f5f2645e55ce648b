/**
 * Submits what schedules say is due. Every processor does it, and none leads: the run of an occurrence has an id that is
 * the same for all of them, so that it is one run however many submit it, and submitting it again after a crash is
 * harmless. Never writes anything of a schedule but how far it has been dealt with, by compare-and-set.
 *
 * Schedules are known from the views: all are read now and then, and one at once when somebody tells that it changed. What
 * is known may be old: before anything is done, the schedule is read again.
 */
import type { Definition } from "../core/definition.ts";
import { ConflictError, UnavailableError } from "../core/errors.ts";
import { isId } from "../core/ids.ts";
import { failureOf } from "../core/records.ts";
import {
  isSameRecord,
  occurrenceRunId,
  type Plan,
  planOf,
  readSchedule,
  SCHEDULE_PREFIX,
  SCHEDULE_TOPIC,
  scheduledDefinition,
  scheduleKey,
  type ScheduleRecord,
  writeSchedule,
} from "../core/schedule.ts";
import type { Cancel, Ports, View } from "../ports.ts";
import { submitAsItIs } from "../runs/submission.ts";
import { atMost } from "../runs/time.ts";

/** A schedule as it was read last. */
interface Known {
  readonly id: string;
  data: Uint8Array;
  /** Undefined: it cannot be read, or not be run. It is left alone until it changes. */
  record: ScheduleRecord | undefined;
  /** Counts readings: what was read later has a higher one. */
  reading: number;
  /** Somebody looks after it right now. */
  busy: boolean;
  cancelTimer: Cancel;
}

/** After a failure, or when another processor was faster, it is looked at again so much later. */
const AGAIN_MS = 1_000;
/** Runs submitted before it is written down that they were. */
const BATCH = 100;
/** How long stopping waits for what is under way. */
const STOP_MS = 1_000;

const decoder = new TextDecoder();

export class Recurrences {
  readonly #ports: Ports;
  readonly #everyMs: number;
  readonly #known = new Map<string, Known>();
  readonly #working = new Set<Promise<void>>();
  /** Monotonic: nothing is begun later. */
  #until = -Infinity;
  #readings = 0;
  #isReadable = true;
  #cancels: Cancel[] = [];
  #cancelLoad: Cancel = () => {};

  /** @param everyMs how often all schedules are read. */
  constructor(ports: Ports, { everyMs }: { everyMs: number }) {
    this.#ports = ports;
    this.#everyMs = everyMs;
  }

  /** Does what is due, from now on. */
  start(): void {
    const { hints } = this.#ports;
    this.#until = Infinity;
    this.#cancels = [
      hints.onTold(SCHEDULE_TOPIC, (_, id) => this.#work(this.#readOne(decoder.decode(id)))),
      hints.onGap(() => this.#work(this.#readAll())),
    ];
    this.#readAllRepeatedly();
  }

  /** Begins nothing more. What is under way may end. */
  async stop(): Promise<void> {
    this.#until = -Infinity;
    this.#cancelLoad();
    for (const cancel of this.#cancels.splice(0)) cancel();
    for (const { cancelTimer } of this.#known.values()) cancelTimer();
    await atMost(this.#ports.clock, STOP_MS, this.settled());
    this.#known.clear();
  }

  /** Does what is due now, and returns. @param until monotonic: nothing is begun later. */
  async once(until: number): Promise<void> {
    this.#until = until;
    await this.#readAll();
    await this.settled();
    await this.stop();
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  get #isLive(): boolean {
    return this.#ports.clock.monotonic() < this.#until;
  }

  /** Work never rejects: each part of it says itself what went wrong. */
  #work(work: Promise<void>): void {
    this.#working.add(work);
    void work.finally(() => this.#working.delete(work));
  }

  #readAllRepeatedly(): void {
    this.#cancelLoad = this.#ports.clock.after(this.#everyMs, () => this.#readAllRepeatedly());
    this.#work(this.#readAll());
  }

  async #readAll(): Promise<void> {
    const before = ++this.#readings;
    try {
      const found = new Set<string>();
      for await (const { key, data } of this.#ports.views.list(SCHEDULE_PREFIX)) {
        const id = key.slice(SCHEDULE_PREFIX.length);
        found.add(id);
        // What was read meanwhile is newer than this list.
        if (!((this.#known.get(id)?.reading ?? 0) > before)) this.#take(id, data);
      }
      for (const known of [...this.#known.values()]) {
        if (!found.has(known.id) && known.reading <= before) this.#forget(known);
      }
      this.#isReadable = true;
    } catch (error) {
      const { log } = this.#ports;
      log(
        this.#isReadable ? "warn" : "debug",
        `schedules were not read: ${failureOf(error).message}`,
        { event: "schedules-not-read", error },
      );
      this.#isReadable = false;
    }
  }

  async #readOne(id: string): Promise<void> {
    if (!isId(id)) return;
    try {
      const view = await this.#ports.views.get(scheduleKey(id));
      const known = this.#known.get(id);
      if (view !== undefined) this.#take(id, view.data);
      else if (known !== undefined) this.#forget(known);
    } catch (error) {
      // It is read again with all others.
      this.#ports.log("debug", `the schedule ${id} was not read`, {
        event: "schedule-not-read",
        schedule: id,
        error,
      });
    }
  }

  #forget(known: Known): void {
    known.cancelTimer();
    known.record = undefined;
    this.#known.delete(known.id);
  }

  /** Takes in what was read, and does or waits for what follows from it. */
  #take(id: string, data: Uint8Array): Known {
    const reading = ++this.#readings;
    const old = this.#known.get(id);
    if (old !== undefined && isSameRecord(old.data, data)) {
      old.reading = reading;
      return old;
    }
    const record = readSchedule(data);
    if (record === undefined) {
      this.#ports.log("warn", `the schedule ${id} cannot be read, and is left alone`, {
        event: "schedule-unreadable",
        schedule: id,
      });
    }
    const known = Object.assign(
      old ?? { id, busy: false, cancelTimer: () => {} },
      { data, record, reading },
    );
    this.#known.set(id, known);
    this.#arm(known);
    return known;
  }

  #arm(known: Known): void {
    known.cancelTimer();
    if (known.busy || known.record === undefined || !this.#isLive) return;
    const now = this.#ports.clock.now();
    const plan = planOf(known.record, now);
    if (plan.is !== "wait") this.#work(this.#lookAfter(known));
    else if (plan.until !== undefined) this.#armIn(known, plan.until - now);
  }

  /** A clock that somebody sets must not matter for long. */
  #armIn(known: Known, ms: number): void {
    known.cancelTimer = this.#ports.clock.after(
      Math.min(ms, this.#everyMs),
      () => this.#arm(known),
    );
  }

  /** Does what is due of one schedule, until nothing is. */
  async #lookAfter(known: Known): Promise<void> {
    known.busy = true;
    let goesOn = true;
    try {
      while (goesOn && this.#isDue(known)) goesOn = await this.#step(known);
    } catch (error) {
      goesOn = false;
      const { message } = failureOf(error);
      this.#ports.log("warn", `the schedule ${known.id} is put aside: ${message}`, {
        event: "schedule-put-aside",
        schedule: known.id,
        error,
      });
    } finally {
      known.busy = false;
    }
    if (goesOn) this.#arm(known);
    else if (this.#until === Infinity) this.#armIn(known, AGAIN_MS);
  }

  #isDue({ record }: Known): boolean {
    return this.#isLive && record !== undefined &&
      planOf(record, this.#ports.clock.now()).is !== "wait";
  }

  /** @returns false when another processor was faster, and is perhaps still at it. */
  async #step(known: Known): Promise<boolean> {
    const { views, clock } = this.#ports;
    const view = await views.get(scheduleKey(known.id));
    if (view === undefined) {
      this.#forget(known);
      return true;
    }
    this.#take(known.id, view.data);
    if (known.record === undefined) return true;
    const plan = planOf(known.record, clock.now());
    const { record } = known;
    const handled = await this.#carryOut(known, record, plan);
    return handled === record || await this.#write(known, view, handled);
  }

  async #write(known: Known, { revision }: View, record: ScheduleRecord): Promise<boolean> {
    const data = writeSchedule(record);
    if (!await this.#ports.views.swap(scheduleKey(known.id), revision, data)) return false;
    Object.assign(known, { data, record, reading: ++this.#readings });
    return true;
  }

  /** @returns the schedule as it is to stand afterwards; `record` itself: as before. */
  async #carryOut(known: Known, record: ScheduleRecord, plan: Plan): Promise<ScheduleRecord> {
    const { log } = this.#ports;
    switch (plan.is) {
      case "wait":
        return record;
      case "drop": {
        const to = new Date(plan.to).toISOString();
        log("info", `the schedule ${known.id} skips what it missed up to ${to}`, {
          event: "schedule-skips",
          schedule: known.id,
          to: plan.to,
        });
        return { ...record, handledTo: plan.to };
      }
      case "run": {
        if (plan.isCut) {
          const { length } = plan.moments;
          log("warn", `the schedule ${known.id} missed too much: only the last ${length} run`, {
            event: "schedule-cut",
            schedule: known.id,
            count: length,
          });
        }
        const definition = this.#definitionOf(known, record);
        if (definition === undefined) return record;
        return await this.#submit(known.id, record, definition, plan.moments.slice(0, BATCH));
      }
    }
    return plan satisfies never;
  }

  #definitionOf(known: Known, record: ScheduleRecord): Definition | undefined {
    try {
      return scheduledDefinition(record);
    } catch (error) {
      known.record = undefined;
      const { message } = failureOf(error);
      this.#ports.log("error", `the schedule ${known.id} is left alone: ${message}`, {
        event: "schedule-left-alone",
        schedule: known.id,
        error,
      });
      return undefined;
    }
  }

  /** One after the other: runs begin in the order of their occurrences. */
  async #submit(
    schedule: string,
    record: ScheduleRecord,
    definition: Definition,
    moments: readonly number[],
  ): Promise<ScheduleRecord> {
    let handled = record;
    for (const at of moments) {
      if (!this.#isLive) break;
      const id = occurrenceRunId(schedule, at);
      const isRun = await this.#submitOne(id, definition);
      handled = { ...handled, handledTo: at, ...(isRun ? { lastAt: at, lastRun: id } : {}) };
    }
    return handled;
  }

  /** @returns whether there is a run of this id now. */
  async #submitOne(id: string, definition: Definition): Promise<boolean> {
    try {
      await submitAsItIs(this.#ports, id, definition);
      return true;
    } catch (error) {
      if (error instanceof UnavailableError) throw error;
      const { message } = failureOf(error);
      if (error instanceof ConflictError) {
        // The schedule was changed after another processor had submitted it, or somebody else took the id.
        this.#ports.log("info", `the run ${id} is taken for the occurrence's: ${message}`, {
          event: "occurrence-taken",
          run: id,
        });
        return true;
      }
      // Trying it again would fail the same way, and hold up all that come after it.
      this.#ports.log("error", `the run ${id} was not submitted: ${message}`, {
        event: "occurrence-not-submitted",
        run: id,
        error,
      });
      return false;
    }
  }
}
