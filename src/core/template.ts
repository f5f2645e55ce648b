/**
 * A JSON value with holes that other nodes' results fill: the arguments of a node, the output of a workflow.
 * On the wire a hole is a `null` and the list of inputs says which node's result belongs there; so no data that a
 * user sends can be mistaken for a reference.
 */
import type { Path } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { foldRuns, type Run, unfoldRuns } from "./runs.ts";

/** One hole: at `at` (a path; `[]` is the whole value) goes the result of `node`, or the list of results of `nodes`. */
export type Input =
  | { readonly at: Path; readonly node: number }
  | { readonly at: Path; readonly nodes: readonly Run[] };

export interface Template {
  /** JSON text with `null` in each hole. */
  readonly json: string;
  readonly inputs: readonly Input[];
}

/** What a canvas gives: a node's result, or a list of such values. */
export type Value = { is: "node"; node: number } | { is: "list"; items: readonly Value[] };

/** A value as a template. A list of nodes only is one input, however long. */
export function templateOf(value: Value): Template {
  const inputs: Input[] = [];
  const json = write(value, [], inputs);
  return { json, inputs };
}

function write(value: Value, at: Path, inputs: Input[]): string {
  if (value.is === "node") {
    inputs.push({ at, node: value.node });
    return "null";
  }
  const nodes = nodesOnly(value.items);
  if (nodes !== undefined && nodes.length > 0) {
    inputs.push({ at, nodes: foldRuns(nodes) });
    return "null";
  }
  return `[${value.items.map((item, i) => write(item, [...at, i], inputs)).join(",")}]`;
}

function nodesOnly(items: readonly Value[]): number[] | undefined {
  const nodes: number[] = [];
  for (const item of items) {
    if (item.is !== "node") return undefined;
    nodes.push(item.node);
  }
  return nodes;
}

/** The nodes whose results a template needs, in order of its inputs; undefined when `inputs` is malformed. */
export function inputNodes(inputs: readonly Input[], limit: number): number[] | undefined {
  const all: number[] = [];
  for (const input of inputs) {
    if (typeof input !== "object" || input === null || !Array.isArray(input.at)) return undefined;
    const nodes = "node" in input ? [input.node] : unfoldRuns(input.nodes, limit);
    if (nodes === undefined || !nodes.every((n) => Number.isInteger(n) && n >= 0)) return undefined;
    if (all.length + nodes.length > LIMITS.edges) return undefined;
    for (const node of nodes) all.push(node);
  }
  return all;
}

/** Whether `value`, from wherever it comes, is a template: every hole is there, for results of nodes below `size`. */
export function isTemplate(value: unknown, size: number): value is Template {
  const { json, inputs } = (value ?? {}) as Partial<Template>;
  if (typeof json !== "string" || !Array.isArray(inputs)) return false;
  const nodes = inputNodes(inputs, size);
  if (nodes === undefined || nodes.some((node) => node >= size)) return false;
  try {
    fill(JSON.parse(json), inputs, () => null);
    return true;
  } catch {
    return false;
  }
}

/**
 * Puts results into the holes of `value` (parsed from the template's JSON; changed in place where it can be).
 * @param resultOf gives a node's result; what it throws passes through.
 */
export function fill(
  value: unknown,
  inputs: readonly Input[],
  resultOf: (node: number) => unknown,
): unknown {
  const root = { value };
  for (const input of inputs) {
    const result = "node" in input
      ? resultOf(input.node)
      : (unfoldRuns(input.nodes, Infinity) ?? []).map(resultOf);
    let holder: Record<string | number, unknown> = root;
    let key: string | number = "value";
    for (const step of input.at) {
      holder = holder[key] as Record<string | number, unknown>;
      key = step;
      // A path that leaves the value's own shape would reach prototypes: such a record was not written by this library.
      if (typeof holder !== "object" || holder === null || !Object.hasOwn(holder, key)) {
        throw new TypeError(
          `input path ${JSON.stringify(input.at)} leads nowhere in the arguments`,
        );
      }
    }
    holder[key] = result;
  }
  return root.value;
}
