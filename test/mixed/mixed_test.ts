/** Everything at once, on the memory adapter: random workflows end, whatever happens, and their logs tell that all was right. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import process from "node:process";
import { audit } from "../audit.ts";
import { anyPlan } from "./plans.ts";
import { World } from "./world.ts";

/** `MIXED=20000` for a long look. On Deno the same code runs once more, for fewer. */
const WORKFLOWS = Number(process.env["MIXED"] ?? ("Deno" in globalThis ? 200 : 1_000));
const AT_ONCE = 20;

for (const kills of [false, true]) {
  test(`${WORKFLOWS / 2} mixed workflows keep every promise, ${kills ? "with" : "without"} processes that die`, async () => {
    const first = Number(process.env["MIXED_SEED"] ?? Math.floor(Math.random() * 1e6));
    for (let i = 0; i < WORKFLOWS / 2; i += AT_ONCE) {
      const seed = first + i;
      const world = new World({ seed, kills });
      world.listen();
      const plans = Array.from({ length: AT_ONCE }, (_, k) => anyPlan(seed + k));
      try {
        await world.conduct(plans);
      } catch (error) {
        throw new Error(`MIXED_SEED=${seed}: ${(error as Error).message}`, { cause: error });
      }
      const broken = await audit({
        facts: await world.ports.facts.scan(">", { bodies: true }),
        executions: world.executions,
        left: {
          tasks: 0,
          ticks: (await world.ports.ticks.list()).length,
        },
        crashed: world.crashed,
      });
      assert.equal(broken, [], `MIXED_SEED=${seed}`);
      await world.stop();
    }
  });
}

test.run();
