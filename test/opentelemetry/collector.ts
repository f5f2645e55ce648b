/** One process's OpenTelemetry, with the real SDK: what it has told is kept in memory. */
import { context } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { openTelemetry } from "nats-dyrygent/opentelemetry";
import type { Telemetry } from "nats-dyrygent";

class ReadOnDemand extends MetricReader {
  protected override onForceFlush = () => Promise.resolve();
  protected override onShutdown = () => Promise.resolve();
}

/** A point of a metric: its labels as one text, and its value or, of a histogram, count and sum. */
export interface Point {
  readonly metric: string;
  readonly unit: string;
  readonly labels: Readonly<Record<string, unknown>>;
  readonly value: number | { readonly count: number; readonly sum: number };
}

export class Collector {
  readonly telemetry: Telemetry;
  readonly tracers: BasicTracerProvider;
  readonly #spans = new InMemorySpanExporter();
  readonly #reader = new ReadOnDemand();

  constructor() {
    // Once for the whole process: others do nothing.
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const spanProcessors = [new SimpleSpanProcessor(this.#spans)];
    this.tracers = new BasicTracerProvider({ spanProcessors });
    const meters = new MeterProvider({ readers: [this.#reader] });
    this.telemetry = openTelemetry({ tracerProvider: this.tracers, meterProvider: meters });
  }

  get spans(): readonly ReadableSpan[] {
    return this.#spans.getFinishedSpans();
  }

  async points(): Promise<Point[]> {
    const { resourceMetrics, errors } = await this.#reader.collect();
    if (errors.length > 0) throw errors[0];
    return resourceMetrics.scopeMetrics.flatMap(({ metrics }) =>
      metrics.flatMap(({ descriptor, dataPoints }) =>
        dataPoints.map(({ attributes, value }) => ({
          metric: descriptor.name,
          unit: descriptor.unit,
          labels: attributes,
          value: typeof value === "number" ? value : { count: value.count, sum: value.sum ?? 0 },
        }))
      )
    );
  }
}

/** The only span of this name (and attempt). */
export function spanNamed(
  spans: readonly ReadableSpan[],
  name: string,
  attempt?: number,
): ReadableSpan {
  const found = spans.filter((span) =>
    span.name === name &&
    (attempt === undefined || span.attributes["dyrygent.attempt"] === attempt)
  );
  if (found.length === 1) return found[0]!;
  const names = spans.map((span) => span.name).sort().join(", ");
  throw new Error(`${found.length} spans "${name}" ${attempt ?? ""} in: ${names}`);
}

/** Span ids that it links to. */
export function linksOf({ links }: ReadableSpan): string[] {
  return links.map(({ context }) => context.spanId).sort();
}
