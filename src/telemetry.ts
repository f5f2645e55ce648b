/**
 * Where the library tells how it works: operations, which become spans of a trace, and measurements, which become metrics.
 * Plain data: it knows no tracing system. Nothing is decided from it, and where there is none, nothing is told.
 */
import type { Measurement, Reading } from "./core/metrics.ts";
import type { TraceContext } from "./core/trace_context.ts";

/** Whom a process tells how it works. It may do so in its own way: nothing waits for it, and what it throws breaks nothing. */
export interface Telemetry {
  /** It begins, and is ended by whoever began it. */
  begin(operation: Operation): Ongoing;
  measure(measurement: Measurement): void;
  /** Whoever collects metrics reads there. Returns what ends that. */
  observe(read: () => Promise<readonly Reading[]>): () => void;
}

/** Something that takes time, and of what it is part. */
export type Operation =
  /** A definition is written. */
  | OfRun & { readonly is: "submit"; readonly nodes: number }
  /** A processor holds a run's tick, until the run is quiet. */
  | OfRun & { readonly is: "conduct" }
  /** A task message is queued. `causes`: what ended, so that this may begin. */
  | OfAttempt & { readonly is: "dispatch"; readonly causes: readonly TraceContext[] }
  /** It was in the queue from `since` (milliseconds since 1970, by the server's clock) until now. */
  | OfAttempt & { readonly is: "wait"; readonly since: number }
  /** Its handler runs. */
  | OfAttempt & { readonly is: "execute"; readonly worker: string; readonly deliveries: number };

interface OfRun {
  readonly run: string;
  readonly workflow: string;
  readonly parent: Cause;
}

interface OfAttempt extends OfRun {
  readonly node: number;
  readonly attempt: number;
  readonly queue: string;
  readonly lane: string;
  readonly task: string;
}

/** What an operation is part of: a trace that came with a message, what runs in this process, or nothing. */
export type Cause = TraceContext | "active" | "none";

/** An operation that has begun. */
export interface Ongoing {
  /** To be sent on; undefined: nobody keeps a trace. */
  readonly trace: TraceContext | undefined;
  /** Calls, so that what begins meanwhile is part of it. */
  within<T>(call: () => T): T;
  /** Once. */
  end(how: Ending): void;
}

/** How an operation ended. */
export interface Ending {
  /** How it ended, in a word. */
  readonly outcome: string;
  /** It failed. With a codec the name alone: what users own does not leave unsealed. */
  readonly failure?: { readonly name: string; readonly message?: string; readonly stack?: string };
}
