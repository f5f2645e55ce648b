/** Lists of node numbers, short. */
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { countRuns, foldRuns, unfoldRuns } from "../../src/core/runs.ts";

test("evenly spaced numbers fold into one run", () => {
  assert.equal(foldRuns([3, 4, 5, 6]), [[3, 4, 1]]);
  assert.equal(foldRuns([0, 3, 6, 9, 12]), [[0, 5, 3]]);
  assert.equal(foldRuns([9, 8, 7, 6]), [[9, 4, -1]]);
  assert.equal(foldRuns([5, 5, 5, 5]), [[5, 4, 0]]);
  assert.equal(foldRuns(Array.from({ length: 100_000 }, (_, i) => i)), [[0, 100_000, 1]]);
});

test("a few numbers stay as they are", () => {
  assert.equal(foldRuns([]), []);
  assert.equal(foldRuns([1, 2, 3]), [1, 2, 3]);
  assert.equal(foldRuns([7, 1, 2, 3, 4, 9]), [7, [1, 4, 1], 9]);
});

/** Numbers among which there are runs. */
const anyNumbers = fc.array(
  fc.oneof(
    fc.integer({ min: -1, max: 50 }).map((n) => [n]),
    fc.record({
      first: fc.nat({ max: 50 }),
      count: fc.integer({ min: 1, max: 9 }),
      step: fc.integer({ min: -3, max: 3 }),
    }).map(({ first, count, step }) => Array.from({ length: count }, (_, i) => first + i * step)),
  ),
).map((parts) => parts.flat());

test("folded numbers unfold to the same numbers in the same order", () => {
  fc.assert(
    fc.property(anyNumbers, (numbers) => {
      const runs = foldRuns(numbers);
      assert.equal(unfoldRuns(runs, numbers.length), numbers);
      assert.equal(unfoldRuns(JSON.parse(JSON.stringify(runs)), Infinity), numbers);
      assert.is(countRuns(runs), numbers.length);
      assert.ok(runs.length <= numbers.length);
    }),
    { numRuns: 500 },
  );
});

test("more numbers than the limit are refused before they are made", () => {
  assert.equal(unfoldRuns([[0, 5, 1]], 5), [0, 1, 2, 3, 4]);
  assert.is(unfoldRuns([[0, 5, 1]], 4), undefined);
  assert.is(unfoldRuns([0, 1, 2], 2), undefined);
  assert.is(unfoldRuns([[0, 1e15, 0]], 1_000_000), undefined);
  assert.is(unfoldRuns([0, [0, Number.MAX_SAFE_INTEGER, 1]], 1_000_000), undefined);
});

test("what is not a list of runs is refused", () => {
  const junk = [
    undefined,
    null,
    5,
    "12",
    {},
    [null],
    ["1"],
    [0.5],
    [NaN],
    [[]],
    [[1]],
    [[1, 2]],
    [[1, 2, 3, 4]],
    [[0, 0, 1]],
    [[0, -1, 1]],
    [[0, 2, 0.5]],
    [[0, "2", 1]],
    [[null, 2, 1]],
    [[[0], 2, 1]],
    [{ 0: 0, 1: 2, 2: 1, length: 3 }],
  ];
  for (const runs of junk) assert.is(unfoldRuns(runs, 100), undefined, JSON.stringify(runs));
});

test.run();
