/** JSON, exactly: what is written is what was given. What cannot be is refused in bad_input_test.ts. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { InvalidWorkflowError } from "../../src/core/errors.ts";
import { exactJson, pathText } from "../../src/core/json.ts";
import { anyJson } from "./any_json.ts";

/** Equal to the bit: -0 is not 0. */
function assertSame(actual: unknown, expected: unknown): void {
  if (typeof expected !== "object" || expected === null) {
    assert.ok(Object.is(actual, expected), `${actual} is not ${expected}`);
    return;
  }
  assert.equal(Array.isArray(actual), Array.isArray(expected));
  assert.equal(Object.keys(actual as object), Object.keys(expected));
  for (const [key, value] of Object.entries(expected)) {
    assertSame((actual as Record<string, unknown>)[key], value);
  }
}

test("every JSON value survives, also -0 and every number", () => {
  const numbers = fc.double({ noNaN: true, noDefaultInfinity: true });
  const value = fc.oneof(
    anyJson,
    fc.array(numbers),
    fc.dictionary(fc.string({ unit: "grapheme" }).filter((key) => key !== "__proto__"), numbers),
    fc.string({ unit: "binary" }).filter((text) => !/\p{Cs}/u.test(text)),
  );
  fc.assert(
    fc.property(value, (given) => assertSame(JSON.parse(exactJson(given, "value")), given)),
    { numRuns: 1_000 },
  );
  for (const given of [-0, [-0], { a: -0 }]) {
    assertSame(JSON.parse(exactJson(given, "value")), given);
  }
});

test("it is written as JSON.stringify writes it", () => {
  const value = { a: [1, "x\u2028\n", null, true, {}, []], "b c": 1e21, 7: 1e-7 };
  assert.is(exactJson(value, "value"), JSON.stringify(value));
});

test("whatever is given: it survives, or is refused with a path below the given name", () => {
  fc.assert(
    fc.property(
      fc.anything({ withBigInt: true, withDate: true, withMap: true, withSparseArray: true }),
      (given) => {
        let text: string;
        try {
          text = exactJson(given, "value");
        } catch (error) {
          assert.instance(error, InvalidWorkflowError);
          assert.match((error as InvalidWorkflowError).path, /^value([.[]|$)/);
          return;
        }
        assertSame(JSON.parse(text), given);
      },
    ),
    { numRuns: 1_000 },
  );
});

test("a taken handle leaves a null in its place, and is told with its path", () => {
  class Handle {}
  const handle = new Handle();
  const paths: unknown[] = [];
  const text = exactJson({ a: [1, handle], b: handle }, "value", (value, path) => {
    if (!(value instanceof Handle)) return false;
    paths.push([...path]);
    return true;
  });
  assert.is(text, '{"a":[1,null],"b":null}');
  assert.equal(paths, [["a", 1], ["b"]]);
});

test("a path is written as one would write it in code", () => {
  assert.is(pathText("args", []), "args");
  assert.is(
    pathText("args", [0, "user", "first name", "a-b", "$x1", ""]),
    'args[0].user["first name"]["a-b"].$x1[""]',
  );
});

test.run();
