/**
 * What becomes of every node, worked out from the definition and the recorded outcomes alone: the scheduler's rules
 * written down a second time, without counters and without order. For runs that nobody controlled.
 */
import { type Definition, policyOfNode } from "../../src/core/definition.ts";
import type { Fact, FinalState, NodeState } from "../../src/core/scheduler.ts";
import { edgesInto, isCleanup, isJoin } from "./random_workflow.ts";

export type Outcome = Fact & { is: "succeeded" | "failed" };

export interface Fates {
  readonly states: readonly NodeState[];
  readonly finished: FinalState | undefined;
}

export function fatesOf(definition: Definition, outcomes: readonly Outcome[]): Fates {
  const { size, main } = definition.graph;
  const nodes = Array.from({ length: size }, (_, node) => node);
  const known = new Map<number, NodeState>();
  const stateOf = (node: number): NodeState => {
    let state = known.get(node);
    if (state === undefined) known.set(node, state = node === main ? ofAllOwn() : of(node));
    return state;
  };
  const ofAllOwn = (): NodeState => {
    const own = nodes.filter((node) => !isCleanup(definition, node)).map(stateOf);
    if (!own.every(hasEnded)) return "PENDING";
    return own.includes("FAILURE") ? "FAILURE" : "SUCCESS";
  };
  const of = (node: number): NodeState => {
    const edges = edgesInto(definition, node).map(({ from, on }) => ({ state: stateOf(from), on }));
    if (!edges.every(({ state }) => hasEnded(state))) return "PENDING";
    const broken = edges.filter(({ state, on }) =>
      on === "success" ? state !== "SUCCESS" : on === "failure" && !hasFailed(state)
    );
    if (broken.some(({ state }) => hasFailed(state))) return "UPSTREAM_FAILED";
    if (broken.length > 0) return "SKIPPED";
    return isJoin(definition, node) ? "SUCCESS" : ofAttempts(node);
  };
  const ofAttempts = (node: number): NodeState => {
    const most = 1 + (policyOfNode(definition, node).retry?.max ?? 0);
    for (let attempt = 1; attempt <= most; attempt++) {
      const outcome = outcomes.find((fact) => fact.node === node && fact.attempt === attempt);
      if (outcome === undefined) return attempt === 1 ? "SCHEDULED" : "RETRY";
      if (outcome.is === "succeeded") return "SUCCESS";
      if (outcome.failure.fatal === true) return "FAILURE";
    }
    return "FAILURE";
  };
  const states = nodes.map(stateOf);
  const finished = !states.every(hasEnded)
    ? undefined
    : states.includes("FAILURE")
    ? "FAILURE"
    : "SUCCESS";
  return { states, finished };
}

export function hasEnded(state: NodeState): boolean {
  return state !== "PENDING" && state !== "SCHEDULED" && state !== "RETRY";
}

function hasFailed(state: NodeState): boolean {
  return state === "FAILURE" || state === "UPSTREAM_FAILED";
}
