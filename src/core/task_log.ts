/**
 * What running tasks log: a line as JSON, what is too much of one, and the record of an execution's lines. Nothing depends on
 * it, so nothing in here throws, whatever it is given; what does not fit is left out, and that is said.
 */
import { isObject, isTooDeep } from "./json.ts";
import { isCount, LIMITS } from "./limits.ts";
import { parseRecord } from "./records.ts";

/** How much a line of a log matters. */
export type LogLevel = "debug" | "info" | "warn" | "error";
/** The least urgent first. */
export const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/** A line as a task logged it. */
export interface LogLine {
  /** Milliseconds since 1970, by the worker's clock. */
  readonly at: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>>;
  /** Its message was too long, or its fields too big or no JSON: there was more. */
  readonly cut?: true;
}

/** What one execution of an attempt has logged. */
export interface TaskLogRecord {
  readonly worker: string;
  /** When its first line was logged, milliseconds since 1970. */
  readonly startedAt: number;
  /** Lines before these that are not kept. */
  readonly dropped: number;
  /** A list of lines; perhaps sealed. */
  readonly lines: unknown;
}

const VERSION = 1;
const encoder = new TextEncoder();
/** What stands around a message, in a line without fields. */
const AROUND = 100;

/** @returns the line as JSON, of at most `LIMITS.logLineBytes`. */
export function writeLogLine(
  at: number,
  level: LogLevel,
  message: unknown,
  fields: unknown,
): string {
  const text = textOf(message);
  const given = fields === undefined ? undefined : fieldsJson(fields);
  const isWhole = text.length <= LIMITS.logLineBytes &&
    (fields === undefined) === (given === undefined);
  if (isWhole) {
    const line = lineJson(at, level, text, given, false);
    if (bytesOf(line) <= LIMITS.logLineBytes) return line;
  }
  // Half of a field says the wrong thing: fields are kept as they are, or not at all.
  const kept = given !== undefined && bytesOf(given) <= LIMITS.logLineBytes / 2 ? given : undefined;
  const room = LIMITS.logLineBytes - AROUND - (kept === undefined ? 0 : bytesOf(kept));
  return lineJson(at, level, fitting(text, room), kept, true);
}

/** As they travel: bytes of UTF-8. */
export function bytesOf(json: string): number {
  return encoder.encode(json).length;
}

function lineJson(
  at: number,
  level: LogLevel,
  message: string,
  fields: string | undefined,
  isCut: boolean,
): string {
  return `{"at":${at},"level":"${level}","message":${JSON.stringify(message)}` +
    (fields === undefined ? "" : `,"fields":${fields}`) + (isCut ? `,"cut":true}` : "}");
}

function textOf(message: unknown): string {
  try {
    return String(message).replace(/\p{Cs}/gu, "\uFFFD");
  } catch {
    return "something that cannot be described";
  }
}

/** The beginning of a text that, as JSON, has at most so many bytes. */
function fitting(text: string, most: number): string {
  let kept = text.slice(0, most);
  for (let bytes = 0; (bytes = bytesOf(JSON.stringify(kept))) > most;) {
    kept = kept.slice(0, Math.floor(kept.length * most / bytes) - 1);
  }
  return kept.length === text.length ? text : `${kept.slice(0, -3).replace(/\p{Cs}/gu, "")}…`;
}

/** @returns undefined when they are no object, or JSON cannot carry them. */
function fieldsJson(fields: unknown): string | undefined {
  if (!isObject(fields)) return undefined;
  try {
    const json = JSON.stringify(fields, shown);
    // They stand three levels deep in the record.
    return isObject(JSON.parse(json)) && !isTooDeep(encoder.encode(`[[[${json}]]]`))
      ? json
      : undefined;
  } catch {
    return undefined;
  }
}

/** What JSON would hide or refuse, and people log all the same. */
function shown(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (!(value instanceof Error)) return value;
  const { name, message, stack } = value;
  return { ...value, name, message, stack };
}

/** @param lines JSON: a list of lines, perhaps sealed. */
export function writeTaskLog(
  { worker, startedAt, dropped }: Omit<TaskLogRecord, "lines">,
  lines: string,
): Uint8Array {
  const head = JSON.stringify({ v: VERSION, worker, startedAt, dropped });
  return encoder.encode(`${head.slice(0, -1)},"lines":${lines}}`);
}

/** @returns undefined when it is no such record. */
export function readTaskLog(data: Uint8Array): TaskLogRecord | undefined {
  const { v, worker, startedAt, dropped, lines } = parseRecord(data) ?? {};
  return v === VERSION && typeof worker === "string" && Number.isFinite(startedAt) &&
      isCount(dropped)
    ? { worker, startedAt: startedAt as number, dropped, lines }
    : undefined;
}

/** Lines that are not sealed; what is none is shown as one, so that the others keep their numbers. */
export function readLogLines(lines: unknown): LogLine[] {
  return Array.isArray(lines) ? lines.map(readLine) : [];
}

function readLine(line: unknown): LogLine {
  const { at, level, message, fields, cut } = isObject(line) ? line : {};
  return {
    at: typeof at === "number" && Number.isFinite(at) ? at : 0,
    level: LOG_LEVELS.find((one) => one === level) ?? "info",
    message: typeof message === "string" ? message : "a line that cannot be read",
    ...(isObject(fields) ? { fields } : {}),
    ...(cut === true ? { cut } : {}),
  };
}
