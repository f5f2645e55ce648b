/** Workflows as users build them: any DAG from task calls and canvases. Building touches no network. */
import {
  type AnyCanvas,
  type Canvas,
  checkCanvas,
  type Chord,
  type GivenBy,
  type Group,
  type Nothing,
  type RunSummary,
  Signature,
} from "./canvas.ts";
import { compensate, compose, Position } from "./compose.ts";
import { type Definition, labelOf } from "./definition.ts";
import { definitionFromJson, definitionToJson, type WorkflowJson } from "./definition_json.ts";
import { Draft, RULES, successOf, type TriggerRule } from "./draft.ts";
import { type Duration, durationMs } from "./duration.ts";
import { InvalidOptionError, InvalidWorkflowError } from "./errors.ts";
import { event as namedEvent, type EventName } from "./event.ts";
import { INPUT_EVENT } from "./fact.ts";
import {
  type EdgeKind,
  edgeUpstream,
  MAIN,
  type PackedEdge,
  packedEdges,
  packEdge,
} from "./graph.ts";
import { checkId, quote } from "./ids.ts";
import { isCount } from "./limits.ts";
import { exactJson, type Path, pathText } from "./json.ts";
import { toMermaid } from "./mermaid.ts";
import {
  checkSignatureOptions,
  checkTaskOptions,
  payloadText,
  refuseUnknown,
  type SignatureOptions,
  TASK_OPTIONS,
  type TaskOptions,
} from "./options.ts";
import { foldRuns } from "./runs.ts";
import type { StandardSchema } from "./standard_schema.ts";
import type { AnyTask, ResultOf, Task } from "./task.ts";
import { type Input, type Template, type Value, withFirst } from "./template.ts";

/** A value of type T, or a handle of the node whose result it will be; also inside arrays and plain objects. */
export type Arg<T> =
  | T
  | Node<T>
  | (T extends readonly unknown[] ? { readonly [K in keyof T]: Arg<T[K]> }
    : T extends object ? { readonly [K in keyof T]: Arg<T[K]> }
    : never);

/** A value with the results in place of the handles. */
export type Resolved<V> = V extends Node<infer T> ? T
  : V extends object ? { -readonly [K in keyof V]: Resolved<V[K]> }
  : V;

/** What holds for a workflow as a whole. */
export interface WorkflowOptions {
  /** A workflow that runs longer ends as ERROR. @default "7d" */
  timeout?: Duration;
  /** Any JSON value, readable in hooks, tasks and status. At most 16 KiB. */
  payload?: unknown;
  /** Options for all its tasks; a task's and a signature's own options win. A payload here is one that all nodes inherit. */
  defaults?: TaskOptions & Pick<SignatureOptions, "payload">;
  /** Nodes of it that may be queued or run at the same time. @default as many as the processor's window allows */
  maxParallel?: number;
  /** How long the finished run is kept; "keep": until somebody removes it. @default what the processor says, "1d" */
  retention?: Duration | "keep";
}

/** Which end of its upstreams `node.after(…)` waits for. */
export interface AfterOptions {
  /** On which end of the upstream the node runs. @default "success" */
  on?: "success" | "failure" | "done";
}

const AFTER_KINDS: readonly EdgeKind[] = ["success", "failure", "done"];

/**
 * The nodes that {@link Workflow.add} returns: what a follower has to wait for. One, where the canvas has one end; one for
 * each member of a group whose members have one; else as many as there are ends, which the types do not tell.
 */
export type AddedNodes<C> = C extends Signature<never, infer Out> | Chord<never, infer Out>
  ? [Node<Out>]
  : GivenBy<C> extends readonly unknown[] ? GroupNodes<C, GivenBy<C>>
  : [Node<GivenBy<C>>];

/** Only what gives a list can have several ends. */
type GroupNodes<C, Out extends readonly unknown[]> = C extends Group<never, Out>
  ? Extract<Out[number], readonly unknown[]> extends never
    ? { -readonly [K in keyof Out]: Node<Out[K]> }
  : Node[]
  : Node[];

const DEFAULT_TIMEOUT = "7d";

/** A handle of a node. As an argument of {@link Workflow.call} it stands for the node's result, and is an edge. */
export class Node<T = unknown> {
  declare readonly "~result": () => T;
  readonly #draft: Draft;
  /** Its number in the workflow, from 0. */
  readonly index: number;

  constructor(draft: Draft, index: number) {
    this.#draft = draft;
    this.index = index;
  }

  /** Its name, or its task and number. */
  get label(): string {
    return this.#draft.nameOf(this.index);
  }

  /** Runs after these as well, without their results. */
  after(upstream: Node | readonly Node[], options: AfterOptions = {}): this {
    refuseUnknown("after option", options, ["on"]);
    const { on = "success" } = options;
    if (!AFTER_KINDS.includes(on)) {
      throw new InvalidWorkflowError(`after(…, { on: ${quote(on)} }) is unknown`, {
        hint: `Use one of: ${AFTER_KINDS.join(", ")}.`,
        path: "on",
      });
    }
    const upstreams = [upstream].flat().map((node) => indexIn(this.#draft, node, "after"));
    for (const node of upstreams) this.#draft.addEdge(this.index, packEdge(node, on));
    return this;
  }

  /** A name for people, unique in the workflow: letters, digits, `_`, `-`. */
  named(name: string): this {
    this.#draft.setName(this.index, checkId("node name", name));
    return this;
  }

  /** Options of this node. */
  set(options: SignatureOptions): this {
    this.#draft.setOptions(this.index, checkSignatureOptions(options));
    return this;
  }

  /**
   * When it runs, by what became of the nodes it waits for; edges with `on: "failure"` or `"done"` keep it. The result of a node
   * that has not succeeded by then is `null`.
   * @default "allSucceeded"
   */
  when(rule: TriggerRule): this {
    if (!Object.hasOwn(RULES, rule)) {
      throw new InvalidWorkflowError(`when(${quote(rule)}) is unknown`, {
        hint: `Use one of: ${Object.keys(RULES).join(", ")}.`,
        path: "when",
      });
    }
    this.#draft.setRule(this.index, rule);
    return this;
  }

  /** Its failure does not fail the workflow. What waits for its success does not run all the same. */
  optional(): this {
    this.#draft.setOptional(this.index);
    return this;
  }

  /**
   * What undoes it: when the workflow fails, is cancelled or runs out of time, `undo` runs with this node's result, if it
   * succeeded, after what was done later has been undone.
   */
  compensate(undo: Canvas<T, unknown>): this {
    compensate(this.#draft, this.index, checkCanvas(undo, "compensate"));
    return this;
  }

  /** Whether this handle belongs to `draft`. */
  isOf(draft: Draft): boolean {
    return this.#draft === draft;
  }
}

/** Even asking a revoked proxy what it is throws: it is no handle, and is refused where it stands. */
function isNode(value: unknown): value is Node {
  try {
    return value instanceof Node;
  } catch {
    return false;
  }
}

/** Collects the handles inside a value, where each stands. A list of nothing but handles is one input, however long. */
class Handles {
  readonly #draft: Draft;
  readonly #name: string;
  readonly #isArguments: boolean;
  readonly inputs: Input[] = [];
  readonly nodes: number[] = [];

  /**
   * @param name of the value, for errors.
   * @param options.isArguments the whole value is a list of arguments, and no value itself.
   */
  constructor(draft: Draft, name: string, { isArguments }: { isArguments: boolean }) {
    this.#draft = draft;
    this.#name = name;
    this.#isArguments = isArguments;
  }

  readonly take = (value: object, path: Path): boolean => {
    const at = [...path];
    if (isNode(value)) {
      const node = this.#index(value, at);
      this.inputs.push({ at, node });
      this.nodes.push(node);
      return true;
    }
    if (!Array.isArray(value) || value.length === 0) return false;
    if (this.#isArguments && at.length === 0) return false;
    if (!value.every(isNode)) return false;
    const nodes = value.map((node, i) => this.#index(node, [...at, i]));
    this.inputs.push({ at, nodes: foldRuns(nodes) });
    for (const node of nodes) this.nodes.push(node);
    return true;
  };

  #index(node: unknown, path: Path): number {
    return indexIn(this.#draft, node, pathText(this.#name, path));
  }
}

/** @throws {InvalidWorkflowError} when `node` is not a handle of this draft. */
function indexIn(draft: Draft, node: unknown, path: string): number {
  if (node instanceof Node && node.isOf(draft)) return node.index;
  throw new InvalidWorkflowError(
    `${path} is ${
      node instanceof Node ? `node ${node.label} of another workflow` : quote(node)
    }, not a node of workflow "${draft.name}"`,
    { hint: "Use handles that this workflow's call() and add() returned.", path },
  );
}

/**
 * A workflow: nodes and the edges between them.
 * `Out` is what `run.result()` gives, known once {@link output} was called.
 */
// deno-lint-ignore no-explicit-any
export class Workflow<Out = any> {
  declare readonly "~result": () => Out;
  readonly name: string;
  readonly #draft: Draft;
  readonly #timeoutMs: number;
  readonly #payload: string | undefined;
  readonly #maxParallel: number | undefined;
  readonly #retentionMs: number | "keep" | undefined;
  #input: Node<unknown> | undefined;
  /** Set when it came from JSON: nothing can be added. */
  #sealed: Definition | undefined;
  #output: Template | undefined;
  readonly #onError: number[] = [];
  readonly #finally: number[] = [];

  /**
   * @param name for people; letters, digits, `_`, `-`.
   * @throws {InvalidOptionError} for a bad name or option.
   */
  constructor(name: string, options: WorkflowOptions = {}) {
    refuseUnknown("workflow option", options, [
      "timeout",
      "payload",
      "defaults",
      "maxParallel",
      "retention",
    ]);
    this.name = checkId("workflow id", name);
    const { timeout = DEFAULT_TIMEOUT, payload, defaults = {}, maxParallel, retention } = options;
    this.#timeoutMs = durationMs("timeout", timeout, { least: 1 });
    this.#payload = payload === undefined ? undefined : payloadText("payload", payload);
    this.#maxParallel = maxParallel === undefined ? undefined : checkParallel(maxParallel);
    this.#retentionMs = retention === undefined || retention === "keep"
      ? retention
      : durationMs("retention", retention);
    this.#draft = new Draft(name, checkDefaults(defaults));
  }

  /** How many nodes it has. */
  get size(): number {
    return this.#sealed?.graph.size ?? this.#draft.size;
  }

  /**
   * Adds a node that calls `task`. Handles among the arguments (also inside arrays and objects) are edges.
   * @throws {InvalidWorkflowError} for arguments that JSON cannot carry, with the path.
   */
  call<Given extends unknown[], Kept>(
    // deno-lint-ignore no-explicit-any
    task: Task<any, any, Given, Kept>,
    ...args: { [K in keyof Given]: Arg<Given[K]> }
  ): Node<ResultOf<Kept>> {
    this.#refuseIfSealed();
    const { taskName } = this.#checkTask(task);
    const taken = this.#arguments(`${taskName}.args`, args);
    const signature = new Signature<unknown, unknown>(task, []);
    return this.#handle(this.#draft.addTask(signature, taken.args, {}, successOf(taken.nodes)));
  }

  /** Arguments, with the nodes whose results they take. */
  #arguments(name: string, values: readonly unknown[]): { args: Template; nodes: number[] } {
    const handles = new Handles(this.#draft, name, { isArguments: true });
    const json = exactJson(values, name, handles.take);
    return { args: { json, inputs: handles.inputs }, nodes: handles.nodes };
  }

  /**
   * Adds a node that calls `task` for each element of a list that is only known at run time (an element, then `rest`, are
   * its arguments), each as a node of its own. Its result is the list of results, in order.
   * Options of the node (`.set()`) hold for the calls.
   */
  map<First, Rest extends unknown[], Kept>(
    // deno-lint-ignore no-explicit-any
    task: Task<any, any, [First, ...Rest], Kept>,
    list: Arg<readonly First[]>,
    ...rest: { [K in keyof Rest]: Arg<Rest[K]> }
  ): Node<ResultOf<Kept>[]> {
    this.#refuseIfSealed();
    const known = this.#checkTask(task);
    const { args, nodes } = this.#arguments(`map.${known.taskName}.args`, [list, ...rest]);
    return this.#handle(this.#draft.addMap(known, args, successOf(nodes)));
  }

  /**
   * Adds a node in whose place another workflow runs, as a run of its own: with its own id and status, cancelled with this
   * one. Its result is what that workflow gives.
   * @param input what its {@link input} gives; handles are edges.
   */
  run<SubOut>(workflow: Workflow<SubOut>, input?: unknown): Node<SubOut> {
    this.#refuseIfSealed();
    if (!(workflow instanceof Workflow)) {
      throw new InvalidWorkflowError(`wf.run needs a workflow, got ${quote(workflow)}`, {
        hint: "Use wf.add for canvases, wf.call for tasks.",
        path: "run",
      });
    }
    const { args, nodes } = this.#arguments(
      `run.${workflow.name}.input`,
      input === undefined ? [] : [input],
    );
    const all = withFirst(JSON.stringify(workflow), args);
    return this.#handle(this.#draft.addRun(workflow.name, all, successOf(nodes)));
  }

  /**
   * Adds a node that waits for something to happen outside: `run.send(event, data)`. Its result is the data. What was sent
   * early is kept; of several, the first counts.
   * @param options.timeout it fails with `TimeoutError` when nothing came so long after what it waits for. @default none
   */
  waitFor<Data>(
    event: EventName<Data> | string,
    options: { timeout?: Duration } = {},
  ): Node<Data> {
    this.#refuseIfSealed();
    refuseUnknown("waitFor option", options, ["timeout"]);
    const { timeout } = options;
    const timeoutMs = timeout === undefined
      ? undefined
      : durationMs("timeout", timeout, { least: 1 });
    const name = typeof event === "string" ? namedEvent(event).name : event.name;
    return this.#handle(this.#draft.addEvent(checkId("event", name), timeoutMs));
  }

  /** A node whose result is what whoever runs this workflow gives it: `submit(wf, { input })`, `other.run(wf, input)`. */
  input<T>(): Node<T> {
    this.#refuseIfSealed();
    this.#input ??= this.#handle(this.#draft.addEvent(INPUT_EVENT, undefined)).named(INPUT_EVENT);
    return this.#input as Node<T>;
  }

  /** These nodes are not run: what depends on them runs with `null` for their results. */
  skip(nodes: Node | readonly Node[]): this {
    this.#refuseIfSealed();
    for (const node of [nodes].flat()) this.#draft.setSkipped(indexIn(this.#draft, node, "skip"));
    return this;
  }

  /**
   * Adds a canvas, after the given nodes. Returns the nodes to depend on.
   * @throws {InvalidWorkflowError}
   */
  add<C extends Canvas<Nothing, unknown>>(
    canvas: C,
    options: { after?: Node | readonly Node[] } = {},
  ): AddedNodes<C> {
    this.#refuseIfSealed();
    refuseUnknown("add option", options, ["after"]);
    const after = [options.after ?? []].flat().map((node, i) =>
      indexIn(this.#draft, node, `after[${i}]`)
    );
    const { allEdges } = this.#compose(canvas, successOf(after));
    return allEdges.map((edge) => this.#handle(edgeUpstream(edge))) as AddedNodes<C>;
  }

  /** Runs when the workflow fails, after everything else of it has ended; with a {@link RunSummary} unless it is immutable. */
  onError(canvas: Canvas<RunSummary, unknown>): this {
    for (const node of this.#addCleanup(canvas, "failure")) this.#onError.push(node);
    return this;
  }

  /** Runs always, last: after success, failure, cancel and timeout; with a {@link RunSummary} unless it is immutable. */
  finally(canvas: Canvas<RunSummary, unknown>): this {
    for (const node of this.#addCleanup(canvas, "done")) this.#finally.push(node);
    return this;
  }

  /** @returns the added nodes that wait for the whole workflow. */
  #addCleanup(canvas: AnyCanvas, on: EdgeKind): number[] {
    this.#refuseIfSealed();
    const first = this.#draft.size;
    this.#draft.cleanup(() => this.#compose(canvas, [packEdge(MAIN, on)], { is: "summary" }));
    return Array.from({ length: this.#draft.size - first }, (_, i) => first + i);
  }

  /** All of the canvas or, when it cannot be built, nothing of it. */
  #compose(canvas: AnyCanvas, after: readonly PackedEdge[], value?: Value): Position {
    const { size } = this.#draft;
    const before = new Position(this.#draft, after, value);
    try {
      return compose(this.#draft, checkCanvas(canvas, "canvas"), before);
    } catch (error) {
      this.#draft.shrinkTo(size);
      throw error;
    }
  }

  /** What `run.result()` gives: a node's result, or any arrays and objects of results. Default: the only sink, else the list of sinks. */
  output<const V>(value: V): Workflow<Resolved<V>> {
    this.#refuseIfSealed();
    const handles = new Handles(this.#draft, "output", { isArguments: false });
    const json = exactJson(value, "output", handles.take);
    this.#output = { json, inputs: handles.inputs };
    return this as unknown as Workflow<Resolved<V>>;
  }

  /** All edges, `[from, to]`, as labels. */
  edges(): [from: string, to: string][] {
    const definition = this.build();
    const edges: [string, string][] = [];
    for (let node = 0; node < definition.graph.size; node++) {
      for (const edge of packedEdges(definition.graph, node)) {
        const upstream = edgeUpstream(edge);
        if (upstream !== MAIN) {
          edges.push([labelOf(definition, upstream), labelOf(definition, node)]);
        }
      }
    }
    return edges;
  }

  /** A Mermaid flowchart. */
  toMermaid(): string {
    return toMermaid(this.build());
  }

  /** The whole workflow as JSON, versioned; {@link fromJSON} reads it. */
  toJSON(): WorkflowJson {
    return definitionToJson(this.build());
  }

  /** @throws {InvalidWorkflowError} with the path of the first thing that is wrong. */
  static fromJSON(json: unknown): Workflow {
    const definition = definitionFromJson(typeof json === "string" ? parse(json) : json);
    const workflow = new Workflow(definition.name);
    workflow.#sealed = definition;
    return workflow;
  }

  /** A workflow of one canvas; it gives what the canvas gives. */
  static of<Given>(canvas: Canvas<Nothing, Given>, name = "canvas"): Workflow<Given> {
    const workflow = new Workflow<Given>(name);
    workflow.#output = workflow.#compose(canvas, []).template;
    return workflow;
  }

  /**
   * The immutable definition.
   * @throws {CycleError} with the path, {InvalidWorkflowError}
   */
  build(): Definition {
    if (this.#sealed !== undefined) return this.#sealed;
    return this.#draft.seal({
      timeoutMs: this.#timeoutMs,
      payload: this.#payload,
      ...(this.#maxParallel === undefined ? {} : { maxParallel: this.#maxParallel }),
      ...(this.#retentionMs === undefined ? {} : { retentionMs: this.#retentionMs }),
      output: this.#output,
      extraEdges: this.#finallyLast(),
    });
  }

  /** `finally` waits for the `onError` nodes and the compensations too. */
  #finallyLast(): Map<number, PackedEdge[]> {
    const undone = this.#draft.compensationEnds.map(edgeUpstream);
    const edges = [...this.#onError, ...undone].map((node) => packEdge(node, "done"));
    return new Map(edges.length === 0 ? [] : this.#finally.map((node) => [node, edges]));
  }

  /** The schemas of its tasks' arguments, by node. They do not travel: a workflow that was read from JSON has none. */
  inputSchemas(): ReadonlyMap<number, StandardSchema> {
    return this.#draft.inputSchemas();
  }

  #handle<T>(node: number): Node<T> {
    return new Node<T>(this.#draft, node);
  }

  #checkTask(task: unknown): AnyTask {
    if (typeof task === "function" && typeof (task as AnyTask).taskName === "string") {
      return task as AnyTask;
    }
    throw new InvalidWorkflowError(`wf.call needs a task, got ${quote(task)}`, {
      hint: 'Make one: task("name", fn).',
      path: "task",
    });
  }

  #refuseIfSealed(): void {
    if (this.#sealed === undefined) return;
    throw new InvalidWorkflowError(
      `Workflow "${this.name}" was read from JSON and cannot be changed`,
      {
        hint: "Build a new workflow, or change the JSON.",
        path: "workflow",
      },
    );
  }
}

function checkParallel(max: unknown): number {
  if (isCount(max) && max >= 1) return max;
  throw new InvalidOptionError(
    "maxParallel",
    `maxParallel = ${quote(max)} is not a whole number from 1`,
    { hint: "Leave it out for no limit." },
  );
}

function checkDefaults(defaults: SignatureOptions): SignatureOptions {
  refuseUnknown("task option", defaults, [...TASK_OPTIONS, "payload"]);
  const { payload, ...options } = defaults;
  checkTaskOptions(options);
  return payload === undefined ? options : checkSignatureOptions({ ...options, payload });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InvalidWorkflowError(`The workflow is not JSON: ${(cause as Error).message}`, {
      cause,
      hint: "Give what toJSON() gave.",
      path: "",
    });
  }
}
