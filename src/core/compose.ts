/**
 * Turns canvases into nodes. Each kind takes what comes before it and returns what comes after it: the edges that
 * a follower must wait for, and the value it gets. The one place that knows Celery's rules of composition.
 */
import {
  type AnyCanvas,
  type Attachments,
  Chain,
  Chord,
  Group,
  NOTHING_ATTACHED,
  Signature,
} from "./canvas.ts";
import { type Draft, successOf } from "./draft.ts";
import { InvalidWorkflowError } from "./errors.ts";
import { MAIN, type PackedEdge, packEdge } from "./graph.ts";
import { exactJson } from "./json.ts";
import { LIMITS } from "./limits.ts";
import { inherit, type SignatureOptions } from "./options.ts";
import { type Template, templateOf, type Value } from "./template.ts";

/** Fewer edges than this are simply repeated for every follower; more are gathered in a join. */
const JOIN_FROM = 8;

/** What a follower stands on: edges to wait for, and the value to take (undefined: none). */
export class Position {
  readonly value: Value | undefined;
  readonly #draft: Draft;
  readonly #edges: readonly PackedEdge[];
  #uses = 0;
  #join: readonly PackedEdge[] | undefined;
  #template: Template | undefined;

  constructor(draft: Draft, edges: readonly PackedEdge[], value?: Value) {
    this.#draft = draft;
    this.#edges = edges;
    this.value = value;
  }

  /** The same edges, giving `value`. */
  giving(value: Value): Position {
    return new Position(this.#draft, this.#edges, value);
  }

  /** Edges for one follower. Many followers of many nodes share a join: edges stay a sum, not a product. */
  edges(): readonly PackedEdge[] {
    if (this.#edges.length < JOIN_FROM || this.#uses++ === 0) return this.#edges;
    this.#join ??= successOf([this.#draft.addJoin(this.#edges)]);
    return this.#join;
  }

  /** All edges, for what only passes them on. */
  get allEdges(): readonly PackedEdge[] {
    return this.#edges;
  }

  get template(): Template | undefined {
    if (this.value !== undefined) this.#template ??= templateOf(this.value);
    return this.#template;
  }
}

/** What an outer canvas says for all inside it. */
interface Inherited {
  readonly options: SignatureOptions;
  readonly attachments: Attachments;
}

const NOTHING_INHERITED: Inherited = { options: {}, attachments: NOTHING_ATTACHED };

function inside({ options, attachments }: Inherited, canvas: AnyCanvas): Inherited {
  return {
    options: inherit(options, canvas.options),
    attachments: {
      links: [...attachments.links, ...canvas.attachments.links],
      onErrors: [...attachments.onErrors, ...canvas.attachments.onErrors],
    },
  };
}

/** Adds `canvas` to the draft after `before`. Returns what comes after it; `before` itself when it is empty. */
export function compose(
  draft: Draft,
  canvas: AnyCanvas,
  before: Position,
  inherited: Inherited = NOTHING_INHERITED,
  depth = 0,
): Position {
  if (depth > LIMITS.depth) {
    throw new InvalidWorkflowError(
      `Cannot build workflow "${draft.name}": groups nested over ${LIMITS.depth} deep`,
      {
        hint: "Flatten them: a list of lists of results that deep is hardly meant.",
        path: "canvas",
      },
    );
  }
  if (canvas instanceof Chain) return composeChain(draft, canvas, before, inherited, depth);
  const own = inside(inherited, canvas);
  if (canvas instanceof Signature) return composeSignature(draft, canvas, before, own);
  if (canvas instanceof Group) return composeGroup(draft, canvas.members, before, own, depth);
  if (canvas instanceof Chord) {
    const header = composeGroup(draft, canvas.header, before, own, depth);
    return compose(draft, canvas.body, header, own, depth + 1);
  }
  throw new InvalidWorkflowError(
    `Cannot build workflow "${draft.name}": ${String(canvas)} is not a known canvas`,
    {
      hint: "Use signatures, chain, group, chord, chunks, map and starmap.",
      path: "canvas",
    },
  );
}

function composeSignature(
  draft: Draft,
  signature: Signature<unknown, unknown>,
  before: Position,
  { options, attachments }: Inherited,
): Position {
  const own = exactJson(signature.args, `${signature.task.taskName}.args`);
  const previous = signature.immutable ? undefined : before.template;
  const args = previous === undefined ? { json: own, inputs: [] } : prepend(previous, own);
  const node = draft.addTask(signature, args, options, before.edges());
  attach(draft, node, attachments);
  if (signature.compensation !== undefined) compensate(draft, node, signature.compensation);
  return new Position(draft, successOf([node]), { is: "node", node });
}

/** What runs beside a node: neither what follows it nor what the workflow gives depends on it. */
function attach(draft: Draft, node: number, { links, onErrors }: Attachments): void {
  for (const link of links) {
    const after = new Position(draft, successOf([node]), { is: "node", node });
    draft.aside(() => compose(draft, link, after));
  }
  for (const onError of onErrors) {
    const after = new Position(draft, [packEdge(node, "error")], { is: "failure", node });
    draft.aside(() => compose(draft, onError, after));
  }
}

/** Adds what undoes `node`: it waits for the workflow to have failed, and runs only if there is something to undo. */
export function compensate(draft: Draft, node: number, undo: AnyCanvas): void {
  const ran = packEdge(node, "ran");
  const after = new Position(draft, [packEdge(MAIN, "notSuccess"), ran], { is: "node", node });
  draft.compensation(node, () => compose(draft, undo, after).allEdges);
}

function prepend(first: Template, rest: string): Template {
  return {
    json: rest === "[]" ? `[${first.json}]` : `[${first.json},${rest.slice(1)}`,
    inputs: first.inputs.map((input) => ({ ...input, at: [0, ...input.at] })),
  };
}

/** Chains in chains splice, however deep: on a stack of our own, since `pipe` nests once for every link. */
function composeChain(
  draft: Draft,
  chain: Chain<unknown, unknown>,
  before: Position,
  inherited: Inherited,
  depth: number,
): Position {
  const todo: { canvas: AnyCanvas; from: Inherited }[] = [{ canvas: chain, from: inherited }];
  let position = before;
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const { canvas, from } = next;
    if (canvas instanceof Chain) {
      const own = inside(from, canvas);
      for (let i = canvas.members.length - 1; i >= 0; i--) {
        todo.push({ canvas: canvas.members[i]!, from: own });
      }
    } else if (!isEmptyGroup(canvas)) {
      position = compose(draft, canvas, position, from, depth + 1);
    }
  }
  return position;
}

function composeGroup(
  draft: Draft,
  members: readonly AnyCanvas[],
  before: Position,
  own: Inherited,
  depth: number,
): Position {
  const edges: PackedEdge[] = [];
  const items: Value[] = [];
  for (const member of members) {
    if (isEmptyChain(member)) continue;
    if (isEmptyGroup(member)) {
      items.push({ is: "list", items: [] });
      continue;
    }
    const after = compose(draft, member, before, own, depth + 1);
    for (const edge of after.allEdges) edges.push(edge);
    items.push(after.value!);
  }
  const value: Value = { is: "list", items };
  return edges.length === 0 ? before.giving(value) : new Position(draft, edges, value);
}

/** A group without members (chains without members do not count) stands for `[]`, and for nothing in a chain. */
function isEmptyGroup(canvas: AnyCanvas, depth = 0): boolean {
  return canvas instanceof Group && depth <= LIMITS.depth &&
    canvas.members.every((member) => isEmptyChain(member, depth + 1));
}

/** A chain of nothing but empty chains and empty groups adds nothing. */
function isEmptyChain(canvas: AnyCanvas, depth = 0): boolean {
  if (!(canvas instanceof Chain)) return false;
  const todo: AnyCanvas[] = [canvas];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (next instanceof Chain) { for (const member of next.members) todo.push(member); }
    else if (!isEmptyGroup(next, depth)) return false;
  }
  return true;
}
