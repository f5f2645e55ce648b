/**
 * Canvases as plain data, and what each of them means, worked out directly: Celery's rules of composition written down
 * a second time, without nodes and edges. What the library builds is compared with this.
 */
import fc from "fast-check";
import {
  type AnyCanvas,
  chain,
  chord,
  chunks,
  group,
  map,
  starmap,
} from "../../src/core/canvas.ts";
import type { SignatureOptions } from "../../src/core/options.ts";
import { type AnyTask, task } from "../../src/core/task.ts";

interface Common {
  readonly options?: SignatureOptions;
}

/** Tasks are told apart by `id`, which is also their last argument. */
export type Plain =
  & Common
  & (
    | { is: "task"; id: number; immutable: boolean; args: readonly number[] }
    | { is: "map"; id: number; items: readonly number[] }
    | { is: "starmap"; id: number; items: readonly number[] }
    | { is: "chunks"; id: number; items: readonly number[]; size: number }
    | { is: "chain"; members: readonly Plain[] }
    | { is: "group"; members: readonly Plain[] }
    | { is: "chord"; header: readonly Plain[]; body: Plain }
  );

/** A short text that depends on every argument: a value that arrives in the wrong place changes all that follow. */
export function mix(...args: unknown[]): string {
  let hash = 7;
  for (const char of JSON.stringify(args)) {
    hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0;
  }
  return hash.toString(36);
}

export const mixTask: AnyTask = task("mix", mix);

/** The canvas as a user would write it. */
export function written(plain: Plain): AnyCanvas {
  const canvas = withoutOptions(plain);
  return plain.options === undefined ? canvas : canvas.set(plain.options);
}

function withoutOptions(plain: Plain): AnyCanvas {
  switch (plain.is) {
    case "task":
      return plain.immutable
        ? mixTask.si(...plain.args, plain.id)
        : mixTask.s(...plain.args, plain.id);
    case "map":
      return map(mixTask, plain.items.map((item) => [item, plain.id]));
    case "starmap":
      return starmap(mixTask, plain.items.map((item) => [item, plain.id]));
    case "chunks":
      return chunks(mixTask, plain.items.map((item) => [item, plain.id]), plain.size);
    case "chain":
      return chain(plain.members.map(written));
    case "group":
      return group(plain.members.map(written));
    case "chord":
      return chord(plain.header.map(written), written(plain.body));
  }
  return plain satisfies never;
}

/** What happened when a canvas was evaluated. `value` is undefined when there is none: nothing came before, or ran. */
export interface Evaluated {
  readonly value: unknown;
  /** Ids of all tasks that have ended by then. */
  readonly ended: ReadonlySet<number>;
}

/** A task that ran: the ids of all tasks that had to end before, and the options that hold for it. */
export interface Ran {
  readonly after: ReadonlySet<number>;
  readonly options: SignatureOptions;
}

/** @param ran is filled with every task that runs. */
export function evaluate(
  plain: Plain,
  ran: Map<number, Ran[]> = new Map(),
  before: Evaluated = { value: undefined, ended: new Set() },
  inherited: SignatureOptions = {},
): Evaluated {
  const options = { ...inherited, ...plain.options };
  const runs = (id: number, value: unknown): Evaluated => {
    ran.set(id, [...ran.get(id) ?? [], { after: before.ended, options }]);
    return { value, ended: new Set([...before.ended, id]) };
  };
  const sideBySide = (members: readonly Plain[]): Evaluated => {
    const ends = members.filter((member) => !isEmptyChain(member))
      .map((member) => evaluate(member, ran, before, options));
    return {
      value: ends.map((end) => end.value),
      ended: new Set([...before.ended, ...ends.flatMap((end) => [...end.ended])]),
    };
  };
  switch (plain.is) {
    case "task": {
      const previous = plain.immutable || before.value === undefined ? [] : [before.value];
      return runs(plain.id, mix(...previous, ...plain.args, plain.id));
    }
    case "map":
      return runs(plain.id, plain.items.map((item) => mix([item, plain.id])));
    case "starmap":
      return runs(plain.id, plain.items.map((item) => mix(item, plain.id)));
    case "chunks": {
      const parts: string[][] = [];
      for (let i = 0; i < plain.items.length; i += plain.size) {
        parts.push(plain.items.slice(i, i + plain.size).map((item) => mix(item, plain.id)));
        runs(plain.id, undefined);
      }
      const ids = parts.length === 0 ? [] : [plain.id];
      return { value: parts, ended: new Set([...before.ended, ...ids]) };
    }
    case "chain": {
      let position = before;
      for (const member of plain.members) {
        if (!isEmptyGroup(member)) position = evaluate(member, ran, position, options);
      }
      return position;
    }
    case "group":
      return sideBySide(plain.members);
    case "chord":
      return evaluate(plain.body, ran, sideBySide(plain.header), options);
  }
  return plain satisfies never;
}

function isEmptyGroup(plain: Plain): boolean {
  if (plain.is === "chunks") return plain.items.length === 0;
  return plain.is === "group" && plain.members.every(isEmptyChain);
}

function isEmptyChain(plain: Plain): boolean {
  return plain.is === "chain" &&
    plain.members.every((member) => isEmptyGroup(member) || isEmptyChain(member));
}

const someOptions: fc.Arbitrary<SignatureOptions | undefined> = fc.option(
  fc.record(
    { queue: fc.constantFrom("a", "b"), priority: fc.integer({ min: 0, max: 9 }) },
    { requiredKeys: [] },
  ),
  { nil: undefined, freq: 3 },
);

const items = fc.array(fc.nat({ max: 9 }), { maxLength: 5 });

const leaf: fc.Arbitrary<Plain> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      is: fc.constant("task" as const),
      id: fc.constant(0),
      immutable: fc.boolean(),
      args: fc.array(fc.nat({ max: 9 }), { maxLength: 2 }),
      options: someOptions,
    }),
  },
  fc.record({ is: fc.constantFrom("map", "starmap"), id: fc.constant(0), items }),
  fc.record({
    is: fc.constant("chunks" as const),
    id: fc.constant(0),
    items,
    size: fc.integer({ min: 1, max: 3 }),
    options: someOptions,
  }),
);

/** Any canvas: deep, wide (wide enough for joins), with empty ones everywhere. */
export const anyCanvas: fc.Arbitrary<Plain> = fc.letrec<{ canvas: Plain; members: Plain[] }>(
  (tie) => ({
    canvas: fc.oneof(
      { depthSize: "medium", maxDepth: 6 },
      { weight: 2, arbitrary: leaf },
      {
        weight: 5,
        arbitrary: fc.record({
          is: fc.constantFrom("chain", "chain", "group"),
          members: tie("members"),
          options: someOptions,
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          is: fc.constant("chord" as const),
          header: tie("members"),
          body: tie("canvas"),
          options: someOptions,
        }),
      },
    ),
    members: fc.oneof(
      { weight: 5, arbitrary: fc.array(tie("canvas"), { maxLength: 4 }) },
      { weight: 1, arbitrary: fc.array(leaf, { minLength: 7, maxLength: 11 }) },
    ),
  }),
).canvas.map((plain) => numbered(plain, { next: 1 }));

/** A few tasks at most, or none. */
export const tinyCanvas: fc.Arbitrary<Plain> = fc.oneof(
  leaf,
  fc.record({
    is: fc.constantFrom("chain" as const, "group" as const),
    members: fc.array(leaf, { maxLength: 3 }),
  }),
).map((plain) => numbered(plain, { next: 1 }));

function numbered(plain: Plain, counter: { next: number }): Plain {
  const all = (members: readonly Plain[]) => members.map((member) => numbered(member, counter));
  switch (plain.is) {
    case "chain":
    case "group":
      return { ...plain, members: all(plain.members) };
    case "chord":
      return { ...plain, header: all(plain.header), body: numbered(plain.body, counter) };
    default:
      return { ...plain, id: counter.next++ };
  }
}
