/**
 * What the library logs about itself: the names of its events, and the fields that come with them. Names and fields stay as
 * they are; messages are for people, and may change. docs/guide/logs.md has the same list, with what each means.
 */

/** By who says it: workers, processors, whoever takes messages from the server, clients. */
export const LOG_EVENTS = [
  "task-given-back",
  "task-not-prepared",
  "task-quarantined",
  "outcome-not-recorded",
  "expansion-not-recorded",
  "progress-not-sealed",
  "task-log-not-written",
  "controls-not-read",
  "blob-left-behind",
  "view-not-removed",
  "presence-not-written",
  "presence-twice",
  "workflow-put-aside",
  "lease-lost",
  "queues-not-read",
  "hook-failed",
  "feed-not-told",
  "tick-without-workflow",
  "tick-impossible",
  "definition-newer",
  "definition-unreadable",
  "task-message-sent-again",
  "sweep-failed",
  "ticks-revived",
  "late-records-removed",
  "schedules-not-read",
  "schedule-not-read",
  "schedule-unreadable",
  "schedule-put-aside",
  "schedule-left-alone",
  "schedule-skips",
  "schedule-cut",
  "occurrence-taken",
  "occurrence-not-submitted",
  "consumer-in-order",
  "consumer-gone",
  "consumer-not-made",
  "consumer-changed",
  "consumer-paused",
  "consumer-silent",
  "consumer-made-anew",
  "consumer-not-deleted",
  "consumer-not-inspected",
  "pull-ended",
  "heartbeat-missed",
  "message-not-handled",
  "lanes-not-listed",
  "lane-not-read",
  "lane-changed",
  "lane-limit",
  "lane-removed",
  "task-unserved",
  "schemas-differ",
  "workers-not-read",
  "dedupe-not-marked",
  "status-not-shown",
  "telemetry-failed",
  "progress-unreadable",
] as const;

/** What is logged about, by a name that stays. */
export type LogEvent = typeof LOG_EVENTS[number];

/** What comes with a message; of the fields, those that have a meaning there. */
export type LogFields = {
  readonly event: LogEvent;
  /** The run's id. */
  readonly run?: string;
  /** The node's number. */
  readonly node?: number;
  readonly attempt?: number;
  readonly queue?: string;
  /** The lane of the queue. */
  readonly lane?: string;
  /** The worker's id. */
  readonly worker?: string;
  /** The processor's id. */
  readonly processor?: string;
  /** The schedule's id. */
  readonly schedule?: string;
  /** The server's name of a consumer. */
  readonly consumer?: string;
  /** What was thrown. */
  readonly error?: unknown;
  /** And what else there is to say. */
  readonly [field: string]: unknown;
};
