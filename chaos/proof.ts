/**
 * Workflows whose results prove how they came about: each is a hash over its run, node, attempt and
 * all that it was given, so that a missing, doubled or foreign input changes everything after it.
 * What must come out is computed here from the plan alone; nothing here asks the engine.
 */
import { type Node, task, Workflow } from "nats-dyrygent";
import type { Rolls } from "../test/mixed/plans.ts";
import { digestOf } from "./history.ts";

/** What a task is told to do. */
export interface Spec {
  /** How long it takes, milliseconds. */
  readonly ms: number;
  /** So many attempts fail. */
  readonly fails: number;
  /** So many characters make its result long. */
  readonly pad: number;
}

export type ProofNode =
  & { readonly after: readonly number[] }
  & (
    | {
      readonly is: "prove";
      readonly spec: Spec;
      readonly inputs: readonly number[];
      readonly retries: number;
    }
    | { readonly is: "list"; readonly specs: readonly Spec[] }
    /** A run with a node for each member of a list. */
    | { readonly is: "map"; readonly of: number }
  );

export interface ProofPlan {
  readonly id: string;
  readonly nodes: readonly ProofNode[];
}

/** How an attempt must end that succeeds. */
export interface ExpectedNode {
  readonly attempt: number;
  readonly result: string;
  /** The digest of its arguments. */
  readonly given: string;
}

export interface Expected {
  readonly state: "SUCCESS" | "FAILURE";
  /** The digest of what the run gives. */
  readonly result: string | undefined;
  /** By run (children too) and node: those that succeed with a result of their own. */
  readonly runs: ReadonlyMap<string, ReadonlyMap<number, ExpectedNode>>;
  /** Nodes of the run itself that must never begin. */
  readonly never: ReadonlySet<number>;
}

export function proofOf(
  run: string,
  node: number,
  attempt: number,
  spec: Spec,
  inputs: readonly unknown[],
): string {
  return digestOf([run, node, attempt, spec, inputs]) + "~".repeat(spec.pad);
}

/** For building only their names count: the workers' are in member.ts. */
export const prove = task("prove", (_spec: Spec, ..._inputs: unknown[]): string => "");
export const listed = task("listed", (_specs: readonly Spec[]): Spec[] => []);

export function workflowOf({ nodes: planned }: ProofPlan): Workflow<unknown> {
  const wf = new Workflow("proof");
  const nodes: Node<unknown>[] = [];
  for (const node of planned) {
    nodes.push(made(wf, node, nodes).after(node.after.map((other) => nodes[other]!)));
  }
  return wf.output(nodes.at(-1)!);
}

function made(wf: Workflow, node: ProofNode, before: readonly Node<unknown>[]): Node<unknown> {
  switch (node.is) {
    case "prove":
      return wf.call(prove, node.spec, ...node.inputs.map((input) => before[input]!)).set({
        retry: { max: node.retries, base: 50, jitter: false },
      });
    case "list":
      return wf.call(listed, node.specs);
    case "map":
      return wf.map(prove, before[node.of] as Node<Spec[]>);
  }
  return node satisfies never;
}

/** Everything that must come out, from the plan alone. */
export function expectationOf({ id, nodes }: ProofPlan): Expected {
  const values: unknown[] = [];
  const own = new Map<number, ExpectedNode>();
  const runs = new Map<string, ReadonlyMap<number, ExpectedNode>>([[id, own]]);
  const lost = new Set<number>();
  const never = new Set<number>();
  const succeed = (node: number, attempt: number, args: unknown[], result: unknown) => {
    values[node] = result;
    own.set(node, { attempt, result: digestOf(result), given: digestOf(args) });
  };
  for (const [number, node] of nodes.entries()) {
    if (upstreamsOf(node).some((upstream) => lost.has(upstream))) {
      lost.add(number);
      never.add(number);
      continue;
    }
    switch (node.is) {
      case "prove": {
        const { spec, retries } = node;
        const inputs = node.inputs.map((input) => values[input]);
        const attempt = spec.fails + 1;
        if (spec.fails > retries) lost.add(number);
        else {
          const result = proofOf(id, number, attempt, spec, inputs);
          succeed(number, attempt, [spec, ...inputs], result);
        }
        break;
      }
      case "list":
        succeed(number, 1, [node.specs], node.specs);
        break;
      case "map": {
        const child = `${id}__${number}_1`;
        const specs = values[node.of] as Spec[];
        const results = specs.map((spec, i) => proofOf(child, i, 1, spec, []));
        const members = specs.map((spec, i) =>
          [i, { attempt: 1, result: digestOf(results[i]), given: digestOf([spec]) }] as const
        );
        runs.set(child, new Map(members));
        values[number] = results;
        break;
      }
      default:
        node satisfies never;
    }
  }
  return {
    state: lost.size === 0 ? "SUCCESS" : "FAILURE",
    result: lost.size === 0 ? digestOf(values.at(-1)) : undefined,
    runs,
    never,
  };
}

function upstreamsOf(node: ProofNode): readonly number[] {
  switch (node.is) {
    case "prove":
      return [...node.inputs, ...node.after];
    case "list":
      return node.after;
    case "map":
      return [node.of, ...node.after];
  }
  return node satisfies never;
}

export interface ProofOptions {
  /** Whether results may be too big for a record. */
  readonly mayBeBig: boolean;
}

/** More than a record takes. */
const BIG = 1_100_000;

/** Any plan. Its last node depends on all others. */
export function anyProof(rolls: Rolls, id: string, { mayBeBig }: ProofOptions): ProofPlan {
  const nodes = anyShape(rolls);
  if (mayBeBig && rolls.often(4)) nodes.push(proving({ ms: 0, fails: 0, pad: BIG }, []));
  const known = new Set(nodes.flatMap((node) => upstreamsOf(node)));
  const sinks = nodes.flatMap((_, i) => known.has(i) ? [] : [i]);
  nodes.push(proving(anySpec(rolls), sinks));
  return { id, nodes };
}

function anyShape(rolls: Rolls): ProofNode[] {
  switch (rolls.roll(8)) {
    case 0:
      return layers(rolls, 5 + rolls.roll(6), 8 + rolls.roll(12));
    case 1:
      return layers(rolls, 5 + rolls.roll(20), 1);
    case 2:
      return layers(rolls, 1, 30 + rolls.roll(70));
    case 3:
      return grown(rolls);
    default:
      return anyGraph(rolls, 2 + rolls.roll(14));
  }
}

/** Each node takes up to two results of the layer before. */
function layers(rolls: Rolls, count: number, width: number): ProofNode[] {
  const nodes: ProofNode[] = [];
  for (let layer = 0; layer < count; layer++) {
    const before = (layer - 1) * width;
    for (let i = 0; i < width; i++) {
      const inputs = layer === 0 ? [] : [...new Set([before + i, before + rolls.roll(width)])];
      nodes.push(proving(anySpec(rolls), inputs));
    }
  }
  return nodes;
}

function grown(rolls: Rolls): ProofNode[] {
  const specs = Array.from({ length: rolls.roll(12) }, () => ({ ...anySpec(rolls), fails: 0 }));
  return [
    proving(anySpec(rolls), []),
    { is: "list", specs, after: [0] },
    { is: "map", of: 1, after: [] },
    proving(anySpec(rolls), [2]),
  ];
}

function anyGraph(rolls: Rolls, size: number): ProofNode[] {
  const nodes: ProofNode[] = [];
  const hopeless = rolls.often(15) ? rolls.roll(size) : undefined;
  for (let i = 0; i < size; i++) {
    const some = (most: number) => [
      ...new Set(Array.from({ length: i === 0 ? 0 : rolls.roll(most + 1) }, () => rolls.roll(i))),
    ];
    const spec = anySpec(rolls);
    const node = i === hopeless
      ? proving({ ...spec, fails: 9 }, some(3), 1)
      : proving(spec, some(3));
    nodes.push({ ...node, after: some(1) });
  }
  return nodes;
}

function proving(spec: Spec, inputs: readonly number[], retries = 3): ProofNode {
  return { is: "prove", spec, inputs, retries, after: [] };
}

function anySpec(rolls: Rolls): Spec {
  return {
    ms: rolls.often(60) ? rolls.roll(30) : rolls.often(90) ? rolls.roll(250) : rolls.roll(2_000),
    fails: rolls.often(92) ? 0 : 1 + rolls.roll(2),
    pad: 0,
  };
}
