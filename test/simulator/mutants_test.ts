/** The planted bugs can be planted still: code that moves must not leave them behind. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { MUTANTS } from "../../simulator/mutants.ts";

test("the text of each mutant stands in its file exactly once, and is changed by it", () => {
  for (const { name, file, find, replace } of MUTANTS) {
    const times = readFileSync(file, "utf8").split(find).length - 1;
    assert.is(times, 1, `"${name}" stands in ${file} ${times} times:\n${find}`);
    assert.is.not(find, replace, name);
  }
});

test("each mutant has a name of its own", () => {
  assert.is(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length);
});

test.run();
