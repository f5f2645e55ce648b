/**
 * The shape of a workflow as flat integer arrays, so that a million nodes are cheap: for each node the nodes before it
 * (`up`) and after it (`down`). Never holds arguments or results. The node one past the last, `main`, stands for the
 * workflow's own nodes together: `onError` and `finally` wait for it.
 */

import { IntList } from "./int_list.ts";

/**
 * On which end of its upstream an edge counts:
 * - `success`: it succeeded, or somebody skipped it;
 * - `done`: it ended, however;
 * - `failure`: it failed, or never ran because something before it failed;
 * - `notFailed`: it ended, and that did not happen;
 * - `error`: it failed itself;
 * - `notSuccess`: it ended without success (for `main`: failed, timed out or cancelled);
 * - `ran`: it ran and succeeded: there is something to undo.
 */
export type EdgeKind =
  | "success"
  | "done"
  | "failure"
  | "notFailed"
  | "error"
  | "notSuccess"
  | "ran";
/** Their order is the one of packed edges. */
export const EDGE_KINDS: readonly EdgeKind[] = [
  "success",
  "done",
  "failure",
  "notFailed",
  "error",
  "notSuccess",
  "ran",
];
const KINDS = 8;

/** One edge into a node: its upstream and its kind, as one number. */
export type PackedEdge = number;
/** The upstream of edges from the workflow's own nodes together, as written in packed edges and definitions. */
export const MAIN = -1;

export function packEdge(upstream: number, kind: EdgeKind): PackedEdge {
  return (upstream + 1) * KINDS + EDGE_KINDS.indexOf(kind);
}

export function edgeUpstream(edge: PackedEdge): number {
  return Math.floor(edge / KINDS) - 1;
}

export function edgeKind(edge: PackedEdge): EdgeKind {
  return EDGE_KINDS[edge % KINDS]!;
}

/** Edges grouped by node: those of node `n` stand from `offsets[n]` up to `offsets[n + 1]`. */
export interface Adjacency {
  readonly offsets: Int32Array;
  readonly nodes: Int32Array;
  /** Index into {@link EDGE_KINDS}. */
  readonly kinds: Uint8Array;
}

export interface Graph {
  readonly size: number;
  /** The node that stands for all others but the cleanup ones. Equal to `size`. */
  readonly main: number;
  readonly up: Adjacency;
  readonly down: Adjacency;
}

/** @param edgesOf the packed edges into each node, asked for once; upstreams must exist; equal edges are merged. */
export function buildGraph(size: number, edgesOf: (node: number) => readonly PackedEdge[]): Graph {
  const merged = new IntList();
  const ends = new Int32Array(size);
  for (let node = 0; node < size; node++) {
    const edges = edgesOf(node);
    const unique = edges.length < 2 ? edges : [...new Set(edges)].sort((a, b) => a - b);
    for (const edge of unique) merged.push(edge);
    ends[node] = merged.length;
  }
  const up = emptyAdjacency(size + 1, merged.length);
  const down = emptyAdjacency(size + 1, merged.length);
  up.offsets.set(ends, 1);
  for (let e = 0; e < merged.length; e++) {
    const edge = merged.at(e);
    const upstream = edgeUpstream(edge);
    up.nodes[e] = upstream === MAIN ? size : upstream;
    up.kinds[e] = edge % KINDS;
    down.offsets[up.nodes[e]! + 1]!++;
  }
  up.offsets[size + 1] = merged.length;
  for (let node = 0; node <= size; node++) down.offsets[node + 1]! += down.offsets[node]!;
  const next = down.offsets.slice();
  for (let node = 0; node < size; node++) {
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      const slot = next[up.nodes[e]!]!++;
      down.nodes[slot] = node;
      down.kinds[slot] = up.kinds[e]!;
    }
  }
  return { size, main: size, up, down };
}

function emptyAdjacency(nodes: number, edges: number): Adjacency {
  return {
    offsets: new Int32Array(nodes + 1),
    nodes: new Int32Array(edges),
    kinds: new Uint8Array(edges),
  };
}

/** The packed edges into `node`. */
export function packedEdges({ up, main }: Graph, node: number): PackedEdge[] {
  const edges: PackedEdge[] = [];
  for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
    edges.push((up.nodes[e] === main ? 0 : up.nodes[e]! + 1) * KINDS + up.kinds[e]!);
  }
  return edges;
}

/** The nodes that nothing waits for but what `isAside` says. */
export function sinks({ down, size }: Graph, isAside: (node: number) => boolean): number[] {
  const found: number[] = [];
  for (let node = 0; node < size; node++) {
    let e = down.offsets[node]!;
    while (e < down.offsets[node + 1]! && isAside(down.nodes[e]!)) e++;
    if (e === down.offsets[node + 1]) found.push(node);
  }
  return found;
}

/** Marks `from` and every node that waits for one of them, directly or not, with 1. */
export function descendants({ down, size }: Graph, from: readonly number[]): Uint8Array {
  const marks = new Uint8Array(size);
  const todo = from.filter((node) => node >= 0 && node < size);
  for (let node = todo.pop(); node !== undefined; node = todo.pop()) {
    if (marks[node] === 1) continue;
    marks[node] = 1;
    for (let e = down.offsets[node]!; e < down.offsets[node + 1]!; e++) todo.push(down.nodes[e]!);
  }
  return marks;
}

/** Nodes that wait for each other, in order, the first one again at the end; undefined when there are none. */
export function findCycle(graph: Graph): number[] | undefined {
  const { up, down, size } = graph;
  const waitsFor = new Int32Array(size);
  const free: number[] = [];
  const mainEdges = down.offsets[size + 1]! - down.offsets[size]!;
  for (let node = 0; node < size; node++) {
    waitsFor[node] = up.offsets[node + 1]! - up.offsets[node]!;
  }
  for (let e = down.offsets[size]!; e < down.offsets[size]! + mainEdges; e++) {
    waitsFor[down.nodes[e]!]!--;
  }
  for (let node = 0; node < size; node++) if (waitsFor[node] === 0) free.push(node);
  let seen = 0;
  while (seen < free.length) {
    const node = free[seen++]!;
    for (let e = down.offsets[node]!; e < down.offsets[node + 1]!; e++) {
      const dependent = down.nodes[e]!;
      if (--waitsFor[dependent]! === 0) free.push(dependent);
    }
  }
  return seen === size ? undefined : walkBack(graph, waitsFor);
}

/** Every node still waiting has an upstream still waiting: walking back must come around. */
function walkBack({ up }: Graph, waitsFor: Int32Array): number[] {
  const position = new Map<number, number>();
  const walk: number[] = [];
  let node = waitsFor.findIndex((count) => count > 0);
  while (!position.has(node)) {
    position.set(node, walk.length);
    walk.push(node);
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      if ((waitsFor[up.nodes[e]!] ?? 0) > 0) {
        node = up.nodes[e]!;
        break;
      }
    }
  }
  return [...walk.slice(position.get(node)), node].reverse();
}
