/** What is recorded about a run, as the scheduler takes it in, and what follows from it. Data only. */
import type { RecordedFailure } from "./errors.ts";

/** The states of a workflow; the glossary says what each means. */
export type WorkflowState =
  | "INITIAL"
  | "RUNNING"
  | "PAUSED"
  | "SUCCESS"
  | "FAILURE"
  | "ERROR"
  | "CANCELLED";
/** The states in which a run has ended. */
export type FinalState = "SUCCESS" | "FAILURE" | "ERROR" | "CANCELLED";

/** What somebody asked of a run, or told it. */
export type Control =
  | { readonly is: "cancel"; readonly reason?: string }
  | { readonly is: "timeout" }
  /** `following`: the number of the parent's control fact that is passed on. */
  | { readonly is: "pause"; readonly following?: number }
  | { readonly is: "resume"; readonly following?: number }
  | { readonly is: "skip"; readonly nodes: readonly number[] }
  /** `attempt`: the one of the parent's node that the child's next round is for. */
  | { readonly is: "retry"; readonly attempt?: number }
  | { readonly is: "rerun"; readonly nodes: readonly number[] }
  /** Something happened outside; `data` is any JSON. */
  | { readonly is: "event"; readonly name: string; readonly data: unknown };

/** What is recorded about a run. `at` is milliseconds since 1970, as recorded. */
export type Fact =
  | {
    readonly is: "succeeded";
    readonly node: number;
    readonly attempt: number;
    readonly at: number;
  }
  | {
    readonly is: "failed";
    readonly node: number;
    readonly attempt: number;
    readonly at: number;
    readonly failure: RecordedFailure;
  }
  /** The attempt gave a workflow that takes the node's place; its outcome is the end of the run `child`. */
  | {
    readonly is: "expanded";
    readonly node: number;
    readonly attempt: number;
    readonly at: number;
    readonly child: string;
  }
  /** Asked for once for each `id`, however often it is recorded. */
  | {
    readonly is: "control";
    readonly control: Control;
    readonly at: number;
    readonly id?: string;
    /** The last round that had its terminal record before this in the log; absent: not known. */
    readonly endedRound?: number;
  };

/** What is to be done for an open node. */
export type NodeEffect =
  /** Publish this attempt, not before this moment (0: now); it may begin until `expiresAt` (absent: for ever). */
  | {
    readonly is: "dispatch";
    readonly node: number;
    readonly attempt: number;
    readonly notBefore: number;
    readonly expiresAt?: number;
  }
  /** It waits for an event; when none has come at `until`, its outcome is a time-out. */
  | {
    readonly is: "await";
    readonly node: number;
    readonly attempt: number;
    readonly until?: number;
  }
  /** Its event has come: record this as its result. */
  | {
    readonly is: "settle";
    readonly node: number;
    readonly attempt: number;
    readonly data: unknown;
  }
  /** The run that takes its place has failed and is tried again, instead of the node's task. */
  | {
    readonly is: "revive";
    readonly node: number;
    readonly attempt: number;
    readonly child: string;
  };

/** What follows from a fact. Doing any of it twice must be harmless. */
export type Effect =
  | NodeEffect
  /** Take this node's task message back; without a node, all of the workflow's. */
  | { readonly is: "withdraw"; readonly node?: number }
  | { readonly is: "finish"; readonly state: FinalState };

/** The name of the failure of an attempt that was not begun in time. */
export const EXPIRED = "ExpiredError";
/** The failure of an attempt that had not begun by `expiresAt`, milliseconds since 1970. */
export function expiredFailure(expiresAt: number): RecordedFailure {
  return {
    name: EXPIRED,
    message: `it had not begun by ${new Date(expiresAt).toISOString()}`,
    fatal: true,
  };
}

/** The event that a sub-workflow's input is. */
export const INPUT_EVENT = "input";
