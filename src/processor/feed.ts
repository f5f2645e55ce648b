/**
 * Tells others what happens in one run while it is conducted here. Nothing depends on it, and it decides nothing: it looks on
 * as the scheduler takes facts in. Made only where a processor is asked for it.
 *
 *   new → the log is read for the first time: what happened a short while ago is told, perhaps again → looks on
 *   looks on → the log is read anew: what stands otherwise than before is told → looks on
 */
import { type Definition, labelOf, policyOfNode } from "../core/definition.ts";
import type { Fact } from "../core/fact.ts";
import {
  type FeedEvent,
  type FeedEventName,
  type FeedHead,
  type FeedNode,
  feedTopic,
} from "../core/feed_event.ts";
import type { NodeState } from "../core/node_state.ts";
import type { EndRecord } from "../core/records.ts";
import type { Scheduler } from "../core/scheduler.ts";
import type { Ports } from "../ports.ts";

/** Whoever conducted the run before may have died without telling it. */
const RECENT_MS = 60_000;

/** Of the states that a node comes to; of others nothing is told. */
const EVENTS: Partial<Record<NodeState, FeedEventName>> = {
  STARTED: "node.expanded",
  RETRY: "node.retried",
  SUCCESS: "node.succeeded",
  FAILURE: "node.failed",
  SKIPPED: "node.skipped",
  UPSTREAM_FAILED: "node.upstream-failed",
  CANCELLED: "node.cancelled",
};

const encoder = new TextEncoder();

type Told = Pick<Ports, "hints" | "clock" | "log">;

/** What an event says beside its head. */
type Saying<E = FeedEvent> = E extends FeedEvent ? Omit<E, Exclude<keyof FeedHead, "at">> : never;

export class RunFeed {
  readonly #ports: Told;
  readonly #run: string;
  readonly #definition: Definition;
  readonly #submittedAt: number;
  #scheduler: Scheduler | undefined;
  /** While the log is read anew: as it stood until now. */
  #before: Scheduler | undefined;
  /** The fact that is being taken in. */
  #fact: Fact | undefined;
  #at: number;
  /** What happened before this moment was told by others. */
  #recent = -Infinity;
  /** While the log is read: what happened before is not told. */
  #since = -Infinity;
  /** Control facts so far, and the one that paused or resumed it last. */
  #controls = 0;
  #pausing = 0;
  #paused = false;
  #hasStarted = false;

  constructor(ports: Told, run: string, definition: Definition, submittedAt: number) {
    this.#ports = ports;
    this.#run = run;
    this.#definition = definition;
    this.#submittedAt = submittedAt;
    this.#at = submittedAt;
  }

  /** The log is about to be read, into this scheduler. @param isNew nothing is recorded of the run. */
  reading(scheduler: Scheduler, { isNew }: { isNew: boolean }): void {
    this.#before = this.#scheduler;
    this.#scheduler = scheduler;
    this.#fact = undefined;
    this.#at = this.#submittedAt;
    this.#controls = 0;
    this.#pausing = 0;
    this.#paused = false;
    if (this.#before !== undefined) {
      this.#since = Infinity;
      return;
    }
    if (!isNew) this.#recent = this.#ports.clock.now() - RECENT_MS;
    this.#since = this.#recent;
    this.#tell({ event: "run.submitted", at: this.#at });
  }

  /** It has been read. */
  hasRead(): void {
    const before = this.#before;
    this.#before = undefined;
    this.#since = -Infinity;
    this.#fact = undefined;
    if (before !== undefined) this.#compare(before, this.#scheduler!);
  }

  /** A fact is about to be taken in. */
  taking(fact: Fact): void {
    this.#fact = fact;
    this.#at = fact.at;
    if (fact.is === "control") this.#controls++;
  }

  /** It was taken in: a control fact may have changed how the run stands. */
  took(round: number): void {
    const { paused, round: now } = this.#scheduler!;
    if (now > round) this.#tell({ event: "run.reopened", at: this.#at });
    if (paused === this.#paused) return;
    this.#paused = paused;
    this.#pausing = this.#controls;
    this.#tellPausing();
  }

  /** For the scheduler, which tells every change. */
  readonly onNode = (node: number, state: NodeState): void => {
    const event = EVENTS[state];
    if (event === undefined || this.#at < this.#since) return;
    if (policyOfNode(this.#definition, node).join === true) return;
    const scheduler = this.#scheduler!;
    // By then the next attempt is the node's.
    const attempt = scheduler.attemptOf(node) - (state === "RETRY" ? 1 : 0);
    const child = scheduler.childOf(node);
    const about: FeedNode & { child?: string; error?: string } = {
      node,
      label: labelOf(this.#definition, node),
      attempt,
      ...(child === undefined ? {} : { child }),
      ...this.#errorOf(node),
    };
    this.#tell({ event, at: this.#at, ...about } as Saying, `.${node}.${attempt}`);
  };

  /** Its first nodes may run. */
  started(at: number): void {
    const isFirst = !this.#hasStarted && this.#scheduler?.round === 1;
    if (!isFirst || at < this.#recent) return;
    this.#hasStarted = true;
    this.#tell({ event: "run.started", at });
  }

  /** The terminal record of this round is durable. */
  ended({ state, counts, at }: EndRecord, round: number): void {
    const submittedAt = this.#submittedAt;
    this.#tell({ event: "run.ended", at, state, counts, submittedAt }, "", round);
  }

  /** What was not heard one by one is told as it stands, as of the last fact: a control fact, mostly. */
  #compare(before: Scheduler, after: Scheduler): void {
    if (after.round > before.round) this.#tell({ event: "run.reopened", at: this.#at });
    if (after.paused !== before.paused) this.#tellPausing();
    for (let node = 0; node < this.#definition.graph.size; node++) {
      const state = after.stateOf(node);
      const isSame = state === before.stateOf(node) &&
        after.attemptOf(node) === before.attemptOf(node) && after.round === before.round;
      if (!isSame) this.onNode(node, state);
    }
  }

  #tellPausing(): void {
    const event = this.#paused ? "run.paused" : "run.resumed";
    this.#tell({ event, at: this.#at }, `.${this.#pausing}`);
  }

  #errorOf(node: number): { error?: string } {
    const fact = this.#fact;
    return fact?.is === "failed" && fact.node === node ? { error: fact.failure.name } : {};
  }

  #tell(saying: Saying, which = "", round = this.#scheduler?.round ?? 1): void {
    // How it ended is told by whoever finds it so.
    if (saying.at < this.#since && saying.event !== "run.ended") return;
    const { name, parent } = this.#definition;
    const { event, ...rest } = saying;
    // A run may be removed, and its id used again.
    const id = `${this.#run}.${this.#submittedAt.toString(36)}.${round}.${event}${which}`;
    tell(this.#ports, {
      v: 1,
      id,
      event,
      run: this.#run,
      name,
      round,
      ...(parent === undefined ? {} : { parent: { run: parent.workflow, node: parent.node } }),
      ...rest,
    } as FeedEvent);
  }
}

/** Of a run whose definition cannot be read. */
export function tellUnreadEnd(
  ports: Told,
  run: string,
  round: number,
  { state, counts, at }: EndRecord,
): void {
  const id = `${run}.unread.${round}.run.ended`;
  tell(ports, { v: 1, id, event: "run.ended", run, name: "", round, at, state, counts });
}

/** Never throws: the scheduler that it is called from is in the middle of something. */
function tell({ hints, log }: Told, event: FeedEvent): void {
  try {
    hints.broadcast(feedTopic(event), encoder.encode(JSON.stringify(event)), event.id);
  } catch (error) {
    log("debug", `${event.event} of ${event.run} is not told`, {
      event: "feed-not-told",
      run: event.run,
      error,
    });
  }
}
