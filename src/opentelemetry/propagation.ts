/** Traces as OpenTelemetry has them, and as they travel. W3C only, whatever propagator is registered: it is the protocol. */
import {
  type Context,
  createTraceState,
  isSpanContextValid,
  type Link,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
} from "@opentelemetry/api";
import { type TraceContext, traceContext } from "../core/trace_context.ts";

/** Undefined where nobody keeps traces. */
export function traceOf(span: SpanContext): TraceContext | undefined {
  if (!isSpanContextValid(span)) return undefined;
  const { traceId, spanId, traceFlags, traceState } = span;
  const flags = (traceFlags & 0xff).toString(16).padStart(2, "0");
  return traceContext(`00-${traceId}-${spanId}-${flags}`, traceState?.serialize() || undefined);
}

export function contextOf(came: TraceContext): Context {
  return trace.setSpanContext(ROOT_CONTEXT, spanContextOf(came));
}

/** None to what is no span. */
export function linkTo(came: TraceContext): Link[] {
  const context = spanContextOf(came);
  return isSpanContextValid(context) ? [{ context }] : [];
}

function spanContextOf({ traceparent, tracestate }: TraceContext): SpanContext {
  const [, traceId = "", spanId = "", flags = "00"] = traceparent.split("-");
  return {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
    ...(tracestate === undefined ? {} : { traceState: createTraceState(tracestate) }),
  };
}
