/** Names that travel in subjects, and keys made of them. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { InvalidOptionError } from "../../src/core/errors.ts";
import { checkId, checkTaskName, isId, quote } from "../../src/core/ids.ts";
import { controlKey, definitionKey, endKey, outcomeKey, parseKey } from "../../src/core/keys.ts";

const anyId = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);

test("an id of letters, digits, _ and - is taken as it is", () => {
  fc.assert(fc.property(anyId, (id) => {
    assert.is(checkId("queue", id), id);
    assert.ok(isId(id));
    assert.is(checkTaskName(id), id);
  }));
});

test("any other text is refused, and what is taken is one token of a subject", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" })), (text) => {
      if (isId(text)) assert.not.match(text, /[\s.*>\0]|[^\x21-\x7e]/);
      else {assert.throws(() =>
          checkId("queue", text), (e: unknown) =>
          e instanceof InvalidOptionError);}
    }),
    { numRuns: 500 },
  );
});

test("a newline at the end is not overlooked", () => {
  assert.not(isId("a\n"));
  assert.throws(() => checkTaskName("a\n"));
});

test("quote shows anything as one short line, and never throws", () => {
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  const odd = [
    circular,
    5n,
    Symbol("x"),
    () => 1,
    undefined,
    null,
    new Map(),
    Object.create(null),
    { toJSON: () => undefined },
    {
      toJSON: () => {
        throw new Error("no");
      },
    },
    "line\nbreak".repeat(1_000),
  ];
  for (const value of odd) {
    const text = quote(value);
    assert.ok(text.length > 0 && text.length <= 80, text);
    assert.not.match(text, /\n/);
  }
  fc.assert(fc.property(fc.anything(), (value) => quote(value).length <= 80));
});

test("a key is read as what it was written", () => {
  fc.assert(
    fc.property(
      anyId,
      fc.nat({ max: 2_000_000 }),
      fc.integer({ min: 1, max: 99_999 }),
      (id, n, m) => {
        const workflow = id;
        assert.equal(parseKey(outcomeKey(id, n, m)), {
          is: "outcome",
          workflow,
          node: n,
          attempt: m,
        });
        assert.equal(parseKey(controlKey(id, n)), { is: "control", workflow, n });
        assert.equal(parseKey(endKey(id, m)), { is: "end", workflow, round: m });
        assert.equal(parseKey(definitionKey(id)), { is: "definition", workflow, chunk: "0" });
        const chunk = `${id}-7`;
        assert.equal(parseKey(definitionKey(id, chunk)), { is: "definition", workflow, chunk });
      },
    ),
  );
});

test("other keys are nobody's", () => {
  const junk = [
    "",
    "a",
    "a.b",
    "a.r.1",
    "a.r.1.2.3",
    "a.r.x.1",
    "a.r.-1.1",
    "a.r.1.1e3",
    "a.r.1234567890.1",
    "a.r.1.",
    "a.ctl",
    "a.ctl.1.2",
    "a.ctl. 1",
    "a.end.one",
    "a.end.1.1",
    "a.def.0.1",
    "a.other.1",
    "a.__proto__.1",
  ];
  for (const key of junk) assert.is(parseKey(key), undefined, key);
});

test.run();
