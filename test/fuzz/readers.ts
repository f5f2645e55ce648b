/**
 * Everything that reads what comes from outside, and what must hold of it for any bytes: it gives a value or refuses, in the
 * way it documents; what it takes for valid is written and read again as the same; nothing but plain data comes out.
 */
import { isDeepStrictEqual } from "node:util";
import {
  decodeDefinition,
  decodeHead,
  encodeDefinition,
  versionOf,
} from "../../src/core/definition_codec.ts";
import { type Definition, findNode, labelOf } from "../../src/core/definition.ts";
import { definitionFromJson, definitionToJson } from "../../src/core/definition_json.ts";
import { readClaim, writeClaim } from "../../src/core/dedupe.ts";
import { DyrygentError } from "../../src/core/errors.ts";
import { isId } from "../../src/core/ids.ts";
import {
  controlKey,
  definitionKey,
  endKey,
  expansionKey,
  outcomeKey,
  parseKey,
} from "../../src/core/keys.ts";
import {
  readLiveProcessor,
  readLiveWorker,
  readPresence,
  writePresence,
} from "../../src/core/presence.ts";
import { readLastStart, writeLastStart } from "../../src/core/rate.ts";
import { factOf } from "../../src/core/recorded.ts";
import {
  blobIn,
  parseRecord,
  readBegun,
  readBlobSize,
  readControl,
  readEnd,
  readEndNote,
  readExpansion,
  readFailure,
  readOutcomeNote,
  readStatus,
  writeBegun,
  writeBlobReference,
  writeControl,
  writeEnd,
  writeEndNote,
  writeExpansion,
  writeFailure,
  writeOutcomeNote,
  writeStatus,
} from "../../src/core/records.ts";
import {
  planOf,
  readSchedule,
  scheduledDefinition,
  statusOfSchedule,
  writeSchedule,
} from "../../src/core/schedule.ts";
import { Scheduler } from "../../src/core/scheduler.ts";
import { shownFailure } from "../../src/core/sealed_failure.ts";
import { isSealed, sealJson, unseal, unsealBytes } from "../../src/core/sealing.ts";
import {
  type LogLine,
  readLogLines,
  readTaskLog,
  writeLogLine,
  writeTaskLog,
} from "../../src/core/task_log.ts";
import { fill, inputNodes, isTemplate } from "../../src/core/template.ts";
import { traceIn, traceLines } from "../../src/core/trace_context.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { NatsBlobs } from "../../src/nats/blobs.ts";
import { NatsFacts } from "../../src/nats/facts.ts";
import { parseAckAddress } from "../../src/nats/intake.ts";
import type { Link } from "../../src/nats/link.ts";
import {
  isLane,
  laneConsumer,
  namesIn,
  parseLaneConsumer,
  parseTaskSubject,
  taskSubject,
} from "../../src/nats/names.ts";
import { loadDefinition } from "../../src/processor/load.ts";
import type { Facts, Stored, TaskDelivery } from "../../src/ports.ts";
import { Attempt } from "../../src/worker/attempt.ts";
import { BUILTIN_TASKS } from "../../src/worker/builtin.ts";
import { execute } from "../../src/worker/execution.ts";
import { type Handler, judge } from "../../src/worker/verdict.ts";
import { unsealTask } from "../../src/worker/unsealed_task.ts";
import { readWithClients } from "./clients.ts";
import { conductAll } from "./engine.ts";
import type { Pieces } from "./mutate.ts";
import * as records from "./records.ts";

export interface Reader {
  readonly name: string;
  /** How many inputs it gets compared to others. */
  readonly share: number;
  readonly samples: () => readonly Pieces[] | Promise<readonly Pieces[]>;
  /** @returns what became of it, in words that differ where something new happened. Throws only what is a finding. */
  readonly read: (pieces: Pieces) => string | Promise<string>;
}

const { AT, RUN, bytes, codec } = records;
const decoder = new TextDecoder();
const REFUSED = "refused";
const MAX_RECORD = 1_044_480;
const FIRST = 0;

const piece = (pieces: Pieces, i: number): Uint8Array => pieces[i] ?? new Uint8Array();
const text = (pieces: Pieces, i: number): string => decoder.decode(piece(pieces, i));

/** Fails with both, when they are not the same. What JSON has two spellings for (-0, 1e999) counts as one. */
function same(what: string, a: unknown, b: unknown): void {
  if (isDeepStrictEqual(a, b) || JSON.stringify(a) === JSON.stringify(b)) return;
  throw new Error(`${what}: ${JSON.stringify(a)} became ${JSON.stringify(b)}`);
}

function holds(what: string, is: boolean): void {
  if (!is) throw new Error(`it does not hold that ${what}`);
}

/** Nothing but plain data, whatever keys it has. */
export function checkPlain(value: unknown): void {
  const todo = [value];
  for (let seen = 0; todo.length > 0 && seen < 2_000; seen++) {
    const one = todo.pop();
    if (typeof one === "function" || typeof one === "symbol") throw new Error(`a ${typeof one}`);
    if (typeof one !== "object" || one === null) continue;
    const prototype = Object.getPrototypeOf(one);
    holds("values are plain", prototype === Object.prototype || prototype === Array.prototype);
    for (const key of Object.keys(one)) todo.push((one as Record<string, unknown>)[key]);
  }
}

/** Which fields a value has, and of which kinds; of those in fields, too. */
function shapeOf(value: unknown, levels = 2): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return value.length === 0 ? "none" : "list";
  if (typeof value !== "object") return typeof value;
  const fields = Object.entries(value).slice(0, 16).map(([key, one]) =>
    `${key.slice(0, 12)}:${levels === 0 ? typeof one : shapeOf(one, levels - 1)}`
  );
  return `{${fields.sort().join(" ")}}`;
}

/** What an error says, without what differs from input to input. */
function outline(error: Error): string {
  return `${error.name} ${error.message.slice(0, 200)}`
    .replace(/"(?:[^"\\]|\\.)*"?|\[.*|\{.*|=.*?cannot/g, "…").replace(/-?\d+/g, "0").slice(0, 100);
}

/** What `act` gives, or an error that may be thrown. Anything else it throws is a finding. */
async function allowing<T>(act: () => T | Promise<T>): Promise<T | { refused: string }> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof DyrygentError) return { refused: outline(error) };
    throw error;
  }
}

function isRefused(value: unknown): value is { refused: string } {
  return typeof value === "object" && value !== null && "refused" in value;
}

/** A record in one piece with a reader that gives undefined for what it does not understand. */
function record<T>(
  name: string,
  samples: readonly Uint8Array[],
  read: (data: Uint8Array) => T | undefined,
  write: ((value: T) => Uint8Array) | undefined,
  share = 10,
): Reader {
  return {
    name,
    share,
    samples: () => samples.map((sample) => [sample]),
    read: (pieces) => {
      const value = read(piece(pieces, FIRST));
      if (value === undefined) return REFUSED;
      checkPlain(value);
      if (write !== undefined) same("written and read again", value, read(write(value)));
      return shapeOf(value);
    },
  };
}

/** The same for a line of words. */
function line<T>(
  name: string,
  samples: readonly string[],
  read: (text: string) => T | undefined,
  write: ((value: T) => string) | undefined,
  share = 5,
): Reader {
  return record(
    name,
    samples.map(bytes),
    (data) => read(decoder.decode(data)),
    write === undefined ? undefined : (value) => bytes(write(value)),
    share,
  );
}

async function readDefinition(pieces: Pieces): Promise<string> {
  const head = piece(pieces, FIRST);
  versionOf(head);
  const definition = await allowing(() => {
    const decoded = decodeHead(head);
    return decodeDefinition(decoded, pieces.slice(0, decoded.chunks + 1));
  });
  if (isRefused(definition)) return definition.refused;
  const scheduler = new Scheduler(definition, RUN, AT);
  const effects = scheduler.begin();
  for (const node of [0, definition.graph.size - 1]) {
    if (node >= 0 && node < definition.graph.size) findNode(definition, labelOf(definition, node));
  }
  const first = await allowing(() => encodeDefinition(definition, MAX_RECORD));
  if (isRefused(first)) return first.refused;
  const again = await decoded([first.head, ...first.chunks]);
  const second = await encodeDefinition(again, MAX_RECORD);
  same("a definition's digest", first.digest, second.digest);
  return `${definition.graph.size} nodes ${effects.length} ${scheduler.finished ?? ""}`;
}

function decoded([head, ...chunks]: Pieces): Definition {
  return decodeDefinition(decodeHead(head!), [head!, ...chunks]);
}

async function readJsonDefinition(pieces: Pieces): Promise<string> {
  let json: unknown;
  try {
    json = JSON.parse(text(pieces, FIRST));
  } catch {
    return "no JSON";
  }
  const definition = await allowing(() => definitionFromJson(json));
  if (isRefused(definition)) return definition.refused;
  const written = definitionToJson(definition);
  same("toJSON after fromJSON", written, definitionToJson(definitionFromJson(written)));
  const encoded = await allowing(() => encodeDefinition(definition, MAX_RECORD));
  if (isRefused(encoded)) return encoded.refused;
  const again = await encodeDefinition(decoded([encoded.head, ...encoded.chunks]), MAX_RECORD);
  same("a definition's digest", encoded.digest, again.digest);
  return `taken ${shapeOf(written)}`;
}

const handlers: ReadonlyMap<string, Handler> = new Map<string, Handler>([
  ...BUILTIN_TASKS as ReadonlyMap<string, Handler>,
  ["add", (a: number, b: number) => a + b],
  ["echo", (...values: unknown[]) => values],
]);
const names = namesIn("fuzz");
const clock = new VirtualClock();

async function readTask(pieces: Pieces): Promise<string> {
  const address = { queue: "default", lane: "p5", workflow: RUN, node: 2, attempt: 1 };
  const task: TaskDelivery = {
    data: piece(pieces, FIRST),
    deliveries: 1,
    address,
    subject: taskSubject(names, address),
    sentNs: "0",
    trace: undefined,
    ack: () => {},
    giveBack: () => {},
    extend: () => {},
    begin: () => {},
  };
  const verdict = judge(task, handlers);
  if (verdict.is !== "run") {
    return verdict.is === "fail" ? `fail ${outline(verdict.failure as Error)}` : verdict.is;
  }
  const { signature, message } = verdict;
  holds("calls are known", ["once", "map", "starmap"].includes(signature.calls ?? "once"));
  for (const ms of [signature.timeoutMs, signature.softTimeoutMs]) {
    holds("timeouts are counts", ms === undefined || Number.isSafeInteger(ms) && ms > 0);
  }
  for (const attempt of Object.values(message.attempts)) {
    holds("attempts are counts", Number.isSafeInteger(attempt) && attempt >= 0);
  }
  const unsealed = await allowing(() => unsealTask(codec, verdict));
  if (isRefused(unsealed)) return unsealed.refused;
  const attempt = new Attempt(address, unsealed.signature, message.workflow, () => {}, () => {
    throw new Error("no handler here logs");
  });
  const executed = await execute({
    handler: verdict.handler,
    signature: unsealed.signature,
    attempt,
    span: undefined,
    sources: {
      resultOf: (node) => unsealed.message.results[node] ?? null,
      summary: message.summary,
    },
    clock,
    maxResult: 1_000_000,
  });
  if (executed.is === "succeeded") JSON.parse(decoder.decode(executed.data));
  if (executed.is === "failed") return `failed ${outline(executed.failure as Error)}`;
  return `${executed.is} ${shapeOf(message)} ${shapeOf(signature)}`;
}

function readFact(pieces: Pieces): string {
  const [key, note] = [text(pieces, 0), text(pieces, 1)];
  const fact = factOf({ key, note, data: piece(pieces, 2) });
  if (fact === undefined) return REFUSED;
  checkPlain(fact);
  const scheduler = new Scheduler(sound, RUN, AT);
  scheduler.begin();
  const effects = scheduler.apply(fact);
  [...scheduler.open()];
  return `${shapeOf(fact)} ${effects.map(({ is }) => is)} ${scheduler.workflowState}`;
}

const sound = decoded([await records.smallDefinition()]);

async function readLoaded(pieces: Pieces): Promise<string> {
  let reads = 0;
  const stored = (key: string, data: Uint8Array | undefined): Stored | undefined =>
    data === undefined ? undefined : { key, seq: 1, at: AT, data };
  const read = (key: string) => {
    reads++;
    const at = key === definitionKey(RUN) ? 0 : Number(key.split("-").at(-1));
    return Promise.resolve(stored(key, pieces[at]));
  };
  const loaded = await loadDefinition({ read, readRecorded: read } as unknown as Facts, RUN);
  holds(`${reads} reads are not many more than there are records`, reads <= pieces.length + 64);
  return loaded.is === "unreadable" ? outline(loaded.error) : loaded.is;
}

async function readSealed(pieces: Pieces): Promise<string> {
  const data = piece(pieces, FIRST);
  const json = await allowing(async () => {
    try {
      return await unsealBytes(codec, data);
    } catch (error) {
      // What was not sealed and is no text: its reader says so.
      if (error instanceof TypeError || error instanceof SyntaxError) return undefined;
      throw error;
    }
  });
  const value = parseRecord(data);
  const unsealed = await allowing(() => unseal(codec, value));
  await shownFailure(codec, data);
  if (isRefused(json)) return json.refused;
  if (isRefused(unsealed)) return unsealed.refused;
  return `${typeof json} ${isSealed(value)} ${typeof unsealed}`;
}

function readTemplate(pieces: Pieces): string {
  let value: unknown;
  try {
    value = JSON.parse(text(pieces, FIRST));
  } catch {
    return "no JSON";
  }
  if (!isTemplate(value, 10)) return REFUSED;
  const nodes = inputNodes(value.inputs, 10)!;
  holds("nodes exist", nodes.every((node) => Number.isInteger(node) && node >= 0 && node < 10));
  const json = JSON.parse(value.json);
  if (isSealed(json)) return "sealed";
  checkPlain(fill(json, value.inputs, { resultOf: (node) => node, failureOf: (node) => node }));
  return `filled ${shapeOf(value.inputs[0])}`;
}

function readTaskSubject(subject: string): string | undefined {
  const address = parseTaskSubject(names, subject);
  if (address === undefined) return undefined;
  holds("an address is sound", isId(address.workflow) && isId(address.queue));
  return taskSubject(names, address).replace(/\.0+(?=\d)/g, ".");
}

/** An answer of the server that holds what somebody else has published. */
async function readHeaders(pieces: Pieces): Promise<string> {
  const binary = (data: Uint8Array) => Array.from(data, (b) => String.fromCharCode(b)).join("");
  const message = {
    subject: "$KV.fuzz.x.r.0.1",
    seq: 1,
    time: "2026-01-01T00:00:00Z",
    hdrs: btoa(binary(piece(pieces, 0).subarray(0, 50_000))),
    data: btoa(binary(piece(pieces, 1).subarray(0, 50_000))),
  };
  const link = { names, requests: { json: () => Promise.resolve({ message }) } };
  const stored = await new NatsFacts(link as unknown as Link).read("x.r.0.1");
  const fact = factOf(stored!);
  return `${stored!.note === undefined} ${fact?.is}`;
}

/** What the object store says of an object, and its chunks. */
async function readBlob(pieces: Pieces): Promise<string> {
  const message = (_: string, subject: string, query: string) => {
    const { last_by_subj, seq = 0 } = JSON.parse(query) as { last_by_subj?: string; seq?: number };
    const at = last_by_subj === undefined ? Math.max(1, seq) : 0;
    const data = pieces[at];
    holds("it asks for messages", subject.startsWith("$JS.API."));
    return Promise.resolve(
      data === undefined
        ? { headers: { code: 404 } }
        : { headers: { code: 0, get: () => String(at) }, data },
    );
  };
  const json = () => Promise.resolve({ error: { err_code: 10037 } });
  const patience = { with: (_: string, act: () => unknown) => act() };
  const jsm = { streams: { info: () => Promise.resolve({}) } };
  const link = { names, clock, requests: { message, json }, patience, jsm } as unknown as Link;
  const blobs = new NatsBlobs(link, { replicas: 1, storage: "memory" }, 1_000);
  const found = await blobs.get("x.0.1.id");
  return typeof found === "string" ? found : "whole";
}

async function blobSamples(): Promise<Pieces[]> {
  const chunks = [bytes("[1,2,"), bytes("3]")];
  const digest = new Uint8Array(
    await crypto.subtle.digest("SHA-256", bytes("[1,2,3]") as BufferSource),
  );
  const text = btoa(String.fromCharCode(...digest)).replaceAll("+", "-").replaceAll("/", "_");
  const description = { name: "x.0.1.id", size: 7, chunks: 2, digest: `SHA-256=${text}` };
  return [[bytes(JSON.stringify(description)), ...chunks]];
}

const worker = {
  id: "w1",
  queues: ["default"],
  tasks: [{ name: "add", input: "abc" }],
  concurrency: 16,
  running: 1,
  succeeded: 5,
  failed: 0,
  startedAt: AT,
  at: AT + 10_000,
};
const processor = { id: "p1", concurrency: 100, active: 1, parked: 5, startedAt: AT, at: AT };
const failures = [
  { name: "RangeError", message: "out of it", stack: "RangeError: out of it\n at x" },
  { name: "FatalTaskError", message: "no", fatal: true },
];
const begun = { at: AT, times: 2 };
const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const traces = [{ traceparent }, { traceparent, tracestate: "rojo=1,congo=t61rcWkgMzE" }];
const logged = { worker: "w1", startedAt: AT, dropped: 2 };
const logLines = `[${writeLogLine(AT, "info", "said", { n: 1 })},${
  writeLogLine(AT, "warn", "x".repeat(9_000), undefined)
}]`;
const claim = { run: RUN, until: AT + 5, made: true };

function readLog(data: Uint8Array): LogLine[] | undefined {
  const record = readTaskLog(data);
  return record === undefined ? undefined : readLogLines(record.lines);
}

/** Control facts, outcomes and expansions as they stand in the log: key, note, body. */
function factSamples(): Pieces[] {
  const none = bytes("");
  return [
    ...records.notes.flatMap((note) => [
      [bytes(outcomeKey(RUN, 0, 1)), bytes(writeOutcomeNote(note)), bytes("5")],
      [bytes(outcomeKey(RUN, 0, 1)), bytes(writeOutcomeNote(note)), writeFailure(failures[0]!)],
    ]),
    ...records.controls.map((control, i) => [
      bytes(controlKey(RUN, i + 1)),
      none,
      writeControl({ id: `c${i}`, at: AT, control }),
    ]),
    [bytes(expansionKey(RUN, 0, 1)), none, writeExpansion({ child: "x__0_1", at: AT })],
    [bytes(endKey(RUN, 1)), none, writeEnd(records.ends[0]!)],
    [bytes(definitionKey(RUN)), none, none],
  ];
}

async function sealedSamples(): Promise<Pieces[]> {
  const sealed = await sealJson(codec, '{"a":[1,2]}');
  return [sealed, `{"name":"Error","message":${sealed},"stack":${sealed}}`, "[1]"].map((json) => [
    bytes(json),
  ]);
}

export const READERS: readonly Reader[] = [
  { name: "definition", share: 100, samples: records.definitions, read: readDefinition },
  { name: "load-definition", share: 30, samples: records.definitions, read: readLoaded },
  {
    name: "definition-json",
    share: 60,
    samples: () => records.jsonWorkflows().map((json) => [bytes(JSON.stringify(json))]),
    read: readJsonDefinition,
  },
  {
    name: "task-message",
    share: 120,
    samples: () => records.taskMessages().map((message) => [message]),
    read: readTask,
  },
  line("outcome-note", records.notes.map(writeOutcomeNote), readOutcomeNote, writeOutcomeNote, 40),
  record("failure", failures.map(writeFailure), readFailure, writeFailure, 30),
  record(
    "control",
    records.controls.map((control) => writeControl({ id: "c1", at: AT, control })),
    readControl,
    writeControl,
    60,
  ),
  record("end", records.ends.map(writeEnd), readEnd, writeEnd, 60),
  line(
    "end-note",
    (["keep", "parent", 5_000] as const).map(writeEndNote),
    readEndNote,
    writeEndNote,
  ),
  record("expansion", [writeExpansion({ child: RUN, at: AT })], readExpansion, writeExpansion),
  record("begun", [writeBegun(begun)], readBegun, writeBegun),
  record("task-log", [writeTaskLog(logged, logLines)], readLog, undefined),
  record("claim", [writeClaim(claim)], readClaim, writeClaim),
  record("last-start", [writeLastStart(AT)], readLastStart, writeLastStart),
  record("presence", [writePresence("i", worker)], readPresence, undefined),
  record("worker", [writePresence("i", worker)], readLiveWorker, (w) => writePresence("i", w), 30),
  record(
    "processor",
    [writePresence("i", processor)],
    readLiveProcessor,
    (p) => writePresence("i", p),
  ),
  record("status", records.statuses.map(writeStatus), readStatus, writeStatus, 60),
  record(
    "blob-reference",
    [writeBlobReference("x.0.1.id", 5)],
    readBlobSize,
    (size) => writeBlobReference("x", size),
  ),
  line("blob-note", records.notes.map(writeOutcomeNote), blobIn, undefined),
  {
    name: "schedule",
    share: 40,
    samples: () => records.schedules().map((schedule) => [writeSchedule(schedule)]),
    read: async (pieces) => {
      const schedule = readSchedule(piece(pieces, FIRST));
      if (schedule === undefined) return REFUSED;
      same("written and read again", schedule, readSchedule(writeSchedule(schedule)));
      statusOfSchedule("s", schedule);
      const plan = planOf(schedule, AT + 7 * 86_400_000);
      const definition = await allowing(() => scheduledDefinition(schedule));
      return `${plan.is} ${isRefused(definition) ? definition.refused : "sound"}`;
    },
  },
  line(
    "key",
    [definitionKey(RUN), outcomeKey(RUN, 0, 1), controlKey(RUN, 1), endKey(RUN, 1), "x.r.0.1.run"],
    parseKey,
    undefined,
  ),
  line(
    "task-subject",
    ["p5", "c-k", "r-k"].map((lane) => `fuzz.task.q.${lane}.x.0.1`),
    (subject) => {
      const address = readTaskSubject(subject);
      return address === undefined ? undefined : { address };
    },
    ({ address }) => address,
  ),
  line(
    "lane",
    [laneConsumer("q", "p5"), laneConsumer("q", "c-k=")],
    (name) => {
      const lane = parseLaneConsumer(name);
      return lane === undefined || !isLane(lane.lane) ? undefined : lane;
    },
    ({ queue, lane }) => laneConsumer(queue, lane),
  ),
  line("tick", ["x", "a-b_c"], (id) => isId(id) ? id : undefined, (id) => id),
  line(
    "ack-address",
    ["$JS.ACK.S.c.1.5.9.1767225600000000000.3", "$JS.ACK._.hash.S.c.1.5.9.1767225600000000000.3.r"],
    (reply) => ({ [String(Object.values(parseAckAddress(reply)).map(Number.isFinite))]: true }),
    undefined,
  ),
  {
    name: "headers",
    share: 20,
    samples: () =>
      records.notes.map((note) => [
        bytes(`NATS/1.0\r\nDyrygent-Outcome: ${writeOutcomeNote(note)}\r\n\r\n`),
        writeFailure(failures[0]!),
      ]),
    read: readHeaders,
  },
  line("trace", traces.map(traceLines), traceIn, traceLines),
  { name: "fact", share: 60, samples: factSamples, read: readFact },
  { name: "sealed", share: 30, samples: sealedSamples, read: readSealed },
  {
    name: "template",
    share: 40,
    samples: () => [
      [bytes(
        '{"json":"[null,{\\"a\\":null}]","inputs":[{"at":[0],"node":0},{"at":[1,"a"],"nodes":[1,[2,4,1]]}]}',
      )],
      [bytes('{"json":"null","inputs":[{"at":[],"failure":3}]}')],
    ],
    read: readTemplate,
  },
  { name: "blob", share: 15, samples: blobSamples, read: readBlob },
  readWithClients,
  conductAll,
];
