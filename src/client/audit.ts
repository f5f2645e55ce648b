/**
 * Whether a run kept its promises: reads what is recorded about it, and about the runs that took the place of its nodes,
 * and lets src/core/audit.ts judge. Then looks whether its tick and its task messages are as they should be. Only reads.
 */
import { type AuditFinding, auditLog, LogAudit, toldByChildren } from "../core/audit.ts";
import type { Definition } from "../core/definition.ts";
import { InvalidOptionError, InvalidWorkflowError, NotFoundError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import { definitionKey, everythingOf, outcomeKey, parseKey } from "../core/keys.ts";
import { isCount } from "../core/limits.ts";
import { refuseUnknown } from "../core/options.ts";
import { saysMoreInBody, wholeDefinition } from "../core/recorded.ts";
import { readExpansion, readOutcomeNote } from "../core/records.ts";
import type { Child } from "../core/scheduler.ts";
import type { Ports, Stored, TaskAddress } from "../ports.ts";
import { lastEnd } from "../runs/end.ts";

/** How far an audit looks. */
export interface AuditOptions {
  /** How many runs are looked at: this one, and runs that took the place of nodes. @default 1000 */
  maxRuns?: number;
}

/** What an audit found. */
export interface AuditReport {
  /** Nothing was found. */
  readonly ok: boolean;
  readonly findings: readonly AuditFinding[];
  /** What was looked at. */
  readonly checked: { readonly runs: number; readonly nodes: number; readonly facts: number };
  /** Child runs that were not looked at, because there were more than `maxRuns`. */
  readonly unchecked: number;
}

/** One run, as its log tells. */
interface Told {
  readonly run: string;
  readonly findings: readonly AuditFinding[];
  readonly nodes: number;
  readonly facts: number;
  readonly hasEnded: boolean;
  readonly ends: readonly Stored[];
  /** What child runs gave. */
  readonly given: readonly Stored[];
  /** All that took the place of a node once. */
  readonly children: readonly string[];
  /** Those that do so now. */
  readonly awaited: readonly Child[];
}

/** What is not as it should be, unless it is so for a moment only, between two writes. */
interface Suspicion extends AuditFinding {
  /** Looks again. @param tick whether the run has one now, @param isOver whether it has ended */
  readonly holds: (now: { tick: boolean; isOver: boolean }) => boolean | Promise<boolean>;
}

const MOST_RUNS = 1_000;
/** Runs read at once, and bodies of one of them. */
const RUN_BATCH = 8;
const BODY_BATCH = 512;
/** What is so for a moment only, between two writes, is over by then. */
const LOOK_AGAIN_MS = 1_000;

/** @throws {NotFoundError} when there is no such run, or it was removed meanwhile; {InvalidOptionError}, {UnavailableError} */
export async function audit(
  ports: Ports,
  run: string,
  options: AuditOptions = {},
): Promise<AuditReport> {
  refuseUnknown("audit option", options, ["maxRuns"]);
  const { maxRuns = MOST_RUNS } = options;
  if (!isCount(maxRuns) || maxRuns < 1) {
    throw new InvalidOptionError(
      "maxRuns",
      `maxRuns = ${quote(maxRuns)} is not a whole number from 1`,
      { hint: "Give 1 for the run without its child runs." },
    );
  }
  // Before the logs: what ends meanwhile has not lost its tick.
  const ticking = new Set(await ports.ticks.list());
  const { told, gone, unchecked } = await readFamily(ports, run, maxRuns);
  const findings = [
    ...told.flatMap((one) => one.findings),
    ...familyFindings(told),
    ...await confirmed(ports, await suspicions(ports, told, gone, ticking)),
  ];
  const sum = (of: (one: Told) => number) => told.reduce((sum, one) => sum + of(one), 0);
  return {
    ok: findings.length === 0,
    findings,
    checked: {
      runs: told.length,
      nodes: sum(({ nodes }) => nodes),
      facts: sum(({ facts }) => facts),
    },
    unchecked,
  };
}

/** The run and what took the place of its nodes, the nearest first. */
async function readFamily(
  ports: Ports,
  run: string,
  maxRuns: number,
): Promise<{ told: Told[]; gone: ReadonlySet<string>; unchecked: number }> {
  const told: Told[] = [];
  const gone = new Set<string>();
  const wanted = [run];
  const known = new Set(wanted);
  for (let i = 0; i < wanted.length && i < maxRuns;) {
    const batch = wanted.slice(i, Math.min(i + RUN_BATCH, maxRuns));
    i += batch.length;
    const read = await Promise.all(batch.map((id) => readRun(ports, id)));
    for (const [k, one] of read.entries()) {
      if (one === undefined) {
        gone.add(batch[k]!);
        continue;
      }
      told.push(one);
      for (const child of one.children) {
        if (!known.has(child)) wanted.push(child);
        known.add(child);
      }
    }
    if (told.length === 0) {
      throw new NotFoundError(`There is no run "${run}"`, {
        hint: "See app.list(); finished runs are removed after their retention (a day by default).",
      });
    }
  }
  return { told, gone, unchecked: Math.max(0, wanted.length - maxRuns) };
}

/** @returns undefined when nothing is recorded, or it is removed just now. */
async function readRun(ports: Ports, run: string): Promise<Told | undefined> {
  const log = await readLog(ports, run);
  if (log === undefined) return undefined;
  const told = {
    run,
    nodes: 0,
    facts: log.length,
    ends: log.filter(({ key }) => parseKey(key)?.is === "end"),
    given: log.filter(({ note }) => readOutcomeNote(note)?.elsewhere?.is === "run"),
    children: [...new Set(log.flatMap(childIn))],
  };
  const judged = await judge(ports, run, log);
  if (judged === "gone") return undefined;
  if (judged instanceof LogAudit) {
    const { findings, hasEnded, scheduler, nodes } = judged;
    return { ...told, nodes, findings, hasEnded, awaited: [...scheduler.children()] };
  }
  return { ...told, findings: [judged], hasEnded: told.ends.length > 0, awaited: [] };
}

async function judge(
  { facts }: Ports,
  run: string,
  log: readonly Stored[],
): Promise<LogAudit | AuditFinding | "gone"> {
  const key = definitionKey(run);
  if (!log.some((stored) => stored.key === key)) {
    // Of a submit that did not come to its end there are chunks without a head.
    const isRun = log.some((stored) => parseKey(stored.key)?.is !== "definition");
    return isRun ? { invariant: "S5", message: "its definition is missing", run } : "gone";
  }
  const head = await facts.read(key);
  if (head === undefined) return "gone";
  let definition: Definition;
  try {
    definition = await wholeDefinition(run, head.data, (chunk) => facts.readRecorded(chunk));
  } catch (error) {
    if (!(error instanceof InvalidWorkflowError)) throw error;
    return { invariant: "S5", message: error.message, run };
  }
  const judged = auditLog(run, definition, log, { atRest: false });
  // While it was read, somebody may have removed it.
  return judged.findings.length > 0 && await facts.read(key) === undefined ? "gone" : judged;
}

/** Everything recorded about a run, without the bodies that say nothing to a scheduler; undefined when there is nothing. */
async function readLog({ facts }: Ports, run: string): Promise<Stored[] | undefined> {
  const log = await facts.scan(everythingOf(run));
  for (let i = 0; i < log.length; i += BODY_BATCH) {
    const batch = log.slice(i, i + BODY_BATCH);
    const whole = await Promise.all(
      batch.map((stored) => saysMoreInBody(stored) ? facts.readRecorded(stored.key) : stored),
    );
    for (const [k, stored] of whole.entries()) {
      // Removed while it is read.
      if (stored === undefined) return undefined;
      log[i + k] = stored;
    }
  }
  return log.length === 0 ? undefined : log;
}

function childIn({ key, data }: Stored): string[] {
  if (parseKey(key)?.is !== "expansion") return [];
  const child = readExpansion(data)?.child;
  return child === undefined ? [] : [child];
}

/** What child runs gave their parents. Of those that were removed nothing can be said. */
function familyFindings(told: readonly Told[]): AuditFinding[] {
  const ends = new Map(told.map((one) => [one.run, one.ends]));
  return told.flatMap(({ run, given }) => toldByChildren(run, given, (child) => ends.get(child)));
}

async function suspicions(
  ports: Ports,
  told: readonly Told[],
  gone: ReadonlySet<string>,
  ticking: ReadonlySet<string>,
): Promise<Suspicion[]> {
  const ended = new Set(told.flatMap(({ run, hasEnded }) => hasEnded ? [run] : []));
  const found: Suspicion[] = [];
  for (const { run, awaited } of told) {
    if (!ended.has(run)) {
      if (!ticking.has(run)) found.push(withoutTick(run));
      for (const child of awaited) {
        if (ended.has(child.run)) found.push(untold(ports, run, child));
        if (gone.has(child.run)) found.push(missing(ports, run, child));
      }
      continue;
    }
    if (ticking.has(run)) found.push(tickLeft(run));
    for (const address of await ports.tasks.list(run)) found.push(taskLeft(ports, address));
  }
  return found;
}

function withoutTick(run: string): Suspicion {
  return {
    invariant: "L4",
    message: "it has not ended, and has no tick: nobody looks after it until the next sweep",
    run,
    holds: ({ tick, isOver }) => !tick && !isOver,
  };
}

function tickLeft(run: string): Suspicion {
  return {
    invariant: "L5",
    message: "it has ended, and its tick is left: no processor has taken it yet",
    run,
    holds: ({ tick, isOver }) => tick && isOver,
  };
}

function taskLeft({ tasks }: Ports, address: TaskAddress): Suspicion {
  const { workflow: run, node, attempt, queue } = address;
  return {
    invariant: "L5",
    message: `it has ended, and attempt ${attempt} of node ${node} is left in queue ${queue}`,
    run,
    node,
    attempt,
    holds: async ({ isOver }) => isOver && await tasks.has(address),
  };
}

function missing({ facts }: Ports, run: string, { node, attempt, run: child }: Child): Suspicion {
  return {
    invariant: "S5",
    message: `run ${child}, which takes the place of node ${node}, is missing`,
    run,
    node,
    attempt,
    holds: async ({ isOver }) => !isOver && await facts.read(definitionKey(child)) === undefined,
  };
}

function untold({ facts }: Ports, run: string, { node, attempt, run: child }: Child): Suspicion {
  return {
    invariant: "L1",
    message: `run ${child} has ended, and node ${node}, whose place it takes, waits for it still`,
    run,
    node,
    attempt,
    // While the child has its tick, its processor is about to tell.
    holds: async ({ isOver }) =>
      !isOver && await facts.read(outcomeKey(run, node, attempt)) === undefined,
  };
}

/** Those that are still so after a moment. */
async function confirmed(
  { facts, ticks, clock }: Ports,
  suspicions: readonly Suspicion[],
): Promise<AuditFinding[]> {
  if (suspicions.length === 0) return [];
  await new Promise<void>((resolve) => clock.after(LOOK_AGAIN_MS, resolve));
  const ticking = new Set(await ticks.list());
  const found: AuditFinding[] = [];
  for (const { holds, ...finding } of suspicions) {
    // Removed meanwhile.
    if (await facts.read(definitionKey(finding.run)) === undefined) continue;
    const last = await lastEnd(facts, finding.run);
    const isOver = last !== undefined && !last.reopened;
    if (await holds({ tick: ticking.has(finding.run), isOver })) found.push(finding);
  }
  return found;
}
