/** A definition as one JSON value that people can read, keep and write themselves: `Workflow.toJSON` and `fromJSON`. */
import {
  checkDefinition,
  type Definition,
  type SignatureRecord,
  TextSignatures,
  writeSignature,
} from "./definition.ts";
import { InvalidWorkflowError } from "./errors.ts";
import {
  buildGraph,
  EDGE_KINDS,
  type EdgeKind,
  edgeKind,
  edgeUpstream,
  MAIN,
  type PackedEdge,
  packedEdges,
  packEdge,
} from "./graph.ts";
import { isId, isTaskName, quote } from "./ids.ts";
import { exactJson, isObject } from "./json.ts";
import { isCount, LIMITS } from "./limits.ts";
import { payloadText, type Policy, policyFlaw, runsNothing } from "./options.ts";
import { isSealed } from "./sealing.ts";
import { failureNodes, inputNodes, isTemplate, type Template } from "./template.ts";

/** One node as JSON. */
export interface NodeJson extends Partial<SignatureRecord> {
  /** A user's name for it. */
  readonly name?: string;
  /** What it waits for; a number waits for the success of that node; -1 is all of the workflow's own nodes. */
  readonly after?: readonly (number | { readonly node: number; readonly on: EdgeKind })[];
  /** Index into `policies`. @default 0 */
  readonly policy?: number;
}

/** A whole workflow as JSON. */
export interface WorkflowJson {
  readonly version: 1;
  readonly name: string;
  readonly timeoutMs: number;
  readonly maxParallel?: number;
  readonly retentionMs?: number | "keep";
  readonly payload?: unknown;
  readonly policies: readonly Policy[];
  readonly nodes: readonly NodeJson[];
  readonly output: Template;
}

export function definitionToJson(definition: Definition): WorkflowJson {
  const { graph, policies, policyOf, names, signatures } = definition;
  const nodes: NodeJson[] = [];
  for (let node = 0; node < graph.size; node++) {
    const text = signatures.text(node);
    const after: (number | { node: number; on: EdgeKind })[] = [];
    for (const edge of packedEdges(graph, node)) {
      const upstream = edgeUpstream(edge);
      const on = edgeKind(edge);
      after.push(on === "success" ? upstream : { node: upstream, on });
    }
    const name = names.get(node);
    nodes.push({
      ...(name === undefined ? {} : { name }),
      ...(text === "" ? {} : JSON.parse(text)),
      ...(after.length === 0 ? {} : { after }),
      ...(policyOf[node] === 0 ? {} : { policy: policyOf[node] }),
    });
  }
  return {
    version: 1,
    name: definition.name,
    timeoutMs: definition.timeoutMs,
    ...(definition.maxParallel === undefined ? {} : { maxParallel: definition.maxParallel }),
    ...(definition.retentionMs === undefined ? {} : { retentionMs: definition.retentionMs }),
    ...(definition.payload === undefined ? {} : { payload: JSON.parse(definition.payload) }),
    policies,
    nodes,
    output: definition.output,
  };
}

/** @throws {InvalidWorkflowError} with the path of the first thing that is wrong. */
export function definitionFromJson(json: unknown): Definition {
  const whole = asObject(json, "workflow") as unknown as WorkflowJson;
  if (whole.version !== 1) refuse("version", whole.version, "this library reads version 1");
  const { name, timeoutMs, nodes, output } = whole;
  if (!isId(name)) refuse("name", name, "it is letters, digits, _ and -");
  if (!isCount(timeoutMs) || timeoutMs < 1) {
    refuse("timeoutMs", timeoutMs, "it is milliseconds");
  }
  const { maxParallel, retentionMs } = whole;
  if (maxParallel !== undefined && !(isCount(maxParallel) && maxParallel >= 1)) {
    refuse("maxParallel", maxParallel, "it is a whole number from 1");
  }
  if (retentionMs !== undefined && retentionMs !== "keep" && !isCount(retentionMs)) {
    refuse("retentionMs", retentionMs, 'it is milliseconds or "keep"');
  }
  if (!Array.isArray(nodes) || nodes.length > LIMITS.nodes) {
    refuse("nodes", nodes, `it is a list of at most ${LIMITS.nodes}`);
  }
  const { policies, places } = policiesFromJson(whole.policies);
  const texts: string[] = [];
  const edges: PackedEdge[][] = [];
  const names = new Map<number, string>();
  const taken = new Set<string>();
  const policyIndexes = new Uint32Array(nodes.length);
  nodes.forEach((value, i) => {
    const path = `nodes[${i}]`;
    const node = asObject(value, path) as NodeJson;
    const policy = node.policy ?? 0;
    const place = isCount(policy) ? places[policy] : undefined;
    if (place === undefined) refuse(`${path}.policy`, policy, "there is no such policy");
    policyIndexes[i] = place;
    edges.push(edgesFromJson(node.after, path, i, nodes.length));
    texts.push(runsNothing(policies[place]!) ? "" : signatureFromJson(node, path, nodes.length));
    if (node.name !== undefined) {
      if (!isId(node.name)) refuse(`${path}.name`, node.name, "it is letters, digits, _ and -");
      if (taken.has(node.name)) {
        refuse(`${path}.name`, node.name, "the name is taken");
      }
      taken.add(node.name);
      names.set(i, node.name);
    }
  });
  const isJoin = (node: number) => policies[policyIndexes[node]!]!.join === true;
  nodes.forEach((node, i) => {
    if (runsNothing(policies[policyIndexes[i]!]!)) return;
    for (const edge of impliedEdges(node, edges[i]!, edges, isJoin)) edges[i]!.push(edge);
  });
  if (!isTemplate(output, nodes.length)) {
    refuse("output", output, "it is JSON text with a place for each input, from existing nodes");
  }
  exactJson(output, "output");
  return checkDefinition({
    name,
    payload: whole.payload === undefined ? undefined : payloadText("payload", whole.payload),
    timeoutMs,
    ...(maxParallel === undefined ? {} : { maxParallel }),
    ...(retentionMs === undefined ? {} : { retentionMs }),
    graph: buildGraph(nodes.length, (node) => edges[node]!),
    policies,
    policyOf: policyIndexes,
    signatures: new TextSignatures(texts),
    names,
    output,
  });
}

function edgesFromJson(
  after: NodeJson["after"],
  path: string,
  self: number,
  size: number,
): PackedEdge[] {
  if (after === undefined) return [];
  if (!Array.isArray(after)) refuse(`${path}.after`, after, "it is a list");
  return after.map((edge, i) => {
    const { node, on = "success" } = typeof edge === "number"
      ? { node: edge }
      : asObject(edge, `${path}.after[${i}]`);
    if (!Number.isInteger(node) || (node as number) < MAIN || (node as number) >= size) {
      refuse(`${path}.after[${i}]`, node, "there is no such node");
    }
    if (node === self) refuse(`${path}.after[${i}]`, node, "a node cannot wait for itself");
    if (!EDGE_KINDS.includes(on as EdgeKind)) {
      refuse(`${path}.after[${i}].on`, on, `it is one of ${EDGE_KINDS.join(", ")}`);
    }
    return packEdge(node as number, on as EdgeKind);
  });
}

/** An input is an edge, as a handle is in code: a node cannot run before the results it takes. Joins pass on what they wait for. */
function impliedEdges(
  { inputs = [] }: NodeJson,
  own: readonly PackedEdge[],
  all: readonly (readonly PackedEdge[])[],
  isJoin: (node: number) => boolean,
): PackedEdge[] {
  if (inputs.length === 0) return [];
  const covered = new Set<number>();
  const todo = [...own];
  for (let edge = todo.pop(); edge !== undefined; edge = todo.pop()) {
    const upstream = edgeUpstream(edge);
    if (upstream === MAIN || covered.has(upstream)) continue;
    covered.add(upstream);
    if (isJoin(upstream)) { for (const edge of all[upstream]!) todo.push(edge); }
  }
  const needed = inputNodes(inputs, LIMITS.nodes) ?? [];
  const missing = (nodes: readonly number[]) =>
    [...new Set(nodes)].filter((node) => !covered.has(node));
  return [
    ...missing(needed).map((node) => packEdge(node, "success")),
    ...missing(failureNodes(inputs)).map((node) => packEdge(node, "error")),
  ];
}

function signatureFromJson(node: NodeJson, path: string, size: number): string {
  const { task, args, inputs, calls, timeoutMs, softTimeoutMs, ignoreResult, payload } = node;
  if (!isTaskName(task)) refuse(`${path}.task`, task, "it is a task's name");
  if (!Array.isArray(args) && !isSealed(args)) refuse(`${path}.args`, args, "it is a list");
  const json = exactJson(args, `${path}.args`);
  if (inputs !== undefined && !isTemplate({ json, inputs }, size)) {
    refuse(`${path}.inputs`, inputs, "it is a list of places in args, for existing nodes' results");
  }
  if (calls !== undefined && !["once", "map", "starmap"].includes(calls)) {
    refuse(`${path}.calls`, calls, "it is once, map or starmap");
  }
  for (const [field, value] of Object.entries({ timeoutMs, softTimeoutMs })) {
    if (value !== undefined && !(isCount(value) && value > 0)) {
      refuse(`${path}.${field}`, value, "it is milliseconds");
    }
  }
  if (ignoreResult !== undefined && ignoreResult !== true) {
    refuse(`${path}.ignoreResult`, ignoreResult, "it is true, or left out");
  }
  return writeSignature({
    task,
    args: json,
    inputs: inputs === undefined ? undefined : exactJson(inputs, `${path}.inputs`),
    calls,
    timeoutMs,
    softTimeoutMs,
    ignoreResult: ignoreResult === true,
    payload: payload === undefined ? undefined : payloadText(`${path}.payload`, payload),
  });
}

/** Equal ones are one, as in records: a workflow that was stored and read is the same. */
function policiesFromJson(json: unknown): { policies: Policy[]; places: number[] } {
  if (!Array.isArray(json)) refuse("policies", json, "it is a list");
  const known = new Map<string, number>();
  const policies: Policy[] = [];
  const places = json.map((policy, i) => {
    const path = `policies[${i}]`;
    const flaw = policyFlaw(asObject(policy, path));
    if (flaw !== undefined) refuse(`${path}.${flaw}`, policy, `${flaw} is missing or malformed`);
    const text = exactJson(policy, path);
    if (!known.has(text)) known.set(text, policies.push(policy) - 1);
    return known.get(text)!;
  });
  return { policies, places };
}

function asObject(value: unknown, path: string): Record<string, unknown> {
  return isObject(value) ? value : refuse(path, value, "it is an object");
}

function refuse(path: string, value: unknown, rule: string): never {
  throw new InvalidWorkflowError(`${path} = ${quote(value)} cannot be read: ${rule}`, {
    path,
    hint: "Workflow.toJSON() shows the form; docs/protocol.md describes it.",
  });
}
