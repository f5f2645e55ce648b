/**
 * How each node of a run stands, worked out from the log: the same scheduler that conducts takes in the same facts. What is
 * told and not recorded (that an attempt has begun) is not known here.
 */
import { type Definition, labelOf, policyOfNode } from "../core/definition.ts";
import { EDGE_KINDS, type EdgeKind } from "../core/graph.ts";
import { everythingOf, parseKey } from "../core/keys.ts";
import type { NodeState } from "../core/node_state.ts";
import { LogReader } from "../core/recorded.ts";
import { parseRecord, readOutcomeNote } from "../core/records.ts";
import { Scheduler } from "../core/scheduler.ts";
import type { Facts, Stored } from "../ports.ts";
import { withBody } from "../runs/bodies.ts";

/** A node of a run. Times are milliseconds since 1970. */
export interface NodeStatus {
  readonly node: number;
  readonly label: string;
  /** Absent where it runs none: it waits for an event, or joins others. */
  readonly task?: string;
  readonly queue: string;
  readonly state: NodeState;
  /** From 1. */
  readonly attempt: number;
  /** Of its last attempt that has ended. */
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly worker?: string;
  /** The run that takes its place. */
  readonly run?: string;
  /** The nodes it depends on. */
  readonly after: readonly { readonly node: number; readonly on: EdgeKind }[];
  /** The event it waits for. */
  readonly event?: string;
  /** It may run, but not before. */
  readonly notBefore?: number;
  /** Its own limit across workers. */
  readonly limit?: string;
}

const BODY_BATCH = 256;

export async function nodesOf(
  facts: Facts,
  run: string,
  definition: Definition,
  submittedAt: number,
): Promise<NodeStatus[]> {
  const recorded = await facts.scan(everythingOf(run));
  const scheduler = new Scheduler(definition, run, submittedAt);
  scheduler.begin();
  const reader = new LogReader();
  const lastOf = new Map<number, Stored>();
  for (let i = 0; i < recorded.length; i += BODY_BATCH) {
    const batch = recorded.slice(i, i + BODY_BATCH);
    for (const stored of await Promise.all(batch.map((stored) => withBody(facts, stored)))) {
      const key = parseKey(stored.key);
      if (key?.is === "outcome") lastOf.set(key.node, stored);
      const fact = reader.take(stored);
      if (fact !== undefined) scheduler.apply(fact);
    }
  }
  return Array.from(
    { length: definition.graph.size },
    (_, node) => statusOf(definition, scheduler, node, lastOf.get(node)),
  );
}

function statusOf(
  definition: Definition,
  scheduler: Scheduler,
  node: number,
  last: Stored | undefined,
): NodeStatus {
  const { queue, event, limit } = policyOfNode(definition, node);
  const { task } = parseRecord(definition.signatures.bytes(node)) ?? {};
  const note = readOutcomeNote(last?.note);
  const run = scheduler.childOf(node);
  const effect = scheduler.isOpen(node) ? scheduler.effectFor(node) : undefined;
  return {
    node,
    label: labelOf(definition, node),
    ...(typeof task === "string" ? { task } : {}),
    queue,
    state: scheduler.stateOf(node),
    attempt: scheduler.attemptOf(node),
    ...(note === undefined
      ? {}
      : { startedAt: note.startedAt, endedAt: note.endedAt, worker: note.worker }),
    ...(run === undefined ? {} : { run }),
    after: edgesInto(definition, node),
    ...(event === undefined ? {} : { event }),
    ...(effect?.is === "dispatch" ? { notBefore: effect.notBefore } : {}),
    ...(limit === undefined ? {} : { limit: limit.key }),
  };
}

function edgesInto({ graph: { up } }: Definition, node: number): NodeStatus["after"] {
  const edges: { node: number; on: EdgeKind }[] = [];
  for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
    edges.push({ node: up.nodes[e]!, on: EDGE_KINDS[up.kinds[e]!]! });
  }
  return edges;
}
