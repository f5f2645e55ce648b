/**
 * A definition: a workflow as it is submitted and never changes. Structure (edges, policies) stands apart from the
 * signatures, whose text is carried along unparsed: scheduling never looks at arguments.
 */
import { CycleError, InvalidWorkflowError } from "./errors.ts";
import type { Calls } from "./canvas.ts";
import { findCycle, type Graph, sinks } from "./graph.ts";
import { LIMITS } from "./limits.ts";
import type { Policy } from "./options.ts";
import { isSealed } from "./sealing.ts";
import { type Input, type Template, templateOf } from "./template.ts";

/** What a worker needs to run a node: the part of a task message that comes from the definition. */
export interface SignatureRecord {
  readonly task: string;
  /** Arguments, with `null` where `inputs` will put upstream results. */
  readonly args: readonly unknown[];
  readonly inputs?: readonly Input[];
  /** `map`, `starmap`: one call for each item of the only argument. @default "once" */
  readonly calls?: Calls;
  readonly timeoutMs?: number;
  readonly softTimeoutMs?: number;
  /** Its result is `null`, whatever it returned. */
  readonly ignoreResult?: true;
  readonly payload?: unknown;
}

/** The parts of a signature; `args`, `inputs` and `payload` are JSON already. */
export interface SignatureParts {
  readonly task: string;
  readonly args: string;
  readonly inputs: string | undefined;
  readonly calls: Calls | undefined;
  readonly timeoutMs: number | undefined;
  readonly softTimeoutMs: number | undefined;
  readonly ignoreResult: boolean;
  readonly payload: string | undefined;
}

/** Tasks that every worker knows: they give workflows that take their place. */
export const MAP_TASK = "dyrygent.map";
export const RUN_TASK = "dyrygent.run";

const INPUTS_FIRST = '{"inputs":';

/** Inputs come first: whether there are any shows without parsing the rest. */
export function writeSignature(
  { task, args, inputs, calls, timeoutMs, softTimeoutMs, ignoreResult, payload }: SignatureParts,
): string {
  return (inputs === undefined ? "{" : `${INPUTS_FIRST}${inputs},`) +
    `"task":${JSON.stringify(task)},"args":${args}` +
    (calls === undefined ? "" : `,"calls":"${calls}"`) +
    (timeoutMs === undefined ? "" : `,"timeoutMs":${timeoutMs}`) +
    (softTimeoutMs === undefined ? "" : `,"softTimeoutMs":${softTimeoutMs}`) +
    (ignoreResult ? `,"ignoreResult":true` : "") +
    (payload === undefined ? "" : `,"payload":${payload}`) + "}";
}

/** Whether a signature as written by {@link writeSignature} has inputs. */
export function hasInputs(signature: Uint8Array): boolean {
  for (let i = 0; i < INPUTS_FIRST.length; i++) {
    if (signature[i] !== INPUTS_FIRST.charCodeAt(i)) return false;
  }
  return true;
}

/** The signatures' JSON, by node. What runs nothing has the empty text. */
export interface SignatureTexts {
  text(node: number): string;
  bytes(node: number): Uint8Array;
}

/** When the first nodes of a run may begin, and until when. */
export interface Start {
  /** After the submit. */
  readonly countdownMs?: number;
  /** Milliseconds since 1970. */
  readonly notBefore?: number;
  /** After they became ready. */
  readonly expiresMs?: number;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
}

/** Whose place a run takes. */
export interface Parent {
  readonly workflow: string;
  readonly node: number;
  readonly attempt: number;
  /** How many runs are above this one, from 1. */
  readonly depth: number;
}

export interface Definition {
  readonly name: string;
  /** JSON text, or undefined. */
  readonly payload: string | undefined;
  readonly timeoutMs: number;
  /** Nodes that may be queued or run at the same time. @default as many as the processor allows */
  readonly maxParallel?: number;
  /** How long the finished run is kept; "keep": until somebody removes it. @default what the processor says */
  readonly retentionMs?: number | "keep";
  readonly start?: Start;
  /** What the nodes that wait for the input get: JSON text. */
  readonly input?: string;
  readonly parent?: Parent;
  readonly graph: Graph;
  readonly policies: readonly Policy[];
  /** Index into `policies` for each node. */
  readonly policyOf: Uint32Array;
  readonly signatures: SignatureTexts;
  /** Names that users gave, by node. */
  readonly names: ReadonlyMap<number, string>;
  /** What the workflow returns. */
  readonly output: Template;
}

export function policyOfNode(definition: Definition, node: number): Policy {
  return definition.policies[definition.policyOf[node]!]!;
}

/** How people see a node: its name, or its task and number: `add-3`. */
export function labelOf(definition: Definition, node: number): string {
  return definition.names.get(node) ?? `${taskNameOf(definition, node)}-${node}`;
}

function taskNameOf(definition: Definition, node: number): string {
  // Records may name nodes that there are not.
  if (!(node < definition.graph.size)) return "node";
  const { join, event } = policyOfNode(definition, node);
  if (join === true) return "join";
  if (event !== undefined) return event;
  try {
    return shownName(JSON.parse(definition.signatures.text(node)));
  } catch {
    return "node";
  }
}

/** What people call a task: the built-in ones by what they were built for. */
function shownName({ task, args }: SignatureRecord): string {
  if (task !== MAP_TASK && task !== RUN_TASK) return typeof task === "string" ? task : "node";
  // Those who have the codec call it the same as those who have not.
  if (isSealed(args)) return task === MAP_TASK ? "map" : "run";
  const [first] = args as [{ name?: unknown; signature?: { task?: unknown } }?];
  return task === MAP_TASK ? `map-${String(first?.signature?.task)}` : `run-${String(first?.name)}`;
}

/** The node that a user means by a number, a name or a label. */
export function findNode(definition: Definition, wanted: string | number): number | undefined {
  const { graph, names } = definition;
  if (typeof wanted === "number") {
    return Number.isInteger(wanted) && wanted >= 0 && wanted < graph.size ? wanted : undefined;
  }
  for (const [node, name] of names) if (name === wanted) return node;
  const number = Number(/-(\d+)$/.exec(wanted)?.[1] ?? NaN);
  return number < graph.size && labelOf(definition, number) === wanted ? number : undefined;
}

/** The list of the sinks' results among the workflow's own nodes; the result itself when there is one sink; else null. */
export function defaultOutput(
  { graph, policies, policyOf }: Pick<Definition, "graph" | "policies" | "policyOf">,
): Template {
  const isAside = (node: number) => {
    const { cleanup, side } = policies[policyOf[node]!]!;
    return cleanup === true || side === true;
  };
  const ends = sinks(graph, isAside)
    .filter((node) => !isAside(node))
    .map((node) => ({ is: "node" as const, node }));
  if (ends.length === 0) return { json: "null", inputs: [] };
  return templateOf(ends.length === 1 ? ends[0]! : { is: "list", items: ends });
}

/** What holds for every definition, wherever it comes from. @throws {InvalidWorkflowError} */
export function checkDefinition(definition: Definition): Definition {
  const { graph, name } = definition;
  if (graph.up.nodes.length > LIMITS.edges) {
    throw new InvalidWorkflowError(
      `Cannot build workflow "${name}": ${graph.up.nodes.length} edges, at most ${LIMITS.edges}`,
      {
        hint: "Put a task that gathers between big groups.",
        path: "edges",
      },
    );
  }
  const waiting = ownNodeAfterCleanup(definition);
  if (waiting !== undefined) {
    throw new InvalidWorkflowError(
      `Cannot build workflow "${name}": ${
        labelOf(definition, waiting)
      } waits for onError or finally, ` +
        `which wait for it`,
      {
        hint: "Only nodes of onError and finally (policy.cleanup) may wait for these, or for -1.",
        path: `nodes[${waiting}].after`,
      },
    );
  }
  const cycle = findCycle(graph);
  if (cycle !== undefined) {
    throw new CycleError(
      name,
      cycle.map((node) => labelOf(definition, node)),
    );
  }
  return definition;
}

/** A node of the workflow's own that waits for all of these, or for a cleanup node: it would wait for ever. */
function ownNodeAfterCleanup(definition: Definition): number | undefined {
  const { graph: { down, size, main }, policies } = definition;
  const isCleanup = (node: number) => policyOfNode(definition, node).cleanup === true;
  const someCleanup = policies.some((policy) => policy.cleanup === true);
  for (let node = someCleanup ? 0 : main; node <= size; node++) {
    if (node !== main && !isCleanup(node)) continue;
    for (let e = down.offsets[node]!; e < down.offsets[node + 1]!; e++) {
      if (!isCleanup(down.nodes[e]!)) return down.nodes[e];
    }
  }
  return undefined;
}

/** Signatures held as texts, as the builder makes them. */
export class TextSignatures implements SignatureTexts {
  readonly #texts: readonly string[];

  constructor(texts: readonly string[]) {
    this.#texts = texts;
  }

  text(node: number): string {
    return this.#texts[node]!;
  }

  bytes(node: number): Uint8Array {
    return new TextEncoder().encode(this.#texts[node]);
  }
}
