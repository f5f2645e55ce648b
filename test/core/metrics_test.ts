/** The table of metrics: every sample is of a metric of it, with its labels; and gauges of several in one process. */
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type Measurement,
  mergedSamples,
  METRICS,
  type Reading,
  samplesOf,
} from "../../src/core/metrics.ts";

const of = { queue: "q", task: "t" };
const told: readonly (Measurement | Reading)[] = [
  { is: "submitted", workflow: "w" },
  { is: "waited", ...of, ms: 1_500 },
  { is: "attempted", ...of, outcome: "failed", error: "RangeError", ms: 20 },
  { is: "hopped", ms: 0.5 },
  { is: "retried", ...of },
  { is: "ticked", lateMs: 3 },
  { is: "leaseLost", lease: "tick" },
  { is: "ended", workflow: "w", state: "SUCCESS", ms: 60_000 },
  { is: "running", ...of, count: 2 },
  { is: "conducted", active: 1, parked: 5 },
  { is: "lane", queue: "q", lane: "p5", waiting: 7, inHand: 3 },
];

test("every metric is told of, with all of its labels and no other", () => {
  const samples = told.flatMap(samplesOf);
  assert.equal(
    [...new Set(samples.map(({ metric }) => metric))].sort(),
    Object.keys(METRICS).sort(),
  );
  for (const { metric, labels } of samples) {
    assert.equal(Object.keys(labels).sort(), [...METRICS[metric].labels].sort(), metric);
  }
});

test("times are seconds", () => {
  assert.is(samplesOf(told[1]!)[0]!.value, 1.5);
  for (const { unit, kind } of Object.values(METRICS)) {
    assert.is(unit === "s", kind === "histogram");
  }
});

test("only a failure has an error's type, and what a message does not say is left out", () => {
  const succeeded = {
    is: "attempted",
    ...of,
    outcome: "succeeded",
    error: undefined,
    ms: 1,
  } as const;
  assert.not("error.type" in samplesOf(succeeded)[0]!.labels);
  const unread = { ...succeeded, task: undefined, outcome: "failed" } as const;
  const [{ labels }] = samplesOf(unread) as [ReturnType<typeof samplesOf>[number]];
  assert.is(labels["error.type"], "_OTHER");
  assert.not("dyrygent.task.name" in labels);
});

test("of two in a process what runs is added, and what both see of the server is not", () => {
  const values = mergedSamples(
    [
      ...told.slice(8),
      { is: "lane", queue: "q", lane: "p9", waiting: 1, inHand: 0 } as const,
      ...told.slice(8),
    ]
      .flatMap(samplesOf),
  ).map(({ metric, labels, value }) => [metric, Object.values(labels).at(-1), value]);
  assert.equal(values, [
    ["dyrygent.task.in_flight", "t", 4],
    ["dyrygent.run.conducted", "active", 2],
    ["dyrygent.run.conducted", "parked", 10],
    ["dyrygent.queue.depth", "p5", 7],
    ["dyrygent.queue.in_hand", "p5", 3],
    ["dyrygent.queue.depth", "p9", 1],
    ["dyrygent.queue.in_hand", "p9", 0],
  ]);
});

test("the guide's table of metrics is this table", () => {
  const page = readFileSync("docs/guide/observability.md", "utf8");
  const row =
    /^\| `((?:messaging|dyrygent)[\w.]+)` +\| (counter|histogram|gauge) +\| `?([^|`]+?)`? +\| ([^|]*?) +\|/gm;
  const rows = [...page.matchAll(row)].map(([, name, kind, unit, labels]) => ({
    name: name!,
    kind: kind!,
    unit: unit!,
    labels: [...labels!.matchAll(/`([\w.]+)`/g)].map(([, label]) => label!).sort(),
  }));
  assert.equal(
    rows,
    Object.entries(METRICS).map(([name, { kind, unit, labels }]) => ({
      name,
      kind,
      unit,
      labels: [...labels].sort(),
    })),
  );
});

test.run();
