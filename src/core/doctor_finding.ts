/**
 * What the doctor can find: each kind has a stable code, how bad it is as a rule, and a cure. Only the words; who looks is
 * src/client/doctor.ts, who judges are server_health.ts and namespace_health.ts.
 */

/**
 * `error`: something does not work, or may lose what was acknowledged to be safe. `warning`: it works, and should be seen
 * to. `info`: worth knowing.
 */
export type Severity = "error" | "warning" | "info";

interface Kind {
  readonly severity: Severity;
  readonly cure: string;
}

/** A kind of finding; docs/guide/audit-and-doctor.md says more of each. */
export type DoctorCode =
  | "account-limited"
  | "clock-skew"
  | "config-drift"
  | "consumer-missing"
  | "foreign-consumer"
  | "foreign-message"
  | "memory-storage"
  | "monitoring-unreachable"
  | "no-leader"
  | "no-live-processor"
  | "not-seen"
  | "one-copy"
  | "quarantined"
  | "queue-unserved"
  | "record-newer"
  | "record-unreadable"
  | "replica-lagging"
  | "replica-offline"
  | "run-without-tick"
  | "server-too-old"
  | "server-untested"
  | "storage-filling"
  | "stream-missing"
  | "sync-lazy"
  | "sync-unknown"
  | "tasks-left"
  | "tick-left"
  | "tick-without-run"
  | "writes-async";

const KINDS: Readonly<Record<DoctorCode, Kind>> = {
  "account-limited": {
    severity: "warning",
    cure: "Raise the account's or the stream's limit: every priority and every key of limited " +
      "tasks needs a consumer, and runs that wait count as not acknowledged.",
  },
  "clock-skew": {
    severity: "warning",
    cure: "Let all machines set their clocks by NTP: delays, expiry, schedules, retention and " +
      "who counts as live go by them.",
  },
  "config-drift": {
    severity: "error",
    cure: "Set the field back: processes that open now refuse it, and with this value tasks " +
      "could get lost or be repeated. For replicas, storage and ack_wait see that every process " +
      "is opened with the same options.",
  },
  "consumer-missing": {
    severity: "error",
    cure: "Open the namespace again, or start a worker of that queue: that makes it. Find out " +
      "who deleted it.",
  },
  "foreign-consumer": {
    severity: "warning",
    cure: "Delete it: what it takes from the queue, no worker gets.",
  },
  "foreign-message": {
    severity: "warning",
    cure: "Find out who publishes there, and remove it: `nats stream rm-msg`. Nobody takes it.",
  },
  "memory-storage": {
    severity: "warning",
    cure: 'Keep it in memory only if it may get lost, else open with storage: "file".',
  },
  "monitoring-unreachable": {
    severity: "warning",
    cure: "Give the address of the server's http_port, as seen from here: " +
      "http://<server>:8222.",
  },
  "no-leader": {
    severity: "error",
    cure: "Bring the servers that are down back: a stream needs more than half of its replicas.",
  },
  "no-live-processor": {
    severity: "error",
    cure: "Start a processor. Where processor.runOnce() is called from time to time this is " +
      "as it should be.",
  },
  "not-seen": {
    severity: "warning",
    cure: "Give the user the permission that is named, or ask as a user with all rights. Where " +
      "the server did not answer, see whether it and its JetStream are up.",
  },
  "one-copy": {
    severity: "info",
    cure: "Open a new namespace with replicas: 3, or change all streams, and then every process.",
  },
  "quarantined": {
    severity: "warning",
    cure:
      "Look at them (app.quarantined(), or the command: dead show), find out who wrote them, and drop them.",
  },
  "queue-unserved": {
    severity: "error",
    cure: "Start a worker with this queue in its `queues`, and with its tasks.",
  },
  "record-newer": {
    severity: "warning",
    cure: "Upgrade this process; processors and workers of that version deal with it.",
  },
  "record-unreadable": {
    severity: "error",
    cure: "Find out who wrote it. Processors end such a run as ERROR; a schedule is to be made " +
      "anew.",
  },
  "replica-lagging": {
    severity: "warning",
    cure: "Look at that server's disk and network, if it does not catch up.",
  },
  "replica-offline": {
    severity: "warning",
    cure: "Bring the server back, or replace it: `nats stream cluster peer-remove`.",
  },
  "run-without-tick": {
    severity: "warning",
    cure: "Nothing, where processors run: a sweep gives it a tick. Else processor.sweep().",
  },
  "server-too-old": {
    severity: "error",
    cure: "Upgrade nats-server.",
  },
  "server-untested": {
    severity: "warning",
    cure: "Use a version that the library is tested with: from 2.10.27 to 2.15.",
  },
  "storage-filling": {
    severity: "warning",
    cure: "Raise the limit, shorten the retention of runs, or remove some: when it is full, " +
      "nothing can be submitted or recorded.",
  },
  "stream-missing": {
    severity: "error",
    cure: "Restore it from a backup; opening the namespace again makes an empty one.",
  },
  "sync-lazy": {
    severity: "warning",
    cure: "Set sync_interval: always in the server's jetstream block, or keep three replicas " +
      "where the power does not fail at once.",
  },
  "sync-unknown": {
    severity: "info",
    cure: 'Ask with app.doctor({ monitoringUrl: "http://<server>:8222" }), or look at ' +
      "config.sync_always and config.max_storage there in /jsz.",
  },
  "tasks-left": {
    severity: "warning",
    cure: "Nothing, where workers run: they acknowledge what has an outcome. Else remove them: " +
      "`nats stream purge --subject`.",
  },
  "tick-left": {
    severity: "warning",
    cure: "Nothing, where processors run: the next one that takes it acknowledges it.",
  },
  "tick-without-run": {
    severity: "warning",
    cure: "Nothing, where processors run: the next one that takes it acknowledges it. Facts " +
      "that were removed behind the library's back need more: submit again.",
  },
  "writes-async": {
    severity: "warning",
    cure: 'Make the stream anew with the persist_mode "default": a crash of the server loses ' +
      "what it has acknowledged.",
  },
};

export const DOCTOR_CODES: readonly DoctorCode[] = Object.keys(KINDS) as DoctorCode[];

/** One thing the doctor found. */
export interface DoctorFinding {
  /** Stable, for programs. */
  readonly code: DoctorCode;
  readonly severity: Severity;
  /** What was seen, with its values. */
  readonly message: string;
  /** The next step, for people. */
  readonly cure: string;
}

/** @param severity where it is not as bad, or worse, than as a rule. */
export function found(
  code: DoctorCode,
  message: string,
  severity: Severity = KINDS[code].severity,
): DoctorFinding {
  return { code, severity, message, cure: KINDS[code].cure };
}
