/**
 * What a schedule is about: a workflow as plain data, what people do with it, and how many processes take part. Plain, so
 * that a plan can be made smaller and still be understood. A plan follows from its seed.
 */
import { Rolls } from "./rolls.ts";

export interface EdgePlan {
  /** An earlier node. */
  readonly from: number;
  /** "data": its result is an input; the others are order only. */
  readonly on: "data" | "success" | "done" | "failure";
}

/** What runs in the place of a node. */
export type Growth = "map" | "run" | "expand";

export interface NodePlan {
  readonly edges: readonly EdgePlan[];
  /** How long its task takes; 0: it ends at once. */
  readonly ms: number;
  /** So many of its attempts fail. */
  readonly fails: number;
  readonly retries: number;
  /** Characters of its result: more than a record takes. */
  readonly bulk?: number;
  readonly grows?: Growth;
  /** It waits for an event of its own. */
  readonly waits?: boolean;
  readonly countdownMs?: number;
  readonly timeoutMs?: number;
  /** At most one of the nodes with this key runs at a time. */
  readonly key?: string;
  readonly any?: boolean;
  readonly optional?: boolean;
  readonly compensated?: boolean;
  readonly priority?: number;
}

export type Press = "cancel" | "pause" | "skip" | "send" | "submit again" | "retry" | "rerun";

export interface Action {
  /** After the submit; `retry` and `rerun`: after the end. */
  readonly ms: number;
  readonly press: Press;
  readonly node: number;
}

export interface Plan {
  readonly nodes: readonly NodePlan[];
  readonly actions: readonly Action[];
  readonly processors: number;
  readonly workers: number;
  readonly timeoutMs?: number;
  readonly maxParallel?: number;
  /** A node that runs whatever happened. */
  readonly finally: boolean;
  /** Finished runs are removed after this. */
  readonly retentionMs?: number;
  /** Clocks of processes differ by up to this. */
  readonly skewMs: number;
  /** Subscriptions take a while, as in a cluster. */
  readonly spreads: boolean;
  /** Bytes of the largest record. */
  readonly maxRecord: number;
  /** Parked workflows that processors keep at hand. */
  readonly keep?: number;
}

const SMALL_RECORD = 8_000;
const LARGE_RECORD = 1_048_576;

export function anyPlan(seed: number): Plan {
  return new Rolls(seed, "kind").often(4) ? restlessPlan(seed) : eventfulPlan(seed);
}

/**
 * Layers of small tasks, and people who pause and resume: each of that wakes the run, which goes from one processor to
 * another while its tasks run.
 */
export function restlessPlan(seed: number): Plan {
  const rolls = new Rolls(seed, "restless plan");
  const width = 1 + rolls.roll(3);
  const layers = 2 + rolls.roll(7);
  const edgesOf = (node: number): EdgePlan[] => {
    if (node < width) return [];
    const above = node - width;
    const froms = new Set([above, above - (node % width) + rolls.roll(width)]);
    return [...froms].map((from) => ({ from, on: "data" }));
  };
  return {
    nodes: Array.from({ length: width * layers }, (_, node) => ({
      edges: edgesOf(node),
      ms: rolls.often(80) ? 0 : rolls.roll(4),
      fails: 0,
      retries: 0,
    })),
    actions: Array.from(
      { length: 1 + rolls.roll(6) },
      () => ({ ms: rolls.roll(15), press: "pause", node: 0 }),
    ),
    processors: 2 + rolls.roll(2),
    workers: 1 + rolls.roll(2),
    finally: false,
    skewMs: 0,
    spreads: false,
    maxRecord: LARGE_RECORD,
    ...(rolls.often(20) ? { keep: 0 } : {}),
  };
}

function eventfulPlan(seed: number): Plan {
  const rolls = new Rolls(seed, "plan");
  const size = 1 + rolls.roll(rolls.often(20) ? 9 : 5);
  const isPlain = rolls.often(35);
  const isBulky = rolls.often(5);
  const nodes = Array.from({ length: size }, (_, i): NodePlan => {
    const node = anyNode(rolls, i, isPlain);
    return isBulky && rolls.often(50) ? { ...node, bulk: 2 * SMALL_RECORD } : node;
  });
  const actions = isPlain && rolls.often(60) ? [] : anyActions(rolls, nodes);
  const plan = {
    nodes,
    actions,
    processors: 1 + rolls.roll(3),
    workers: 1 + rolls.roll(3),
    ...(rolls.often(7) ? { timeoutMs: 1_000 + rolls.roll(20_000) } : {}),
    ...(rolls.often(15) ? { maxParallel: 1 + rolls.roll(3) } : {}),
    finally: rolls.often(15),
    skewMs: rolls.often(20) ? 3_000 : 0,
    spreads: rolls.often(15),
    maxRecord: isBulky ? SMALL_RECORD : LARGE_RECORD,
    ...(rolls.often(30) ? { keep: 0 } : {}),
  };
  return rolls.often(12) ? shortlived(plan) : plan;
}

/** It is removed soon after its end. Whoever submits it again gets a new run, which knows nothing of what was sent to the old. */
function shortlived(plan: Plan): Plan {
  return {
    ...plan,
    nodes: plan.nodes.map(({ waits: _, ...node }) => node),
    actions: plan.actions.filter(({ press }) => press !== "send" && press !== "pause"),
    // Ages are told by the clocks of processes: half a second more or less must not matter.
    skewMs: 0,
    // Longer than a call may be under way, or its process stand still: no more is promised.
    retentionMs: 90_000,
  };
}

function anyNode(rolls: Rolls, i: number, isPlain: boolean): NodePlan {
  const kinds = isPlain ? ["data"] as const : ["data", "success", "done", "failure"] as const;
  const kind = () => rolls.often(60) ? "data" : rolls.pick(kinds);
  const froms = new Set(
    Array.from({ length: i === 0 ? 0 : rolls.roll(Math.min(i, 3) + 1) }, () => rolls.roll(i)),
  );
  const edges = [...froms].map((from): EdgePlan => ({ from, on: kind() }));
  const plain = { edges, ms: rolls.often(70) ? 0 : rolls.roll(300), fails: 0, retries: 0 };
  if (isPlain) return plain;
  const growth = rolls.often(10) ? rolls.pick(["map", "run", "expand"] as const) : undefined;
  if (growth !== undefined) return { ...plain, edges: edges.filter(isOrder), grows: growth };
  if (rolls.often(6)) return { ...plain, edges: edges.filter(isOrder), waits: true };
  return {
    ...plain,
    fails: rolls.often(75) ? 0 : rolls.often(70) ? 1 : 9,
    retries: rolls.often(40) ? 1 + rolls.roll(2) : 0,
    ...(rolls.often(10) ? { countdownMs: rolls.roll(3_000) } : {}),
    ...(rolls.often(6) ? { timeoutMs: 100 + rolls.roll(400) } : {}),
    ...(rolls.often(12) ? { key: rolls.pick(["a", "b"]) } : {}),
    ...(rolls.often(8) ? { any: true } : {}),
    ...(rolls.often(8) ? { optional: true } : {}),
    ...(rolls.often(8) ? { compensated: true } : {}),
    ...(rolls.often(10) ? { priority: rolls.roll(10) } : {}),
  };
}

function isOrder({ on }: EdgePlan): boolean {
  return on !== "data";
}

function anyActions(rolls: Rolls, nodes: readonly NodePlan[]): Action[] {
  const node = () => rolls.roll(nodes.length);
  const actions = nodes.flatMap(({ waits }, i): Action[] =>
    waits === true ? [{ ms: rolls.roll(4_000), press: "send", node: i }] : []
  );
  const presses: readonly [Press, number][] = [
    ["cancel", 18],
    ["pause", 12],
    ["skip", 8],
    ["submit again", 8],
    ["retry", 15],
    ["rerun", 6],
  ];
  for (const [press, share] of presses) {
    if (rolls.often(share)) actions.push({ ms: rolls.roll(1_500), press, node: node() });
  }
  return actions;
}

/** Every plan that is a step smaller. What a node waits for is sent: a run that nothing could end would prove nothing. */
export function* smaller(plan: Plan): Generator<Plan> {
  for (let i = plan.nodes.length - 1; i >= 0 && plan.nodes.length > 1; i--) yield without(plan, i);
  for (const [i, { press, node }] of plan.actions.entries()) {
    if (press === "send" && plan.nodes[node]!.waits === true) continue;
    yield { ...plan, actions: plan.actions.filter((_, k) => k !== i) };
  }
  if (plan.processors > 1) yield { ...plan, processors: plan.processors - 1 };
  if (plan.workers > 1) yield { ...plan, workers: plan.workers - 1 };
  for (const limit of ["timeoutMs", "maxParallel", "retentionMs", "keep"] as const) {
    if (limit in plan) yield lacking(plan, limit);
  }
  if (plan.finally) yield { ...plan, finally: false };
  if (plan.skewMs > 0) yield { ...plan, skewMs: 0 };
  if (plan.spreads) yield { ...plan, spreads: false };
  if (plan.maxRecord < LARGE_RECORD) yield { ...plan, maxRecord: LARGE_RECORD };
  for (const [i, node] of plan.nodes.entries()) {
    for (const smallerNode of smallerNodes(node)) {
      yield { ...plan, nodes: plan.nodes.with(i, smallerNode) };
    }
  }
}

function* smallerNodes(node: NodePlan): Generator<NodePlan> {
  const { edges, ms, fails, retries, waits, grows, ...extras } = node;
  for (const [i] of edges.entries()) yield { ...node, edges: edges.filter((_, k) => k !== i) };
  if (ms > 0) yield { ...node, ms: 0 };
  if (fails > 0) yield { ...node, fails: 0 };
  if (retries > 0) yield { ...node, retries: 0 };
  if (waits === true || grows !== undefined) yield { edges, ms, fails, retries, ...extras };
  for (const extra of Object.keys(extras)) yield lacking(node, extra as keyof typeof extras);
}

/** It is gone, not undefined: what is there could be taken away again and again. */
function lacking<T extends object>(whole: T, name: keyof T): T {
  return Object.fromEntries(Object.entries(whole).filter(([key]) => key !== name)) as T;
}

function without(plan: Plan, gone: number): Plan {
  const moved = (i: number) => i > gone ? i - 1 : i;
  return {
    ...plan,
    nodes: plan.nodes.filter((_, i) => i !== gone).map((node) => ({
      ...node,
      edges: node.edges.filter(({ from }) => from !== gone)
        .map(({ from, on }) => ({ from: moved(from), on })),
    })),
    actions: plan.actions.filter(({ press, node }) => press !== "send" || node !== gone)
      .map((action) => ({ ...action, node: Math.min(moved(action.node), plan.nodes.length - 2) })),
  };
}
