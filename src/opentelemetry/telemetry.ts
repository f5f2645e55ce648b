/** Telemetry by OpenTelemetry's API: operations are spans, measurements go to instruments. It needs an SDK to go anywhere. */
import {
  type Context,
  context,
  type HrTime,
  type MeterProvider,
  metrics,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import type { Cause, Ending, Ongoing, Operation, Telemetry } from "../telemetry.ts";
import { Instruments } from "./instruments.ts";
import { contextOf, linkTo, traceOf } from "./propagation.ts";
import { attributesOf, kindOf, nameOf } from "./spans.ts";

/** How to tell OpenTelemetry. */
export interface OpenTelemetryOptions {
  /** @default the global one */
  tracerProvider?: TracerProvider;
  /** @default the global one */
  meterProvider?: MeterProvider;
}

const SCOPE = "nats-dyrygent";

/**
 * For `Dyrygent.open(nc, { telemetry: openTelemetry() })`: spans and metrics as docs/guide/observability.md says. Register
 * your SDK first. Handlers run inside their spans where a context manager is registered, as Node.js and Deno SDKs do.
 */
export function openTelemetry(
  { tracerProvider = trace, meterProvider = metrics }: OpenTelemetryOptions = {},
): Telemetry {
  const tracer = tracerProvider.getTracer(SCOPE);
  const instruments = new Instruments(meterProvider.getMeter(SCOPE));
  return {
    begin: (operation) => begin(tracer, operation),
    measure: (measurement) => instruments.record(measurement),
    observe: (read) => instruments.observe(read),
  };
}

function begin(tracer: Tracer, operation: Operation): Ongoing {
  const within = contextIn(operation.parent);
  const span = tracer.startSpan(nameOf(operation), {
    kind: kindOf(operation),
    attributes: attributesOf(operation),
    ...(operation.is === "dispatch" ? { links: operation.causes.flatMap(linkTo) } : {}),
    ...(operation.is === "wait" ? { startTime: timeOf(operation.since) } : {}),
  }, within);
  return {
    trace: traceOf(span.spanContext()),
    within: (call) => context.with(trace.setSpan(within, span), call),
    end: (how) => end(span, how),
  };
}

/** A plain number would be taken for a time of this process when it is from before its start. */
function timeOf(ms: number): HrTime {
  return [Math.trunc(ms / 1e3), Math.round((ms % 1e3) * 1e6)];
}

/** What runs in this process by chance (whoever made the connection) is no cause. */
function contextIn(cause: Cause): Context {
  if (cause === "active") return context.active();
  return cause === "none" ? ROOT_CONTEXT : contextOf(cause);
}

function end(span: Span, { outcome, failure }: Ending): void {
  span.setAttribute("dyrygent.outcome", outcome);
  if (failure !== undefined) {
    const { name, message, stack } = failure;
    span.setAttribute("error.type", name);
    span.setStatus({
      code: SpanStatusCode.ERROR,
      ...(message === undefined ? {} : { message }),
    });
    if (message !== undefined) {
      span.recordException({ name, message, ...(stack === undefined ? {} : { stack }) });
    }
  }
  span.end();
}
