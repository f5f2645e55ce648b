/** `worker` and `processor` with `--metrics`: what Prometheus is answered, against a real server. */
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { findFreePorts } from "../../scripts/nats_server.ts";
import { prometheusMetrics, prometheusName } from "../../src/cli/prometheus.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { type MetricName, METRICS } from "../../src/core/metrics.ts";
import { startChild } from "../nats/child.ts";
import { eventually, rejection, TestServer } from "../nats/server.ts";
import { add, bad } from "./module.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const MODULE = fileURLToPath(new URL("./module.ts", import.meta.url));
const MAIN = "../../src/cli/main.ts";
const START_MS = 60_000;

const LABEL = String.raw`[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*"`;
const NUMBER = String.raw`(?:[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf)|NaN)`;
/** Prometheus' text format, version 0.0.4. */
const LINE = new RegExp(
  String
    .raw`^(?:# HELP [a-zA-Z_:][\w:]* .*|# TYPE [a-zA-Z_:][\w:]* (?:counter|gauge|histogram|summary)|` +
    String.raw`([a-zA-Z_:][\w:]*(?:\{${LABEL}(?:,${LABEL})*\})?) (${NUMBER})(?: \d+)?)$`,
);

/** Series by name and labels. @throws when a line is none. */
function parsed(text: string): Map<string, number> {
  const series = new Map<string, number>();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const match = LINE.exec(line);
    if (match === null) throw new Error(`no line of the format: ${line}`);
    if (match[1] !== undefined) series.set(match[1], Number(match[2]));
  }
  return series;
}

async function scrape(port: number): Promise<Map<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  assert.is(answer.status, 200);
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0.0.4/);
  return parsed(await answer.text());
}

test(
  "a worker and a processor answer Prometheus on their health ports",
  tests.scope(async (scope) => {
    const where = ["--server", scope.server.url, "--namespace", scope.namespace];
    const [ofWorker, ofProcessor] = await findFreePorts(2) as [number, number];
    const serve = (port: number, ...words: string[]) =>
      startChild(MAIN, [...words, "--health", String(port), "--metrics", ...where]);
    await using worker = serve(ofWorker, "worker", MODULE);
    await using processor = serve(ofProcessor, "processor");
    await Promise.all([worker.said("worker ", START_MS), processor.said("processor ", START_MS)]);
    const app = await scope.open();
    assert.is(await (await app.submit(add.s(1, 2))).result(), 3);
    await rejection((await app.submit(bad.s())).result());

    const queue = 'messaging_destination_name="default"';
    const task = (name: string) => `${queue},dyrygent_task_name="${name}"`;
    const seen = await scrape(ofWorker);
    const outcomes = (name: string, outcome: string) =>
      seen.get(`dyrygent_task_outcomes_total{${task(name)},dyrygent_outcome="${outcome}"}`);
    assert.equal([outcomes("add", "succeeded"), outcomes("bad", "failed")], [1, 1]);
    assert.is(seen.get(`dyrygent_task_wait_seconds_count{${task("add")}}`), 1);
    assert.is(
      seen.get(
        "messaging_process_duration_seconds_count{" +
          `messaging_system="nats",messaging_operation_name="execute",${task("bad")},` +
          'error_type="RangeError"}',
      ),
      1,
    );
    assert.ok((seen.get("process_resident_memory_bytes") ?? 1) > 0);

    // An end is told right after it is recorded.
    const lane = `{${queue},dyrygent_lane="p5"}`;
    await eventually("both ends are counted", async () => {
      const conducted = await scrape(ofProcessor);
      const ends = (state: string) =>
        conducted.get(
          `dyrygent_run_duration_seconds_count{dyrygent_workflow_name="canvas",dyrygent_run_state="${state}"}`,
        );
      return ends("SUCCESS") === 1 && ends("FAILURE") === 1 &&
          conducted.get(`dyrygent_queue_depth${lane}`) === 0 &&
          conducted.get(`dyrygent_queue_in_hand${lane}`) === 0 &&
          conducted.get('dyrygent_run_conducted{dyrygent_activity="active"}') === 0 ||
        JSON.stringify([...conducted].filter(([name]) => name.startsWith("dyrygent")));
    });
    for (const serving of [worker, processor]) {
      serving.signal("SIGTERM");
      assert.is(await serving.ended, 0);
    }
  }, { within: START_MS + 20_000 }),
);

test("metrics are called as exporters of OpenTelemetry call them", () => {
  assert.is(prometheusName("messaging.process.duration"), "messaging_process_duration_seconds");
  assert.is(prometheusName("dyrygent.task.outcomes"), "dyrygent_task_outcomes_total");
  assert.is(prometheusName("dyrygent.queue.depth"), "dyrygent_queue_depth");
  const names = (Object.keys(METRICS) as MetricName[]).map(prometheusName);
  assert.is(new Set(names).size, names.length);
});

test("a text that is no format of Prometheus' would be seen", () => {
  for (const line of ["a b", "a{b=c} 1", "# TYPE a number", 'a{b="c} 1', "1a 1"]) {
    assert.throws(() => parsed(line), /no line of the format/, line);
  }
});

test("without the package it is said what to install; without a port, what is missing", async () => {
  const error = await rejection(
    prometheusMetrics(() => Promise.reject(new Error("Cannot find package 'prom-client'"))),
  );
  assert.is(error.name, "UsageError");
  assert.match(error.message, /needs the package prom-client.*npm install prom-client/);
  for (
    const [words, expected] of [
      [["processor", "--metrics"], /--metrics needs a port to answer on: --health <port>/],
      [["worker", MODULE, "--metrics", "--health", "1", "-p", "2"], /--metrics is of one process/],
    ] as const
  ) {
    let text = "";
    assert.is(await runCommandLine(words, (more) => void (text += more)), 2);
    assert.match(text, expected);
  }
});

test.run();
