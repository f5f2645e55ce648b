/** Whatever canvas somebody writes: what the library builds of it means what Celery's rules say. */
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Definition, policyOfNode } from "../../src/core/definition.ts";
import { Workflow } from "../../src/core/workflow.ts";
import { drive } from "./drive.ts";
import { anyCanvas, evaluate, mix, type Plain, type Ran, written } from "./plain_canvas.ts";

const test = suite("any canvas");

/** The task's number in the plain canvas, of a node; undefined for a join. */
function idOf(definition: Definition, node: number): number | undefined {
  const text = definition.signatures.text(node);
  if (text === "") return undefined;
  const { args, calls } = JSON.parse(text);
  return calls === undefined ? args.at(-1) : args[0][0]?.at(-1);
}

/** The numbers of all tasks that end before each node starts. */
function startsAfter(definition: Definition): Set<number | undefined>[] {
  const { up, size } = definition.graph;
  const after: Set<number | undefined>[] = [];
  for (let node = 0; node < size; node++) {
    const before = new Set<number | undefined>();
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      const upstream = up.nodes[e]!;
      for (const id of after[upstream]!) before.add(id);
      before.add(idOf(definition, upstream));
    }
    before.delete(undefined);
    after.push(before);
  }
  return after;
}

/** A map or starmap of nothing has no item that could carry its number. */
const hasEmptyMap = (plain: Plain): boolean =>
  plain.is === "map" || plain.is === "starmap"
    ? plain.items.length === 0
    : plain.is === "chord"
    ? [...plain.header, plain.body].some(hasEmptyMap)
    : "members" in plain && plain.members.some(hasEmptyMap);

test("gives the value that the rules of composition say, in whatever order its nodes run", () => {
  fc.assert(
    fc.property(anyCanvas, fc.array(fc.nat(), { minLength: 1 }), (plain, choices) => {
      let i = 0;
      const { state, result } = drive(
        written(plain),
        { mix },
        (open) => choices[i++ % choices.length]! % open,
      );
      assert.is(state, "SUCCESS");
      const { value } = evaluate(plain);
      assert.equal(result, value === undefined ? null : value);
    }),
    { numRuns: 400 },
  );
});

test("lets every task wait for exactly the tasks that come before it", () => {
  fc.assert(
    fc.property(anyCanvas.filter((plain) => !hasEmptyMap(plain)), (plain) => {
      const definition = Workflow.of(written(plain)).build();
      const ran = new Map<number, Ran[]>();
      evaluate(plain, ran);
      const expected = [...ran].flatMap(([id, runs]) => runs.map(({ after }) => line(id, after)));
      const built = startsAfter(definition).flatMap((after, node) => {
        const id = idOf(definition, node);
        return id === undefined ? [] : [line(id, after)];
      });
      assert.equal(built.sort(), expected.sort());
    }),
    { numRuns: 300 },
  );
  function line(id: number, after: ReadonlySet<number | undefined>): string {
    return `${id} after ${[...after].sort((a, b) => a! - b!)}`;
  }
});

test("gives every task the options of the innermost canvas that has any", () => {
  fc.assert(
    fc.property(anyCanvas.filter((plain) => !hasEmptyMap(plain)), (plain) => {
      const definition = Workflow.of(written(plain)).build();
      const ran = new Map<number, Ran[]>();
      evaluate(plain, ran);
      for (let node = 0; node < definition.graph.size; node++) {
        const id = idOf(definition, node);
        if (id === undefined) continue;
        const { options } = ran.get(id)![0]!;
        const { queue, priority } = policyOfNode(definition, node);
        assert.is(queue, options.queue ?? "default");
        assert.is(priority, options.priority ?? 5);
      }
    }),
    { numRuns: 200 },
  );
});

test.run();
