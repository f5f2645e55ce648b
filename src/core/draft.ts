/**
 * A workflow being built: nodes are added, edges and options may still change. `seal` turns it into a definition.
 * Canvases (compose.ts) and node handles (workflow.ts) both write here.
 */
import type { Calls, Signature, TaskReference } from "./canvas.ts";
import {
  checkDefinition,
  defaultOutput,
  type Definition,
  MAP_TASK,
  RUN_TASK,
  TextSignatures,
  writeSignature,
} from "./definition.ts";
import { InvalidWorkflowError } from "./errors.ts";
import {
  buildGraph,
  type EdgeKind,
  edgeKind,
  edgeUpstream,
  type PackedEdge,
  packEdge,
} from "./graph.ts";
import { LIMITS } from "./limits.ts";
import { inherit, type Policy, policyOf, type SignatureOptions } from "./options.ts";
import { durationMs } from "./duration.ts";
import { exactJson } from "./json.ts";
import type { StandardSchema } from "./standard_schema.ts";
import { type Template, withFirst } from "./template.ts";

/** What a node does when it runs. */
type Work =
  | { readonly is: "task"; readonly task: string; readonly calls: Calls; readonly shown?: string }
  /** A node of its own for each element of its second argument. */
  | { readonly is: "map"; readonly task: string }
  | { readonly is: "event"; readonly event: string; readonly timeoutMs: number | undefined }
  | { readonly is: "join" };

/** A node as far as it is known. */
interface DraftNode {
  readonly work: Work;
  readonly args: Template;
  /** Of the list of arguments. */
  readonly input: StandardSchema | undefined;
  options: SignatureOptions;
  readonly cleanup: boolean;
  readonly side: boolean;
  readonly edges: PackedEdge[];
  rule: TriggerRule;
  optional: boolean;
  skip: boolean;
}

/** What undoes a node: where it begins and where it ends. */
interface Compensation {
  readonly node: number;
  readonly entries: readonly number[];
  readonly exits: readonly PackedEdge[];
}

export class Draft {
  readonly name: string;
  readonly defaults: SignatureOptions;
  readonly #nodes: DraftNode[] = [];
  readonly #names = new Map<number, string>();
  readonly #taken = new Set<string>();
  readonly #compensations: Compensation[] = [];
  /** While true, added nodes belong to `onError`, `finally` or a compensation. */
  #isCleanup = false;
  /** While true, added nodes stand beside what the workflow gives. */
  #isAside = false;

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
    const merged = inherit(this.defaults, { ...task.options, ...options });
    return this.#add({ is: "task", task: task.taskName, calls }, args, merged, edges, task.input);
  }

  /** A node that calls `task` for each element of the list that its arguments begin with. */
  addMap(task: TaskReference, args: Template, edges: readonly PackedEdge[]): number {
    const merged = inherit(this.defaults, task.options);
    return this.#add({ is: "map", task: task.taskName }, args, merged, edges);
  }

  /** A node in whose place the workflow called `name` runs; it is the first of its arguments. */
  addRun(name: string, args: Template, edges: readonly PackedEdge[]): number {
    const work = { is: "task", task: RUN_TASK, calls: "once", shown: `run-${name}` } as const;
    return this.#add(work, args, this.defaults, edges);
  }

  /** A node that waits for an event. */
  addEvent(event: string, timeoutMs: number | undefined): number {
    return this.#add({ is: "event", event, timeoutMs }, NO_ARGS, {}, []);
  }

  /** A node that runs nothing and ends as soon as all its upstreams have. */
  addJoin(edges: readonly PackedEdge[]): number {
    return this.#add({ is: "join" }, NO_ARGS, {}, edges);
  }

  #add(
    work: Work,
    args: Template,
    options: SignatureOptions,
    edges: readonly PackedEdge[],
    input?: StandardSchema,
  ): number {
    if (this.#nodes.length >= LIMITS.nodes) {
      throw new InvalidWorkflowError(
        `Cannot build workflow "${this.name}": more than ${LIMITS.nodes} nodes`,
        {
          hint: "Split it into several workflows, or use map and chunks: many calls in one node.",
          path: "nodes",
        },
      );
    }
    return this.#nodes.push({
      work,
      args,
      input,
      options,
      cleanup: this.#isCleanup,
      side: this.#isAside,
      edges: [...edges],
      rule: "allSucceeded",
      optional: false,
      skip: false,
    }) - 1;
  }

  /** What `build` adds belongs to the cleanup. */
  cleanup<T>(build: () => T): T {
    const before = this.#isCleanup;
    this.#isCleanup = true;
    try {
      return build();
    } finally {
      this.#isCleanup = before;
    }
  }

  /** What `build` adds stands beside what the workflow gives. */
  aside<T>(build: () => T): T {
    const before = this.#isAside;
    this.#isAside = true;
    try {
      return build();
    } finally {
      this.#isAside = before;
    }
  }

  /** What `build` adds undoes `node`. @param build returns the edges that wait for its end. */
  compensation(node: number, build: () => readonly PackedEdge[]): void {
    if (this.#isCleanup || this.#nodes[node]!.cleanup) {
      throw new InvalidWorkflowError(
        `Cannot compensate ${
          this.nameOf(node)
        } in workflow "${this.name}": it belongs to onError, finally or a compensation`,
        {
          hint: "Only a workflow's own nodes are undone; put the work itself into the cleanup.",
          path: `nodes[${node}].compensation`,
        },
      );
    }
    const first = this.size;
    const exits = this.cleanup(build);
    const ran = packEdge(node, "ran");
    const added = Array.from({ length: this.size - first }, (_, i) => first + i);
    const entries = added.filter((entry) => this.#nodes[entry]!.edges.includes(ran));
    // An empty canvas undoes nothing.
    if (entries.length === 0) return;
    this.#compensations.push({ node, entries, exits });
  }

  /** All nodes of compensations, which `finally` waits for. */
  get compensationEnds(): readonly PackedEdge[] {
    return this.#compensations.flatMap(({ exits }) => exits);
  }

  /** Takes back what was added since there were `size` nodes. */
  shrinkTo(size: number): void {
    this.#nodes.length = size;
    while ((this.#compensations.at(-1)?.entries[0] ?? -1) >= size) this.#compensations.pop();
  }

  addEdge(node: number, edge: PackedEdge): void {
    this.#nodes[node]!.edges.push(edge);
  }

  setOptions(node: number, options: SignatureOptions): void {
    const known = this.#nodes[node]!;
    known.options = inherit(known.options, options);
  }

  setRule(node: number, rule: TriggerRule): void {
    this.#nodes[node]!.rule = rule;
  }

  setOptional(node: number): void {
    this.#nodes[node]!.optional = true;
  }

  setSkipped(node: number): void {
    this.#nodes[node]!.skip = true;
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
    const work = this.#nodes[node]?.work;
    return this.#names.get(node) ?? `${work === undefined ? "node" : workName(work)}-${node}`;
  }

  /** The schemas of arguments, of those nodes whose task has one. */
  inputSchemas(): Map<number, StandardSchema> {
    const schemas = new Map<number, StandardSchema>();
    this.#nodes.forEach(({ input }, node) => {
      if (input !== undefined) schemas.set(node, input);
    });
    return schemas;
  }

  /**
   * @param output what the workflow returns; undefined: what its sinks give.
   * @throws {InvalidWorkflowError}, {CycleError}
   */
  seal(
    { output, extraEdges, ...said }:
      & Pick<Definition, "payload" | "timeoutMs" | "maxParallel" | "retentionMs">
      & {
        output: Template | undefined;
        /** Edges only known now, by node. */
        extraEdges: ReadonlyMap<number, readonly PackedEdge[]>;
      },
  ): Definition {
    const nodes = this.#nodes;
    const order = this.#compensationOrder();
    const graph = buildGraph(nodes.length, (node) => {
      const [ruled, extra, ordered] = [
        this.#ruledEdges(node),
        extraEdges.get(node),
        order.get(node),
      ];
      return extra === undefined && ordered === undefined
        ? ruled
        : [...ruled, ...extra ?? [], ...ordered ?? []];
    });
    const { policies, policyOf } = sharePolicies(nodes);
    return checkDefinition({
      ...said,
      name: this.name,
      graph,
      policies,
      policyOf,
      signatures: new TextSignatures(nodes.map(signatureText)),
      names: new Map(this.#names),
      output: output ?? defaultOutput({ graph, policies, policyOf }),
    });
  }

  /** A rule is about the nodes that users see: edges from joins are taken for what these gather. */
  #ruledEdges(node: number): readonly PackedEdge[] {
    const { edges, rule } = this.#nodes[node]!;
    if (rule === "allSucceeded") return edges;
    const ruled: PackedEdge[] = [];
    const todo = [...edges];
    for (let edge = todo.pop(); edge !== undefined; edge = todo.pop()) {
      const upstream = edgeUpstream(edge);
      const isPlain = edgeKind(edge) === "success";
      if (isPlain && this.#nodes[upstream]?.work.is === "join") {
        for (const gathered of this.#nodes[upstream]!.edges) todo.push(gathered);
      } else ruled.push(isPlain ? packEdge(upstream, RULES[rule].kind) : edge);
    }
    return ruled;
  }

  /** What was done last is undone first: the compensation of a node waits for those of the nearest ones after it. */
  #compensationOrder(): Map<number, PackedEdge[]> {
    const order = new Map<number, PackedEdge[]>();
    if (this.#compensations.length < 2) return order;
    const compensated = new Map<number, Compensation[]>();
    for (const compensation of this.#compensations) {
      compensated.set(compensation.node, [
        ...compensated.get(compensation.node) ?? [],
        compensation,
      ]);
    }
    const down = this.#nodes.map((): number[] => []);
    this.#nodes.forEach(({ edges }, node) => {
      for (const edge of edges) down[edgeUpstream(edge)]?.push(node);
    });
    for (const { node, entries } of this.#compensations) {
      const seen = new Set<number>();
      const todo = [...down[node]!];
      const after: PackedEdge[] = [];
      for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
        if (seen.has(next) || this.#nodes[next]!.cleanup) continue;
        seen.add(next);
        const nearest = compensated.get(next);
        if (nearest === undefined) { for (const dependent of down[next]!) todo.push(dependent); }
        else for (const { exits } of nearest) after.push(...exits.map(anyEndOf));
      }
      for (const entry of entries) order.set(entry, [...order.get(entry) ?? [], ...after]);
    }
    return order;
  }
}

/** When a node runs, by what became of the nodes before it. */
export type TriggerRule =
  /** All succeeded (or were skipped by somebody). */
  | "allSucceeded"
  /** All have ended, however. */
  | "allDone"
  /** One failed, or never ran because of a failure; as soon as that is so. */
  | "anyFailed"
  /** One succeeded; as soon as that is so. */
  | "anySucceeded"
  /** All have ended and none failed: they succeeded, or were not needed. */
  | "noneFailed";

/** A rule is a kind of edges, and whether one of them is enough. */
export const RULES: Readonly<Record<TriggerRule, { kind: EdgeKind; any: boolean }>> = {
  allSucceeded: { kind: "success", any: false },
  allDone: { kind: "done", any: false },
  anyFailed: { kind: "failure", any: true },
  anySucceeded: { kind: "success", any: true },
  noneFailed: { kind: "notFailed", any: false },
};

const NO_ARGS: Template = { json: "[]", inputs: [] };

function anyEndOf(edge: PackedEdge): PackedEdge {
  return packEdge(edgeUpstream(edge), "done");
}

function workName(work: Work): string {
  switch (work.is) {
    case "task":
      return work.shown ?? work.task;
    case "map":
      return `map-${work.task}`;
    case "event":
      return work.event;
    case "join":
      return "join";
  }
  return work satisfies never;
}

function sharePolicies(nodes: readonly DraftNode[]): { policies: Policy[]; policyOf: Uint32Array } {
  const policies: Policy[] = [];
  const known = new Map<string, number>();
  const indexes = new Uint32Array(nodes.length);
  nodes.forEach((node, i) => {
    const policy = nodePolicy(node);
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

function nodePolicy({ work, options, cleanup, side, rule, optional, skip }: DraftNode): Policy {
  const policy = workPolicy(work, options, cleanup);
  const any = RULES[rule].any;
  if (!any && !optional && !side && !skip) return policy;
  return {
    ...policy,
    ...(any ? { any: true as const } : {}),
    ...(optional ? { optional: true as const } : {}),
    ...(side ? { side: true as const } : {}),
    ...(skip ? { skip: true as const } : {}),
  };
}

function workPolicy(work: Work, options: SignatureOptions, cleanup: boolean): Policy {
  switch (work.is) {
    case "task":
      return policyOf(options, { task: work.task, cleanup });
    case "map": {
      // The node itself only makes nodes of the elements: retries and limits are for these.
      const { queue, priority, countdown, eta, expires } = options;
      const own = { queue, priority, countdown, eta, expires };
      return policyOf(own as SignatureOptions, { task: work.task, cleanup });
    }
    case "event":
      return {
        ...policyOf({}, { task: work.event, cleanup }),
        event: work.event,
        ...(work.timeoutMs === undefined ? {} : { eventMs: work.timeoutMs }),
      };
    case "join":
      return { ...policyOf({}, { task: "join", cleanup }), join: true };
  }
  return work satisfies never;
}

/** The JSON of a SignatureRecord, put together from text that is JSON already. */
function signatureText({ work, args, options, cleanup }: DraftNode): string {
  switch (work.is) {
    case "task": {
      const calls = work.calls === "once" ? undefined : work.calls;
      return writeTask(work.task, args, options, calls);
    }
    case "map": {
      const { countdown: _countdown, eta: _eta, expires: _expires, ...each } = options;
      const policy = JSON.stringify(policyOf(each, { task: work.task, cleanup }));
      const signature = writeTask(work.task, NO_ARGS, each);
      return writeTask(
        MAP_TASK,
        withFirst(`{"policy":${policy},"signature":${signature}}`, args),
        {},
      );
    }
    case "event":
    case "join":
      return "";
  }
  return work satisfies never;
}

function writeTask(
  task: string,
  { json, inputs }: Template,
  { timeout, softTimeout, ignoreResult, payload }: SignatureOptions,
  calls?: Exclude<Calls, "once">,
): string {
  return writeSignature({
    task,
    args: json,
    inputs: inputs.length === 0 ? undefined : JSON.stringify(inputs),
    calls,
    timeoutMs: timeout === undefined ? undefined : durationMs("timeout", timeout),
    softTimeoutMs: softTimeout === undefined ? undefined : durationMs("softTimeout", softTimeout),
    ignoreResult: ignoreResult === true,
    payload: payload === undefined ? undefined : exactJson(payload, "payload"),
  });
}

/** Edges to wait for the success of `nodes`. */
export function successOf(nodes: readonly number[]): PackedEdge[] {
  return nodes.map((node) => packEdge(node, "success"));
}
