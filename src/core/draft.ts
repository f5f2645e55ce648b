/**
 * A workflow being built: nodes are added, edges and options may still change. `seal` turns it into a definition.
 * Canvases (compose.ts) and node handles (workflow.ts) both write here.
 */
import type { Signature } from "./canvas.ts";
import {
  checkDefinition,
  defaultOutput,
  type Definition,
  TextSignatures,
  writeSignature,
} from "./definition.ts";
import { InvalidWorkflowError } from "./errors.ts";
import { buildGraph, type PackedEdge, packEdge } from "./graph.ts";
import { LIMITS } from "./limits.ts";
import { type Policy, policyOf, type SignatureOptions } from "./options.ts";
import { durationMs } from "./duration.ts";
import { exactJson } from "./json.ts";
import type { Template } from "./template.ts";

/** A node as far as it is known. */
interface DraftNode {
  /** Undefined for a join. */
  readonly task: string | undefined;
  readonly args: Template;
  readonly calls: Signature<unknown, unknown>["calls"];
  options: SignatureOptions;
  readonly cleanup: boolean;
  readonly edges: PackedEdge[];
}

export class Draft {
  readonly name: string;
  readonly defaults: SignatureOptions;
  readonly #nodes: DraftNode[] = [];
  readonly #names = new Map<number, string>();
  readonly #taken = new Set<string>();
  /** While true, added nodes belong to `onError` or `finally`. */
  cleanup = false;

  constructor(name: string, defaults: SignatureOptions = {}) {
    this.name = name;
    this.defaults = defaults;
  }

  get size(): number {
    return this.#nodes.length;
  }

  addTask(
    signature: Signature<unknown, unknown>,
    args: Template,
    options: SignatureOptions,
    edges: readonly PackedEdge[],
  ): number {
    const { task, calls } = signature;
    return this.#add({
      task: task.taskName,
      args,
      calls,
      options: { ...this.defaults, ...task.options, ...options },
      cleanup: this.cleanup,
      edges: [...edges],
    });
  }

  /** A node that runs nothing and ends as soon as all its upstreams have. */
  addJoin(edges: readonly PackedEdge[]): number {
    const args = { json: "[]", inputs: [] };
    return this.#add({
      task: undefined,
      args,
      calls: "once",
      options: {},
      cleanup: this.cleanup,
      edges: [...edges],
    });
  }

  #add(node: DraftNode): number {
    if (this.#nodes.length >= LIMITS.nodes) {
      throw new InvalidWorkflowError(
        `Cannot build workflow "${this.name}": more than ${LIMITS.nodes} nodes`,
        {
          hint: "Split it into several workflows, or use map and chunks: many calls in one node.",
          path: "nodes",
        },
      );
    }
    return this.#nodes.push(node) - 1;
  }

  /** Takes back what was added since there were `size` nodes. */
  shrinkTo(size: number): void {
    this.#nodes.length = size;
  }

  addEdge(node: number, edge: PackedEdge): void {
    this.#nodes[node]!.edges.push(edge);
  }

  setOptions(node: number, options: SignatureOptions): void {
    const known = this.#nodes[node]!;
    known.options = { ...known.options, ...options };
  }

  setName(node: number, name: string): void {
    if (this.#names.get(node) === name) return;
    if (this.#taken.has(name)) {
      throw new InvalidWorkflowError(
        `Cannot name a node "${name}" in workflow "${this.name}": the name is taken`,
        {
          hint: "Node names are unique in a workflow; leave the name out to get one from the task.",
          path: `nodes[${node}].name`,
        },
      );
    }
    const before = this.#names.get(node);
    if (before !== undefined) this.#taken.delete(before);
    this.#names.set(node, name);
    this.#taken.add(name);
  }

  nameOf(node: number): string {
    return this.#names.get(node) ?? `${this.#nodes[node]?.task ?? "join"}-${node}`;
  }

  /**
   * @param output what the workflow returns; undefined: what its sinks give.
   * @throws {InvalidWorkflowError}, {CycleError}
   */
  seal(
    { timeoutMs, payload, output, extraEdges }: {
      timeoutMs: number;
      payload: string | undefined;
      output: Template | undefined;
      /** Edges only known now, by node. */
      extraEdges?: ReadonlyMap<number, readonly PackedEdge[]>;
    },
  ): Definition {
    const nodes = this.#nodes;
    const graph = buildGraph(nodes.length, (node) => {
      const extra = extraEdges?.get(node);
      return extra === undefined ? nodes[node]!.edges : [...nodes[node]!.edges, ...extra];
    });
    const { policies, policyOf } = sharePolicies(nodes);
    return checkDefinition({
      name: this.name,
      payload,
      timeoutMs,
      graph,
      policies,
      policyOf,
      signatures: new TextSignatures(nodes.map(signatureText)),
      names: new Map(this.#names),
      output: output ?? defaultOutput({ graph, policies, policyOf }),
    });
  }
}

function sharePolicies(nodes: readonly DraftNode[]): { policies: Policy[]; policyOf: Uint32Array } {
  const policies: Policy[] = [];
  const known = new Map<string, number>();
  const indexes = new Uint32Array(nodes.length);
  nodes.forEach((node, i) => {
    const policy = node.task === undefined
      ? joinPolicy(node.cleanup)
      : policyOf(node.options, { task: node.task, cleanup: node.cleanup });
    const key = JSON.stringify(policy);
    let index = known.get(key);
    if (index === undefined) {
      index = policies.push(policy) - 1;
      known.set(key, index);
    }
    indexes[i] = index;
  });
  return { policies, policyOf: indexes };
}

function joinPolicy(cleanup: boolean): Policy {
  return { ...policyOf({}, { task: "join", cleanup }), join: true };
}

/** The JSON of a SignatureRecord, put together from text that is JSON already. */
function signatureText({ task, args, calls, options }: DraftNode): string {
  if (task === undefined) return "";
  return writeSignature({
    task,
    args: args.json,
    inputs: args.inputs.length === 0 ? undefined : JSON.stringify(args.inputs),
    calls: calls === "once" ? undefined : calls,
    timeoutMs: options.timeout === undefined ? undefined : durationMs("timeout", options.timeout),
    payload: options.payload === undefined ? undefined : exactJson(options.payload, "payload"),
  });
}

/** Edges to wait for the success of `nodes`. */
export function successOf(nodes: readonly number[]): PackedEdge[] {
  return nodes.map((node) => packEdge(node, "success"));
}
