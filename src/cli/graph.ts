/** Nodes and edges as text: Mermaid, DOT, and drawn in layers for a terminal. */
import type { NodeStatus } from "../client/nodes.ts";
import type { Output } from "./output.ts";

/** More than these are not drawn: nobody could read it. */
const MOST_DRAWN = 60;

const FILLS: Partial<Record<NodeStatus["state"], string>> = {
  SUCCESS: "#b7e4c7",
  FAILURE: "#ffadad",
  UPSTREAM_FAILED: "#ffd6d6",
  CANCELLED: "#ffe8b0",
  RETRY: "#ffe8b0",
  SCHEDULED: "#bde0fe",
  STARTED: "#bde0fe",
  SKIPPED: "#e5e5e5",
};

function isJoin({ task, event }: NodeStatus): boolean {
  return task === undefined && event === undefined;
}

function quoted(text: string): string {
  return text.replaceAll('"', "'");
}

export function mermaidOf(nodes: readonly NodeStatus[]): string {
  const lines = ["flowchart TD"];
  for (const node of nodes) {
    lines.push(`  n${node.node}${isJoin(node) ? "(( ))" : `["${quoted(node.label)}"]`}`);
    const fill = FILLS[node.state];
    if (fill !== undefined) lines.push(`  style n${node.node} fill:${fill}`);
  }
  for (const { node, after } of nodes) {
    for (const { node: from, on } of after) {
      lines.push(`  n${from} -->${on === "success" ? "" : `|${on}|`} n${node}`);
    }
  }
  return lines.join("\n");
}

export function dotOf(nodes: readonly NodeStatus[]): string {
  const lines = ["digraph run {", "  node [shape=box, style=filled, fillcolor=white];"];
  for (const node of nodes) {
    const shape = isJoin(node) ? "shape=point" : `label="${quoted(node.label)}"`;
    const fill = FILLS[node.state];
    lines.push(`  n${node.node} [${shape}${fill === undefined ? "" : `, fillcolor="${fill}"`}];`);
  }
  for (const { node, after } of nodes) {
    for (const { node: from, on } of after) {
      lines.push(`  n${from} -> n${node}${on === "success" ? "" : ` [label="${on}"]`};`);
    }
  }
  return [...lines, "}"].join("\n");
}

/** A line for each node, the nodes of a layer together, with what it comes after. */
export function drawn(nodes: readonly NodeStatus[], output: Output): string[] {
  if (nodes.length > MOST_DRAWN) {
    return [
      `${nodes.length} nodes are too many to be drawn here: --format mermaid, --format dot`,
    ];
  }
  const depths = depthsOf(nodes);
  const lines: string[] = [];
  for (let depth = 0; depth <= Math.max(0, ...depths); depth++) {
    for (const node of nodes.filter(({ node }) => depths[node] === depth)) {
      const from = node.after.map(({ node, on }) =>
        shownAs(nodes[node]!) + (on === "success" ? "" : ` (on ${on})`)
      );
      const branch = depth === 0 ? "" : `${"   ".repeat(depth - 1)}└─ `;
      lines.push(
        `${branch}${shownAs(node)}  ${output.state(node.state)}` +
          (from.length === 0 ? "" : output.faint(`  ← ${from.join(", ")}`)),
      );
    }
  }
  return lines;
}

function shownAs(node: NodeStatus): string {
  return isJoin(node) ? `all of ${node.node}` : node.label;
}

/** The longest way to each from one that depends on nothing. */
function depthsOf(nodes: readonly NodeStatus[]): number[] {
  const depths = nodes.map(() => 0);
  // As often as the longest way has edges; nodes may depend on later ones.
  for (let changed = true; changed;) {
    changed = false;
    for (const { node, after } of nodes) {
      const depth = Math.max(0, ...after.map(({ node }) => depths[node]! + 1));
      if (depth === depths[node]) continue;
      depths[node] = depth;
      changed = true;
    }
  }
  return depths;
}
