/**
 * How a namespace fares, judged from what was seen of it: who runs, what waits for nobody, what is out of step, and what
 * cannot be read. Sees nothing itself; what is found is returned as data.
 */
import { type DoctorFinding, found } from "./doctor_finding.ts";
import { parseKey } from "./keys.ts";
import type { LiveProcessor, LiveWorker } from "./presence.ts";
import { clockFindings, type ServerFacts } from "./server_health.ts";

/** What was seen of a namespace. */
export interface NamespaceFacts {
  readonly workers: readonly LiveWorker[];
  readonly processors: readonly LiveProcessor[];
  /** By the clock here, after these were read. */
  readonly now: number;
  /** Runs that have a tick. */
  readonly ticks: number;
  readonly schedules: number;
  readonly outOfStep: OutOfStep;
  /** Keys of views. */
  readonly quarantined: readonly string[];
  /** Records of runs under way and of schedules, in words. */
  readonly unreadable: readonly string[];
  /** Those that a newer version wrote. */
  readonly newer: readonly string[];
}

/** Runs whose records, ticks and task messages do not fit each other. */
export interface OutOfStep {
  /** Not ended, and without a tick. */
  readonly withoutTick: readonly string[];
  /** A tick, and no definition. */
  readonly ticksAlone: readonly string[];
  /** Ended, and a tick. */
  readonly ticksLeft: readonly string[];
  /** Ended or not recorded, and task messages. */
  readonly tasksLeft: readonly string[];
}

/** What is recorded and queued, as far as it must fit. */
export interface Standing {
  /** Runs with a definition. */
  readonly runs: readonly string[];
  readonly ticks: ReadonlySet<string>;
  readonly ended: ReadonlySet<string>;
  /** Runs with task messages. */
  readonly queued: Iterable<string>;
}

/** Names that a message shows. */
const SHOWN = 5;

export function outOfStep({ runs, ticks, ended, queued }: Standing): OutOfStep {
  const recorded = new Set(runs);
  const ticking = [...ticks];
  return {
    withoutTick: runs.filter((run) => !ended.has(run) && !ticks.has(run)),
    ticksAlone: ticking.filter((run) => !recorded.has(run)),
    ticksLeft: ticking.filter((run) => recorded.has(run) && ended.has(run)),
    tasksLeft: [...queued].filter((run) => !recorded.has(run) || ended.has(run)),
  };
}

export function isInStep(seen: OutOfStep): boolean {
  return Object.values(seen).every((runs: readonly string[]) => runs.length === 0);
}

/** What was so both times: between two writes, much is out of step for a moment. */
export function stillOutOfStep(before: OutOfStep, now: OutOfStep): OutOfStep {
  const both = (kind: keyof OutOfStep) => {
    const known = new Set(before[kind]);
    return now[kind].filter((run) => known.has(run));
  };
  return {
    withoutTick: both("withoutTick"),
    ticksAlone: both("ticksAlone"),
    ticksLeft: both("ticksLeft"),
    tasksLeft: both("tasksLeft"),
  };
}

/** The latest record of each run, of records with one key each. */
export function latestByRun<T extends { readonly key: string; readonly seq: number }>(
  stored: readonly T[],
): Map<string, T> {
  const latest = new Map<string, T>();
  for (const one of stored) {
    const run = parseKey(one.key)?.workflow;
    if (run !== undefined && (latest.get(run)?.seq ?? 0) < one.seq) latest.set(run, one);
  }
  return latest;
}

export function namespaceFindings(
  seen: NamespaceFacts,
  server: ServerFacts | undefined,
): DoctorFinding[] {
  const { withoutTick, ticksAlone, ticksLeft, tasksLeft } = seen.outOfStep;
  return [
    ...processorFindings(seen, server),
    ...queueFindings(seen.workers, server),
    ...presenceFindings(seen),
    ...runsFound("run-without-tick", withoutTick, "has not ended and has no tick"),
    ...runsFound("tick-without-run", ticksAlone, "has a tick, and is not recorded"),
    ...runsFound("tick-left", ticksLeft, "has ended, and its tick is left"),
    ...runsFound("tasks-left", tasksLeft, "has ended or is not recorded, and has tasks queued"),
    ...seen.unreadable.map((what) => found("record-unreadable", `${what} cannot be read`)),
    ...seen.newer.map((what) => found("record-newer", `${what} was written by a newer version`)),
    ...(seen.quarantined.length === 0
      ? []
      : [found("quarantined", `in quarantine: ${listOf(seen.quarantined)}`)]),
  ];
}

function runsFound(
  code: DoctorFinding["code"],
  runs: readonly string[],
  what: string,
): DoctorFinding[] {
  if (runs.length === 0) return [];
  return [found(code, `each of these runs ${what}: ${listOf(runs)}`)];
}

function listOf(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN).join(", ");
  return names.length <= SHOWN ? shown : `${shown} and ${names.length - SHOWN} more`;
}

function processorFindings(
  { processors, ticks, schedules }: NamespaceFacts,
  server: ServerFacts | undefined,
): DoctorFinding[] {
  const isPulled = server?.consumers.some(({ queue, isForeign, isPulled }) =>
    queue === undefined && !isForeign && isPulled
  );
  if (processors.length > 0 || isPulled === true) return [];
  if (ticks + schedules === 0) {
    return [
      found("no-live-processor", "no processor runs; there is nothing for one to do", "info"),
    ];
  }
  const message = `no processor runs, and ${ticks} runs and ${schedules} schedules wait for one`;
  return [found("no-live-processor", message)];
}

/** Queues from which nobody takes. What a queue's workers are too busy for, or its limits hold up, is as it should be. */
function queueFindings(
  workers: readonly LiveWorker[],
  server: ServerFacts | undefined,
): DoctorFinding[] {
  const waiting = new Map<string, { pending: number; isPulled: boolean }>();
  for (const { queue, pending, isPulled } of server?.consumers ?? []) {
    if (queue === undefined) continue;
    const known = waiting.get(queue) ?? { pending: 0, isPulled: false };
    waiting.set(queue, {
      pending: known.pending + pending,
      isPulled: known.isPulled || isPulled,
    });
  }
  const served = new Set(workers.flatMap(({ queues }) => queues));
  return [...waiting].flatMap(([queue, { pending, isPulled }]) =>
    pending === 0 || isPulled || served.has(queue) ? [] : [
      found(
        "queue-unserved",
        `${pending} tasks wait in queue ${queue}, and no worker takes them`,
      ),
    ]
  );
}

/** Who says that it was there later than now has another clock; who says earlier may just have said it earlier. */
function presenceFindings({ workers, processors, now }: NamespaceFacts): DoctorFinding[] {
  return [
    ...workers.map(({ id, at }) => [`worker ${id}`, at] as const),
    ...processors.map(({ id, at }) => [`processor ${id}`, at] as const),
  ].flatMap(([who, at]) => clockFindings(who, at, { from: -Infinity, to: now }));
}
