/** Values with holes that results fill. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fill, type Input, inputNodes, isTemplate, templateOf } from "../../src/core/template.ts";

const node = (node: number) => ({ is: "node" as const, node });

test("a node alone is one hole, a list of nodes one input, other lists one for each", () => {
  assert.equal(templateOf(node(3)), { json: "null", inputs: [{ at: [], node: 3 }] });
  assert.equal(templateOf({ is: "list", items: [0, 1, 2, 3].map(node) }), {
    json: "null",
    inputs: [{ at: [], nodes: [[0, 4, 1]] }],
  });
  assert.equal(templateOf({ is: "list", items: [] }), { json: "[]", inputs: [] });
  const mixed = templateOf({
    is: "list",
    items: [node(7), { is: "list", items: [node(8), node(9)] }, { is: "list", items: [] }],
  });
  assert.equal(mixed, {
    json: "[null,null,[]]",
    inputs: [{ at: [0], node: 7 }, { at: [1], nodes: [8, 9] }],
  });
});

test("fill puts each result into its hole, and nothing else changes", () => {
  const value = { a: [null, 1], b: null, c: "null" };
  const inputs: Input[] = [{ at: ["a", 0], node: 1 }, { at: ["b"], nodes: [[2, 4, 1]] }];
  assert.equal(fill(value, inputs, { resultOf: (node) => node * 10 }), {
    a: [10, 1],
    b: [20, 30, 40, 50],
    c: "null",
  });
  assert.equal(fill(null, [{ at: [], node: 1 }], { resultOf: () => "whole" }), "whole");
  assert.equal(fill([1], [], { resultOf: () => assert.unreachable() }), [1]);
});

test("what fetching a result throws passes through", () => {
  assert.throws(
    () =>
      fill([null], [{ at: [0], node: 1 }], {
        resultOf: () => {
          throw new RangeError("gone");
        },
      }),
    (error: unknown) => error instanceof RangeError,
  );
});

test("a path that leaves the value's own shape is refused, and changes no prototype", () => {
  const paths: (string | number)[][] = [
    ["__proto__", "polluted"],
    ["constructor", "prototype", "polluted"],
    ["a", "__proto__", "polluted"],
    ["toString"],
    ["missing"],
    ["a", 5],
    ["a", 0, "deeper"],
    ["text", 0],
    ["a", "push"],
  ];
  for (const at of paths) {
    const value = { a: [null], text: "x" };
    assert.throws(
      () => fill(value, [{ at, node: 0 }], { resultOf: () => "bad" }),
      /leads nowhere/,
      `${at}`,
    );
    assert.equal(value, { a: [null], text: "x" });
  }
  assert.is(({} as Record<string, unknown>).polluted, undefined);
  assert.is(([] as unknown as Record<string, unknown>).polluted, undefined);
});

test("a key that is an object's own is a key, whatever it is called", () => {
  const value = JSON.parse('{"__proto__":null,"constructor":null}');
  const filled = fill(
    value,
    [{ at: ["__proto__"], node: 0 }, { at: ["constructor"], node: 1 }],
    { resultOf: (n) => n },
  );
  assert.is(JSON.stringify(filled), '{"__proto__":0,"constructor":1}');
});

test("the nodes of inputs are listed in order, with repeats", () => {
  const inputs: Input[] = [{ at: [0], node: 5 }, { at: [1], nodes: [[0, 4, 2], 5] }];
  assert.equal(inputNodes(inputs, 100), [5, 0, 2, 4, 6, 5]);
  assert.equal(inputNodes([], 100), []);
});

test("malformed inputs are told apart from none", () => {
  const junk: unknown[] = [
    null,
    5,
    "x",
    {},
    { node: 1 },
    { at: [] },
    { at: "x", node: 1 },
    { at: [], node: -1 },
    { at: [], node: 0.5 },
    { at: [], node: "1" },
    { at: [], nodes: 5 },
    { at: [], nodes: [[0, 4, -1]] },
    { at: [], nodes: [[0, 101, 0]] },
  ];
  for (const input of junk) {
    assert.is(inputNodes([input as Input], 100), undefined, JSON.stringify(input));
    assert.not(isTemplate({ json: "null", inputs: [input] }, 100), JSON.stringify(input));
  }
});

test("a template is JSON with a place for each input, from existing nodes", () => {
  assert.ok(isTemplate({ json: "[null,1]", inputs: [{ at: [0], node: 9 }] }, 10));
  assert.ok(isTemplate({ json: "null", inputs: [{ at: [], nodes: [[0, 10, 1]] }] }, 10));
  assert.not(isTemplate({ json: "[null,1]", inputs: [{ at: [0], node: 10 }] }, 10));
  assert.not(isTemplate({ json: "[null,1]", inputs: [{ at: [2], node: 0 }] }, 10));
  assert.not(isTemplate({ json: "[null", inputs: [] }, 10));
  for (const junk of [undefined, null, 5, {}, { json: "null" }, { json: null, inputs: [] }]) {
    assert.not(isTemplate(junk, 10));
  }
});

test.run();
