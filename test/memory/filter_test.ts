import * as assert from "uvu/assert";
import { suite } from "uvu";
import fc from "fast-check";
import { filterOf } from "../../src/memory/filter.ts";

const test = suite("filter");

/** As the NATS documentation says it, token by token. */
function matches(wanted: readonly string[], tokens: readonly string[]): boolean {
  const [want, ...others] = wanted;
  const [token, ...rest] = tokens;
  if (want === undefined || token === undefined) return want === undefined && token === undefined;
  if (want === ">") return true;
  return (want === "*" || want === token) && matches(others, rest);
}

const token = fc.constantFrom("a", "b", "ab", "abc");
const tokens = fc.array(token, { minLength: 1, maxLength: 4 });
const filter = fc.tuple(
  fc.array(fc.oneof(token, fc.constant("*")), { minLength: 1, maxLength: 4 }),
  fc.boolean(),
).map(([wanted, isOpen]) => isOpen ? [...wanted, ">"] : wanted);

test("a filter matches the subjects that NATS says it matches", () => {
  fc.assert(
    fc.property(filter, tokens, (wanted, key) => {
      assert.is(filterOf(wanted.join("."))(key.join(".")), matches(wanted, key));
    }),
    { numRuns: 2_000 },
  );
});

test.run();
