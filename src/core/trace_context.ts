/**
 * The trace that a message belongs to, as it travels in headers: W3C Trace Context. Written and read here only. Nothing is
 * decided from it, and nothing of it is part of what makes two definitions equal.
 */

/** https://www.w3.org/TR/trace-context/ */
export interface TraceContext {
  /** `00-<trace, 32 hex digits>-<span, 16>-<flags, 2>`. */
  readonly traceparent: string;
  /** What tracing systems add, at most 512 characters. */
  readonly tracestate?: string;
}

const PARENT = /^[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;
/** What is longer may be dropped, says W3C; no header ends inside of it. */
const STATE = /^[\x21-\x7e](?:[\x20-\x7e]{0,510}[\x21-\x7e])?$/;
const PARENT_LINE = /^traceparent:[ \t]*(.*)$/im;
const STATE_LINE = /^tracestate:[ \t]*(.*)$/im;

/** Undefined: these are no trace. A `tracestate` that cannot travel is left out. */
export function traceContext(
  traceparent: string | undefined,
  tracestate?: string,
): TraceContext | undefined {
  if (traceparent === undefined || !PARENT.test(traceparent)) return undefined;
  return tracestate === undefined || !STATE.test(tracestate)
    ? { traceparent }
    : { traceparent, tracestate };
}

/** Whole lines of headers. */
export function traceLines({ traceparent, tracestate }: TraceContext): string {
  const line = `traceparent: ${traceparent}\r\n`;
  return tracestate === undefined ? line : `${line}tracestate: ${tracestate}\r\n`;
}

/** The trace in encoded headers. */
export function traceIn(headers: string): TraceContext | undefined {
  const parent = PARENT_LINE.exec(headers)?.[1]?.trim();
  return parent === undefined
    ? undefined
    : traceContext(parent, STATE_LINE.exec(headers)?.[1]?.trim());
}
