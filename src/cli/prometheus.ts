/**
 * Metrics for Prometheus, by `prom-client`: the table of src/core/metrics.ts under the names that OpenTelemetry's rules give
 * them there, and what that package says of the process. It keeps no traces; those that come with messages are passed on.
 */
import {
  mergedSamples,
  type Metric,
  type MetricName,
  METRICS,
  type Reading,
  type Sample,
  samplesOf,
} from "../core/metrics.ts";
import { failureOf } from "../core/records.ts";
import type { Ongoing, Telemetry } from "../telemetry.ts";
import { UsageError } from "./exit.ts";

type Client = typeof import("prom-client");
type Labels = Sample["labels"];

export interface PrometheusMetrics {
  readonly telemetry: Telemetry;
  /** What a scrape is answered. */
  readonly page: () => Promise<{ readonly type: string; readonly text: string }>;
}

const UNTRACED: Ongoing = { trace: undefined, within: (call) => call(), end: () => {} };

/** @throws {UsageError} when the package is not installed */
export async function prometheusMetrics(
  load: () => Promise<unknown> = () => import("prom-client"),
): Promise<PrometheusMetrics> {
  const client = await loaded(load);
  const register = new client.Registry();
  client.collectDefaultMetrics({ register });
  const record = new Map<MetricName, (value: number, labels: Labels) => void>();
  const gauges: { reset(): void }[] = [];
  for (const name of Object.keys(METRICS) as MetricName[]) {
    const { kind, description, labels, buckets = [] } = METRICS[name];
    const config = {
      name: prometheusName(name),
      help: description,
      labelNames: labels.map(plain),
      registers: [register],
    };
    switch (kind) {
      case "counter": {
        const counter = new client.Counter(config);
        record.set(name, (value, labels) => counter.inc(labels, value));
        break;
      }
      case "histogram": {
        const histogram = new client.Histogram({ ...config, buckets: [...buckets] });
        record.set(name, (value, labels) => histogram.observe(labels, value));
        break;
      }
      case "gauge": {
        const gauge = new client.Gauge(config);
        gauges.push(gauge);
        record.set(name, (value, labels) => gauge.set(labels, value));
        break;
      }
      default:
        kind satisfies never;
    }
  }
  const take = (samples: readonly Sample[]) => {
    for (const { metric, value, labels } of samples) record.get(metric)!(value, plainKeys(labels));
  };
  const reads = new Set<() => Promise<readonly Reading[]>>();
  return {
    telemetry: {
      begin: () => UNTRACED,
      measure: (measurement) => take(samplesOf(measurement)),
      observe: (read) => {
        reads.add(read);
        return () => reads.delete(read);
      },
    },
    page: async () => {
      const readings = await Promise.all([...reads].map((read) => read()));
      for (const gauge of gauges) gauge.reset();
      take(mergedSamples(readings.flat().flatMap(samplesOf)));
      return { type: register.contentType, text: await register.metrics() };
    },
  };
}

async function loaded(load: () => Promise<unknown>): Promise<Client> {
  try {
    const module = await load() as Client & { default?: Client };
    return module.default ?? module;
  } catch (error) {
    throw new UsageError(
      `--metrics needs the package prom-client, which cannot be loaded: ${
        failureOf(error).message
      }. Install it beside nats-dyrygent: npm install prom-client, ` +
        "or npx -p nats-dyrygent -p prom-client nats-dyrygent …",
    );
  }
}

/** As exporters of OpenTelemetry call it: unit and kind at the end. */
export function prometheusName(name: MetricName): string {
  const { unit, kind }: Metric = METRICS[name];
  return plain(name) + (unit === "s" ? "_seconds" : "") + (kind === "counter" ? "_total" : "");
}

function plain(name: string): string {
  return name.replaceAll(".", "_");
}

function plainKeys(labels: Labels): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [plain(name), value]));
}
