/**
 * Workflows of any shape, for properties: calls with edges of every kind and every rule, events, runs in the place of nodes,
 * canvases with links among them, retries, expiry, compensations, cleanup.
 */
import fc from "fast-check";
import { type Definition, policyOfNode, type Start } from "../../src/core/definition.ts";
import type { TriggerRule } from "../../src/core/draft.ts";
import { withInput } from "../../src/core/expand.ts";
import { EDGE_KINDS, type EdgeKind } from "../../src/core/graph.ts";
import { type Node, Workflow } from "../../src/core/workflow.ts";
import { anyCanvas, mixTask, type Plain, tinyCanvas, written } from "./plain_canvas.ts";

type AfterKind = "success" | "done" | "failure";

/** What a node does. */
type Does =
  | { readonly is: "task" }
  | { readonly is: "event"; readonly name: string; readonly timeout: number | undefined }
  | { readonly is: "map"; readonly items: number }
  | { readonly is: "run" };

interface Call {
  readonly is: "call";
  readonly does: Does;
  /** Upstreams, counted back from the newest node. */
  readonly after: readonly { readonly back: number; readonly on: AfterKind }[];
  readonly rule: TriggerRule | undefined;
  readonly optional: boolean;
  readonly skip: boolean;
  readonly undo: readonly Plain[];
  readonly retries: number;
  readonly countdown: number | undefined;
  readonly eta: number | undefined;
  /** Milliseconds after it is ready. */
  readonly expires: number | undefined;
}

interface Added {
  readonly is: "canvas";
  readonly canvas: Plain;
  readonly after: readonly number[];
  readonly links: readonly Plain[];
  readonly onErrors: readonly Plain[];
}

export interface Sketch {
  readonly steps: readonly (Call | Added)[];
  readonly onError: readonly Plain[];
  readonly finally: readonly Plain[];
  /** Whether a node takes the workflow's input. */
  readonly input: boolean;
  readonly start: Start | undefined;
}

export const EMPTY_SKETCH: Sketch = {
  steps: [],
  onError: [],
  finally: [],
  input: false,
  start: undefined,
};

const back = fc.nat({ max: 12 });

/** Names are few, so that several nodes wait for the same one. */
export const EVENTS = ["red", "green"];

const does: fc.Arbitrary<Does> = fc.oneof(
  { weight: 10, arbitrary: fc.constant({ is: "task" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      is: fc.constant("event" as const),
      name: fc.constantFrom(...EVENTS),
      timeout: fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ is: fc.constant("map" as const), items: fc.nat({ max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ is: "run" as const }) },
);

/** True once in so many times. */
const once = (every: number) => fc.nat({ max: every - 1 }).map((dice) => dice === 0);

/** Small, so that raw edges and canvases mix. */
const smallCanvas = anyCanvas.filter((plain) => sizeOf(plain) <= 15);

const call: fc.Arbitrary<Call> = fc.record({
  is: fc.constant("call" as const),
  does,
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
  rule: fc.option(
    fc.constantFrom<TriggerRule>(
      "allSucceeded",
      "allDone",
      "anyFailed",
      "anySucceeded",
      "noneFailed",
    ),
    { nil: undefined },
  ),
  optional: once(5),
  skip: once(20),
  undo: fc.oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(tinyCanvas, { maxLength: 2 }) },
  ),
  retries: fc.constantFrom(0, 0, 1, 3),
  countdown: fc.option(fc.nat({ max: 50 }), { nil: undefined, freq: 4 }),
  eta: fc.option(fc.nat({ max: 200 }), { nil: undefined, freq: 8 }),
  expires: fc.option(fc.integer({ min: 1, max: 80 }), { nil: undefined, freq: 4 }),
});

const attached = fc.oneof(
  { weight: 2, arbitrary: fc.constant([]) },
  { weight: 1, arbitrary: fc.array(tinyCanvas, { maxLength: 2 }) },
);

const added: fc.Arbitrary<Added> = fc.record({
  is: fc.constant("canvas" as const),
  canvas: smallCanvas,
  after: fc.array(back, { maxLength: 10 }),
  links: attached,
  onErrors: attached,
});

const cleanup = fc.array(smallCanvas, { maxLength: 2 });

const start: fc.Arbitrary<Start> = fc.record({
  countdownMs: fc.nat({ max: 50 }),
  notBefore: fc.nat({ max: 300 }),
  expiresMs: fc.integer({ min: 1, max: 100 }),
  expiresAt: fc.integer({ min: 1, max: 400 }),
}, { requiredKeys: [], noNullPrototype: true });

export const anySketch: fc.Arbitrary<Sketch> = fc.record({
  steps: fc.array(
    fc.oneof({ weight: 5, arbitrary: call }, { weight: 1, arbitrary: added }),
    { maxLength: 30, size: "max" },
  ),
  onError: cleanup,
  finally: cleanup,
  input: once(3),
  start: fc.option(start, { nil: undefined, freq: 2 }),
});

function sizeOf(plain: Plain): number {
  return Workflow.of(written(plain)).size;
}

/** As it is submitted: with a start and an input. */
export function definitionOf(sketch: Sketch): Definition {
  const definition = workflowOf(sketch).build();
  const started = sketch.start === undefined ? definition : { ...definition, start: sketch.start };
  return withInput(started, sketch.input ? { any: "input" } : undefined);
}

export function workflowOf({ steps, onError, finally: last, input }: Sketch): Workflow {
  const wf = new Workflow("any");
  const nodes: Node[] = [];
  const earlier = (back: number): Node[] =>
    nodes.length === 0 ? [] : [nodes[Math.max(0, nodes.length - 1 - back)]!];
  if (input) nodes.push(wf.input());
  for (const step of steps) {
    if (step.is === "call") nodes.push(addCall(wf, step, earlier));
    else {
      const links = step.links.map(written);
      const onErrors = step.onErrors.map(written);
      let canvas = written(step.canvas);
      for (const link of links) canvas = canvas.link(link);
      for (const onError of onErrors) canvas = canvas.onError(onError);
      const ends = wf.add(canvas, { after: step.after.flatMap(earlier) });
      nodes.push(...ends as Node[]);
    }
  }
  for (const canvas of onError) wf.onError(written(canvas));
  for (const canvas of last) wf.finally(written(canvas));
  return wf;
}

function addCall(wf: Workflow, step: Call, earlier: (back: number) => Node[]): Node {
  const { retries, countdown, eta, expires } = step;
  const node = nodeOf(wf, step.does);
  node.set({
    countdown,
    eta,
    expires,
    ...(retries === 0 ? {} : { retry: { max: retries, base: 20 } }),
  });
  for (const { back, on } of step.after) node.after(earlier(back), { on });
  if (step.rule !== undefined) node.when(step.rule);
  if (step.optional) node.optional();
  if (step.skip) wf.skip(node);
  for (const undo of step.undo) node.compensate(written(undo));
  return node;
}

function nodeOf(wf: Workflow, does: Does): Node {
  switch (does.is) {
    case "task":
      return wf.call(mixTask);
    case "event": {
      const { name, timeout } = does;
      return wf.waitFor(name, timeout === undefined ? {} : { timeout });
    }
    case "map":
      return wf.map(mixTask, Array.from({ length: does.items }, (_, i) => i));
    case "run": {
      const sub = new Workflow("sub");
      sub.call(mixTask);
      return wf.run(sub);
    }
  }
  return does satisfies never;
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
