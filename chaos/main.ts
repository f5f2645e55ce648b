/**
 * Real processes and real servers are broken on purpose while workflows run; afterwards an
 * independent checker judges, from histories that the processes wrote and from what is recorded,
 * whether every promise was kept. The exit code is 0 only then.
 *
 *     npm run chaos -- --minutes 3 [--seed 7] [--only cluster]
 *
 * A seed chooses workflows and faults, not the moments at which they meet.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { beMember, type MemberOptions } from "./member.ts";
import { type Scenario, SCENARIOS } from "./plan.ts";
import { play, type Played } from "./play.ts";
import { playText, reportText } from "./report.ts";

/** A play has at most so much time for faults: many short ones find more than a long one. */
const LONGEST_WINDOW_MS = 30_000;
const SHORTEST_WINDOW_MS = 4_000;
/** What a play takes besides: its start, and the time until all has ended. */
const START_AND_END_MS = 10_000;

const USAGE = `Usage: npm run chaos -- --minutes 3 [--seed 7] [--only <scenario>]
Scenarios: ${SCENARIOS.map(({ name }) => name).join(", ")}`;

class UsageError extends Error {}

interface Wishes {
  readonly minutes: number;
  readonly seed: number;
  readonly scenarios: readonly Scenario[];
}

/** @throws {UsageError} */
function wishesOf(args: string[]): Wishes {
  const { values } = parsed(args);
  const minutes = Number(values.minutes);
  const seed = Number(values.seed ?? Math.floor(Math.random() * 100_000));
  const scenarios = values.only === undefined
    ? SCENARIOS
    : SCENARIOS.filter(({ name }) => name === values.only);
  if (!(minutes > 0)) throw new UsageError(`--minutes ${values.minutes}: give a number above 0.`);
  if (!Number.isInteger(seed) || seed < 0 || seed > 1e6) {
    throw new UsageError(`--seed ${values.seed}: give a whole number up to a million.`);
  }
  if (scenarios.length === 0) throw new UsageError(`--only ${values.only}: no such scenario.`);
  return { minutes, seed, scenarios };
}

/** @throws {UsageError} */
function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        minutes: { type: "string", default: "3" },
        seed: { type: "string" },
        only: { type: "string" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Plays all scenarios, again and again, until the time is up. */
async function main({ minutes, seed, scenarios }: Wishes): Promise<boolean> {
  const until = performance.now() + minutes * 60_000;
  const plays = new Map<string, Played[]>(scenarios.map(({ name }) => [name, []]));
  console.log(`seed ${seed}, ${minutes} minutes`);
  for (let round = 0;; round++) {
    for (const [i, scenario] of scenarios.entries()) {
      const shareMs = (until - performance.now()) / (scenarios.length - i);
      const windowMs = Math.min(LONGEST_WINDOW_MS, shareMs - START_AND_END_MS);
      // The first round plays everything, however little.
      if (round > 0 && windowMs < SHORTEST_WINDOW_MS) continue;
      const own = { seed: seed + round, windowMs: Math.max(SHORTEST_WINDOW_MS, windowMs) };
      const played = await play(scenario, own);
      plays.get(scenario.name)!.push(played);
      console.log(playText(scenario.name, own.seed, played).join("\n"));
    }
    if (until - performance.now() < START_AND_END_MS + SHORTEST_WINDOW_MS) break;
  }
  const lines = [...plays].map(([scenario, of]) => ({ scenario, plays: of }));
  console.log(["", ...reportText(lines)].join("\n"));
  return lines.every((line) => line.plays.every(({ violations }) => violations.length === 0));
}

const [role, ...rest] = process.argv.slice(2);
if (role === "member") {
  await beMember(JSON.parse(rest[0]!) as MemberOptions);
} else {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    // Everything that was started ends with this process.
    process.once(signal, () => process.exit(1));
  }
  try {
    process.exitCode = await main(wishesOf(process.argv.slice(2))) ? 0 : 1;
  } catch (error) {
    process.exitCode = 1;
    console.error(error instanceof UsageError ? `${error.message}\n${USAGE}` : error);
  }
}
