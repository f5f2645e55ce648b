/** Small scope, as far as a test may go: every shape of up to two nodes, and something that goes wrong at every call. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import "../../simulator/synchronous_digest.ts";
import { runSmallScope, SHAPES } from "../../simulator/small_scope.ts";

test("every shape of up to two nodes ends soon, whichever call goes wrong", async () => {
  let tried = 0;
  const small = SHAPES.filter(({ length }) => length <= 2);
  await runSmallScope(small, (name, { broken }) => {
    assert.equal(broken, [], name);
    return ++tried > 0;
  }, { handovers: false });
  assert.ok(tried > 100, `only ${tried} schedules`);
});

test.run();
