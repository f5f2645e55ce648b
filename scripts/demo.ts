/**
 * A real job on a real server: weighs every package of a `package-lock.json` with all that it needs, on one worker in
 * Node and one in Deno, prints a report, and proves from the server's own records that the order was kept.
 * The exit code is 0 only when everything held.
 */
import { resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, DyrygentError, type Run } from "nats-dyrygent";
import { Alarm, DemoError } from "./demo/alarm.ts";
import { Crew } from "./demo/crew.ts";
import type { Conclusion, Job } from "./demo/job.ts";
import { LockfileError } from "./demo/lockfile.ts";
import { type Outcome, readOutcomes } from "./demo/outcomes.ts";
import { packageJob } from "./demo/package_job.ts";
import { Progress } from "./demo/progress.ts";
import { type Proof, prove } from "./demo/proof.ts";
import { randomDagJob } from "./demo/random_dag.ts";
import { startNatsServer } from "./nats_server.ts";
import { NatsServerNotFoundError } from "../src/nats_server/binary.ts";

interface Finished {
  readonly conclusion: Conclusion;
  readonly outcomes: readonly Outcome[];
  readonly proof: Proof;
  readonly seconds: number;
}

const NAMESPACE = "demo";
const CONNECT_LIMIT_MS = 10_000;
/** Nothing at all was recorded for so long: something is wrong. */
const STALL_MS = 60_000;
const CLEAN_UP_LIMIT_MS = 15_000;
const MOST_NODES = 1_000_000;
const SHOWN_PROBLEMS = 10;

const USAGE = `Usage: npm run demo                                  weigh this project's packages
       npm run demo -- path/to/package-lock.json     or another's
       npm run demo -- --nodes 10000 [--seed 7]      or run a random graph of tiny tasks
With -- --json the report is printed for programs.`;

const say = (line: string) => process.stderr.write(`${line}\n`);

/** @throws {DemoError}, {LockfileError} */
function jobOf(positionals: readonly string[], nodes: string | undefined, seed: string): Job {
  if (nodes === undefined) {
    const own = fileURLToPath(new URL("../package-lock.json", import.meta.url));
    // npm runs scripts in the project's folder, and says where the user was.
    return packageJob(resolve(process.env["INIT_CWD"] ?? "", positionals[0] ?? own));
  }
  const size = Number(nodes);
  if (!Number.isInteger(size) || size < 1 || size > MOST_NODES) {
    throw new DemoError(`--nodes ${nodes}: give a whole number from 1 to ${MOST_NODES}.`);
  }
  if (!/^\d{1,9}$/.test(seed)) throw new DemoError(`--seed ${seed}: give a whole number.`);
  return randomDagJob(size, Number(seed));
}

/** Everything it starts has ended when it returns or throws. */
async function orchestrate(job: Job, alarm: Alarm): Promise<Finished> {
  await using server = await startNatsServer({ syncInterval: "always", websocket: false });
  void server.ended.then((how) => {
    alarm.raise(new DemoError(`The nats-server ended by itself (${how}).`));
  });
  await using crew = new Crew(alarm);
  const started = Promise.all([
    crew.start({ role: "processor", runtime: "node" }, [server.url, NAMESPACE, "processor"]),
    crew.start({ role: "worker", runtime: "node" }, [server.url, NAMESPACE, "node"]),
    crew.start({ role: "worker", runtime: "deno" }, [server.url, NAMESPACE, "deno"]),
  ]);
  const [processor, ...workers] = await alarm.orElse(started);
  say(
    `nats-server ${server.version} (syncs every write to disk), processor on ${processor}, ` +
      `workers on ${workers.join(" and ")}`,
  );
  const connecting = connect({ servers: server.url, name: "demo", noAsyncTraces: true });
  const nc = await alarm.orElse(connecting, { ms: CONNECT_LIMIT_MS, what: "Connecting" });
  try {
    return await alarm.orElse(follow(nc, job, alarm));
  } finally {
    await nc.close();
  }
}

async function follow(nc: NatsConnection, job: Job, alarm: Alarm): Promise<Finished> {
  const app = await Dyrygent.open(nc, { namespace: NAMESPACE });
  const start = performance.now();
  const run = await app.submit(job.workflow);
  await showProgress(run, job, alarm);
  const result = await run.result();
  const seconds = (performance.now() - start) / 1_000;
  const outcomes = await readOutcomes(nc, NAMESPACE, run.id);
  return {
    conclusion: job.conclude(result),
    outcomes,
    proof: prove(job.workflow.size, job.edges, outcomes),
    seconds,
  };
}

/** Ends with the run. A run of which nothing is heard any more raises the alarm. */
async function showProgress(run: Run, job: Job, alarm: Alarm): Promise<void> {
  const progress = new Progress(process.stderr, job.workflow.size);
  let done = 0;
  let sent = 0;
  let heardAt = performance.now();
  const guard = setInterval(() => {
    if (performance.now() - heardAt < STALL_MS) return;
    const waited = `Nothing has happened for ${STALL_MS / 1_000} s`;
    alarm.raise(new DemoError(`${waited}: ${done} of ${job.workflow.size} tasks are done.`));
  }, 1_000);
  try {
    for await (const event of run.watch()) {
      heardAt = performance.now();
      if (event.is !== "node") continue;
      if (event.state === "SCHEDULED") sent++;
      if (event.state !== "SUCCESS") continue;
      done++;
      sent--;
      progress.show(done, sent, job.describe(event.node));
    }
  } finally {
    clearInterval(guard);
    progress.clear();
  }
}

/** How many tasks each worker ran. */
function shares(outcomes: readonly Outcome[]): Record<string, number> {
  const tasks: Record<string, number> = { node: 0, deno: 0 };
  for (const { worker } of outcomes) tasks[worker] = (tasks[worker] ?? 0) + 1;
  return tasks;
}

function print({ conclusion, outcomes, proof, seconds }: Finished): void {
  const { node, deno } = shares(outcomes);
  const rate = Math.round(proof.nodes / seconds);
  console.log([
    "",
    ...conclusion.lines,
    "",
    `${proof.nodes} tasks in ${
      seconds.toFixed(2)
    } s, ${rate} tasks/s: Node ran ${node}, Deno ${deno}`,
    "proof, from the server's records and times:",
    `  ${proof.edges} edges kept: every outcome was stored before the tasks that wait for it`,
    `  ${proof.nodes} nodes, each with exactly one success`,
    `  ${conclusion.checked}`,
  ].join("\n"));
}

function printJson({ conclusion, outcomes, proof, seconds }: Finished): void {
  const { edges, nodes } = proof;
  const proven = { edges, nodes, checked: conclusion.checked };
  console.log(JSON.stringify({
    report: conclusion.json,
    seconds,
    workers: shares(outcomes),
    proof: proven,
  }));
}

/** @throws {DemoError} */
function parsed(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        nodes: { type: "string" },
        seed: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new DemoError(`${(error as Error).message}\n${USAGE}`);
  }
}

/** The last thing said is why: then all has ended already. */
async function main(args: string[], alarm: Alarm): Promise<void> {
  const { values, positionals } = parsed(args);
  if (values.help) return console.log(USAGE);
  const job = jobOf(positionals, values.nodes, values.seed);
  say(job.title);
  const finished = await orchestrate(job, alarm);
  const problems = [...finished.proof.problems, ...finished.conclusion.problems];
  if (problems.length > 0) {
    const more = problems.length > SHOWN_PROBLEMS
      ? `\n  and ${problems.length - SHOWN_PROBLEMS} more`
      : "";
    throw new DemoError(
      `What ran is not what should have:\n  ${
        problems.slice(0, SHOWN_PROBLEMS).join("\n  ")
      }${more}`,
    );
  }
  if (values.json) printJson(finished);
  else print(finished);
}

/** What users can act upon is said without a stack. */
function explain(error: unknown): unknown {
  if (error instanceof DyrygentError) return `${error.message}\n${error.hint}`;
  const isPlain = error instanceof DemoError || error instanceof LockfileError ||
    error instanceof NatsServerNotFoundError;
  return isPlain ? error.message : error;
}

const alarm = new Alarm();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (alarm.isRaised) return;
    say("\nCleaning up …");
    alarm.raise(new DemoError(`Stopped by ${signal}.`));
    setTimeout(() => process.exit(1), CLEAN_UP_LIMIT_MS).unref();
  });
}
try {
  await main(process.argv.slice(2), alarm);
} catch (error) {
  process.exitCode = 1;
  console.error(explain(error));
}
// What an abandoned wait still holds must not keep a process that is done.
setTimeout(() => process.exit(), CLEAN_UP_LIMIT_MS / 10).unref();
