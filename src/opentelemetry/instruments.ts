/** The metrics of src/core/metrics.ts as OpenTelemetry's instruments. Gauges are read when they are collected. */
import type { Meter, ObservableGauge } from "@opentelemetry/api";
import {
  type Measurement,
  mergedSamples,
  type MetricName,
  METRICS,
  type Reading,
  type Sample,
  samplesOf,
} from "../core/metrics.ts";

type Read = () => Promise<readonly Reading[]>;

export class Instruments {
  readonly #record = new Map<MetricName, (value: number, labels: Sample["labels"]) => void>();
  readonly #reads = new Set<Read>();
  #shown: readonly Sample[] = [];

  constructor(meter: Meter) {
    const gauges = new Map<MetricName, ObservableGauge>();
    for (const name of Object.keys(METRICS) as MetricName[]) {
      const { kind, unit, description, buckets = [] } = METRICS[name];
      const options = { unit, description, advice: { explicitBucketBoundaries: [...buckets] } };
      switch (kind) {
        case "counter": {
          const counter = meter.createCounter(name, options);
          this.#record.set(name, (value, labels) => counter.add(value, labels));
          break;
        }
        case "histogram": {
          const histogram = meter.createHistogram(name, options);
          this.#record.set(name, (value, labels) => histogram.record(value, labels));
          break;
        }
        case "gauge":
          gauges.set(name, meter.createObservableGauge(name, options));
          break;
        default:
          kind satisfies never;
      }
    }
    // One look for all gauges.
    meter.addBatchObservableCallback(async (result) => {
      for (const { metric, value, labels } of await this.#readAll()) {
        result.observe(gauges.get(metric)!, value, labels);
      }
    }, [...gauges.values()]);
  }

  record(measurement: Measurement): void {
    for (const { metric, value, labels } of samplesOf(measurement)) {
      this.#record.get(metric)?.(value, labels);
    }
  }

  observe(read: Read): () => void {
    this.#reads.add(read);
    return () => this.#reads.delete(read);
  }

  /** An SDK shows the last value until there is another: of what is not there any more it must be told once. */
  async #readAll(): Promise<Sample[]> {
    const readings = await Promise.all([...this.#reads].map((read) => read()));
    const gone = this.#shown.map((sample) => ({ ...sample, value: 0 }));
    this.#shown = mergedSamples(readings.flat().flatMap(samplesOf));
    return mergedSamples([...gone, ...this.#shown]);
  }
}
