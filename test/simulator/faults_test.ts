/** Each kind of fault, where nothing else goes wrong: none is dead, and none is more than the engine can take. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import "../../simulator/synchronous_digest.ts";
import {
  ASKING,
  COPYING,
  DELIVERING,
  type Fault,
  HINTING,
  NAKING,
  SERVING,
  TELLING,
} from "../../simulator/faults.ts";
import { runSchedule } from "../../simulator/schedule.ts";

const FAULTS: readonly Fault[] = [
  ...new Set<Fault>([
    ...ASKING,
    ...TELLING,
    ...HINTING,
    ...DELIVERING,
    ...SERVING,
    ...NAKING,
    ...COPYING,
  ]),
];
const FIRST = 1;
/** A kind that can happen at any call, and has not in so many schedules, is dead. */
const ENOUGH = 500;

for (const fault of FAULTS) {
  test(`"${fault}" happens, and alone breaks nothing`, async () => {
    const without = new Set(FAULTS.filter((other) => other !== fault));
    for (let seed = FIRST; seed < FIRST + ENOUGH; seed++) {
      const faults = { seed, perMille: 1_000, without, most: 1 };
      const { injected, broken } = await runSchedule({ seed, faults });
      assert.equal(broken, [], `seed ${seed}, ${injected[0]?.at}`);
      if (injected.length === 0) continue;
      return assert.is(injected[0]!.fault, fault);
    }
    assert.unreachable(`it did not happen in the schedules from seed ${FIRST}`);
  });
}

test.run();
