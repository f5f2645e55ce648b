/**
 * The note of an outcome travels as a header, so that a scan needs no bodies; so does the trace of a fact. A fact that the server republishes has seven
 * headers; the client library decodes, checks and copies each of them to give one, which costs more than all else that a
 * processor does with it. So those that are needed are looked for in the bytes.
 */
import type { Msg } from "@nats-io/nats-core";
import { type TraceContext, traceContext, traceIn } from "../core/trace_context.ts";

const NAME = "Dyrygent-Outcome";
const LINE = new RegExp(`^${NAME}: *(.*)$`, "m");
const BEGINNING = "NATS/1.0\r\n";

const decoder = new TextDecoder();

/** A whole line, for {@link ifFree}. */
export function noteLine(note: string): string {
  return `${NAME}: ${note}\r\n`;
}

/** As a field of what is stored: absent where there is none. */
export function noteOf(msg: Msg): { note?: string } {
  const text = headersOf(msg);
  return field(text === undefined ? msg.headers?.get(NAME) : noteIn(text));
}

/** What headers say of a fact. */
export interface Noted {
  note?: string;
  trace?: TraceContext;
}

/** The note, and the trace. */
export function notedOf(msg: Msg): Noted {
  const text = headersOf(msg);
  if (text !== undefined) return notedIn(text);
  const { headers } = msg;
  const trace = traceContext(headers?.get("traceparent"), headers?.get("tracestate"));
  return { ...field(headers?.get(NAME)), ...(trace === undefined ? {} : { trace }) };
}

/** The same, of headers as the server keeps them. */
export function notedIn(headers: string | undefined): Noted {
  if (headers === undefined) return {};
  const trace = traceIn(headers);
  return { ...field(noteIn(headers)), ...(trace === undefined ? {} : { trace }) };
}

const TIME = /^Nats-Time-Stamp: *(.*?)(\.\d+)?Z$/m;

/** When it was recorded, of a hint: milliseconds since 1970, with their fractions. */
export function recordedAt(msg: Msg): { at?: number } {
  const [, seconds, fraction = "0"] = TIME.exec(headersOf(msg) ?? "") ?? [];
  const at = Date.parse(`${seconds}Z`) + Number(fraction) * 1e3;
  return Number.isFinite(at) ? { at } : {};
}

function noteIn(headers: string): string | undefined {
  return LINE.exec(headers)?.[1]?.trim();
}

function field(note: string | undefined): { note?: string } {
  return note === undefined || note === "" ? {} : { note };
}

/** They stand before the body. Undefined: not where the library put them so far. */
function headersOf(msg: Msg): string | undefined {
  const { data, subject, reply = "" } = msg;
  const size = (msg as Msg & { size?: () => number }).size?.();
  if (size === undefined) return undefined;
  const length = size - subject.length - reply.length - data.length;
  if (length === 0) return "";
  if (length < 0 || length > data.byteOffset) return undefined;
  const bytes = new Uint8Array(data.buffer, data.byteOffset - length, length);
  const text = decoder.decode(bytes);
  return text.startsWith(BEGINNING) ? text : undefined;
}
