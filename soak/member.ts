/**
 * One of the soak's other processes: a processor, a worker or a client. Answers what its parent asks, over IPC, and ends
 * when its parent does. Says nothing by itself.
 */
import { readdirSync } from "node:fs";
import process from "node:process";
import { setImmediate } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { libraryOn } from "./library.ts";
import { Submitter } from "./submitter.ts";
import { countedTasks } from "./workload.ts";

export const ROLES = ["processor", "worker", "client"] as const;
export type Role = (typeof ROLES)[number];

/** How a process stands while it has nothing to do. */
export interface Sample {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** Open files and sockets; NaN where the system does not say. */
  readonly files: number;
  readonly timers: number;
  /** Of the connection, to find it at the server. */
  readonly connection: number;
  /** Attempts that began here so far. */
  readonly executed: number;
  /** Warnings and errors that the library logged so far. */
  readonly complaints: readonly string[];
}

export type Question = { readonly is: "sample" } | {
  readonly is: "submit";
  readonly count: number;
};

export interface Asked {
  readonly n: number;
  readonly question: Question;
}

export interface Answered {
  readonly n: number;
  readonly answer?: unknown;
  readonly error?: string;
}

export interface MemberOptions {
  readonly role: Role;
  readonly url: string;
  readonly retention: `${number}ms`;
  readonly underWay: number;
  /** Tasks of a workflow, more or less. */
  readonly size: number;
  readonly seed: number;
}

/** Full soon, so that it is not taken for a leak. */
const INPUT_CACHE = 4_194_304;
/** Complaints that are told. */
const KEPT = 20;

/** Runs until the parent is gone. @param timers says how many are running. */
export async function beMember(options: MemberOptions, timers: () => number): Promise<void> {
  const { role, url, retention, underWay, size, seed } = options;
  const gone = new Promise((resolve) => process.once("disconnect", resolve));
  const nc = await connect({ servers: url, name: role, noAsyncTraces: true });
  const complaints: string[] = [];
  let executed = 0;
  const app = await libraryOn(nc, (level, message) => {
    if (level !== "warn" && level !== "error") return;
    if (complaints.length < KEPT) complaints.push(`${role}: [${level}] ${message}`);
  });
  const tasks = countedTasks(() => executed++);
  const member = role === "processor"
    ? app.processor({ retention, sweep: "1s", tick: { idle: ["1s", "5s"] } })
    : role === "worker"
    ? app.worker({ tasks, concurrency: 64, prefetch: 64, inputCache: INPUT_CACHE })
    : undefined;
  await member?.start();
  const submitter = new Submitter(app, { seed, size, underWay });

  const sample = async (): Promise<Sample> => {
    for (let i = 0; i < 3; i++) {
      (globalThis as { gc?: () => void }).gc?.();
      await setImmediate();
    }
    const { heapUsed, external, rss } = process.memoryUsage();
    return {
      heapBytes: heapUsed + external,
      rssBytes: rss,
      files: openFiles(),
      timers: timers(),
      connection: nc.info!.client_id,
      executed,
      complaints,
    };
  };
  process.on("message", ({ n, question }: Asked) => {
    const answer = question.is === "sample" ? sample() : submitter.submit(question.count);
    answer.then(
      (answer) => process.send!({ n, answer } satisfies Answered),
      (error) => process.send!({ n, error: String(error?.stack ?? error) } satisfies Answered),
    );
  });
  process.send!({ n: 0 } satisfies Answered);

  await gone;
  await member?.stop();
  await nc.close();
}

function openFiles(): number {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return NaN;
  }
}
