/**
 * What is written: outcomes, control facts, terminal records, task messages, ticks, status views. Each has its form here,
 * for writing and for reading. Reading trusts nothing; what cannot be understood comes back as undefined.
 */
import type { RunSummary } from "./canvas.ts";
import type { RecordedFailure } from "./errors.ts";
import { isCount, LIMITS } from "./limits.ts";
import type { Control, FinalState, WorkflowState } from "./fact.ts";
import { isId } from "./ids.ts";
import { isObject, isTooDeep } from "./json.ts";
import { type Rate, readRate } from "./lanes.ts";
import { type Counts, noCounts } from "./node_state.ts";
import { isSealed } from "./sealing.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const RECORD_VERSION = 1;

/** @returns undefined when `data` is not a JSON object, or nests deeper than anything that is written here. */
export function parseRecord(data: Uint8Array): Record<string, unknown> | undefined {
  if (isTooDeep(data)) return undefined;
  try {
    const value = JSON.parse(decoder.decode(data));
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

// Outcomes: the body is the result, or the failure; what happened stands in a header, so that a scan needs no bodies.

/** How an attempt ended, when and where. Milliseconds since 1970; `sentNs` is the server's time of the task message. */
export interface OutcomeNote {
  readonly is: "succeeded" | "failed";
  readonly startedAt: number;
  readonly endedAt: number;
  /** Nanoseconds since 1970, as text: more digits than a number holds. */
  readonly sentNs: string;
  readonly worker: string;
  /** Where the result is, when the body is not it. */
  readonly elsewhere?: Elsewhere;
}

export type Elsewhere =
  /** The result is what another run gives. */
  | { readonly is: "run"; readonly run: string }
  /** It is too big for a record: the body only stands for it. */
  | { readonly is: "blob"; readonly blob: string };

/** The value of the header `Dyrygent-Outcome`. */
export function writeOutcomeNote(
  { is, startedAt, endedAt, sentNs, worker, elsewhere }: OutcomeNote,
): string {
  return `${RECORD_VERSION} ${is} ${startedAt} ${endedAt} ${sentNs} ${worker}` +
    (elsewhere === undefined ? "" : ` ${writeElsewhere(elsewhere)}`);
}

export function readOutcomeNote(text: string | undefined): OutcomeNote | undefined {
  const [version, is, started, ended, sentNs, worker, place] = text?.split(" ") ?? [];
  const [startedAt, endedAt] = [Number(started), Number(ended)];
  if (
    version !== "1" || (is !== "succeeded" && is !== "failed") || worker === undefined ||
    !Number.isFinite(startedAt) || !Number.isFinite(endedAt)
  ) return undefined;
  const note = { is, startedAt, endedAt, sentNs: sentNs!, worker } as const;
  if (place === undefined) return note;
  const elsewhere = readElsewhere(place);
  return elsewhere === undefined ? undefined : { ...note, elsewhere };
}

function writeElsewhere(elsewhere: Elsewhere): string {
  return elsewhere.is === "run" ? `run:${elsewhere.run}` : `blob:${elsewhere.blob}`;
}

function readElsewhere(text: string): Elsewhere | undefined {
  const [kind, name = "", more] = text.split(":");
  if (more !== undefined) return undefined;
  if (kind === "run" && isId(name)) return { is: "run", run: name };
  return kind === "blob" && BLOB.test(name) ? { is: "blob", blob: name } : undefined;
}

/** `<workflow>.<node>.<attempt>.<id>`: it stands in subjects. */
const BLOB = /^[\w-]{1,64}\.\d{1,9}\.\d{1,9}\.[\w-]{1,64}$/;

/** What a result is called that is kept outside of its record. `id` tells executions of the attempt apart. */
export function blobName(workflow: string, node: number, attempt: number, id: string): string {
  return `${workflow}.${node}.${attempt}.${id}`;
}

/** The blob that an outcome's note names, if it does. */
export function blobIn(note: string | undefined): string | undefined {
  const elsewhere = readOutcomeNote(note)?.elsewhere;
  return elsewhere?.is === "blob" ? elsewhere.blob : undefined;
}

/** The body of an outcome whose result is in a blob. */
export function writeBlobReference(blob: string, size: number): Uint8Array {
  return encoder.encode(JSON.stringify({ blob, size }));
}

/** Bytes of the blob that the body of an outcome stands for; undefined when it does not say. */
export function readBlobSize(data: Uint8Array): number | undefined {
  const { size } = parseRecord(data) ?? {};
  return isCount(size) ? size : undefined;
}

/** The failure that anything thrown amounts to. Never throws itself, whatever it is given. */
export function failureOf(thrown: unknown): RecordedFailure {
  try {
    if (thrown instanceof Error) {
      const fatal = thrown.name === "FatalTaskError";
      return {
        name: clip(String(thrown.name), 200),
        message: clip(String(thrown.message), LIMITS.errorMessage),
        ...(typeof thrown.stack === "string"
          ? { stack: clip(thrown.stack, LIMITS.errorStack) }
          : {}),
        ...(fatal ? { fatal } : {}),
      };
    }
    return {
      name: "NonError",
      message: clip(
        `threw ${typeof thrown === "string" ? thrown : describe(thrown)}`,
        LIMITS.errorMessage,
      ),
    };
  } catch {
    return { name: "NonError", message: "threw something that cannot be described" };
  }
}

function describe(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

function clip(text: string, most: number): string {
  const whole = text.replace(/\p{Cs}/gu, "\uFFFD");
  return whole.length <= most ? whole : `${whole.slice(0, most - 1)}…`;
}

export function writeFailure(failure: RecordedFailure): Uint8Array {
  return encoder.encode(JSON.stringify(failure));
}

/** Something is always returned: a failure that cannot be read is still a failure. */
export function readFailure(data: Uint8Array): RecordedFailure {
  const { name, message, stack, fatal } = parseRecord(data) ?? {};
  return {
    name: typeof name === "string" ? name : "UnreadableFailure",
    message: typeof message === "string"
      ? message
      : isSealed(message)
      ? "its message is sealed"
      : "the failure's record cannot be read",
    ...(typeof stack === "string" ? { stack } : {}),
    ...(fatal === true ? { fatal } : {}),
  };
}

// Control facts.

export interface ControlRecord {
  /** Tells two equal requests apart. */
  readonly id: string;
  readonly at: number;
  readonly control: Control;
}

export function writeControl({ id, at, control }: ControlRecord): Uint8Array {
  return encoder.encode(JSON.stringify({ v: RECORD_VERSION, id, at, ...control }));
}

export function readControl(data: Uint8Array): ControlRecord | undefined {
  const { v, id, at, is, reason, following, nodes, attempt, name, data: eventData } =
    parseRecord(data) ?? {};
  if (v !== RECORD_VERSION || typeof id !== "string" || !isMoment(at)) return undefined;
  switch (is) {
    case "cancel":
      return { id, at, control: { is, ...(typeof reason === "string" ? { reason } : {}) } };
    case "timeout":
      return { id, at, control: { is } };
    case "pause":
    case "resume":
      return { id, at, control: isCount(following) ? { is, following } : { is } };
    case "retry":
      return { id, at, control: isCount(attempt) ? { is, attempt } : { is } };
    case "skip":
    case "rerun":
      return Array.isArray(nodes) && nodes.every(Number.isInteger)
        ? { id, at, control: { is, nodes } }
        : undefined;
    case "event":
      return isId(name) && eventData !== undefined
        ? { id, at, control: { is, name, data: eventData } }
        : undefined;
    default:
      return undefined;
  }
}

// Expansions.

/** The body of an expansion: which run takes the node's place. */
export function writeExpansion({ child, at }: { child: string; at: number }): Uint8Array {
  return encoder.encode(JSON.stringify({ v: RECORD_VERSION, child, at }));
}

export function readExpansion(data: Uint8Array): { child: string; at: number } | undefined {
  const { v, child, at } = parseRecord(data) ?? {};
  return v === RECORD_VERSION && isId(child) && isMoment(at) ? { child, at } : undefined;
}

// Terminal records.

/** How a round of a workflow ended. */
export interface EndRecord {
  readonly state: FinalState;
  readonly at: number;
  readonly counts: Counts;
  /** Nodes that failed themselves, with their last attempt; at most a hundred. */
  readonly failed: readonly { readonly node: number; readonly attempt: number }[];
  /** Why, when no node says it. */
  readonly reason?: string;
  /** So many control facts were taken into account. One more that stands before the end in the log came too late. */
  readonly controls?: number;
}

/** How long a finished run is kept, as the note of its terminal record says; undefined: as the processor says. */
export type Keeping = number | "keep" | "parent";

/** "parent": with the run whose node's place it took. */
export function writeEndNote(keeping: Keeping): string {
  return `${RECORD_VERSION} ${keeping}`;
}

export function readEndNote(text: string | undefined): Keeping | undefined {
  const [version, keeping] = text?.split(" ") ?? [];
  if (version !== "1" || keeping === undefined) return undefined;
  if (keeping === "keep" || keeping === "parent") return keeping;
  const ms = Number(keeping);
  return isCount(ms) ? ms : undefined;
}

const FINAL_STATES: readonly string[] = [
  "SUCCESS",
  "FAILURE",
  "ERROR",
  "CANCELLED",
] satisfies FinalState[];

export function writeEnd(end: EndRecord): Uint8Array {
  return encoder.encode(JSON.stringify({ v: RECORD_VERSION, ...end }));
}

export function readEnd(data: Uint8Array): EndRecord | undefined {
  const { v, state, at, counts, failed, reason, controls } = parseRecord(data) ?? {};
  const read = readCounts(counts);
  if (
    v !== RECORD_VERSION || !isFinalState(state) || !isMoment(at) || read === undefined ||
    !Array.isArray(failed) || !failed.every((one) => isCount(one?.node) && isCount(one?.attempt)) ||
    !(controls === undefined || isCount(controls))
  ) return undefined;
  return {
    state,
    at,
    counts: read,
    failed: failed.map(({ node, attempt }) => ({ node, attempt })),
    ...(typeof reason === "string" ? { reason } : {}),
    ...(controls === undefined ? {} : { controls }),
  };
}

function isFinalState(value: unknown): value is FinalState {
  return FINAL_STATES.includes(value as string);
}

/** Counts that are not said are none. */
function readCounts(value: unknown): Counts | undefined {
  if (!isObject(value)) return undefined;
  const counts = noCounts();
  for (const state of Object.keys(counts) as (keyof Counts)[]) {
    const count = value[state] ?? 0;
    if (!isCount(count)) return undefined;
    counts[state] = count;
  }
  return counts;
}

// Task messages.

/** What a worker reads besides the signature. */
export interface TaskContext {
  readonly workflowName: string;
  readonly workflowPayload?: unknown;
  /** How many runs are above this one. */
  readonly depth: number;
}

const MESSAGE_START = encoder.encode(`{"v":${RECORD_VERSION},"signature":`);
const MESSAGE_END = encoder.encode("}");

/** The constant part of the task messages of a workflow: of its own nodes, or of those that clean up. */
export function writeTaskContext(
  name: string,
  payload: string | undefined,
  { depth, cleanup }: { depth: number; cleanup: boolean },
): Uint8Array {
  return encoder.encode(
    `,"workflow":{"name":${JSON.stringify(name)}${depth === 0 ? "" : `,"depth":${depth}`}${
      payload === undefined ? "" : `,"payload":${payload}`
    }}${cleanup ? ',"cleanup":true' : ""}`,
  );
}

/** A failed node, as a task message names it: the worker reads how it failed. */
export interface NamedFailure {
  readonly node: number;
  readonly label: string;
  readonly attempt: number;
}

/** How the workflow's own nodes ended, without what the worker knows or reads itself. */
export type SummaryHead = Omit<RunSummary, "id" | "name" | "payload" | "failures">;

/** What few task messages carry. */
export interface MessageExtras {
  readonly expiresAt?: number;
  /** When the run was submitted, if inputs are left to be read: tells apart runs that had the same id, one after the other. */
  readonly submittedAt?: number;
  /** How fast attempts of its lane may begin. */
  readonly rate?: Rate;
  /** Failures that the arguments take. */
  readonly failures?: readonly NamedFailure[];
  readonly summary?: SummaryHead;
}

/** A result carried along in a task message. */
export interface InlineResult {
  readonly node: number;
  /** JSON. */
  readonly data: Uint8Array;
}

/**
 * A task message, put together from bytes that are JSON already.
 * @param attempts of inputs that did not succeed on their first attempt.
 */
export function writeTaskMessage(
  signature: Uint8Array,
  context: Uint8Array,
  results: readonly InlineResult[],
  attempts: readonly (readonly [node: number, attempt: number])[],
  extras?: MessageExtras,
): Uint8Array {
  const parts: Uint8Array[] = [MESSAGE_START, signature, context];
  results.forEach(({ node, data }, i) =>
    parts.push(encoder.encode(`${i === 0 ? ',"results":{' : ","}"${node}":`), data)
  );
  if (results.length > 0) parts.push(MESSAGE_END);
  if (attempts.length > 0) {
    parts.push(encoder.encode(`,"attempts":${JSON.stringify(Object.fromEntries(attempts))}`));
  }
  if (extras !== undefined) parts.push(encoder.encode(`,${JSON.stringify(extras).slice(1, -1)}`));
  parts.push(MESSAGE_END);
  return concat(parts);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A task message as a worker gets it. Fields other than `v` are not checked yet. */
export interface TaskMessage {
  readonly signature: Record<string, unknown>;
  readonly workflow: TaskContext;
  /** It belongs to `onError` or `finally`: a cancel does not concern it. */
  readonly isCleanup: boolean;
  readonly results: Readonly<Record<string, unknown>>;
  readonly attempts: Readonly<Record<string, number>>;
  /** The attempt may not begin later; milliseconds since 1970. */
  readonly expiresAt?: number;
  /** When the run was submitted, if there are inputs to be read. */
  readonly submittedAt?: number;
  /** How fast attempts of its lane may begin. */
  readonly rate?: Rate;
  readonly failures: readonly NamedFailure[];
  readonly summary?: SummaryHead;
}

export type ReadTaskMessage =
  | { is: "message"; message: TaskMessage }
  /** Written by a newer version. */
  | { is: "newer"; version: number }
  | { is: "unreadable" };

export function readTaskMessage(data: Uint8Array): ReadTaskMessage {
  const record = parseRecord(data);
  const { v, signature, workflow, cleanup, results, attempts } = record ?? {};
  const { expiresAt, submittedAt, failures, summary } = record ?? {};
  const rate = readRate(record?.["rate"]);
  if (typeof v === "number" && v > RECORD_VERSION) return { is: "newer", version: v };
  if (v !== RECORD_VERSION || !isObject(signature)) return { is: "unreadable" };
  const { name, payload, depth } = isObject(workflow) ? workflow : {};
  return {
    is: "message",
    message: {
      signature,
      workflow: {
        workflowName: typeof name === "string" ? name : "",
        ...(payload === undefined ? {} : { workflowPayload: payload }),
        depth: isCount(depth) ? depth : 0,
      },
      isCleanup: cleanup === true,
      results: isObject(results) ? results : {},
      attempts: areAttempts(attempts) ? attempts : {},
      ...(isMoment(expiresAt) ? { expiresAt } : {}),
      ...(isMoment(submittedAt) ? { submittedAt } : {}),
      ...(rate === undefined ? {} : { rate }),
      failures: Array.isArray(failures) ? failures.filter(isNamedFailure) : [],
      ...(isObject(summary) ? { summary: summary as unknown as SummaryHead } : {}),
    },
  };
}

/** They become part of the subjects that inputs are read from. */
function areAttempts(value: unknown): value is Record<string, number> {
  return isObject(value) && Object.values(value).every((attempt) => isCount(attempt));
}

function isNamedFailure(value: unknown): value is NamedFailure {
  const { node, label, attempt } = (value ?? {}) as Partial<Record<keyof NamedFailure, unknown>>;
  return isCount(node) && typeof label === "string" && isCount(attempt);
}

function isMoment(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** The body of a tick: it says nothing but its version; everything is read from the facts. */
export const TICK: Uint8Array = encoder.encode(`{"v":${RECORD_VERSION}}`);

// Views.

/** Since when an attempt runs, and how often it was begun. */
export interface Begun {
  /** Milliseconds since 1970, by the clock of the worker that began it first. */
  readonly at: number;
  readonly times: number;
}

export function writeBegun(begun: Begun): Uint8Array {
  return encoder.encode(JSON.stringify({ v: RECORD_VERSION, ...begun }));
}

export function readBegun(data: Uint8Array): Begun | undefined {
  const { v, at, times } = parseRecord(data) ?? {};
  return v === RECORD_VERSION && isMoment(at) && isCount(times) ? { at, times } : undefined;
}

/** Who has a tick of a run, and which. */
export interface Claim {
  /** The processor's id. */
  readonly by: string;
  /** The tick's place among all that were made: of two, the later one counts. */
  readonly seq: number;
}

export function writeClaim(claim: Claim): Uint8Array {
  return encoder.encode(JSON.stringify({ v: RECORD_VERSION, ...claim }));
}

export function readClaim(data: Uint8Array): Claim | undefined {
  const { v, by, seq } = parseRecord(data) ?? {};
  return v === RECORD_VERSION && typeof by === "string" && isCount(seq) ? { by, seq } : undefined;
}

/** How a run stands: `run.status()`, `app.list()`. Times are milliseconds since 1970. */
export interface RunStatus {
  readonly id: string;
  readonly name: string;
  readonly state: WorkflowState;
  readonly counts: Counts;
  /** Counted from 1; retrying a finished workflow opens the next. */
  readonly round: number;
  readonly submittedAt: number;
  readonly finishedAt?: number;
  readonly payload?: unknown;
  /** The run whose node's place it takes. */
  readonly parent?: { readonly id: string; readonly node: number };
}

export function writeStatus(status: RunStatus): Uint8Array {
  return encoder.encode(JSON.stringify({ v: RECORD_VERSION, ...status }));
}

export function readStatus(data: Uint8Array): RunStatus | undefined {
  const { v, id, name, state, counts, round, submittedAt, finishedAt, payload, parent } =
    parseRecord(data) ?? {};
  const read = readCounts(counts);
  if (
    v !== RECORD_VERSION || !isId(id) || typeof name !== "string" || !isWorkflowState(state) ||
    read === undefined || !isCount(round) || !isMoment(submittedAt)
  ) return undefined;
  const { id: parentId, node } = isObject(parent) ? parent : {};
  return {
    id,
    name,
    state,
    counts: read,
    round,
    submittedAt,
    ...(isMoment(finishedAt) ? { finishedAt } : {}),
    ...(payload === undefined ? {} : { payload }),
    ...(isId(parentId) && isCount(node) ? { parent: { id: parentId, node } } : {}),
  };
}

function isWorkflowState(value: unknown): value is WorkflowState {
  return isFinalState(value) || value === "INITIAL" || value === "RUNNING" || value === "PAUSED";
}
