/** Plays a script on all systems, says where they differ, and makes the script smaller as long as they do. */
import type { NatsServer } from "../scripts/nats_server.ts";
import { type Note, play, type System } from "./play.ts";
import { type KilledTogether, realSystem } from "./real.ts";
import type { Script, Step } from "./script.ts";
import { memorySystem, modelSystem } from "./virtual.ts";

/** Where the systems are: in memory only, or on a server as well. */
export interface Real {
  readonly server: NatsServer;
  readonly killed: KilledTogether;
}

export interface Difference {
  readonly system: string;
  readonly step: string;
  readonly inMemory: string | undefined;
  readonly there: string | undefined;
}

export interface Compared {
  readonly difference?: Difference;
  /** Steps and what was noted besides. */
  readonly notes: number;
  /** Tries in which this machine was too slow for short leases. */
  readonly disturbed: number;
  /** Differences that were not there when the script was played again. */
  readonly unsteady: readonly Difference[];
}

const MOST_DISTURBED = 8;
/** A difference is one when it is there so many times in a row. */
const TRIES = 3;

export async function compare(script: Script, real?: Real): Promise<Compared> {
  const expected = await playOn(memorySystem(), script);
  const inModel = await playOn(modelSystem(script.seed), script, expected);
  const notes = expected.length;
  const difference = firstDifference("model", expected, inModel);
  if (difference !== undefined || real === undefined) {
    const none = { notes, disturbed: 0, unsteady: [] };
    return difference === undefined ? none : { difference, ...none };
  }
  return { notes, ...await compareReal(script, expected, real) };
}

async function compareReal(script: Script, expected: readonly Note[], { server, killed }: Real) {
  const differences: Difference[] = [];
  let disturbed = 0;
  while (differences.length < TRIES) {
    const system = await realSystem(script, server, killed);
    const seen = await playOn(system, script, expected);
    const difference = firstDifference(system.name, expected, seen);
    if (difference === undefined) return { disturbed, unsteady: differences };
    if (system.isDisturbed && disturbed++ < MOST_DISTURBED) continue;
    differences.push(difference);
  }
  return { difference: differences.at(-1)!, disturbed, unsteady: [] };
}

async function playOn(system: System, script: Script, expected?: readonly Note[]) {
  try {
    return await play(script, system, expected);
  } finally {
    await system.close();
  }
}

function firstDifference(
  system: string,
  expected: readonly Note[],
  seen: readonly Note[],
): Difference | undefined {
  for (let i = 0; i < Math.max(expected.length, seen.length); i++) {
    const [inMemory, there] = [expected[i]?.outcome, seen[i]?.outcome];
    if (inMemory === there) continue;
    return { system, step: (expected[i] ?? seen[i])!.step, inMemory, there };
  }
  return undefined;
}

/** @param most scripts that may be played for it. */
export async function shrink(script: Script, real?: Real, most = 150): Promise<Script> {
  let played = 0;
  let best = script;
  const differs = async (steps: readonly Step[]) => {
    if (played++ >= most) return false;
    return (await compare({ ...best, steps }, real)).difference !== undefined;
  };
  for (let size = best.steps.length >> 1; size >= 1;) {
    let isSmaller = false;
    for (let from = 0; from < best.steps.length;) {
      const fewer = best.steps.filter((_, i) => i < from || i >= from + size);
      if (await differs(fewer)) {
        best = { ...best, steps: fewer };
        isSmaller = true;
      } else {
        from += size;
      }
    }
    if (!isSmaller || size > 1) size >>= 1;
  }
  return best;
}
