/** The states of nodes: what people see, the numbers the scheduler counts with, and what an upstream's end means for an edge. */
import { EDGE_KINDS, type EdgeKind } from "./graph.ts";

/** The states of a node; the glossary says what each means. */
export type NodeState =
  | "PENDING"
  | "SCHEDULED"
  | "STARTED"
  | "RETRY"
  | "SUCCESS"
  | "FAILURE"
  | "SKIPPED"
  | "UPSTREAM_FAILED"
  | "CANCELLED";

/** A node's state as a number: order matters, everything from SUCCESS on is final. */
export const PENDING = 0;
export const SCHEDULED = 1;
export const RETRY = 2;
/** Its task gave a workflow that takes its place, and that runs. */
export const EXPANDED = 3;
export const SUCCESS = 4;
export const FAILURE = 5;
export const UPSTREAM_FAILED = 6;
export const CANCELLED = 7;
/** A control fact, or its definition, skipped it: its dependents run, with `null` as its result. */
export const SKIPPED = 8;
/** An edge of it can never come true though nothing failed: its dependents are not needed either. */
export const NOT_NEEDED = 9;

/** Nothing of it will change in this round. */
export function isFinal(state: NodeState): boolean {
  return STATE_NAMES.indexOf(state) >= SUCCESS;
}

export const STATE_NAMES: readonly NodeState[] = [
  "PENDING",
  "SCHEDULED",
  "RETRY",
  "STARTED",
  "SUCCESS",
  "FAILURE",
  "UPSTREAM_FAILED",
  "CANCELLED",
  "SKIPPED",
  "SKIPPED",
];

/** How many nodes are in each state. */
export type Counts = Record<NodeState, number>;

/** No node in any state. */
export function noCounts(): Counts {
  return {
    PENDING: 0,
    SCHEDULED: 0,
    STARTED: 0,
    RETRY: 0,
    SUCCESS: 0,
    FAILURE: 0,
    SKIPPED: 0,
    UPSTREAM_FAILED: 0,
    CANCELLED: 0,
  };
}

/** Why a node cannot run any more: bits gathered from its upstreams. */
export const BY_FAILURE = 1;
export const BY_CANCEL = 2;
export const BY_SKIP = 4;

/** For each kind of edge and final state of an upstream: 0 when the edge came true, else why it never will. */
const VERDICTS: readonly Uint8Array[] = EDGE_KINDS.map((kind) =>
  Uint8Array.from(STATE_NAMES, (_, state) => (comesTrue(kind, state) ? 0 : whyNot(kind, state)))
);

/** Why a node with an edge of this kind (an index of {@link EDGE_KINDS}) to an upstream in this state cannot run; 0 when it can. */
export function verdict(kind: number, upstream: number): number {
  return VERDICTS[kind]![upstream]!;
}

function comesTrue(kind: EdgeKind, upstream: number): boolean {
  const failed = upstream === FAILURE || upstream === UPSTREAM_FAILED;
  switch (kind) {
    case "success":
      return upstream === SUCCESS || upstream === SKIPPED;
    case "done":
      return true;
    case "failure":
      return failed;
    case "notFailed":
      return !failed && upstream !== CANCELLED;
    case "error":
      return upstream === FAILURE;
    case "notSuccess":
      return failed || upstream === CANCELLED;
    case "ran":
      return upstream === SUCCESS;
  }
  return kind satisfies never;
}

/** What only reacts to a node's own failure, or undoes what it did, is not needed when that did not happen. */
function whyNot(kind: EdgeKind, upstream: number): number {
  if (kind === "ran") return BY_SKIP;
  if (upstream === CANCELLED) return BY_CANCEL;
  if (kind === "error") return BY_SKIP;
  return upstream === FAILURE || upstream === UPSTREAM_FAILED ? BY_FAILURE : BY_SKIP;
}

/** The state of a node that cannot run any more: a failure outweighs a cancel, a cancel what is not needed. */
export function stateOfDoomed(why: number): number {
  return why & BY_FAILURE ? UPSTREAM_FAILED : why & BY_CANCEL ? CANCELLED : NOT_NEEDED;
}
