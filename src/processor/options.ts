/** How a processor may be told to behave. */
import { type Duration, durationMs } from "../core/duration.ts";
import { InvalidOptionError } from "../core/errors.ts";
import { checkId, quote } from "../core/ids.ts";
import { type LanePolicy, queueLimit } from "../core/lanes.ts";
import { refuseUnknown } from "../core/options.ts";

/** How a processor conducts. The defaults do for most. */
export interface ProcessorOptions {
  /** How often a workflow is looked after although nothing is heard of it: a safety net only. */
  tick?: {
    /**
     * The delay after it became quiet, and the longest, to which it doubles while nothing changes. Of very many quiet
     * workflows a processor looks after fifty a second, and after a dozen beyond the first thousand: then it is longer.
     * @default ["5s", "30s"]
     */
    idle?: readonly [Duration, Duration];
    /** The delay with which `runOnce` leaves a workflow that is not finished. @default "1s" */
    active?: Duration;
  };
  /** Task messages of one workflow in the queue at once. @default 4000 */
  window?: number;
  /** Workflows that may be active here at once; parked ones do not count. @default 1000 */
  concurrency?: number;
  /**
   * Limits of whole queues: at most so many of a queue's tasks run at the same time, across all workers. Tasks with a
   * `concurrency` or `rateLimit` of their own have only that. Say the same to all processors. @default no limits
   */
  queues?: Readonly<Record<string, { concurrency: number }>>;
  /** How often one of the processors, or a call of `runOnce`, looks for lost ticks and old runs. @default "30s" */
  sweep?: Duration;
  /** How often it reads all schedules, of whose changes it is also told at once: a safety net only. @default "10s" */
  schedules?: Duration;
  /** How long a finished run is kept. @default "1d" */
  retention?: Duration;
  /**
   * Tells others what happens in the runs that it conducts, on `<namespace>.feed.>`: see docs/guide/events-feed.md. Say
   * the same to all processors. @default false
   */
  feed?: boolean;
}

/** Options, complete, in milliseconds. */
export interface CheckedOptions {
  /** The first and the longest delay of a quiet workflow's tick. */
  readonly idleMs: readonly [number, number];
  readonly activeMs: number;
  readonly window: number;
  readonly concurrency: number;
  readonly queues: ReadonlyMap<string, LanePolicy>;
  readonly sweepMs: number;
  readonly schedulesMs: number;
  readonly retentionMs: number;
  readonly feed: boolean;
}

/** @throws {InvalidOptionError} naming the option. */
export function checkOptions(options: ProcessorOptions): CheckedOptions {
  refuseUnknown("processor option", options, [
    "tick",
    "window",
    "concurrency",
    "queues",
    "sweep",
    "schedules",
    "retention",
    "feed",
  ]);
  const {
    tick = {},
    feed = false,
    window = 4_000,
    concurrency = 1_000,
    sweep = "30s",
    schedules = "10s",
  } = options;
  refuseUnknown("tick option", tick, ["idle", "active"]);
  const [least, most] = tick.idle ?? ["5s", "30s"];
  const idleMs = [
    durationMs("tick.idle[0]", least, { least: 10 }),
    durationMs("tick.idle[1]", most, { least: 10 }),
  ] as const;
  for (const [name, value] of Object.entries({ window, concurrency })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new InvalidOptionError(name, `${name} = ${quote(value)} is not a whole number from 1`, {
      hint: "Start with the default.",
    });
  }
  if (typeof feed !== "boolean") {
    throw new InvalidOptionError("feed", `feed = ${quote(feed)} is neither true nor false`, {
      hint: "Use true to tell others what happens in runs.",
    });
  }
  return {
    idleMs,
    activeMs: durationMs("tick.active", tick.active ?? "1s"),
    window,
    concurrency,
    queues: queueLimits(options.queues ?? {}),
    sweepMs: durationMs("sweep", sweep, { least: 100 }),
    schedulesMs: durationMs("schedules", schedules, { least: 100 }),
    retentionMs: durationMs("retention", options.retention ?? "1d"),
    feed,
  };
}

function queueLimits(
  queues: NonNullable<ProcessorOptions["queues"]>,
): ReadonlyMap<string, LanePolicy> {
  return new Map(
    Object.entries(queues).map(([queue, limits]) => {
      const option = `queues.${checkId("queue", queue)}`;
      refuseUnknown(`${option} option`, limits, ["concurrency"]);
      return [queue, queueLimit(`${option}.concurrency`, limits.concurrency)];
    }),
  );
}
