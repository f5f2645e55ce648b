/**
 * The memory adapter, the simulator's model of a server and the NATS adapter do the same: a few random scripts of operations
 * on all three. `npm run conformance` plays more of them. A script that differed once has a test of its own in memory.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { compare, type Real } from "../../conformance/compare.ts";
import { KilledTogether } from "../../conformance/real.ts";
import { type Script, scriptOf } from "../../conformance/script.ts";
import { startServer } from "../nats/server.ts";

const scripts = (first: number, count: number, wanted: (script: Script) => boolean): Script[] => {
  const found: Script[] = [];
  for (let seed = first; found.length < count; seed++) {
    const script = scriptOf(seed);
    if (wanted(script)) found.push(script);
  }
  return found;
};

async function refuseDifferences(found: readonly Script[], real?: Real): Promise<void> {
  const differences = await Promise.all(found.map(async (script) => {
    const { difference } = await compare(script, real);
    return difference && { seed: script.seed, ...difference };
  }));
  assert.equal(differences.filter((difference) => difference !== undefined), []);
}

test("in memory and in the simulator's model the same comes of 150 scripts", () =>
  refuseDifferences(scripts(1, 150, () => true)));

test("a script follows from its seed", () => {
  assert.equal(scriptOf(7), scriptOf(7));
  assert.is.not(JSON.stringify(scriptOf(7)), JSON.stringify(scriptOf(8)));
});

test("on a real server the same comes of 60 scripts as in memory, also when leases run out and it is killed", async () => {
  await using server = await startServer({ websocket: false });
  const real = { server, killed: new KilledTogether(server) };
  const isPlain = ({ leases }: Script) => leases === "long";
  await Promise.all([
    refuseDifferences(scripts(1, 48, isPlain), real),
    refuseDifferences(scripts(1, 8, (script) => !isPlain(script) && !script.restarts), real),
  ]);
  await refuseDifferences(scripts(1, 4, ({ restarts }) => restarts), real);
});

test.run();
