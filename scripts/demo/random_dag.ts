/** `--nodes`: a generated layered graph of tiny tasks. Every result depends on all results before it. */
import { type Node, task, Workflow } from "nats-dyrygent";
import type { Conclusion, Edge, Job } from "./job.ts";

/** A node's value: some 32-bit number made of its own and its upstreams' in their order. */
export const mix = task("demo.mix", (node: number, upstream: readonly number[]): number => {
  let value = Math.imul(node + 1, 0x9e3779b1);
  for (const other of upstream) value = Math.imul(value ^ other, 0x01000193) ^ (value >>> 15);
  return value >>> 0;
});

const MOST_UPSTREAMS = 4;
const LAYERS_BACK = 3;

/** @param size of the graph, the last node included, which gathers what nobody else waits for. */
export function randomDagJob(size: number, seed: number): Job {
  const upstreams = randomGraph(size, seed);
  const workflow = new Workflow("random-dag", { timeout: "1h" });
  const nodes: Node<number>[] = [];
  const edges: Edge[] = [];
  for (const [number, upstream] of upstreams.entries()) {
    nodes.push(workflow.call(mix, number, upstream.map((other) => nodes[other]!)));
    for (const other of upstream) edges.push([other, number]);
  }
  return {
    title: `a random graph of ${size} nodes and ${edges.length} edges, seed ${seed}`,
    workflow: workflow.output(nodes.at(-1)!),
    edges,
    describe: (node) => `node ${node}`,
    conclude: (result) => conclude(result, upstreams),
  };
}

/** The upstreams of each node: one at least of the layer before, the others up to three layers back. */
function randomGraph(size: number, seed: number): number[][] {
  const width = Math.ceil(Math.sqrt(size));
  const below = randomNumbers(seed);
  const hasDependent = new Uint8Array(size);
  const upstreams: number[][] = [];
  for (let node = 0; node < size - 1; node++) {
    const layerStart = node - node % width;
    const chosen = new Set<number>();
    if (layerStart > 0) {
      chosen.add(layerStart - width + below(width));
      const first = Math.max(0, layerStart - LAYERS_BACK * width);
      for (let more = below(MOST_UPSTREAMS); more > 0; more--) {
        chosen.add(first + below(layerStart - first));
      }
    }
    for (const other of chosen) hasDependent[other] = 1;
    upstreams.push([...chosen]);
  }
  upstreams.push(upstreams.flatMap((_, node) => hasDependent[node] ? [] : [node]));
  return upstreams;
}

/** @returns whole numbers from 0 below a bound, the same ones for the same seed (mulberry32). */
function randomNumbers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % bound;
  };
}

function conclude(result: unknown, upstreams: readonly (readonly number[])[]): Conclusion {
  const values: number[] = [];
  for (const [node, upstream] of upstreams.entries()) {
    values.push(mix(node, upstream.map((other) => values[other]!)));
  }
  const expected = values.at(-1);
  const isRight = result === expected;
  return {
    lines: [`checksum over all ${upstreams.length} nodes: ${result}`],
    json: { checksum: result },
    checked: "the checksum equals the one computed directly",
    problems: isRight ? [] : [`the checksum is ${result}; computed directly it is ${expected}`],
  };
}
