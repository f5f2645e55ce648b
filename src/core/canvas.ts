/**
 * Celery's words: signatures, chains, groups, chords. A canvas only says what to run; it is pure data, can be used
 * many times, and becomes nodes when it is added to a workflow.
 *
 * In the types, a `Canvas<In, Out>` takes a previous result of type `In` and gives `Out`. `Nothing` is what comes
 * before the first member of a chain: a complete signature takes `Nothing`, a partial one its missing first argument,
 * an immutable one (`.si`) anything.
 */
import { InvalidWorkflowError } from "./errors.ts";
import type { FinalState } from "./fact.ts";
import { quote } from "./ids.ts";
import type { Counts } from "./node_state.ts";
import { checkSignatureOptions, type SignatureOptions, type TaskOptions } from "./options.ts";
import type { StandardSchema } from "./standard_schema.ts";

/** The type of "no previous result". */
export interface Nothing {
  readonly "~nothing": never;
}

/** A canvas, whatever it takes and gives. */
// deno-lint-ignore no-explicit-any
export type AnyCanvas = Canvas<any, any>;
/** What a canvas needs from before. */
export type TakenBy<C> = C extends { readonly "~takes": (previous: infer In) => void } ? In : never;
/** What a canvas gives. */
export type GivenBy<C> = C extends { readonly "~gives": () => infer Out } ? Out : never;

/** How a task failed, as told to what was attached with `onError`, and in a {@link RunSummary}. */
export interface NodeFailure {
  /** The node's label: its name, or its task and number. */
  readonly node: string;
  /** The attempt that failed last, from 1. */
  readonly attempt: number;
  /** The thrown error's name and message. */
  readonly name: string;
  readonly message: string;
}

/** How a workflow's own nodes ended, as told to `onError` and `finally`. */
export interface RunSummary {
  readonly id: string;
  readonly name: string;
  readonly state: FinalState;
  /** Why it was cancelled, or that its time was up. */
  readonly reason?: string;
  readonly counts: Counts;
  /** The nodes that failed themselves; at most a hundred. */
  readonly failures: readonly NodeFailure[];
  readonly payload?: unknown;
}

/** What runs beside a canvas' signatures: each of these after each of them. */
export interface Attachments {
  /** After its success, with its result. */
  readonly links: readonly AnyCanvas[];
  /** After its own failure, with that failure. */
  readonly onErrors: readonly AnyCanvas[];
}

export const NOTHING_ATTACHED: Attachments = { links: [], onErrors: [] };

/** Something to run: a signature, or signatures combined. */
export abstract class Canvas<In, Out> {
  declare readonly "~takes": (previous: In) => void;
  declare readonly "~gives": () => Out;
  /** What `.set()` said; holds for every signature inside that does not say otherwise. */
  readonly options: SignatureOptions;
  readonly attachments: Attachments;

  constructor(options: SignatureOptions = {}, attachments: Attachments = NOTHING_ATTACHED) {
    this.options = options;
    this.attachments = attachments;
  }

  /** The same canvas with these options (they hold for every signature inside that does not say otherwise). */
  set(options: SignatureOptions): this {
    return this.with({ ...this.options, ...checkSignatureOptions(options) }, this.attachments);
  }

  /**
   * The same canvas, after whose success `callback` runs too, with the result; of a chain, group or chord: after each
   * member's, with that member's result. What the canvas gives stays the same; a failure of `callback` fails the workflow.
   */
  // deno-lint-ignore no-explicit-any
  link(callback: Canvas<any, unknown>): this {
    const links = [...this.attachments.links, checkCanvas(callback, "link")];
    return this.with(this.options, { ...this.attachments, links });
  }

  /**
   * The same canvas, after whose failure `callback` runs, with the {@link NodeFailure}; of a chain, group or chord: after
   * each member that fails itself. The workflow has failed all the same.
   */
  onError(callback: Canvas<NodeFailure, unknown>): this {
    const onErrors = [...this.attachments.onErrors, checkCanvas(callback, "onError")];
    return this.with(this.options, { ...this.attachments, onErrors });
  }

  /** A chain of this and `next`, which gets this one's result. */
  pipe<Next>(next: Canvas<Out, Next>): Chain<In, Next> {
    return new Chain<In, Next>([this, checkCanvas(next, "pipe")]);
  }

  protected abstract with(options: SignatureOptions, attachments: Attachments): this;
}

/** What a canvas knows of a task. */
export interface TaskReference {
  readonly taskName: string;
  readonly options: TaskOptions;
  /** Of its list of arguments. */
  readonly input?: StandardSchema | undefined;
}

/** How a signature's arguments are used: one call, or one call for each item of its only argument. */
export type Calls = "once" | "map" | "starmap";

/** A task with its arguments. */
export class Signature<In, Out> extends Canvas<In, Out> {
  readonly task: TaskReference;
  readonly args: readonly unknown[];
  /** Takes no previous result (`.si`). */
  readonly immutable: boolean;
  readonly calls: Calls;
  /** What undoes it. */
  readonly compensation: AnyCanvas | undefined;

  constructor(
    task: TaskReference,
    args: readonly unknown[],
    { immutable = false, calls = "once", compensation, options, attachments }: {
      immutable?: boolean;
      calls?: Calls;
      compensation?: AnyCanvas | undefined;
      options?: SignatureOptions;
      attachments?: Attachments;
    } = {},
  ) {
    super(options, attachments);
    this.task = task;
    this.args = args;
    this.immutable = immutable;
    this.calls = calls;
    this.compensation = compensation;
  }

  override link(callback: Canvas<Out, unknown>): this {
    return super.link(callback);
  }

  /**
   * The same signature, and what undoes it: when the workflow fails, is cancelled or runs out of time, `undo` runs with this
   * signature's result, if it succeeded, after what was done later has been undone.
   */
  compensate(undo: Canvas<Out, unknown>): this {
    return this.copy({ compensation: checkCanvas(undo, "compensate") });
  }

  protected override with(options: SignatureOptions, attachments: Attachments): this {
    return this.copy({ options, attachments });
  }

  protected copy(
    changes: {
      compensation?: AnyCanvas;
      options?: SignatureOptions;
      attachments?: Attachments;
    },
  ): this {
    const { immutable, calls, compensation, options, attachments } = this;
    const all = { immutable, calls, compensation, options, attachments, ...changes };
    return new Signature<In, Out>(this.task, this.args, all) as this;
  }
}

/** One after the other; each gets the result of the one before. */
export class Chain<In, Out> extends Canvas<In, Out> {
  readonly members: readonly AnyCanvas[];

  constructor(
    members: readonly AnyCanvas[],
    options?: SignatureOptions,
    attachments?: Attachments,
  ) {
    super(options, attachments);
    this.members = members;
  }

  protected override with(options: SignatureOptions, attachments: Attachments): this {
    return new Chain<In, Out>(this.members, options, attachments) as this;
  }
}

/** Side by side; gives the list of the members' values, in order. */
export class Group<In, Out> extends Canvas<In, Out> {
  readonly members: readonly AnyCanvas[];

  constructor(
    members: readonly AnyCanvas[],
    options?: SignatureOptions,
    attachments?: Attachments,
  ) {
    super(options, attachments);
    this.members = members;
  }

  protected override with(options: SignatureOptions, attachments: Attachments): this {
    return new Group<In, Out>(this.members, options, attachments) as this;
  }
}

/** A group and a body that gets the list of its results. An empty header runs the body with `[]`. */
export class Chord<In, Out> extends Canvas<In, Out> {
  readonly header: readonly AnyCanvas[];
  readonly body: AnyCanvas;

  constructor(
    header: readonly AnyCanvas[],
    body: AnyCanvas,
    options?: SignatureOptions,
    attachments?: Attachments,
  ) {
    super(options, attachments);
    this.header = header;
    this.body = body;
  }

  protected override with(options: SignatureOptions, attachments: Attachments): this {
    return new Chord<In, Out>(this.header, this.body, options, attachments) as this;
  }
}

/** Shown by the compiler where a chain's link does not fit. */
export interface DoesNotFit<Given, Taken> {
  readonly "the previous member gives": Given;
  readonly "but this member takes": Taken;
}

type Link<Previous, C> = [Previous] extends [TakenBy<C>] ? C : DoesNotFit<Previous, TakenBy<C>>;

/** The members as they must be: each takes what the one before gives. An empty group passes the previous value on. */
type Links<C extends readonly unknown[], Previous, Done extends readonly unknown[] = []> = C extends
  readonly [infer Head, ...infer Tail]
  ? Links<Tail, After<Head, Previous>, [...Done, Link<Previous, Head>]>
  : C extends readonly [] ? Done
  : C;

type After<C, Previous> = [GivenBy<C>] extends [readonly []] ? Previous : GivenBy<C>;

type ChainTakes<C extends readonly unknown[]> = C extends readonly [infer Head, ...infer Tail]
  ? [GivenBy<Head>] extends [readonly []] ? ChainTakes<Tail> : TakenBy<Head>
  : C extends readonly [] ? unknown
  : TakenBy<C[number]>;

type ChainGives<C extends readonly unknown[], Previous = null> = C extends
  readonly [infer Head, ...infer Tail] ? ChainGives<Tail, After<Head, Previous>>
  : C extends readonly [] ? Previous
  : GivenBy<C[number]>;

type ListGiven<C extends readonly unknown[]> = { -readonly [K in keyof C]: GivenBy<C[K]> };

/** All members get the same previous value: it must fit each. */
type AllTake<C extends readonly unknown[]> = C[number] extends { readonly "~takes": infer F }
  ? F extends (previous: infer In) => void ? In : never
  : unknown;
type TakenByAll<C extends readonly unknown[]> = C extends readonly [] ? unknown
  : [C[number]] extends [{ readonly "~takes": (previous: infer In) => void }] ? In
  : AllTake<C>;

/**
 * One after the other, each with the result of the one before as its first argument (not for `.si`).
 * Chains inside splice; empty groups and chains inside are skipped.
 */
export function chain<const C extends readonly AnyCanvas[]>(
  ...members: C extends Links<C, ChainTakes<C>> ? C : Links<C, ChainTakes<C>>
): Chain<ChainTakes<C>, ChainGives<C>>;
/** The same from a list. */
export function chain<C extends AnyCanvas>(members: readonly C[]): Chain<TakenBy<C>, GivenBy<C>>;
export function chain(...members: readonly unknown[]): Chain<unknown, unknown> {
  const list = members.length === 1 && Array.isArray(members[0]) ? members[0] : members;
  return new Chain(checkMembers(list, "chain"));
}

/** Side by side. Gives the list of the members' values in order; a group of one is still a list. */
export function group<const C extends readonly AnyCanvas[]>(
  members: C,
): Group<TakenByAll<C>, ListGiven<C>> {
  return new Group(checkMembers(members, "group"));
}

/** The header's members side by side, then `body` with the list of their values. */
export function chord<const C extends readonly AnyCanvas[], Out>(
  header: C,
  body: Signature<ListGiven<C>, Out>,
): Chord<TakenByAll<C>, Out>;
export function chord<const C extends readonly AnyCanvas[], Out>(
  header: C,
  body: Canvas<ListGiven<C>, Out>,
): Canvas<TakenByAll<C>, Out>;
export function chord(header: readonly AnyCanvas[], body: AnyCanvas): Chord<unknown, unknown> {
  return new Chord(checkMembers(header, "chord header"), checkCanvas(body, "chord body"));
}

// deno-lint-ignore no-explicit-any
type Callable = TaskReference & ((...args: any[]) => unknown);
/** What a task's signatures take, and their result: its schemas may make them differ from the function's. */
type GivenTo<T extends Callable> = T extends { si(...args: infer Given extends unknown[]): unknown }
  ? Given
  : Parameters<T>;
// deno-lint-ignore no-explicit-any
type Returned<T extends Callable> = T extends { si(...args: any[]): infer S } ? GivenBy<S>
  : Awaited<ReturnType<T>>;

/** One task that calls `task` for every item, one after the other, and gives the list of results. */
export function map<T extends Callable>(
  task: T,
  items: NoInfer<readonly GivenTo<T>[0][]>,
): Signature<unknown, Returned<T>[]> {
  return new Signature(task, [checkItems(items, "map")], { immutable: true, calls: "map" });
}

/** Like {@link map}; each item is the list of arguments of one call. */
export function starmap<T extends Callable>(
  task: T,
  items: NoInfer<readonly GivenTo<T>[]>,
): Signature<unknown, Returned<T>[]> {
  return new Signature(task, [checkItems(items, "starmap")], { immutable: true, calls: "starmap" });
}

/** A group of starmaps of at most `size` calls each: many small calls as fewer tasks. */
export function chunks<T extends Callable>(
  task: T,
  items: NoInfer<readonly GivenTo<T>[]>,
  size: number,
): Group<unknown, Returned<T>[][]> {
  if (!Number.isInteger(size) || size < 1) {
    throw new InvalidWorkflowError(`chunks size = ${quote(size)} is not a whole number from 1`, {
      hint: "It is the number of calls in each task.",
      path: "chunks.size",
    });
  }
  const all = checkItems(items, "chunks");
  const members: AnyCanvas[] = [];
  for (let i = 0; i < all.length; i += size) {
    members.push(starmap(task, all.slice(i, i + size) as GivenTo<T>[]));
  }
  return new Group(members);
}

function checkItems(items: unknown, what: string): readonly unknown[] {
  if (Array.isArray(items)) return items;
  throw new InvalidWorkflowError(`${what} needs a list of items, got ${quote(items)}`, {
    hint: "Node handles are not canvases' items; use wf.call for those.",
    path: `${what}.items`,
  });
}

function checkMembers(members: unknown, what: string): readonly AnyCanvas[] {
  if (!Array.isArray(members)) {
    throw new InvalidWorkflowError(`${what} needs a list of canvases, got ${quote(members)}`, {
      hint: `Write ${what.split(" ")[0]}([a.s(), b.s()]).`,
      path: what,
    });
  }
  members.forEach((member, i) => checkCanvas(member, `${what}[${i}]`));
  return [...members];
}

/** @throws {InvalidWorkflowError} when `value` is not a canvas, e.g. a task without `.s()`. */
export function checkCanvas(value: unknown, path: string): AnyCanvas {
  if (value instanceof Canvas) return value;
  throw new InvalidWorkflowError(`${path} is ${quote(value)}, not a canvas`, {
    hint: typeof value === "function"
      ? "Write task.s(…) to make a signature of a task."
      : "Use signatures: task.s(…).",
    path,
  });
}
