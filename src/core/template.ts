/**
 * A JSON value with holes that other nodes' results fill: the arguments of a node, the output of a workflow.
 * On the wire a hole is a `null` and the list of inputs says which node's result belongs there; so no data that a
 * user sends can be mistaken for a reference.
 */
import type { Path } from "./json.ts";
import { isCount, LIMITS } from "./limits.ts";
import { foldRuns, type Run, unfoldRuns } from "./runs.ts";
import { isSealed } from "./sealing.ts";

/**
 * One hole: at `at` (a path; `[]` is the whole value) goes the result of `node`, the list of results of `nodes`, the failure
 * of the node `failure`, or how the workflow's own nodes ended.
 */
export type Input =
  | { readonly at: Path; readonly node: number }
  | { readonly at: Path; readonly nodes: readonly Run[] }
  | { readonly at: Path; readonly failure: number }
  | { readonly at: Path; readonly summary: true };

export interface Template {
  /** JSON text with `null` in each hole. */
  readonly json: string;
  readonly inputs: readonly Input[];
}

/** What a follower takes: a node's result, or a list of such values; a node's failure; how the workflow ended. */
export type Value =
  | { is: "node"; node: number }
  | { is: "list"; items: readonly Value[] }
  | { is: "failure"; node: number }
  | { is: "summary" };

/** Where what goes into the holes comes from. What these throw passes through. */
export interface Sources {
  readonly resultOf: (node: number) => unknown;
  readonly failureOf?: (node: number) => unknown;
  readonly summary?: unknown;
}

/** A value as a template. A list of nodes only is one input, however long. */
export function templateOf(value: Value): Template {
  const inputs: Input[] = [];
  const json = write(value, [], inputs);
  return { json, inputs };
}

function write(value: Value, at: Path, inputs: Input[]): string {
  switch (value.is) {
    case "node":
      inputs.push({ at, node: value.node });
      return "null";
    case "failure":
      inputs.push({ at, failure: value.node });
      return "null";
    case "summary":
      inputs.push({ at, summary: true });
      return "null";
    case "list":
      return writeList(value, at, inputs);
  }
  return value satisfies never;
}

/** A list as a template, with one more item in front. @param first JSON. */
export function withFirst(first: string, { json, inputs }: Template): Template {
  return {
    json: json === "[]" ? `[${first}]` : `[${first},${json.slice(1)}`,
    inputs: inputs.map((input) => ({
      ...input,
      at: [(input.at[0] as number) + 1, ...input.at.slice(1)],
    })),
  };
}

function writeList(value: Value & { is: "list" }, at: Path, inputs: Input[]): string {
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
    if (typeof input !== "object" || input === null || !isPath(input.at)) return undefined;
    const nodes = "node" in input
      ? [input.node]
      : "nodes" in input
      ? unfoldRuns(input.nodes, limit)
      : "failure" in input || "summary" in input
      ? []
      : undefined;
    if (nodes === undefined || !nodes.every((n) => Number.isInteger(n) && n >= 0)) return undefined;
    if (all.length + nodes.length > LIMITS.edges) return undefined;
    for (const node of nodes) all.push(node);
  }
  return all;
}

/** Anything else would be taken for the text it amounts to. */
function isPath(value: unknown): value is Path {
  return Array.isArray(value) &&
    value.every((step) => typeof step === "string" || typeof step === "number");
}

/** The nodes whose failures a template needs. */
export function failureNodes(inputs: readonly Input[]): number[] {
  return inputs.flatMap((input) => "failure" in input ? [input.failure] : []);
}

function isSound(input: Input, size: number): boolean {
  if ("failure" in input) return isCount(input.failure, size - 1);
  return !("summary" in input) || input.summary === true;
}

/** Whether `value`, from wherever it comes, is a template: every hole is there, for results of nodes below `size`. */
export function isTemplate(value: unknown, size: number): value is Template {
  const { json, inputs } = (value ?? {}) as Partial<Template>;
  if (typeof json !== "string" || !Array.isArray(inputs)) return false;
  const nodes = inputNodes(inputs, size);
  if (nodes === undefined || nodes.some((node) => node >= size)) return false;
  if (!inputs.every((input) => isSound(input, size))) return false;
  try {
    const parsed = JSON.parse(json);
    // Whether a sealed one has the holes shows when it is unsealed.
    if (!isSealed(parsed)) fill(parsed, inputs, { resultOf: () => null });
    return true;
  } catch {
    return false;
  }
}

function sourceOf(input: Input, { resultOf, failureOf, summary }: Sources): unknown {
  if ("node" in input) return resultOf(input.node);
  if ("nodes" in input) {
    return (unfoldRuns(input.nodes, Infinity) ?? []).map((node) => resultOf(node));
  }
  return "failure" in input ? failureOf?.(input.failure) ?? null : summary ?? null;
}

/** Puts what belongs there into the holes of `value` (parsed from the template's JSON; changed in place where it can be). */
export function fill(value: unknown, inputs: readonly Input[], sources: Sources): unknown {
  const root = { value };
  for (const input of inputs) {
    const result = sourceOf(input, sources);
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
