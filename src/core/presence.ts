/**
 * How a running worker or processor says that it is there: a view that it refreshes, and removes when it stops. One that
 * is not refreshed any more is not believed for long. Nobody decides about a workflow from these.
 */
import { isId } from "./ids.ts";
import { isCount } from "./limits.ts";
import { parseRecord } from "./records.ts";

export const PRESENCE = {
  /** How often it is refreshed. */
  refreshMs: 10_000,
  /** Not refreshed for so long: its process is gone. */
  staleMs: 30_000,
  /** Not refreshed for so long: it is removed. */
  removeMs: 3_600_000,
} as const;

export const WORKERS = "worker.";
export const PROCESSORS = "processor.";

/** A task that a worker runs, with short names of its schemas: two workers that differ in them disagree. */
export interface AnnouncedTask {
  readonly name: string;
  /** Of the arguments' schema; absent without one. */
  readonly input?: string;
  /** Of the result's schema; absent without one. */
  readonly output?: string;
}

/** A worker that runs now, as it said at most ten seconds before `at`. Times are milliseconds since 1970, by its clock. */
export interface LiveWorker {
  readonly id: string;
  readonly queues: readonly string[];
  readonly tasks: readonly AnnouncedTask[];
  /** Tasks that it runs at the same time, at most. */
  readonly concurrency: number;
  /** Tasks that ran at `at`. */
  readonly running: number;
  /** Attempts that have ended in it since it started, and how. */
  readonly succeeded: number;
  readonly failed: number;
  readonly startedAt: number;
  readonly at: number;
}

/** A processor that runs now. Times are milliseconds since 1970, by its clock. */
export interface LiveProcessor {
  readonly id: string;
  /** Workflows that may be active in it at the same time. */
  readonly concurrency: number;
  /** Workflows whose ticks it held at `at`: those it was busy with, and those that were quiet. */
  readonly active: number;
  readonly parked: number;
  readonly startedAt: number;
  readonly at: number;
}

const encoder = new TextEncoder();
const VERSION = 1;

/** @param instance tells apart two processes that use the same id. */
export function writePresence(instance: string, live: LiveWorker | LiveProcessor): Uint8Array {
  return encoder.encode(JSON.stringify({ v: VERSION, ...live, instance }));
}

/** Who wrote a presence, and when; undefined when it cannot be read. */
export function readPresence(data: Uint8Array): { instance: string; at: number } | undefined {
  const { v, instance, at } = parseRecord(data) ?? {};
  return v === VERSION && typeof instance === "string" && isCount(at)
    ? { instance, at }
    : undefined;
}

export function readLiveWorker(data: Uint8Array): LiveWorker | undefined {
  const { v, id, queues, tasks, concurrency, running, succeeded, failed, startedAt, at } =
    parseRecord(data) ?? {};
  const ok = v === VERSION && isId(id) && Array.isArray(queues) && queues.every(isId) &&
    Array.isArray(tasks) && [concurrency, running, succeeded, failed].every((n) => isCount(n)) &&
    isCount(startedAt) && isCount(at);
  if (!ok) return undefined;
  const read = tasks.map(announcedTask);
  if (read.includes(undefined)) return undefined;
  return {
    id,
    queues,
    tasks: read as AnnouncedTask[],
    concurrency: concurrency as number,
    running: running as number,
    succeeded: succeeded as number,
    failed: failed as number,
    startedAt,
    at,
  };
}

function announcedTask(value: unknown): AnnouncedTask | undefined {
  const { name, input, output } = (value ?? {}) as Partial<Record<keyof AnnouncedTask, unknown>>;
  if (typeof name !== "string") return undefined;
  return {
    name,
    ...(typeof input === "string" ? { input } : {}),
    ...(typeof output === "string" ? { output } : {}),
  };
}

export function readLiveProcessor(data: Uint8Array): LiveProcessor | undefined {
  const { v, id, concurrency, active, parked, startedAt, at } = parseRecord(data) ?? {};
  const ok = v === VERSION && isId(id) && isCount(concurrency) && isCount(active) &&
    isCount(parked) && isCount(startedAt) && isCount(at);
  return ok ? { id, concurrency, active, parked, startedAt, at } : undefined;
}
