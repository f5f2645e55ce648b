/** What a workflow's log amounts to. Pure: it is given the facts, and neither reads nor does anything. */
import type { Definition } from "../core/definition.ts";
import type { Fact } from "../core/fact.ts";
import { Scheduler, startAt } from "../core/scheduler.ts";
import type { RunFeed } from "./feed.ts";

export interface Replayed {
  readonly scheduler: Scheduler;
  /** When the present round began, milliseconds since 1970. */
  readonly startedAt: number;
  /** Timeouts recorded in this round: the first ends the workflow's own nodes, the second what cleans up after them. */
  readonly timeouts: number;
  /** Which control fact was the last pause or resume, from 1. */
  readonly lastPausing: number | undefined;
  /** Whether nodes were taken back whose messages may be in the queue. */
  readonly withdrawn: boolean;
}

/** A workflow whose log has not been read: nothing has begun. */
export function unread(
  definition: Definition,
  workflow: string,
  submittedAt: number,
  onNode?: RunFeed["onNode"],
): Replayed {
  return {
    scheduler: new Scheduler(definition, workflow, submittedAt, onNode),
    startedAt: startAt(definition, submittedAt),
    timeouts: 0,
    lastPausing: undefined,
    withdrawn: false,
  };
}

/**
 * @param facts all of them, in the order of the log.
 * @param feed looks on.
 */
export function replay(
  definition: Definition,
  workflow: string,
  submittedAt: number,
  facts: readonly Fact[],
  feed?: RunFeed,
): Replayed {
  let { scheduler, startedAt, timeouts, lastPausing, withdrawn } = unread(
    definition,
    workflow,
    submittedAt,
    feed?.onNode,
  );
  feed?.reading(scheduler, { isNew: facts.length === 0 });
  scheduler.begin();
  let controls = 0;
  for (const fact of facts) {
    if (fact.is === "control") {
      controls++;
      const { is } = fact.control;
      if (is === "timeout") timeouts++;
      if (is === "pause" || is === "resume") lastPausing = controls;
    }
    const { round } = scheduler;
    feed?.taking(fact);
    for (const effect of scheduler.apply(fact)) withdrawn ||= effect.is === "withdraw";
    feed?.took(round);
    if (scheduler.round === round) continue;
    startedAt = fact.at;
    timeouts = 0;
  }
  feed?.hasRead();
  return { scheduler, startedAt, timeouts, lastPausing, withdrawn };
}

/** When the next timeout is to be recorded; the cleanup has as long again as the workflow's own nodes had. */
export function deadlineOf({ startedAt, timeouts }: Replayed, timeoutMs: number): number {
  return timeouts < 2 ? startedAt + (timeouts + 1) * timeoutMs : Infinity;
}
