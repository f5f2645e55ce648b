/**
 * A definition as bytes, in records no larger than the server takes. The first record is the head, and holds as many
 * nodes as fit: a small workflow is one record. More nodes follow in chunks that the head's digest names.
 *
 * A record is lines of JSON: (head only) the head; the structure of a range of nodes; one signature a node.
 * Reading trusts nothing: a record that cannot be understood is an error, never a wrong workflow.
 */
import {
  checkDefinition,
  defaultOutput,
  type Definition,
  type Parent,
  type SignatureTexts,
  type Start,
} from "./definition.ts";
import { DyrygentError, InvalidWorkflowError, PayloadTooLargeError } from "./errors.ts";
import {
  type Adjacency,
  buildGraph,
  EDGE_KINDS,
  type EdgeKind,
  MAIN,
  type PackedEdge,
  packEdge,
} from "./graph.ts";
import { isId, quote } from "./ids.ts";
import { IntList } from "./int_list.ts";
import { exactJson, isObject, isTooDeep } from "./json.ts";
import { isCount, LIMITS } from "./limits.ts";
import { type Policy, policyFlaw } from "./options.ts";
import { countRuns, foldRuns, type Run, unfoldRuns } from "./runs.ts";
import { isTemplate, type Template } from "./template.ts";

export const DEFINITION_VERSION = 1;

/** The head of a definition, as written. */
export interface Head {
  readonly v: number;
  readonly name: string;
  readonly timeoutMs: number;
  /** How many nodes there are. */
  readonly nodes: number;
  /** How many records follow the head. */
  readonly chunks: number;
  /** SHA-256 over everything else, in hex: the same content has the same digest. */
  readonly digest: string;
  readonly maxParallel?: number;
  readonly retentionMs?: number | "keep";
  readonly start?: Start;
  readonly parent?: Parent;
  readonly input?: unknown;
  readonly payload?: unknown;
  /** What the workflow returns; absent: the list of its sinks. */
  readonly output?: Template;
}

/** A range of nodes, as written. Node `first + i` has the i-th entry of each list. */
interface Structure {
  readonly first: number;
  /** Upstreams on whose success a node waits. */
  readonly after: readonly (readonly Run[])[];
  /** Upstreams on whose other ends nodes wait, by node: rare. -1 is all of the workflow's own nodes. */
  readonly afterOther?: {
    readonly [node: string]: { readonly [K in Exclude<EdgeKind, "success">]?: readonly Run[] };
  };
  readonly policies: readonly Policy[];
  /** Index into `policies` for each node. */
  readonly policy: readonly Run[];
  readonly names?: { readonly [node: string]: string };
}

export interface EncodedDefinition {
  readonly digest: string;
  readonly head: Uint8Array;
  readonly chunks: readonly Uint8Array[];
}

/** An output larger than this is not written: it is the list of sinks, which every reader can work out. */
const LARGEST_DEFAULT_OUTPUT = 64 * 1024;
/** Kinds of edges that are written apart: all but the ones on success. */
const OTHER_KINDS = EDGE_KINDS.slice(1) as Exclude<EdgeKind, "success">[];
const HEAD_ROOM = 1_024;
/** What a range of nodes takes besides its nodes. */
const PART_ROOM = 200;

const encoder = new TextEncoder();

/** @throws {PayloadTooLargeError} when one node alone does not fit into `maxBytes`. */
export async function encodeDefinition(
  definition: Definition,
  maxBytes: number,
): Promise<EncodedDefinition> {
  const output = outputText(definition);
  const fixed = `"name":${JSON.stringify(definition.name)},"timeoutMs":${definition.timeoutMs}` +
    `,"nodes":${definition.graph.size}` +
    optional("maxParallel", definition.maxParallel) +
    optional("retentionMs", definition.retentionMs) +
    optional("start", definition.start) +
    optional("parent", definition.parent) +
    (definition.input === undefined ? "" : `,"input":${definition.input}`) +
    (definition.payload === undefined ? "" : `,"payload":${definition.payload}`) +
    (output === undefined ? "" : `,"output":${output}`);
  const headBytes = encoder.encode(fixed).length + HEAD_ROOM;
  if (headBytes > maxBytes) {
    throw new PayloadTooLargeError(
      `The head of workflow "${definition.name}"`,
      headBytes,
      maxBytes,
      "Use wf.output() with fewer nodes, or gather them in a task.",
    );
  }
  const parts = splitNodes(definition, maxBytes, headBytes).map((text) => encoder.encode(text));
  const digest = await digestOf([encoder.encode(fixed), ...parts]);
  const head = encoder.encode(
    `{"v":${DEFINITION_VERSION},${fixed},"chunks":${parts.length - 1},"digest":"${digest}"}\n`,
  );
  return { digest, head: join(head, parts[0]!), chunks: parts.slice(1) };
}

function optional(field: string, value: unknown): string {
  return value === undefined ? "" : `,"${field}":${JSON.stringify(value)}`;
}

function outputText(definition: Definition): string | undefined {
  const text = JSON.stringify(definition.output);
  if (text.length <= LARGEST_DEFAULT_OUTPUT) return text;
  return text === JSON.stringify(defaultOutput(definition)) ? undefined : text;
}

/** Ranges of nodes as texts, each small enough for a record that also holds the head. */
function splitNodes(definition: Definition, maxBytes: number, headBytes: number): string[] {
  const parts: string[] = [];
  const { size } = definition.graph;
  let first = 0;
  // Less than the record could take: every signature must also fit into a task message, beside the workflow's payload.
  const room = maxBytes - headBytes;
  do {
    const part = new Part(definition, first);
    while (part.next < size && part.tryAdd(room)) { /* as many as fit */ }
    if (part.next === first && first < size) {
      throw new PayloadTooLargeError(
        `Node ${first} of workflow "${definition.name}" (arguments and edges)`,
        part.sizeOf(first),
        room - PART_ROOM,
        "Pass big data by reference, or gather many upstreams in steps.",
      );
    }
    parts.push(part.text());
    first = part.next;
  } while (first < size);
  return parts;
}

/** One range being filled. Sizes are counted in UTF-8 bytes, a little too high. */
class Part {
  readonly #definition: Definition;
  readonly #first: number;
  readonly #after: string[] = [];
  readonly #signatures: string[] = [];
  readonly #afterOther: string[] = [];
  readonly #names: string[] = [];
  readonly #policies = new Map<number, number>();
  readonly #policyTexts: string[] = [];
  readonly #policy: number[] = [];
  #bytes = PART_ROOM;
  next: number;

  constructor(definition: Definition, first: number) {
    this.#definition = definition;
    this.#first = first;
    this.next = first;
  }

  sizeOf(node: number): number {
    return this.#measure(node).bytes;
  }

  tryAdd(room: number): boolean {
    const node = this.next;
    const { after, other, name, policyText, signature, bytes } = this.#measure(node);
    if (this.#bytes + bytes > room) return false;
    this.#bytes += bytes;
    this.#after.push(after);
    if (other !== "") this.#afterOther.push(`"${node}":{${other}}`);
    if (name !== undefined) this.#names.push(`"${node}":"${name}"`);
    const policy = this.#definition.policyOf[node]!;
    if (policyText !== undefined) {
      this.#policies.set(policy, this.#policyTexts.push(policyText) - 1);
    }
    this.#policy.push(this.#policies.get(policy)!);
    this.#signatures.push(signature);
    this.next++;
    return true;
  }

  #measure(node: number) {
    const { graph, names, policies, policyOf, signatures } = this.#definition;
    const [onSuccess = [], ...others] = upstreams(graph.up, node, graph.main);
    const after = JSON.stringify(foldRuns(onSuccess));
    const other = OTHER_KINDS.flatMap((kind, i) => {
      const nodes = others[i];
      return nodes === undefined ? [] : `"${kind}":${JSON.stringify(foldRuns(nodes))}`;
    }).join(",");
    const policy = policyOf[node]!;
    const policyText = this.#policies.has(policy) ? undefined : JSON.stringify(policies[policy]);
    const signature = signatures.text(node);
    const name = names.get(node);
    const bytes = after.length + other.length + (name?.length ?? 0) +
      utf8Length(policyText ?? "") + utf8Length(signature) + 40;
    return { after, other, name, policyText, signature, bytes };
  }

  text(): string {
    const structure = `{"first":${this.#first},"after":[${this.#after.join(",")}]` +
      (this.#afterOther.length > 0 ? `,"afterOther":{${this.#afterOther.join(",")}}` : "") +
      `,"policies":[${this.#policyTexts.join(",")}],"policy":${
        JSON.stringify(foldRuns(this.#policy))
      }` +
      (this.#names.length > 0 ? `,"names":{${this.#names.join(",")}}` : "") + "}";
    return [structure, ...this.#signatures].join("\n") + "\n";
  }
}

/** By kind of edge; undefined where there are none. */
function upstreams(up: Adjacency, node: number, main: number): (number[] | undefined)[] {
  const found: (number[] | undefined)[] = [];
  for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
    (found[up.kinds[e]!] ??= []).push(up.nodes[e] === main ? MAIN : up.nodes[e]!);
  }
  return found;
}

function utf8Length(text: string): number {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text) ? text.length : encoder.encode(text).length;
}

async function digestOf(parts: readonly Uint8Array[]): Promise<string> {
  const digests = new Uint8Array(parts.length * 32);
  for (const [i, part] of parts.entries()) {
    digests.set(
      new Uint8Array(await crypto.subtle.digest("SHA-256", part as BufferSource)),
      i * 32,
    );
  }
  const whole = new Uint8Array(await crypto.subtle.digest("SHA-256", digests));
  return [...whole].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function join(a: Uint8Array, b: Uint8Array): Uint8Array {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

/** Where chunk `n` (from 1) of the definition with this digest is kept, after `<workflow>.def.`. */
export function chunkName(digest: string, n: number): string {
  return `${digest.slice(0, 32)}-${n}`;
}

/** A definition that cannot be read. */
function unreadable(why: string): InvalidWorkflowError {
  return new InvalidWorkflowError(`The stored definition cannot be read: ${why}`, {
    hint: "It was not written by this library, or is damaged. Its bytes are kept as they are.",
    path: "definition",
  });
}

/** The head of a definition. @throws {InvalidWorkflowError} for anything else. */
export function decodeHead(record: Uint8Array): Head {
  const { json } = firstLine(record, 0);
  const head = parseObject(json, "head") as Partial<Record<keyof Head, unknown>>;
  if (head.v !== DEFINITION_VERSION) {
    throw unreadable(`version ${quote(head.v)} is not ${DEFINITION_VERSION}`);
  }
  const ok = isId(head.name) && isCount(head.timeoutMs) &&
    isCount(head.nodes, LIMITS.nodes) && isCount(head.chunks, head.nodes) &&
    typeof head.digest === "string" && /^[0-9a-f]{64}$/.test(head.digest) &&
    (head.output === undefined || isTemplate(head.output, head.nodes)) &&
    (head.maxParallel === undefined || isCount(head.maxParallel) && head.maxParallel >= 1) &&
    (head.retentionMs === undefined || head.retentionMs === "keep" || isCount(head.retentionMs)) &&
    (head.start === undefined || isStart(head.start)) &&
    (head.parent === undefined || isParent(head.parent));
  if (!ok) throw unreadable("the head lacks a field or has one of a wrong type");
  return head as unknown as Head;
}

function isStart(value: unknown): value is Start {
  if (typeof value !== "object" || value === null) return false;
  const start: Partial<Record<keyof Start, unknown>> = value;
  const fields = [start.countdownMs, start.notBefore, start.expiresMs, start.expiresAt];
  return fields.every((field) => field === undefined || isCount(field));
}

function isParent(value: unknown): value is Parent {
  const { workflow, node, attempt, depth } = (value ?? {}) as Partial<
    Record<keyof Parent, unknown>
  >;
  return isId(workflow) && isCount(node, LIMITS.nodes) && isCount(attempt) && isCount(depth);
}

/** The version a record claims, for telling "newer" from "broken"; undefined when it claims none. */
export function versionOf(record: Uint8Array): number | undefined {
  const line = record.subarray(0, lineEnd(record, 0));
  if (isTooDeep(line)) return undefined;
  try {
    const { v } = JSON.parse(new TextDecoder().decode(line));
    return typeof v === "number" ? v : undefined;
  } catch {
    return undefined;
  }
}

/** @throws {InvalidWorkflowError} when the records are not one whole, sound definition. */
export function decodeDefinition(head: Head, records: readonly Uint8Array[]): Definition {
  try {
    return checkDefinition(assemble(head, records));
  } catch (error) {
    if (error instanceof DyrygentError) throw error;
    throw unreadable(String(error));
  }
}

function assemble(head: Head, records: readonly Uint8Array[]): Definition {
  const size = head.nodes;
  const edges = new IncomingEdges();
  const policies: Policy[] = [];
  const known = new Map<string, number>();
  const policyOf = new Uint32Array(size);
  const names = new Map<number, string>();
  const taken = new Set<string>();
  const signatures = new StoredSignatures(size);
  let edgeCount = 0;
  records.forEach((record, i) => {
    const structureAt = i === 0 ? lineEnd(record, 0) + 1 : 0;
    const { json, end } = firstLine(record, structureAt);
    const structure = parseObject(json, `structure ${i}`) as unknown as Structure;
    const first = edges.nodes;
    if (
      structure.first !== first || !Array.isArray(structure.after) ||
      first + structure.after.length > size
    ) {
      throw unreadable(`structure ${i} does not continue at node ${first}`);
    }
    // Few bytes can stand for very many edges: they are counted before they are unfolded.
    for (const runs of structure.after) edgeCount += countRuns(runs);
    if (edgeCount > LIMITS.edges) throw unreadable(`it has more than ${LIMITS.edges} edges`);
    for (const runs of structure.after) edges.addNode(unpack(runs, "success", size));
    for (const [node, other] of Object.entries(structure.afterOther ?? {})) {
      if (!isCount(Number(node), edges.nodes - 1)) {
        throw unreadable(`edges of unknown node ${node}`);
      }
      for (const kind of OTHER_KINDS) {
        const runs = other[kind];
        if (runs === undefined) continue;
        edgeCount += countRuns(runs);
        if (edgeCount > LIMITS.edges) throw unreadable(`it has more than ${LIMITS.edges} edges`);
        edges.addTo(Number(node), unpack(runs, kind, size));
      }
    }
    const local = structure.policies.map((policy) => {
      const key = JSON.stringify(checkPolicy(policy));
      if (!known.has(key)) known.set(key, policies.push(policy) - 1);
      return known.get(key)!;
    });
    const indexes = unfoldRuns(structure.policy, size);
    if (indexes?.length !== structure.after.length) {
      throw unreadable(`structure ${i} has no policy for every node`);
    }
    indexes.forEach((index, n) => {
      if (local[index] === undefined) throw unreadable(`node ${first + n} has an unknown policy`);
      policyOf[first + n] = local[index]!;
    });
    for (const [node, name] of Object.entries(structure.names ?? {})) {
      if (!isCount(Number(node), size - 1) || !isId(name) || taken.has(name)) {
        throw unreadable(`node ${node} has an impossible name`);
      }
      taken.add(name);
      names.set(Number(node), name);
    }
    signatures.add(record, end + 1, first, structure.after.length);
  });
  if (edges.nodes !== size) throw unreadable(`it has ${edges.nodes} of ${size} nodes`);
  const graph = buildGraph(size, (node) => edges.into(node));
  return {
    name: head.name,
    payload: head.payload === undefined ? undefined : exactJson(head.payload, "payload"),
    timeoutMs: head.timeoutMs,
    ...(head.maxParallel === undefined ? {} : { maxParallel: head.maxParallel }),
    ...(head.retentionMs === undefined ? {} : { retentionMs: head.retentionMs }),
    ...(head.start === undefined ? {} : { start: head.start }),
    ...(head.parent === undefined ? {} : { parent: head.parent }),
    ...(head.input === undefined ? {} : { input: exactJson(head.input, "input") }),
    graph,
    policies,
    policyOf,
    signatures,
    names,
    output: head.output ?? defaultOutput({ graph, policies, policyOf }),
  };
}

/** Edges by the node they lead to, while a definition is read. A list for each would take more than all that is kept. */
class IncomingEdges {
  readonly #edges = new IntList();
  readonly #ends = new IntList();
  /** What was added to nodes that were there already: rare. */
  readonly #added = new Map<number, PackedEdge[]>();

  get nodes(): number {
    return this.#ends.length;
  }

  /** The next node, with its edges. */
  addNode(edges: readonly PackedEdge[]): void {
    for (const edge of edges) this.#edges.push(edge);
    this.#ends.push(this.#edges.length);
  }

  addTo(node: number, edges: readonly PackedEdge[]): void {
    this.#added.set(node, (this.#added.get(node) ?? []).concat(edges));
  }

  into(node: number): PackedEdge[] {
    const first = node === 0 ? 0 : this.#ends.at(node - 1);
    const own = this.#edges.slice(first, this.#ends.at(node));
    const added = this.#added.get(node);
    return added === undefined ? own : own.concat(added);
  }
}

function unpack(runs: unknown, kind: (typeof EDGE_KINDS)[number], size: number): PackedEdge[] {
  const nodes = unfoldRuns(runs, size + 1);
  if (nodes === undefined) throw unreadable("a list of upstreams is malformed");
  return nodes.map((node) => {
    if (node < MAIN || node >= size) throw unreadable(`there is no upstream ${node}`);
    return packEdge(node, kind);
  });
}

function checkPolicy(policy: Policy): Policy {
  const flaw = policyFlaw(policy);
  if (flaw !== undefined) throw unreadable(`a policy's ${flaw} is missing or malformed`);
  return policy;
}

const NEWLINE = 10;

function lineEnd(record: Uint8Array, from: number): number {
  const end = record.indexOf(NEWLINE, from);
  return end === -1 ? record.length : end;
}

function firstLine(record: Uint8Array, from: number): { json: string; end: number } {
  const end = lineEnd(record, from);
  const line = record.subarray(from, end);
  if (isTooDeep(line)) throw unreadable("it nests too deep");
  try {
    const json = new TextDecoder("utf-8", { fatal: true }).decode(line);
    return { json, end };
  } catch {
    throw unreadable("it is not UTF-8");
  }
}

function parseObject(json: string, what: string): Record<string, unknown> {
  try {
    const value = JSON.parse(json);
    if (isObject(value)) return value;
  } catch {
    // Reported below, like every other thing that is not an object.
  }
  throw unreadable(`the ${what} is not a JSON object`);
}

/** Signatures left in the records they came in: a node's text is cut out when it is needed. */
class StoredSignatures implements SignatureTexts {
  readonly #records: Uint8Array[] = [];
  /** First node of each record. */
  readonly #firsts: number[] = [];
  readonly #starts: Uint32Array;
  readonly #ends: Uint32Array;

  constructor(size: number) {
    this.#starts = new Uint32Array(size);
    this.#ends = new Uint32Array(size);
  }

  add(record: Uint8Array, from: number, first: number, count: number): void {
    this.#records.push(record);
    this.#firsts.push(first);
    let at = from;
    for (let node = first; node < first + count; node++) {
      if (at >= record.length) throw unreadable(`node ${node} has no signature`);
      this.#starts[node] = at;
      at = lineEnd(record, at);
      this.#ends[node] = at++;
    }
    // Every line ends with a newline: a record that was cut off anywhere is one byte short.
    if (at !== record.length) throw unreadable(`the record from node ${first} does not end there`);
  }

  bytes(node: number): Uint8Array {
    let low = 0;
    let high = this.#firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#firsts[middle]! <= node) low = middle;
      else high = middle - 1;
    }
    return this.#records[low]!.subarray(this.#starts[node], this.#ends[node]);
  }

  text(node: number): string {
    return new TextDecoder().decode(this.bytes(node));
  }
}
