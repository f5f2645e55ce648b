/**
 * Whether all is well where a namespace lives: looks at the server and at what is recorded, queued and announced, and lets
 * src/core/server_health.ts and namespace_health.ts judge. Only reads; what needs a cure is left to people.
 */
import { decodeHead, DEFINITION_VERSION, versionOf } from "../core/definition_codec.ts";
import type { DoctorFinding } from "../core/doctor_finding.ts";
import { InvalidOptionError, InvalidWorkflowError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import {
  ALL_CONTROLS,
  ALL_ENDS,
  ALL_HEADS,
  definitionKey,
  parseKey,
  QUARANTINE,
} from "../core/keys.ts";
import {
  isInStep,
  latestByRun,
  type NamespaceFacts,
  namespaceFindings,
  type OutOfStep,
  outOfStep,
  stillOutOfStep,
} from "../core/namespace_health.ts";
import { refuseUnknown } from "../core/options.ts";
import { parseRecord } from "../core/records.ts";
import { readSchedule, SCHEDULE_PREFIX } from "../core/schedule.ts";
import { serverFindings } from "../core/server_health.ts";
import type { Ports } from "../ports.ts";
import { lastEnd } from "../runs/end.ts";
import { liveProcessors, liveWorkers } from "./live.ts";

/** Where else the doctor looks. */
export interface DoctorOptions {
  /**
   * Where the server shows what it does not tell clients: `http://<server>:<http_port>`. Of a cluster: of one of its
   * servers. @default that is left out, and said so
   */
  monitoringUrl?: string;
}

/** What the doctor found. */
export interface DoctorReport {
  /** There is no finding that is an error. */
  readonly ok: boolean;
  /** The worst first. */
  readonly findings: readonly DoctorFinding[];
}

const SEVERITIES = ["error", "warning", "info"] as const;
/** What is so for a moment only, between two writes, is over by then. */
const LOOK_AGAIN_MS = 1_000;
/** Runs under way whose definition is looked at. */
const MOST_READ = 1_000;
const READ_BATCH = 64;
/** Runs with task messages that are looked at twice. */
const MOST_LOOKED_AT_AGAIN = 100;

/** @throws {InvalidOptionError}, {UnavailableError} when what is recorded cannot be read */
export async function doctor(ports: Ports, options: DoctorOptions = {}): Promise<DoctorReport> {
  refuseUnknown("doctor option", options, ["monitoringUrl"]);
  const { monitoringUrl } = options;
  if (monitoringUrl !== undefined) checkUrl(monitoringUrl);
  const { clock } = ports;
  const from = clock.now();
  const server = await ports.inspect(monitoringUrl === undefined ? {} : { monitoringUrl });
  const asked = { from, to: clock.now() };
  const findings = server === undefined ? [] : serverFindings(server, asked);
  // Where a stream is missing, nothing else can be said of what is in it.
  if (server === undefined || server.missing.streams.length === 0) {
    const namespace = await look(ports, server?.queued?.runs.keys() ?? []);
    findings.push(...namespaceFindings(namespace, server));
  }
  const worst = ({ severity }: DoctorFinding) => SEVERITIES.indexOf(severity);
  return {
    ok: findings.every(({ severity }) => severity !== "error"),
    findings: findings.sort((a, b) => worst(a) - worst(b)),
  };
}

function checkUrl(value: unknown): void {
  if (typeof value === "string" && /^https?:\/\/[^/]/.test(value) && URL.canParse(value)) return;
  throw new InvalidOptionError(
    "monitoringUrl",
    `monitoringUrl = ${quote(value)} is not an address`,
    { hint: "Give the address of the server's http_port: http://<server>:8222." },
  );
}

async function look(ports: Ports, queued: Iterable<string>): Promise<NamespaceFacts> {
  const { views } = ports;
  const [workers, processors, quarantined, first] = await Promise.all([
    liveWorkers(ports),
    liveProcessors(ports),
    views.keys(QUARANTINE),
    standing(ports, queued),
  ]);
  const now = ports.clock.now();
  const runs = await readRuns(ports, first.open);
  const schedules = await readSchedules(ports);
  return {
    workers,
    processors,
    now,
    ticks: first.ticks,
    schedules: schedules.count,
    outOfStep: await confirmed(ports, first.outOfStep),
    quarantined,
    unreadable: [...runs.unreadable, ...schedules.unreadable],
    newer: [...runs.newer, ...schedules.newer],
  };
}

/** How runs, ticks and tasks fit each other, and which runs have not ended. */
async function standing(
  { facts, ticks }: Ports,
  queued: Iterable<string>,
): Promise<{ outOfStep: OutOfStep; open: readonly string[]; ticks: number }> {
  // Ends last: what ends meanwhile has not lost its tick.
  const heads = await facts.keys(ALL_HEADS);
  const ticking = new Set(await ticks.list());
  const controls = latestByRun(await facts.scan(ALL_CONTROLS));
  const ends = latestByRun(await facts.scan(ALL_ENDS));
  const ended = new Set<string>();
  for (const [run, { seq }] of ends) {
    const isAsked = (controls.get(run)?.seq ?? 0) > seq;
    if (!isAsked || (await lastEnd(facts, run))?.reopened === false) ended.add(run);
  }
  const runs = heads.flatMap((key) => parseKey(key)?.workflow ?? []);
  return {
    outOfStep: outOfStep({ runs, ticks: ticking, ended, queued }),
    open: runs.filter((run) => !ended.has(run)),
    ticks: ticking.size,
  };
}

/** What is still so after a moment. */
async function confirmed(ports: Ports, first: OutOfStep): Promise<OutOfStep> {
  if (isInStep(first)) return first;
  const { clock, tasks } = ports;
  await new Promise<void>((resolve) => clock.after(LOOK_AGAIN_MS, resolve));
  const queued: string[] = [];
  for (const run of first.tasksLeft.slice(0, MOST_LOOKED_AT_AGAIN)) {
    if ((await tasks.list(run)).length > 0) queued.push(run);
  }
  return stillOutOfStep(first, (await standing(ports, queued)).outOfStep);
}

interface ReadRecords {
  readonly unreadable: readonly string[];
  readonly newer: readonly string[];
}

async function readRuns({ facts }: Ports, open: readonly string[]): Promise<ReadRecords> {
  const unreadable: string[] = [];
  const newer: string[] = [];
  const looked = open.slice(0, MOST_READ);
  for (let i = 0; i < looked.length; i += READ_BATCH) {
    const batch = looked.slice(i, i + READ_BATCH);
    const heads = await Promise.all(batch.map((run) => facts.readRecorded(definitionKey(run))));
    for (const [k, head] of heads.entries()) {
      const what = `the definition of run ${batch[k]}`;
      if (head === undefined || isReadable(head.data)) continue;
      const isNewer = (versionOf(head.data) ?? 0) > DEFINITION_VERSION;
      (isNewer ? newer : unreadable).push(what);
    }
  }
  return { unreadable, newer };
}

/** Only the head is looked at: what follows it may be a hundred times as much. */
function isReadable(head: Uint8Array): boolean {
  try {
    decodeHead(head);
    return true;
  } catch (error) {
    if (error instanceof InvalidWorkflowError) return false;
    throw error;
  }
}

async function readSchedules({ views }: Ports): Promise<ReadRecords & { readonly count: number }> {
  const unreadable: string[] = [];
  const newer: string[] = [];
  let count = 0;
  for await (const { key, data } of views.list(SCHEDULE_PREFIX)) {
    count++;
    if (readSchedule(data) !== undefined) continue;
    const { v } = parseRecord(data) ?? {};
    const isNewer = typeof v === "number" && v > 1;
    (isNewer ? newer : unreadable).push(`schedule ${key.slice(SCHEDULE_PREFIX.length)}`);
  }
  return { unreadable, newer, count };
}
