/** W3C trace context in headers: what is written is read again, and what is no trace is none. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { traceContext, traceIn, traceLines } from "../../src/core/trace_context.ts";

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

test("what is written is read again, among other headers", () => {
  for (const trace of [{ traceparent }, { traceparent, tracestate: "rojo=1,congo=t61 rc" }]) {
    const headers = `NATS/1.0\r\nOther: 1\r\n${traceLines(trace)}More: 2\r\n\r\n`;
    assert.equal(traceIn(headers), trace);
  }
});

test("the case of a header's name does not matter", () => {
  assert.equal(traceIn(`Traceparent:${traceparent}\r\nTraceState: a=1\r\n`), {
    traceparent,
    tracestate: "a=1",
  });
});

test("what is no trace is none", () => {
  const broken = [
    "",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
    traceparent.toUpperCase(),
    `${traceparent}-extra`,
    `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
    `00-4bf92f3577b34da6a3ce929d0e0e4736-${"0".repeat(16)}-01`,
  ];
  for (const text of broken) assert.is(traceIn(`traceparent: ${text}\r\n`), undefined, text);
  assert.is(traceIn(`X-traceparent: ${traceparent}\r\n`), undefined);
  assert.is(traceIn("NATS/1.0\r\n\r\n"), undefined);
});

test("a state that would break the headers, or is too long, is left out", () => {
  for (const state of ["a=1\r\nEvil: 1", "ä=1", "", " ", `a=${"x".repeat(511)}`]) {
    assert.equal(traceContext(traceparent, state), { traceparent }, state);
  }
  const longest = `a=${"x".repeat(510)}`;
  assert.is(traceContext(traceparent, longest)?.tracestate, longest);
});

test.run();
