/**
 * What becomes of every node, worked out from the definition and the recorded outcomes alone: the scheduler's rules
 * written down a second time, without counters and without order. For runs that nobody controlled (events aside).
 */
import { type Definition, policyOfNode } from "../../src/core/definition.ts";
import type { EdgeKind } from "../../src/core/graph.ts";
import type { Fact, FinalState, NodeState } from "../../src/core/scheduler.ts";
import { edgesInto, isCleanup, isJoin } from "./random_workflow.ts";

export type Outcome = Fact & { is: "succeeded" | "failed" };
/** What is recorded about a node. */
export type NodeFact = Exclude<Fact, { is: "control" }>;

export interface Fates {
  readonly states: readonly NodeState[];
  readonly finished: FinalState | undefined;
}

/** States, with what people do not see: why a node was skipped, and whether its cancel was an expiry. */
type Fate = NodeState | "NOT_NEEDED" | "EXPIRED";

export function fatesOf(definition: Definition, facts: readonly NodeFact[]): Fates {
  const { size, main } = definition.graph;
  const nodes = Array.from({ length: size }, (_, node) => node);
  const known = new Map<number, Fate>();
  const fateOf = (node: number): Fate => {
    let fate = known.get(node);
    if (fate === undefined) known.set(node, fate = node === main ? ofAllOwn() : of(node));
    return fate;
  };
  const spoils = (node: number) =>
    ["FAILURE", "EXPIRED"].includes(fateOf(node)) &&
    policyOfNode(definition, node).optional !== true;
  const ofAllOwn = (): Fate => {
    const own = nodes.filter((node) => !isCleanup(definition, node));
    if (!own.every((node) => hasEnded(fateOf(node)))) return "PENDING";
    return own.some(spoils) ? "FAILURE" : "SUCCESS";
  };
  const of = (node: number): Fate => {
    const { any, skip } = policyOfNode(definition, node);
    if (skip === true) return "SKIPPED";
    const edges = edgesInto(definition, node).map(({ from, on }) => ({ fate: fateOf(from), on }));
    const ended = edges.filter(({ fate }) => hasEnded(fate));
    const broken = ended.filter(({ fate, on }) => !isTrue(on, fate));
    const letGo = any === true && ended.length > broken.length;
    if (!letGo) {
      if (ended.length < edges.length) return "PENDING";
      if (broken.length > 0) return endWith(broken);
    }
    return isJoin(definition, node) ? "SUCCESS" : ofAttempts(node);
  };
  const ofAttempts = (node: number): Fate => {
    const most = 1 + (policyOfNode(definition, node).retry?.max ?? 0);
    for (let attempt = 1; attempt <= most; attempt++) {
      const about = facts.filter((fact) => fact.node === node && fact.attempt === attempt);
      const outcome = about.find((fact): fact is Outcome => fact.is !== "expanded");
      if (outcome === undefined) {
        if (about.length > 0) return "STARTED";
        return attempt === 1 ? "SCHEDULED" : "RETRY";
      }
      if (outcome.is === "succeeded") return "SUCCESS";
      if (outcome.failure.name === "ExpiredError") return "EXPIRED";
      if (outcome.failure.fatal === true) return "FAILURE";
    }
    return "FAILURE";
  };
  const fates = nodes.map(fateOf);
  const finished = !fates.every(hasEnded) ? undefined : nodes.some(spoils) ? "FAILURE" : "SUCCESS";
  return { states: fates.map(shown), finished };
}

/** Whether an edge of this kind is satisfied by an upstream that ended so. */
function isTrue(on: EdgeKind, fate: Fate): boolean {
  const cancelled = fate === "CANCELLED" || fate === "EXPIRED";
  switch (on) {
    case "success":
      return fate === "SUCCESS" || fate === "SKIPPED";
    case "done":
      return true;
    case "failure":
      return hasFailed(fate);
    case "notFailed":
      return !hasFailed(fate) && !cancelled;
    case "error":
      return fate === "FAILURE";
    case "notSuccess":
      return hasFailed(fate) || cancelled;
    case "ran":
      return fate === "SUCCESS";
  }
  return on satisfies never;
}

/** How a node ends that cannot run: the worst of its reasons counts. */
function endWith(broken: readonly { fate: Fate; on: EdgeKind }[]): Fate {
  const reasons = broken.map(({ fate, on }): Fate => {
    if (on === "ran") return "NOT_NEEDED";
    if (fate === "CANCELLED" || fate === "EXPIRED") return "CANCELLED";
    return hasFailed(fate) && on !== "error" ? "UPSTREAM_FAILED" : "NOT_NEEDED";
  });
  const worst: Fate[] = ["UPSTREAM_FAILED", "CANCELLED"];
  return worst.find((reason) => reasons.includes(reason)) ?? "NOT_NEEDED";
}

function shown(fate: Fate): NodeState {
  return fate === "NOT_NEEDED" ? "SKIPPED" : fate === "EXPIRED" ? "CANCELLED" : fate;
}

export function hasEnded(state: Fate): boolean {
  return !["PENDING", "SCHEDULED", "RETRY", "STARTED"].includes(state);
}

function hasFailed(fate: Fate): boolean {
  return fate === "FAILURE" || fate === "UPSTREAM_FAILED";
}
