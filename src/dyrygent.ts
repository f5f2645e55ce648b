/** The library on one connection: workers, processors and runs, all of one namespace. Keeps nothing that could not be read again. */
import type { NatsConnection } from "@nats-io/nats-core";
import { doctor, type DoctorOptions, type DoctorReport } from "./client/doctor.ts";
import { KnownTasks } from "./client/known_tasks.ts";
import { list, type ListOptions } from "./client/list.ts";
import { liveProcessors, liveWorkers } from "./client/live.ts";
import { dropQuarantined, type Quarantined, quarantined } from "./client/quarantine.ts";
import { Run } from "./client/run.ts";
import { Schedule, schedule, type ScheduleOptions, schedules } from "./client/schedules.ts";
import { submit, type SubmitOptions, type Submittable } from "./client/submit.ts";
import { type Duration, durationMs } from "./core/duration.ts";
import { InvalidOptionError } from "./core/errors.ts";
import { checkId, quote } from "./core/ids.ts";
import { refuseUnknown } from "./core/options.ts";
import type { LiveProcessor, LiveWorker } from "./core/presence.ts";
import type { RunStatus } from "./core/records.ts";
import type { Recurrence } from "./core/recurrence.ts";
import type { ScheduleStatus } from "./core/schedule.ts";
import type { Codec } from "./core/sealing.ts";
import { natsPorts } from "./nats/open.ts";
import type { Log, Ports } from "./ports.ts";
import { checkTelemetry, guarded } from "./runs/guarded_telemetry.ts";
import type { Telemetry } from "./telemetry.ts";
import type { ProcessorOptions } from "./processor/options.ts";
import { Processor } from "./processor/processor.ts";
import type { WorkerOptions } from "./worker/options.ts";
import { Worker } from "./worker/worker.ts";

/** What a namespace is like, and how this process uses it. */
export interface DyrygentOptions {
  /** Separates deployments on one server: letters, digits, `_`, `-`. @default "dyrygent" */
  namespace?: string;
  /** Copies of streams and buckets, in a cluster: 1, 3 or 5. @default 1 */
  replicas?: number;
  /** Where streams and buckets are kept. @default "file" */
  storage?: "file" | "memory";
  /** A processor that dies is replaced after this. Every process of a namespace must say the same. @default "10s" */
  tickLease?: Duration;
  /** A worker that dies is replaced after this. Every process of a namespace must say the same. @default "30s" */
  taskLease?: Duration;
  /**
   * Seals what users own before it is stored (arguments, payloads, results, error messages, progress) and unseals it where
   * it is used: encryption, compression. Processors can do without. @default none: all is stored as JSON
   */
  codec?: Codec;
  /**
   * Told what people may want to know: a level, a message for people, and fields for programs, of which `event` is a stable
   * name. To a logger of yours in one line, see docs/guide/logs.md. @default messages of warnings and errors to the console
   */
  log?: Log;
  /** Where to tell of traces and metrics: `openTelemetry()` of `nats-dyrygent/opentelemetry`. @default nowhere, at no cost */
  telemetry?: Telemetry;
}

/** The default log: warnings and errors, one line each. */
const consoleLog: Log = (level, message) => {
  if (level === "error" || level === "warn") console[level](`nats-dyrygent: ${message}`);
};

/** A logger that fails stops nothing of what it is told about; there is nowhere left to say so. */
function unfailing(log: Log): Log {
  return (level, message, fields) => {
    try {
      log(level, message, fields);
    } catch { /* see above */ }
  };
}

/** Everything starts here: {@link Dyrygent.open}. */
export class Dyrygent {
  readonly #ports: Ports;
  readonly #knownTasks: KnownTasks;
  readonly namespace: string;

  /** For adapters other than NATS; users call {@link open}. */
  constructor(ports: Ports, namespace: string) {
    this.#ports = ports;
    this.#knownTasks = new KnownTasks(ports);
    this.namespace = namespace;
  }

  /**
   * Creates what is missing on the server (streams, buckets, consumers) and checks what exists.
   * The connection stays yours: close it after workers and processors have stopped.
   * @throws {UnsupportedServerError} nats-server older than 2.10, or no JetStream
   * @throws {ConfigMismatchError} naming the field that somebody changed
   * @throws {UnavailableError} no answer, or not permitted
   */
  static async open(nc: NatsConnection, options: DyrygentOptions = {}): Promise<Dyrygent> {
    refuseUnknown("option", options, [
      "namespace",
      "replicas",
      "storage",
      "tickLease",
      "taskLease",
      "codec",
      "log",
      "telemetry",
    ]);
    const { replicas = 1, storage = "file", log = consoleLog, codec, telemetry } = options;
    const namespace = checkId("namespace", options.namespace ?? "dyrygent");
    if (namespace.endsWith("_STATE")) {
      throw new InvalidOptionError(
        "namespace",
        `namespace ${quote(namespace)} ends with "_STATE"`,
        {
          hint:
            "That is how the bucket of another namespace's views is called. Choose another name.",
        },
      );
    }
    if (![1, 3, 5].includes(replicas)) {
      throw new InvalidOptionError("replicas", `replicas = ${quote(replicas)} is not 1, 3 or 5`, {
        hint: "An odd number, at most one for each server.",
      });
    }
    if (storage !== "file" && storage !== "memory") {
      throw new InvalidOptionError("storage", `storage = ${quote(storage)} is unknown`, {
        hint: 'Use "file", or "memory" for what may get lost.',
      });
    }
    if (
      codec !== undefined &&
      (typeof codec?.encode !== "function" || typeof codec.decode !== "function")
    ) {
      throw new InvalidOptionError("codec", `codec = ${quote(codec)} is not a codec`, {
        hint: "Give an object with the functions encode and decode, bytes to bytes.",
      });
    }
    if (typeof log !== "function") {
      throw new InvalidOptionError("log", `log = ${quote(log)} is not a function`, {
        hint: "Give (level, message, fields) => yourLogger[level](message, fields).",
      });
    }
    const ports = await natsPorts(nc, {
      namespace,
      replicas,
      storage,
      log: unfailing(log),
      codec,
      telemetry: telemetry === undefined ? undefined : guarded(checkTelemetry(telemetry), log),
      tickLeaseMs: durationMs("tickLease", options.tickLease ?? "10s", { least: 500 }),
      taskLeaseMs: durationMs("taskLease", options.taskLease ?? "30s", { least: 500 }),
    });
    return new Dyrygent(ports, namespace);
  }

  /** A worker for these tasks; `start()` it. @throws {InvalidOptionError} */
  worker(options: WorkerOptions): Worker {
    return new Worker(this.#ports, options);
  }

  /** A processor; `start()` it, or call `runOnce()` from time to time. Any number of them share the work. @throws {InvalidOptionError} */
  processor(options: ProcessorOptions = {}): Processor {
    return new Processor(this.#ports, options);
  }

  /**
   * Submits a workflow, a canvas or a signature. Returns when it is durable.
   * The same id with the same content is the same run, so that a submit may be repeated.
   * @throws {InvalidWorkflowError}, {CycleError}, {ConflictError}, {PayloadTooLargeError}, {UnavailableError}, {CodecError}
   * @throws {NotFoundError} with `unknownTasks: "refuse"`, when no live worker serves a task
   */
  async submit<Out>(target: Submittable<Out>, options: SubmitOptions = {}): Promise<Run<Out>> {
    const { id, deduplicated } = await submit(this.#ports, target, options, this.#knownTasks);
    return new Run<Out>(this.#ports, id, { deduplicated });
  }

  /** A run by its id. Whether it exists shows in its methods (`NotFoundError`). @throws {InvalidOptionError} */
  // deno-lint-ignore no-explicit-any
  run<Out = any>(id: string): Run<Out> {
    return new Run<Out>(this.#ports, checkId("workflow id", id));
  }

  /**
   * The runs there are, in the order of their ids, as they stood at most a second ago.
   * Pages: `limit`, and `after` with the last id of the page before.
   * @throws {InvalidOptionError}, {UnavailableError} when it is iterated
   */
  list(options: ListOptions = {}): AsyncGenerator<RunStatus, void, void> {
    return list(this.#ports, options);
  }

  /** The workers that run now, in the order of their ids. @throws {UnavailableError} */
  workers(): Promise<LiveWorker[]> {
    return liveWorkers(this.#ports);
  }

  /** The processors that run now, in the order of their ids. @throws {UnavailableError} */
  processors(): Promise<LiveProcessor[]> {
    return liveProcessors(this.#ports);
  }

  /** Task messages that no worker could read, in the order of their keys. @throws {UnavailableError} */
  quarantined(): Promise<Quarantined[]> {
    return quarantined(this.#ports);
  }

  /** Removes one of them. @returns whether it was there. @throws {UnavailableError} */
  dropQuarantined(key: string): Promise<boolean> {
    return dropQuarantined(this.#ports, key);
  }

  /**
   * Makes a schedule, or replaces the one with this id: processors submit the workflow at each occurrence. The same
   * again changes nothing. Where only the workflow or an option changes, the next occurrence stays; another `when` counts
   * from now.
   * @param id at most 46 characters; the run of an occurrence is called `<id>-20260101T020000Z`.
   * @throws {InvalidOptionError}, {InvalidWorkflowError}, {CycleError}, {PayloadTooLargeError}, {UnavailableError}
   */
  schedule(
    id: string,
    when: Recurrence,
    target: Submittable<unknown>,
    options: ScheduleOptions = {},
  ): Promise<Schedule> {
    return schedule(this.#ports, id, when, target, options);
  }

  /** A schedule by its id. Whether it exists shows in its methods (`NotFoundError`). @throws {InvalidOptionError} */
  scheduleOf(id: string): Schedule {
    return new Schedule(this.#ports, id);
  }

  /** The schedules there are, in no particular order. */
  schedules(): AsyncGenerator<ScheduleStatus, void, void> {
    return schedules(this.#ports);
  }

  /**
   * Looks whether all is well: the server and its limits, streams and consumers as they must be, clocks, who runs, queues
   * that nobody serves, runs and messages that do not fit each other, what cannot be read. Changes nothing. Reads the ids
   * of all runs. What this user may not see is a finding, too.
   * @throws {InvalidOptionError}, {UnavailableError} when nothing can be seen, or not what is recorded
   */
  doctor(options: DoctorOptions = {}): Promise<DoctorReport> {
    return doctor(this.#ports, options);
  }
}
