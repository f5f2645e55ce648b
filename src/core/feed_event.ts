/**
 * What processors tell others of runs and nodes, as it travels: a contract, with docs/guide/events-feed.md. Holds nothing that
 * users own: no payload, argument, result or error message; so nothing in it is ever sealed.
 */
import type { FinalState } from "./fact.ts";
import type { Counts } from "./node_state.ts";

export const FEED_EVENTS = [
  "run.submitted",
  "run.started",
  "run.paused",
  "run.resumed",
  "run.reopened",
  "run.ended",
  "node.expanded",
  "node.retried",
  "node.succeeded",
  "node.failed",
  "node.skipped",
  "node.upstream-failed",
  "node.cancelled",
] as const;

/** What happened, by a name that stays. */
export type FeedEventName = typeof FEED_EVENTS[number];

/** What every event has. */
export interface FeedHead {
  readonly v: 1;
  /** The same whenever the same is told again: events with an id that was seen are to be left out. */
  readonly id: string;
  /** When it happened, as recorded: milliseconds since 1970. */
  readonly at: number;
  /** The run's id. */
  readonly run: string;
  /** The workflow's name. */
  readonly name: string;
  /** From 1; running it again opens the next. */
  readonly round: number;
  /** The run whose node's place it takes. */
  readonly parent?: { readonly run: string; readonly node: number };
}

/** Which node an event is about. */
export interface FeedNode {
  readonly node: number;
  readonly label: string;
  /** From 1; 0: it was never tried. */
  readonly attempt: number;
}

/** An event of the feed, told by processors with `feed: true`. */
export type FeedEvent =
  & FeedHead
  & (
    | {
      readonly event:
        | "run.submitted"
        | "run.started"
        | "run.paused"
        | "run.resumed"
        | "run.reopened";
    }
    | {
      readonly event: "run.ended";
      readonly state: FinalState;
      readonly counts: Counts;
      /** When it was submitted; absent where its definition cannot be read. */
      readonly submittedAt?: number;
    }
    | (FeedNode & {
      readonly event:
        | "node.succeeded"
        | "node.skipped"
        | "node.upstream-failed"
        | "node.cancelled";
    })
    /** `attempt` failed; `error` is the failure's name, where it is at hand. */
    | (FeedNode & { readonly event: "node.failed" | "node.retried"; readonly error?: string })
    /** The run `child` takes its place. */
    | (FeedNode & { readonly event: "node.expanded"; readonly child: string })
  );

/** What follows `NS.feed.` in its subject. */
export function feedTopic({ event, run }: Pick<FeedEvent, "event" | "run">): string {
  return `${event}.${run}`;
}
