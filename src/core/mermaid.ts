/** A workflow as a Mermaid flowchart. */
import { type Definition, labelOf, policyOfNode } from "./definition.ts";
import { EDGE_KINDS } from "./graph.ts";

export function toMermaid(definition: Definition): string {
  const { up, size, main } = definition.graph;
  const lines = ["flowchart TD"];
  for (let node = 0; node < size; node++) {
    lines.push(
      policyOfNode(definition, node).join === true
        ? `  n${node}(( ))`
        : `  n${node}["${labelOf(definition, node)}"]`,
    );
  }
  if (definition.graph.down.offsets[main] !== definition.graph.down.offsets[main + 1]) {
    lines.push(`  n${main}{{all}}`);
  }
  for (let node = 0; node < size; node++) {
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      const kind = EDGE_KINDS[up.kinds[e]!]!;
      lines.push(`  n${up.nodes[e]} -->${kind === "success" ? "" : `|${kind}|`} n${node}`);
    }
  }
  return lines.join("\n") + "\n";
}
