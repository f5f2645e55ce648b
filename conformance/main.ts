/**
 * `npm run conformance`: random scripts on the memory adapter, the simulator's model and a real nats-server; what comes of
 * them must be the same. Ends with 1 when it is not; then the smallest such script is printed, as data.
 *
 *     npm run conformance -- --scripts 10000 --seed 1 --server 2.10     seeds 1 to 10000
 *     npm run conformance -- --seed 4711                                 one script
 *     npm run conformance -- --script '{…}'                              a script that was printed
 *     npm run conformance -- --scripts 100000 --server none              the model and the memory adapter only
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { startNatsServer } from "../scripts/nats_server.ts";
import { compare, type Difference, type Real, shrink } from "./compare.ts";
import { KilledTogether } from "./real.ts";
import { type Script, scriptOf } from "./script.ts";

const { values: options } = parseArgs({
  options: {
    scripts: { type: "string" },
    seed: { type: "string" },
    /** "2.10", "2.15", "none"; without it the server that tests use. */
    server: { type: "string" },
    script: { type: "string" },
    /** Scripts under way at the same time. */
    parallel: { type: "string", default: "32" },
    /** Ends after so many scripts that differ. */
    most: { type: "string", default: "5" },
  },
});

/** More of them than of others: they wait for each other before each kill. */
const KILLED_TOGETHER = 32;

class Results {
  played = 0;
  steps = 0;
  notes = 0;
  restarts = 0;
  shortLeases = 0;
  disturbed = 0;
  readonly different: { readonly script: Script; readonly difference: Difference }[] = [];
  readonly unsteady: string[] = [];

  async play(script: Script, real: Real | undefined): Promise<void> {
    const { difference, notes, disturbed, unsteady } = await compare(script, real);
    this.played++;
    this.steps += script.steps.length;
    this.notes += notes;
    this.disturbed += disturbed;
    if (script.restarts) this.restarts++;
    else if (script.leases === "short") this.shortLeases++;
    for (const once of unsteady) this.unsteady.push(`seed ${script.seed}: ${textOf(once)}`);
    if (difference === undefined) return;
    this.different.push({ script, difference });
    console.log(`DIFFERENT  seed ${script.seed}: ${textOf(difference)}`);
  }

  tell(seconds: number): void {
    const { played, steps, notes, restarts, shortLeases, disturbed, unsteady } = this;
    console.log(
      `${played} scripts, ${steps} steps, ${notes} outcomes compared in ${seconds.toFixed(0)} s: ` +
        `${shortLeases} with short leases, ${restarts} with a server killed and started again`,
    );
    if (disturbed > 0) console.log(`${disturbed} played again: this machine stood still`);
    for (const line of unsteady) console.log(`UNSTEADY   ${line}`);
  }
}

function textOf({ system, step, inMemory, there }: Difference): string {
  return `${step}\n    memory: ${inMemory}\n    ${system}: ${there}`;
}

async function playAll(scripts: Iterable<Script>, parallel: number, results: Results, real?: Real) {
  const iterator = scripts[Symbol.iterator]();
  const most = Number(options.most);
  await Promise.all(Array.from({ length: parallel }, async () => {
    for (let next = iterator.next(); !next.done; next = iterator.next()) {
      if (results.different.length >= most) return;
      await results.play(next.value, real);
      if (results.played % 500 === 0) console.log(`  ${results.played} scripts`);
    }
  }));
}

function* scriptsFrom(first: number, count: number, wanted: (script: Script) => boolean) {
  for (let seed = first; seed < first + count; seed++) {
    const script = scriptOf(seed);
    if (wanted(script)) yield script;
  }
}

async function run(real: Real | undefined): Promise<void> {
  const results = new Results();
  const began = performance.now();
  const parallel = Number(options.parallel);
  if (options.script !== undefined) {
    await playAll([JSON.parse(options.script) as Script], 1, results, real);
  } else {
    const first = Number(options.seed ?? Math.floor(Math.random() * 1e9));
    const count = Number(options.scripts ?? (options.seed === undefined ? 10_000 : 1));
    console.log(`${count} scripts from seed ${first}`);
    await playAll(scriptsFrom(first, count, (s) => !s.restarts), parallel, results, real);
    const killed = [...scriptsFrom(first, count, (script) => script.restarts)];
    for (let i = 0; i < killed.length; i += KILLED_TOGETHER) {
      await playAll(killed.slice(i, i + KILLED_TOGETHER), KILLED_TOGETHER, results, real);
    }
  }
  results.tell((performance.now() - began) / 1_000);
  const [worst] = results.different;
  if (worst === undefined) return void console.log("no difference");
  process.exitCode = 1;
  const smallest = await shrink(worst.script, real);
  console.log(`\nthe smallest script like seed ${worst.script.seed}:\n`);
  for (const step of smallest.steps) console.log(`  ${JSON.stringify(step)}`);
  const { difference } = await compare(smallest, real);
  console.log(difference === undefined ? "unsteady" : textOf(difference));
  console.log(`\nnpm run conformance -- --script '${JSON.stringify(smallest)}'`);
}

if (options.server === "none") {
  await run(undefined);
} else {
  await using server = await startNatsServer({
    version: options.server ?? process.env["NATS_SERVER_VERSION"],
    syncInterval: "default",
    websocket: false,
  });
  console.log(`nats-server ${server.version}`);
  await run({ server, killed: new KilledTogether(server) });
}
