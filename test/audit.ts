/**
 * Whether runs kept their promises, judged from what is recorded (src/core/audit.ts) and, what no log tells, from what
 * their tasks noted themselves. The names of the invariants are those of docs/architecture.md#invariants. Nothing here
 * asks the engine how it sees things, but for the scheduler, which replays the log: that it decides rightly is what the
 * properties in core/ are for.
 */
import { type Allowed, type AuditFinding, toldByChildren } from "../src/core/audit.ts";
import { type Definition, labelOf } from "../src/core/definition.ts";
import { decodeHead } from "../src/core/definition_codec.ts";
import type { Fact } from "../src/core/fact.ts";
import { parseKey } from "../src/core/keys.ts";
import { LogReader, wholeDefinition } from "../src/core/recorded.ts";
import { Scheduler } from "../src/core/scheduler.ts";
import type { Stored } from "../src/ports.ts";
import { WatchedLog } from "./watched_log.ts";

/** A task's own note that it began. */
export interface Execution {
  readonly workflow: string;
  readonly node: number;
  readonly attempt: number;
  /** The last place of the log that was written when it began. */
  readonly after: number;
}

export interface Evidence {
  /** Everything recorded, with bodies. */
  readonly facts: readonly Stored[];
  readonly executions: readonly Execution[];
  /** Messages that are left in the queues of tasks and of ticks, when all is done. */
  readonly left: { readonly tasks: number; readonly ticks: number };
  /** Something died on the way: attempts may have been executed more than once. */
  readonly crashed: boolean;
}

/** @returns what was broken, a line each; nothing when all is well. */
export async function audit(evidence: Evidence): Promise<string[]> {
  const { facts, executions, left } = evidence;
  const broken: string[] = [];
  if (left.tasks > 0) broken.push(`L5: ${left.tasks} task messages are left`);
  if (left.ticks > 0) broken.push(`L5: ${left.ticks} ticks are left`);
  const logs = new Map<string, Stored[]>();
  for (const stored of [...facts].sort((a, b) => a.seq - b.seq)) {
    const workflow = stored.key.split(".")[0]!;
    const log = logs.get(workflow);
    if (log === undefined) logs.set(workflow, [stored]);
    else log.push(stored);
  }
  for (const { workflow } of executions) {
    if (!logs.has(workflow)) broken.push(`S11: a task of ${workflow} ran, which is not recorded`);
  }
  for (const [workflow, log] of logs) {
    const own = executions.filter((execution) => execution.workflow === workflow);
    broken.push(...await auditRun(workflow, log, own, evidence.crashed));
    const endsOf = (run: string) =>
      (logs.get(run) ?? []).filter(({ key }) => parseKey(key)?.is === "end");
    broken.push(...toldByChildren(workflow, log, endsOf).map(line));
  }
  return broken;
}

async function auditRun(
  workflow: string,
  log: readonly Stored[],
  executions: readonly Execution[],
  crashed: boolean,
): Promise<string[]> {
  const byKey = new Map(log.map((stored) => [stored.key, stored]));
  const head = byKey.get(`${workflow}.def.0`);
  if (head === undefined) return [`S5: ${workflow} has no definition`];
  let definition: Definition;
  try {
    definition = await wholeDefinition(
      workflow,
      head.data,
      (key) => Promise.resolve(byKey.get(key)),
    );
  } catch (error) {
    return [`S5: the definition of ${workflow} cannot be read: ${(error as Error).message}`];
  }
  const watched = new WatchedLog(workflow, definition, head.at);
  for (const stored of log) watched.take(stored);
  watched.audit.close({ atRest: true });
  const { findings, allowed, scheduler } = watched.audit;
  const reader = new LogReader();
  const facts = log.flatMap((stored) => reader.take(stored) ?? []);
  const say = (line: string) => `${line} (${workflow}, ${decodeHead(head.data).nodes} nodes)`;
  return [
    ...findings.map(line),
    ...executed(definition, executions, allowed, crashed),
    ...sameInAnyOrder(workflow, definition, head.at, facts, scheduler),
  ].map(say);
}

function line({ invariant, message }: AuditFinding): string {
  return `${invariant}: ${message}`;
}

/** S1, S10, S11, S12: what ran was to run, not earlier, and not more often than a crash explains. */
function executed(
  definition: Definition,
  executions: readonly Execution[],
  decided: ReadonlyMap<string, Allowed>,
  crashed: boolean,
): string[] {
  const broken: string[] = [];
  const times = new Map<string, number>();
  for (const { node, attempt, after } of executions) {
    if (node >= definition.graph.size) {
      broken.push(`S11: node ${node} ran, which does not exist`);
      continue;
    }
    const what = `attempt ${attempt} of ${labelOf(definition, node)}`;
    const key = `${node}.${attempt}`;
    const allowed = decided.get(key);
    if (allowed?.is !== "dispatch") broken.push(`S12: ${what} ran, which nobody decided`);
    else if (allowed.seq > after) {
      broken.push(`S1: ${what} began at ${after}, allowed at ${allowed.seq}`);
    }
    times.set(key, (times.get(key) ?? 0) + 1);
    if (!crashed && times.get(key)! > 1) broken.push(`S10: ${what} ran again without a crash`);
  }
  return broken;
}

/** S9: between two control facts, order and repetition change nothing. */
function sameInAnyOrder(
  workflow: string,
  definition: Definition,
  submittedAt: number,
  facts: readonly Fact[],
  scheduler: Scheduler,
): string[] {
  const again = new Scheduler(definition, workflow, submittedAt);
  again.begin();
  let stretch: Fact[] = [];
  const flush = () => {
    for (const fact of [...stretch, ...stretch].reverse()) again.apply(fact);
    stretch = [];
  };
  for (const fact of facts) {
    if (fact.is !== "control") {
      stretch.push(fact);
      continue;
    }
    flush();
    again.apply(fact);
  }
  flush();
  const differs = Array.from({ length: definition.graph.size }, (_, node) => node)
    .filter((node) =>
      again.stateOf(node) !== scheduler.stateOf(node) ||
      again.attemptOf(node) !== scheduler.attemptOf(node)
    );
  return differs.length === 0 && again.finished === scheduler.finished
    ? []
    : [`S9: in another order nodes ${differs.join()} come out differently`];
}
