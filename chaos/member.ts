/**
 * One of the processes that are broken: a worker, a processor or a client. Says "ready" when it is
 * at work, does what its stdin tells it, and dies with whoever started it. What it does is in its
 * journal before it goes on.
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { connect } from "@nats-io/transport-node";
import {
  type AnyTask,
  currentTask,
  Dyrygent,
  type DyrygentOptions,
  task,
  UnavailableError,
} from "nats-dyrygent";
import { tasksIn } from "../test/mixed/plans.ts";
import { Follower } from "./follower.ts";
import { digestOf, digestOfText, Journal, trueNow } from "./history.ts";
import { type Role, TASK_LEASE_MS, TICK_LEASE_MS } from "./plan.ts";
import { proofOf, type Spec } from "./proof.ts";
import { PERSISTENT } from "./stage.ts";
import type { WorkloadOptions } from "./workload.ts";

export interface MemberOptions {
  readonly role: Role;
  /** Its name, with how often it was started: an id. */
  readonly name: string;
  /** Of the journals. */
  readonly folder: string;
  readonly servers: readonly string[];
  readonly namespace: string;
  readonly replicas: 1 | 3;
  readonly workload: WorkloadOptions;
}

/** What it is told, a line of JSON each. */
export type Order =
  /** Its clock is wrong by so much from now on. */
  | { readonly is: "jump"; readonly byMs: number }
  /** See a workload through. A client says "done" and its number. */
  | { readonly is: "follow"; readonly index: number };

const LOOK_MS = 100;
const STOOD_STILL_MS = 1_000;
const LEAVE_MS = 4_000;

/** How the library is opened by everybody here. */
export function openOptions(namespace: string, replicas: 1 | 3): DyrygentOptions {
  return {
    namespace,
    replicas,
    taskLease: TASK_LEASE_MS,
    tickLease: TICK_LEASE_MS,
  };
}

/** Members of a cluster answer before they have elected a leader; servers may be away. */
export async function openPatiently(open: () => Promise<Dyrygent>): Promise<Dyrygent> {
  for (;;) {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      await sleep(200);
    }
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function beMember(options: MemberOptions): Promise<void> {
  const { role, name, folder, servers, namespace, replicas } = options;
  const orders = createInterface({ input: process.stdin });
  const early: string[] = [];
  let onOrder: (line: string) => void = (line) => early.push(line);
  orders.on("line", (line) => onOrder(line));
  orders.once("close", () => process.exit(1));
  const journal = new Journal(folder, name);
  noteStandstills(journal);
  const nc = await connect({
    servers: [...servers],
    name,
    noAsyncTraces: true,
    waitOnFirstConnect: true,
    // Others' addresses would lead around the lines.
    ignoreClusterUpdates: true,
    ...PERSISTENT,
  });
  const log: DyrygentOptions["log"] = (level, message) => {
    if (level !== "debug") process.stderr.write(`${trueNow()} [${level}] ${message}\n`);
  };
  const app = await openPatiently(() =>
    Dyrygent.open(nc, { ...openOptions(namespace, replicas), log })
  );
  const working = role === "worker"
    ? app.worker({ id: name, tasks: journaled(journal), concurrency: 8, maxCrashes: 1_000 })
    : role === "processor"
    ? app.processor({ tick: { idle: ["500ms", "2s"] }, sweep: "4s" })
    : new Follower(app, journal, options.workload);
  onOrder = (line) => obey(JSON.parse(line) as Order, working);
  for (const line of early) onOrder(line);
  process.once("SIGTERM", () => {
    setTimeout(() => process.exit(1), LEAVE_MS).unref();
    void working.stop().then(() => process.exit(0));
  });
  if (!(working instanceof Follower)) {
    await start(working);
  }
  console.log("ready");
  const why = await nc.closed();
  throw new Error(`the connection was closed: ${why}`);
}

async function start(working: { start(): Promise<void> }): Promise<void> {
  for (;;) {
    try {
      return await working.start();
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      await sleep(200);
    }
  }
}

function obey(order: Order, working: object): void {
  switch (order.is) {
    case "jump":
      Date.now = () => trueNow() + order.byMs;
      return;
    case "follow":
      if (working instanceof Follower) {
        void working.follow(order.index).then(() => console.log(`done ${order.index}`));
      }
      return;
  }
  order satisfies never;
}

/** Whoever does not get to run cannot extend its leases. */
function noteStandstills(journal: Journal): void {
  let before = trueNow();
  setInterval(() => {
    const now = trueNow();
    if (now - before > STOOD_STILL_MS) {
      journal.write({ is: "stood still", from: before, until: now });
    }
    before = now;
  }, LOOK_MS).unref();
}

/** All tasks of all workloads; each execution is noted when it begins and when it ends. */
function journaled(journal: Journal): AnyTask[] {
  const proving = [
    task("prove", async (spec: Spec, ...inputs: unknown[]) => {
      await sleep(spec.ms);
      const { workflowId, node, attempt } = currentTask();
      if (attempt <= spec.fails) throw new Error("as planned");
      return proofOf(workflowId, node, attempt, spec, inputs);
    }),
    task("listed", (specs: Spec[]) => specs),
  ];
  let executions = 0;
  return [...proving, ...tasksIn({ note: () => {}, sleep })].map((inner) =>
    task(inner.taskName, async (...args: unknown[]) => {
      const execution = ++executions;
      const { workflowId: run, node, attempt } = currentTask();
      journal.write({ is: "began", execution, run, node, attempt, given: digestOf(args) });
      try {
        const result: unknown = await (inner as (...args: unknown[]) => unknown)(...args);
        journal.write({ is: "ended", execution, ...describe(result) });
        return result;
      } catch (error) {
        journal.write({ is: "ended", execution });
        throw error;
      }
    })
  );
}

/** Of what is no JSON (a run that takes the node's place) there is nothing to say. */
function describe(result: unknown): { gave?: string; size?: number } {
  if (typeof result === "object" && result !== null && "definition" in result) return {};
  const text = JSON.stringify(result ?? null);
  return { gave: digestOfText(text), size: new TextEncoder().encode(text).length };
}
