/**
 * What the engine needs from the outside. The NATS adapter and the memory adapter implement these; processor, worker
 * and client know nothing else of either. Every write is conditional and safe to repeat; failures to reach the server
 * are `UnavailableError`s.
 */
import type { LogCondition } from "./core/log_condition.ts";
import type { Codec } from "./core/sealing.ts";
import type { ServerFacts } from "./core/server_health.ts";
import type { TraceContext } from "./core/trace_context.ts";
import type { Telemetry } from "./telemetry.ts";
import type { LogFields } from "./core/log_event.ts";
import type { LogLevel } from "./core/task_log.ts";

export type Cancel = () => void;

/** Time. Never read anywhere else. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds that only grow, also when somebody sets the clock. */
  monotonic(): number;
  /** Calls once after `ms`. Timers do not keep a process alive by themselves. */
  after(ms: number, call: () => void): Cancel;
}

export interface Random {
  /** Evenly from 0 to below 1. */
  chance(): number;
  /** A fresh id of letters and digits. */
  id(): string;
}

/** Something recorded, as it stands in the log. */
export interface Stored {
  readonly key: string;
  /** Its place in the log: what was recorded before has a lower one. */
  readonly seq: number;
  /** When it was recorded, milliseconds since 1970. */
  readonly at: number;
  /** The outcome's note; only outcomes have one. */
  readonly note?: string;
  /** The trace that it was written in, if its writer said so. */
  readonly trace?: TraceContext;
  readonly data: Uint8Array;
}

/** The write-once log of facts. */
export interface Facts {
  /** "exists": somebody (perhaps this caller, whose answer was lost) has written this key. */
  create(
    key: string,
    data: Uint8Array,
    note?: string,
    /** Kept with it, and no part of what is compared. */
    trace?: TraceContext,
  ): Promise<"created" | "exists">;
  /**
   * The same, if the condition holds; "behind": it does not.
   * @throws {NotFoundError} when what it says is not recorded any more
   */
  createIf(
    key: string,
    data: Uint8Array,
    condition: LogCondition,
    note?: string,
  ): Promise<"created" | "exists" | "behind">;
  /** The current truth, never a stale copy. */
  read(key: string): Promise<Stored | undefined>;
  /** A fact known to be recorded: a copy will do. */
  readRecorded(key: string): Promise<Stored | undefined>;
  /** The first fact at or after `seq` whose key matches `filter`. */
  next(filter: string, seq: number): Promise<Stored | undefined>;
  /** The latest fact whose key matches `filter`; never a stale copy. */
  last(filter: string): Promise<Stored | undefined>;
  /** Every fact that matches `filter`, in the order of the log. Without bodies unless asked for. */
  scan(filter: string, options?: { bodies?: boolean }): Promise<Stored[]>;
  keys(filter: string): Promise<string[]>;
  /** The workflows of which anything but a definition was recorded at or after `seq`; and what is the next one after all that. */
  recordedFrom(seq: number): Promise<{ workflows: ReadonlySet<string>; next: number }>;
  /** Removes what matches, of what stands before `before` where one is given: only for retention. */
  purge(filter: string, before?: number): Promise<void>;
}

export interface TaskAddress {
  readonly queue: string;
  /** Its priority, or its key if it is limited: see src/core/lanes.ts. */
  readonly lane: string;
  readonly workflow: string;
  readonly node: number;
  readonly attempt: number;
}

/** A message handed out: to be settled by exactly one of `ack` and `giveBack`, and held with `extend`. */
export interface Delivery {
  /** From 1; may start anew after a server's crash. */
  readonly deliveries: number;
  /** Done: it is removed. */
  ack(): void;
  /** Deliver it again, after `delayMs`. */
  giveBack(delayMs?: number): void;
  /** Still busy: do not deliver it to others for another lease. */
  extend(): void;
}

export interface TaskDelivery extends Delivery {
  readonly data: Uint8Array;
  /** Undefined when the message's subject is not a task's. */
  readonly address: TaskAddress | undefined;
  readonly subject: string;
  /** When it was queued, nanoseconds since 1970 by the server's clock, as text. */
  readonly sentNs: string;
  /** What it was queued with. Read when it is asked for. */
  readonly trace: TraceContext | undefined;
  /** It begins to run. Messages of limited lanes count as wanted ones only from then on. */
  begin(): void;
}

export interface TickDelivery extends Delivery {
  readonly workflow: string;
  /** Its place among all ticks: one that was made later has a higher one, one that is delivered again the same. */
  readonly seq: number;
  /** As of tasks. */
  readonly sentNs: string;
}

/** A flow of messages on demand. */
export interface Intake {
  /** Asks for `count` more messages. */
  want(count: number): void;
  /** Asks for no more; messages not handed out yet stay where they are. Resolves when none can arrive any more. */
  close(): Promise<void>;
}

export interface TakeOptions {
  readonly queues: readonly string[];
  /** How many of the messages wanted at a time are only to be held ready. */
  readonly ahead: number;
}

/** What is in one lane of a queue. */
export interface LaneDepth {
  readonly queue: string;
  readonly lane: string;
  readonly waiting: number;
  /** With workers. */
  readonly inHand: number;
  /** Requests of workers for more. */
  readonly asked: number;
}

/** The queue of task messages. */
export interface Tasks {
  /** "exists": this attempt is in the queue already. */
  publish(
    address: TaskAddress,
    data: Uint8Array,
    /** In a limited lane: how many of it may be handed out at the same time; absent: any number. The latest call holds. */
    most?: number,
    /** Handed out with it. */
    trace?: TraceContext,
  ): Promise<"created" | "exists">;
  /** Takes back a workflow's (a node's, an attempt's) task messages. */
  withdraw(workflow: string, node?: number, attempt?: number): Promise<void>;
  /** Whether this attempt's message is in the queue, waiting or handed out. It can be handed out then; `most` as for `publish`. */
  has(address: TaskAddress, most?: number): Promise<boolean>;
  /** The messages of a workflow that are in the queue. */
  list(workflow: string): Promise<TaskAddress[]>;
  /**
   * Hands out messages of these queues. A message not extended within `leaseMs` is handed out again. Messages of limited
   * lanes may come without being wanted; one that cannot run soon is to be given back, for others.
   */
  take(options: TakeOptions, onTask: (task: TaskDelivery) => void): Promise<Intake>;
  /** Removes what is kept for lanes that are used no more. */
  tidy(): Promise<void>;
  /** How full lanes are, in no order. Not tried again when the server does not answer. */
  depths(): Promise<LaneDepth[]>;
  /** How long a message is held without `extend`. */
  readonly leaseMs: number;
}

/** One message for each workflow that is under way. */
export interface Ticks {
  /** Makes or replaces the workflow's tick: it is delivered at once. */
  wake(workflow: string): Promise<void>;
  /** Makes the tick if there is none. */
  ensure(workflow: string): Promise<void>;
  take(onTick: (tick: TickDelivery) => void): Promise<Intake>;
  /** The workflows that have a tick. */
  list(): Promise<string[]>;
  readonly leaseMs: number;
}

/** A fact that was just recorded, as told to whoever listens. May never arrive. */
export interface Hint {
  readonly key: string;
  readonly note?: string;
  /** Only where there is telemetry. */
  readonly trace?: TraceContext;
  /** When it was recorded, milliseconds since 1970 with their fractions. Only where there is telemetry. */
  readonly at?: number;
  readonly data: Uint8Array;
}

/** At most once, at once. */
export interface Hints {
  /** Facts whose key matches `filter`, as they are recorded. */
  onFact(filter: string, call: (hint: Hint) => void): Cancel;
  /** Resolves when subscriptions made before are in force where this client is connected. */
  settled(): Promise<void>;
  /** Calls after a connection was lost and is there again: hints may have been missed. */
  onGap(call: () => void): Cancel;
  /** True when subscriptions take a while to reach every server: look again after subscribing. */
  readonly spreads: boolean;
  tell(topic: string, data: Uint8Array): void;
  onTold(topic: string, call: (topic: string, data: Uint8Array) => void): Cancel;
  /** What one of those says who answer on `topic`. Undefined: nobody does, or no answer came within `ms`. */
  ask(topic: string, data: Uint8Array, ms: number): Promise<Uint8Array | undefined>;
  /** Answers who asks on `topic`, for as long as it is not cancelled. */
  onAsked(topic: string, answer: (data: Uint8Array) => Promise<Uint8Array>): Cancel;
  /** To whoever listens outside of the library. `id` is the same when the same is told again. */
  broadcast(topic: string, data: Uint8Array, id: string): void;
}

/** A record that may change, and which change of it this is. */
export interface View {
  readonly data: Uint8Array;
  readonly revision: number;
}

/** Mutable records nobody decides about a workflow from. */
export interface Views {
  put(key: string, data: Uint8Array): Promise<void>;
  get(key: string): Promise<View | undefined>;
  /** Removes every record whose key matches `filter`; only what is still at `revision`, where one is given. */
  remove(filter: string, revision?: number): Promise<void>;
  /** The keys that start with `prefix`, which ends with a dot; in no order. */
  keys(prefix: string): Promise<string[]>;
  /** All records whose key starts with `prefix`, which ends with a dot; in no order. */
  list(prefix: string): AsyncIterable<View & { readonly key: string }>;
  /** Writes only if the record is still at `revision` (0: absent). Returns whether it did. */
  swap(key: string, revision: number, data: Uint8Array): Promise<boolean>;
}

/** Results that are too big for a record, each under a name that is used once (see `blobName`). */
export interface Blobs {
  /** Keeps `data`; durable when it resolves. What a put that failed left behind goes with its run. */
  put(name: string, data: Uint8Array): Promise<void>;
  /** "damaged": what is there is not what was put. */
  get(name: string): Promise<Uint8Array | "gone" | "damaged">;
  remove(name: string): Promise<void>;
  /** Removes everything of a run, also what was never put to its end. */
  removeAll(workflow: string): Promise<void>;
}

/** Where the library says what people may want to know: `message` for people, `fields` for programs. */
export type Log = (level: LogLevel, message: string, fields: LogFields) => void;

export interface Ports {
  readonly facts: Facts;
  readonly tasks: Tasks;
  readonly ticks: Ticks;
  readonly hints: Hints;
  readonly views: Views;
  readonly blobs: Blobs;
  /**
   * Looks at what all this stands on; undefined where it is nothing but this process. Only for the doctor.
   * @param monitoringUrl where the server shows what it does not tell its clients
   */
  inspect(asked: { monitoringUrl?: string }): Promise<ServerFacts | undefined>;
  /** What users own is sealed with it; none: nothing is. */
  readonly codec?: Codec | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Where to tell how it works; none: nobody is told. */
  readonly telemetry?: Telemetry | undefined;
  /** Bytes of the largest record; a result above it is a blob. */
  readonly maxRecord: number;
}
