/**
 * Whether every promise was kept, judged from what processes noted and what the streams hold. Pure.
 * The audit of the logs is part of it; what it adds is what only histories tell: that nothing
 * acknowledged was lost, that results are what was computed, and why something ran again. The names
 * of the invariants are those of docs/architecture.md#invariants.
 */
import { parseKey } from "../src/core/keys.ts";
import { readControl, readEnd, readOutcomeNote } from "../src/core/records.ts";
import type { Stored } from "../src/ports.ts";
import { audit, type Execution as NotedExecution } from "../test/audit.ts";
import type { Evidence, Left, Submitted } from "./evidence.ts";
import { type Execution, executionsIn, type Extra, extrasIn } from "./executions.ts";
import type { ToldEnd } from "./follower.ts";
import { digestOf, digestOfText, type Entry } from "./history.ts";

export interface Findings {
  /** A line each; none when all is well. */
  readonly violations: readonly string[];
  readonly executions: number;
  readonly extras: readonly Extra[];
  /** Messages that were acknowledged, and that the server could not remove: its disk was full. */
  readonly leftByServer: number;
}

export async function check(evidence: Evidence): Promise<Findings> {
  const { history, facts, left } = evidence;
  const executions = executionsIn(history);
  const extras = extrasIn(history);
  const recorded = new Map(facts.map((fact) => [fact.key, fact]));
  const calls = callsIn(history);
  const own = leftByUs(left, history, recorded);
  const audited = await audit({
    facts,
    executions: notedExecutions(executions, facts),
    left: { tasks: own.tasks.length, ticks: own.ticks.length },
    crashed: true,
  });
  return {
    violations: [
      ...audited,
      ...[...own.tasks, ...own.ticks].slice(0, 10).map((subject) => `L5: ${subject} is left`),
      ...unexplained(extras),
      ...lostSubmits(evidence.workloads, calls, recorded),
      ...lostControls(calls, facts),
      ...evidence.workloads.flatMap((workload) => wrongResults(workload, executions, recorded)),
      ...fabricated(executions, facts),
      ...evidence.workloads.flatMap((workload) => wrongAnswers(workload, calls, recorded)),
      ...unexpectedFailures(calls),
    ],
    executions: executions.length,
    extras,
    leftByServer: left.tasks.length + left.ticks.length - own.tasks.length - own.ticks.length,
  };
}

/**
 * With the place of the log at which each began: all that was recorded by then. The servers' clock
 * is the machine's, as the journals' is; what they say in milliseconds may be one off.
 */
function notedExecutions(
  executions: readonly Execution[],
  facts: readonly Stored[],
): NotedExecution[] {
  const logs = grouped(facts, ({ key }) => key.split(".")[0]!);
  return executions.map(({ run, node, attempt, at }) => {
    const before = (logs.get(run) ?? []).filter((fact) => fact.at <= at + 1);
    const after = before.reduce((last, { seq }) => Math.max(last, seq), 0);
    return { workflow: run, node, attempt, after };
  });
}

function grouped<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

function unexplained(extras: readonly Extra[]): string[] {
  return extras.flatMap(({ execution: { run, node, attempt, by, at }, why }) =>
    why === undefined
      ? [`S10: attempt ${attempt} of node ${node} of ${run} ran again on ${by} at ${at}: why?`]
      : []
  );
}

/**
 * A message is acknowledged after its outcome, or its workflow's end, is recorded. A server whose
 * disk is full then takes the acknowledgement, but cannot remove the message: its consumer never
 * delivers it again.
 */
function leftByUs(
  left: Left,
  history: readonly Entry[],
  recorded: ReadonlyMap<string, Stored>,
): Left {
  const wasFull = history.some((entry) => entry.is === "fault" && entry.kind === "disk full");
  if (!wasFull) return left;
  const isDone = (key: string) => recorded.has(key) || recorded.has(`${key}.run`);
  return {
    tasks: left.tasks.filter((subject) => {
      const [, , run, node, attempt] = subject.split(".");
      return !isDone(`${run}.r.${node}.${attempt}`);
    }),
    ticks: left.ticks.filter((run) => !recorded.has(`${run}.end.1`)),
  };
}

/** A client's call, and what became of it. */
interface Call {
  readonly run: string;
  readonly what: string;
  readonly outcome:
    | { readonly is: "answered"; readonly answer: unknown }
    | { readonly is: "failed"; readonly code: string; readonly message: string }
    /** The client died first. */
    | undefined;
}

function callsIn(history: readonly Entry[]): Call[] {
  const outcomes = new Map<string, Call["outcome"]>();
  for (const entry of history) {
    if (entry.is === "answered" || entry.is === "failed") {
      outcomes.set(`${entry.by} ${entry.call}`, entry);
    }
  }
  return history.flatMap((entry) =>
    entry.is === "invoked"
      ? [{
        run: entry.run,
        what: entry.what,
        outcome: outcomes.get(`${entry.by} ${entry.call}`),
      }]
      : []
  );
}

/** S5: what was acknowledged is recorded, byte by byte. */
function lostSubmits(
  workloads: readonly Submitted[],
  calls: readonly Call[],
  recorded: ReadonlyMap<string, Stored>,
): string[] {
  const acknowledged = new Set(
    calls.flatMap(({ run, what, outcome }) =>
      what === "submit" && outcome?.is === "answered" ? [run] : []
    ),
  );
  return workloads.flatMap(({ id, definition }) =>
    [...definition].flatMap(([key, record]) => {
      const stored = recorded.get(key);
      if (stored === undefined) {
        return acknowledged.has(id) ? [`S5: ${id} was acknowledged, ${key} is lost`] : [];
      }
      return equalBytes(stored.data, record) ? [] : [`S5: ${key} is not what was submitted`];
    })
  );
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** S5: for each control request that was answered as applied, there is a control fact. */
function lostControls(calls: readonly Call[], facts: readonly Stored[]): string[] {
  const counts = new Map<string, number>();
  const add = (key: string, by: number) => counts.set(key, (counts.get(key) ?? 0) + by);
  for (const { run, what, outcome } of calls) {
    const is = CONTROLS.get(what);
    if (is === undefined || outcome?.is !== "answered") continue;
    if ((outcome.answer as { applied: boolean }).applied) add(`${run} ${is}`, 1);
  }
  for (const { key, data } of facts) {
    const parsed = parseKey(key);
    if (parsed?.is !== "control") continue;
    add(`${parsed.workflow} ${readControl(data)?.control.is}`, -1);
  }
  return [...counts].flatMap(([key, missing]) =>
    missing > 0 ? [`S5: ${key}: ${missing} acknowledged control facts are lost`] : []
  );
}

/** What clients call, and what it is recorded as. */
const CONTROLS = new Map([
  ["cancel", "cancel"],
  ["pause", "pause"],
  ["resume", "resume"],
  ["skip", "skip"],
  ["send", "event"],
  ["retry", "retry"],
  ["rerun", "rerun"],
]);

/**
 * S1, S2, S11: what a proof ran with and came to is what its plan says; what was never to run did
 * not.
 */
function wrongResults(
  { id, expected }: Submitted,
  executions: readonly Execution[],
  recorded: ReadonlyMap<string, Stored>,
): string[] {
  // What was never recorded is not a run; if it was acknowledged, that is told elsewhere.
  if (expected === undefined || !recorded.has(`${id}.def.0`)) return [];
  const broken: string[] = [];
  for (const { run, node, given, attempt } of executions) {
    if (run === id && expected.never.has(node)) {
      broken.push(`S1: node ${node} of ${run} ran after a node that failed`);
    }
    const meant = expected.runs.get(run)?.get(node);
    if (meant === undefined) continue;
    if (meant.given !== given) broken.push(`S1: node ${node} of ${run} ran with wrong inputs`);
    if (attempt > meant.attempt) {
      broken.push(`S12: node ${node} of ${run} ran in attempt ${attempt}, not ${meant.attempt}`);
    }
  }
  for (const [run, nodes] of expected.runs) {
    for (const [node, { attempt, result }] of nodes) {
      const stored = recorded.get(`${run}.r.${node}.${attempt}`);
      const note = readOutcomeNote(stored?.note);
      if (stored === undefined || note?.is !== "succeeded") {
        broken.push(`S2: node ${node} of ${run} has no success in attempt ${attempt}`);
      } else if (note.elsewhere === undefined && digestOfText(stored.data) !== result) {
        broken.push(`S2: node ${node} of ${run} has another result than it must have`);
      }
    }
  }
  const end = recorded.get(`${id}.end.1`);
  const state = end === undefined ? undefined : readEnd(end.data)?.state;
  // One without an end is the audit's to tell.
  if (state !== undefined && state !== expected.state) {
    broken.push(`S4: ${id} ended as ${state}, must as ${expected.state}`);
  }
  return broken;
}

const NULL = digestOf(null);

/** S2: every result that a worker recorded is what one of its executions came to. */
function fabricated(executions: readonly Execution[], facts: readonly Stored[]): string[] {
  const gave = grouped(
    executions,
    ({ run, node, attempt, by }) => `${run}.r.${node}.${attempt} ${by}`,
  );
  return facts.flatMap(({ key, note, data }) => {
    const outcome = readOutcomeNote(note);
    if (outcome?.is !== "succeeded" || outcome.worker === "processor") return [];
    const own = gave.get(`${key} ${outcome.worker}`) ?? [];
    switch (outcome.elsewhere?.is) {
      case "run":
        return [];
      case "blob": {
        const { size } = JSON.parse(new TextDecoder().decode(data)) as { size: number };
        return own.some((one) => one.size === size) ? [] : [`S2: nobody computed ${key}`];
      }
      case undefined: {
        const digest = digestOfText(data);
        // A result may be ignored.
        const isIgnored = digest === NULL && own.some(({ gave }) => gave !== undefined);
        return isIgnored || own.some((one) => one.gave === digest)
          ? []
          : [`S2: nobody computed ${key}`];
      }
      default:
        return outcome.elsewhere satisfies never;
    }
  });
}

/** S3: what clients were told is what is recorded. */
function wrongAnswers(
  { id, expected }: Submitted,
  calls: readonly Call[],
  recorded: ReadonlyMap<string, Stored>,
): string[] {
  const states = new Set<string | undefined>();
  for (let round = 1; recorded.has(`${id}.end.${round}`); round++) {
    states.add(readEnd(recorded.get(`${id}.end.${round}`)!.data)?.state);
  }
  return calls.flatMap(({ run, what, outcome }) => {
    if (run !== id || outcome?.is !== "answered") return [];
    const { answer } = outcome;
    switch (what) {
      case "submit other":
        return answer === "CONFLICT" ? [] : [`S5: ${id} was given to another workflow too`];
      case "status": {
        const { state } = answer as ToldEnd;
        return ["INITIAL", "RUNNING", "PAUSED"].includes(state) || states.has(state)
          ? []
          : [`S3: ${id} was told to be ${state}, which is not recorded`];
      }
      case "ended":
      case "watch":
      case "result": {
        const { state, result } = answer as ToldEnd;
        if (!states.has(state)) return [`S3: ${id} was told to end as ${state}, which it did not`];
        const isWrong = what === "result" && expected !== undefined && result !== expected.result;
        return isWrong ? [`S2: the result of ${id} was told wrong`] : [];
      }
      default:
        return [];
    }
  });
}

/** Whoever asks may be told to try again, and nothing else. */
function unexpectedFailures(calls: readonly Call[]): string[] {
  return calls.flatMap(({ run, what, outcome }) =>
    outcome?.is === "failed" && outcome.code !== "UNAVAILABLE"
      ? [`"${what}" of ${run} failed as ${outcome.code}: ${outcome.message.split("\n")[0]}`]
      : []
  );
}
