/**
 * What is measured, as plain data, and the metrics that it becomes: names, units and labels are a contract
 * (docs/guide/observability.md). Whoever exports metrics goes by this table; nothing is counted in here.
 */

/** Something happened. Spans of time in milliseconds. */
export type Measurement =
  | { readonly is: "submitted"; readonly workflow: string }
  /** An attempt was begun, so long after it was queued. */
  | { readonly is: "waited"; readonly queue: string; readonly task: string; readonly ms: number }
  /** A worker is done with an attempt. */
  | {
    readonly is: "attempted";
    readonly queue: string;
    /** Undefined: the message does not say. */
    readonly task: string | undefined;
    readonly outcome: "succeeded" | "failed" | "expanded";
    /** The failure's name. */
    readonly error: string | undefined;
    readonly ms: number;
  }
  /** From an outcome's record to the queuing of a node that it made ready, by the server's clock. */
  | { readonly is: "hopped"; readonly ms: number }
  /** An attempt failed, and another one follows. */
  | { readonly is: "retried"; readonly queue: string; readonly task: string }
  /** A tick came so long after it was due. */
  | { readonly is: "ticked"; readonly lateMs: number }
  | { readonly is: "leaseLost"; readonly lease: "task" | "tick" }
  /** A round of a run ended, so long after the submit. */
  | {
    readonly is: "ended";
    readonly workflow: string;
    readonly state: string;
    readonly ms: number;
  };

/** How something stands when it is asked for. */
export type Reading =
  | {
    readonly is: "running";
    readonly queue: string;
    readonly task: string;
    readonly count: number;
  }
  | { readonly is: "conducted"; readonly active: number; readonly parked: number }
  | {
    readonly is: "lane";
    readonly queue: string;
    readonly lane: string;
    readonly waiting: number;
    /** With workers. */
    readonly inHand: number;
  };

export interface Metric {
  readonly kind: "counter" | "histogram" | "gauge";
  /** As UCUM has it: `s`, or what is counted in braces. */
  readonly unit: string;
  readonly description: string;
  readonly labels: readonly string[];
  /** Upper bounds, of a histogram. */
  readonly buckets?: readonly number[];
  /** Several in one process say: all the same, or each its share. Of a gauge. */
  readonly merged?: "max" | "sum";
}

export interface Sample {
  readonly metric: MetricName;
  readonly value: number;
  readonly labels: Readonly<Record<string, string>>;
}

const QUEUE = "messaging.destination.name";
const TASK = "dyrygent.task.name";
const WORKFLOW = "dyrygent.workflow.name";
/** Those that the semantic conventions advise. */
const PROCESSING = [
  0.005,
  0.01,
  0.025,
  0.05,
  0.075,
  0.1,
  0.25,
  0.5,
  0.75,
  1,
  2.5,
  5,
  7.5,
  10,
];
const SHORT = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const LONG = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600];

export type MetricName =
  | "messaging.process.duration"
  | "dyrygent.task.outcomes"
  | "dyrygent.task.wait"
  | "dyrygent.task.in_flight"
  | "dyrygent.task.retries"
  | "dyrygent.queue.depth"
  | "dyrygent.queue.in_hand"
  | "dyrygent.hop.duration"
  | "dyrygent.tick.lateness"
  | "dyrygent.lease.lost"
  | "dyrygent.run.submitted"
  | "dyrygent.run.duration"
  | "dyrygent.run.conducted";

export const METRICS: Readonly<Record<MetricName, Metric>> = {
  "messaging.process.duration": {
    kind: "histogram",
    unit: "s",
    description: "How long handlers ran.",
    labels: ["messaging.system", "messaging.operation.name", QUEUE, TASK, "error.type"],
    buckets: PROCESSING,
  },
  "dyrygent.task.outcomes": {
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts that workers are done with.",
    labels: [QUEUE, TASK, "dyrygent.outcome"],
  },
  "dyrygent.task.wait": {
    kind: "histogram",
    unit: "s",
    description: "From the queuing of an attempt to its beginning.",
    labels: [QUEUE, TASK],
    buckets: LONG,
  },
  "dyrygent.task.in_flight": {
    kind: "gauge",
    unit: "{attempt}",
    description: "Attempts that run now.",
    labels: [QUEUE, TASK],
    merged: "sum",
  },
  "dyrygent.task.retries": {
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts that failed and are tried again.",
    labels: [QUEUE, TASK],
  },
  "dyrygent.queue.depth": {
    kind: "gauge",
    unit: "{message}",
    description: "Task messages that wait. Every processor says the same.",
    labels: [QUEUE, "dyrygent.lane"],
    merged: "max",
  },
  "dyrygent.queue.in_hand": {
    kind: "gauge",
    unit: "{message}",
    description: "Task messages that are with workers. Every processor says the same.",
    labels: [QUEUE, "dyrygent.lane"],
    merged: "max",
  },
  "dyrygent.hop.duration": {
    kind: "histogram",
    unit: "s",
    description: "From the record of an outcome to the queuing of what it made ready.",
    labels: [],
    buckets: SHORT,
  },
  "dyrygent.tick.lateness": {
    kind: "histogram",
    unit: "s",
    description: "How long after they were due ticks came to this processor.",
    labels: [],
    buckets: SHORT,
  },
  "dyrygent.lease.lost": {
    kind: "counter",
    unit: "{lease}",
    description: "Leases that ran out while somebody relied on them.",
    labels: ["dyrygent.lease"],
  },
  "dyrygent.run.submitted": {
    kind: "counter",
    unit: "{run}",
    description: "Runs that were made here.",
    labels: [WORKFLOW],
  },
  "dyrygent.run.duration": {
    kind: "histogram",
    unit: "s",
    description: "From the submit of a run to its end.",
    labels: [WORKFLOW, "dyrygent.run.state"],
    buckets: LONG,
  },
  "dyrygent.run.conducted": {
    kind: "gauge",
    unit: "{run}",
    description: "Runs whose ticks this processor holds.",
    labels: ["dyrygent.activity"],
    merged: "sum",
  },
};

/** What is to be counted for it. A label is left out where there is nothing to say. */
export function samplesOf(told: Measurement | Reading): Sample[] {
  switch (told.is) {
    case "submitted":
      return [sample("dyrygent.run.submitted", 1, { [WORKFLOW]: told.workflow })];
    case "waited":
      return [sample("dyrygent.task.wait", told.ms / 1e3, of(told))];
    case "attempted": {
      const error: Sample["labels"] = told.outcome === "failed"
        ? { "error.type": told.error ?? "_OTHER" }
        : {};
      const system = { "messaging.system": "nats", "messaging.operation.name": "execute" };
      return [
        sample("messaging.process.duration", told.ms / 1e3, { ...system, ...of(told), ...error }),
        sample("dyrygent.task.outcomes", 1, { ...of(told), "dyrygent.outcome": told.outcome }),
      ];
    }
    case "hopped":
      return [sample("dyrygent.hop.duration", told.ms / 1e3)];
    case "retried":
      return [sample("dyrygent.task.retries", 1, of(told))];
    case "ticked":
      return [sample("dyrygent.tick.lateness", told.lateMs / 1e3)];
    case "leaseLost":
      return [sample("dyrygent.lease.lost", 1, { "dyrygent.lease": told.lease })];
    case "ended": {
      const labels = { [WORKFLOW]: told.workflow, "dyrygent.run.state": told.state };
      return [sample("dyrygent.run.duration", told.ms / 1e3, labels)];
    }
    case "running":
      return [sample("dyrygent.task.in_flight", told.count, of(told))];
    case "conducted":
      return (["active", "parked"] as const).map((activity) =>
        sample("dyrygent.run.conducted", told[activity], { "dyrygent.activity": activity })
      );
    case "lane": {
      const labels = { [QUEUE]: told.queue, "dyrygent.lane": told.lane };
      return [
        sample("dyrygent.queue.depth", told.waiting, labels),
        sample("dyrygent.queue.in_hand", told.inHand, labels),
      ];
    }
  }
  return told satisfies never;
}

function sample(metric: MetricName, value: number, labels: Sample["labels"] = {}): Sample {
  return { metric, value, labels };
}

function of({ queue, task }: { queue: string; task: string | undefined }): Sample["labels"] {
  return { [QUEUE]: queue, ...(task === undefined ? {} : { [TASK]: task }) };
}

/** One sample for each gauge and set of labels. */
export function mergedSamples(samples: Iterable<Sample>): Sample[] {
  const merged = new Map<string, Sample>();
  for (const sample of samples) {
    const key = JSON.stringify([sample.metric, Object.entries(sample.labels).sort()]);
    const before = merged.get(key)?.value ?? 0;
    const isSame = METRICS[sample.metric].merged === "max";
    const value = isSame ? Math.max(before, sample.value) : before + sample.value;
    merged.set(key, { ...sample, value });
  }
  return [...merged.values()];
}
