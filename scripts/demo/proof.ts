/**
 * Whether a run kept the order that its edges demand, judged by two things only: the edges as they were drawn, and the
 * outcomes with the server's times. Pure.
 */
import type { Edge } from "./job.ts";
import type { Outcome } from "./outcomes.ts";

export interface Proof {
  readonly edges: number;
  /** Nodes that succeeded exactly once. */
  readonly nodes: number;
  readonly problems: readonly string[];
}

/** @param size how many nodes the workflow has, numbered from 0. */
export function prove(size: number, edges: readonly Edge[], outcomes: readonly Outcome[]): Proof {
  const successes = new Map<number, Outcome[]>();
  /** Of each node, the first time that a task message of it was stored. */
  const sent = new Map<number, bigint>();
  for (const outcome of outcomes) {
    const { node, sentNs } = outcome;
    const before = sent.get(node);
    if (before === undefined || sentNs < before) sent.set(node, sentNs);
    if (outcome.succeeded) successes.set(node, [...successes.get(node) ?? [], outcome]);
  }
  const problems: string[] = [];
  for (let node = 0; node < size; node++) {
    const times = successes.get(node)?.length ?? 0;
    if (times !== 1) problems.push(`node ${node} succeeded ${times} times`);
  }
  for (const node of successes.keys()) {
    if (node >= size) problems.push(`node ${node} is not of the workflow`);
  }
  for (const [upstream, dependent] of edges) {
    const recordedNs = successes.get(upstream)?.[0]?.recordedNs;
    const sentNs = sent.get(dependent);
    if (recordedNs === undefined || sentNs === undefined || recordedNs > sentNs) {
      problems.push(
        `edge ${upstream} → ${dependent}: recorded at ${recordedNs} ns, but sent at ${sentNs} ns`,
      );
    }
  }
  const nodes = [...successes.values()].filter(({ length }) => length === 1).length;
  return { edges: edges.length, nodes, problems };
}
