/** Workflows of any shape, for properties: calls with edges of every kind, canvases among them, retries, cleanup. */
import fc from "fast-check";
import { type Definition, policyOfNode } from "../../src/core/definition.ts";
import { EDGE_KINDS, type EdgeKind } from "../../src/core/graph.ts";
import { type Node, Workflow } from "../../src/core/workflow.ts";
import { anyCanvas, mixTask, type Plain, written } from "./plain_canvas.ts";

type AfterKind = "success" | "done" | "failure";

interface Call {
  readonly is: "call";
  /** Upstreams, counted back from the newest node. */
  readonly after: readonly { readonly back: number; readonly on: AfterKind }[];
  readonly retries: number;
  readonly countdown: number | undefined;
  readonly eta: number | undefined;
}

interface Added {
  readonly is: "canvas";
  readonly canvas: Plain;
  readonly after: readonly number[];
}

export interface Sketch {
  readonly steps: readonly (Call | Added)[];
  readonly onError: readonly Plain[];
  readonly finally: readonly Plain[];
}

const back = fc.nat({ max: 12 });

const call: fc.Arbitrary<Call> = fc.record({
  is: fc.constant("call" as const),
  after: fc.array(
    fc.record({
      back,
      on: fc.oneof({ weight: 3, arbitrary: fc.constant("success" as const) }, {
        weight: 2,
        arbitrary: fc.constantFrom<AfterKind>("success", "done", "failure"),
      }),
    }),
    { maxLength: 4 },
  ),
  retries: fc.constantFrom(0, 0, 1, 3),
  countdown: fc.option(fc.nat({ max: 50 }), { nil: undefined, freq: 4 }),
  eta: fc.option(fc.nat({ max: 200 }), { nil: undefined, freq: 8 }),
});

/** Small, so that raw edges and canvases mix. */
const smallCanvas = anyCanvas.filter((plain) => sizeOf(plain) <= 15);

const added: fc.Arbitrary<Added> = fc.record({
  is: fc.constant("canvas" as const),
  canvas: smallCanvas,
  after: fc.array(back, { maxLength: 10 }),
});

const cleanup = fc.array(smallCanvas, { maxLength: 2 });

export const anySketch: fc.Arbitrary<Sketch> = fc.record({
  steps: fc.array(
    fc.oneof({ weight: 5, arbitrary: call }, { weight: 1, arbitrary: added }),
    { maxLength: 30, size: "max" },
  ),
  onError: cleanup,
  finally: cleanup,
});

function sizeOf(plain: Plain): number {
  return Workflow.of(written(plain)).size;
}

export function workflowOf({ steps, onError, finally: last }: Sketch): Workflow {
  const wf = new Workflow("any");
  const nodes: Node[] = [];
  const earlier = (back: number): Node[] =>
    nodes.length === 0 ? [] : [nodes[Math.max(0, nodes.length - 1 - back)]!];
  for (const step of steps) {
    if (step.is === "call") {
      const { retries, countdown, eta } = step;
      const node = wf.call(mixTask).set({
        countdown,
        eta,
        ...(retries === 0 ? {} : { retry: { max: retries, base: 20 } }),
      });
      for (const { back, on } of step.after) node.after(earlier(back), { on });
      nodes.push(node);
    } else {
      const ends = wf.add(written(step.canvas), { after: step.after.flatMap(earlier) });
      nodes.push(...ends as Node[]);
    }
  }
  for (const canvas of onError) wf.onError(written(canvas));
  for (const canvas of last) wf.finally(written(canvas));
  return wf;
}

/** One edge as a test sees it. `main` stands for the workflow's own nodes together. */
export interface SeenEdge {
  readonly from: number;
  readonly on: EdgeKind;
}

/** The edges into a node. */
export function edgesInto({ graph: { up } }: Definition, node: number): SeenEdge[] {
  const edges: SeenEdge[] = [];
  for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
    edges.push({ from: up.nodes[e]!, on: EDGE_KINDS[up.kinds[e]!]! });
  }
  return edges;
}

export function isJoin(definition: Definition, node: number): boolean {
  return policyOfNode(definition, node).join === true;
}

export function isCleanup(definition: Definition, node: number): boolean {
  return policyOfNode(definition, node).cleanup === true;
}

/** Numbers to decide by, over and over: so that a failing case prints as a short list. */
export class Dice {
  readonly #faces: readonly number[];
  #next = 0;

  constructor(faces: readonly number[]) {
    this.#faces = faces;
  }

  /** A whole number from 0 to below `sides`. */
  roll(sides: number): number {
    // Every time around is different: a cycle of decisions could repeat for ever.
    const around = Math.floor(this.#next / this.#faces.length);
    return (this.#faces[this.#next++ % this.#faces.length]! + around) % sides;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)]!;
  }

  shuffle<T>(list: readonly T[]): T[] {
    const rest = [...list];
    return list.map(() => rest.splice(this.roll(rest.length), 1)[0]!);
  }
}

export const anyFaces: fc.Arbitrary<number[]> = fc.array(fc.nat({ max: 1_000 }), {
  minLength: 1,
  maxLength: 60,
  size: "max",
});
