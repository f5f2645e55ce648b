/** Reads everything recorded about a workflow. The records are the truth; what comes out of here is a copy of it. */
import type { Definition, Parent } from "../core/definition.ts";
import { decodeHead, DEFINITION_VERSION, versionOf } from "../core/definition_codec.ts";
import { type DyrygentError, InvalidWorkflowError } from "../core/errors.ts";
import {
  controlKey,
  controlsOf,
  definitionKey,
  endsOf,
  everythingOf,
  outcomesOf,
  parseKey,
} from "../core/keys.ts";
import { LogReader, wholeDefinition } from "../core/recorded.ts";
import { readControl } from "../core/records.ts";
import type { Fact } from "../core/fact.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Facts, Stored } from "../ports.ts";
import { withBody } from "../runs/bodies.ts";

/** A workflow as its submit recorded it. */
export interface LoadedWorkflow {
  readonly definition: Definition;
  /** Milliseconds since 1970. */
  readonly submittedAt: number;
  /** What it was submitted in. */
  readonly trace: TraceContext | undefined;
}

export type LoadedDefinition =
  | { readonly is: "definition" } & LoadedWorkflow
  | { readonly is: "missing" }
  /** Written by a newer version: a newer processor can read it. */
  | { readonly is: "newer"; readonly version: number }
  | {
    readonly is: "unreadable";
    readonly error: DyrygentError;
    /** The run that waits for it, as far as that can be read. */
    readonly parent: Parent | undefined;
  };

export async function loadDefinition(facts: Facts, workflow: string): Promise<LoadedDefinition> {
  const record = await facts.read(definitionKey(workflow));
  return record === undefined ? { is: "missing" } : definitionIn(facts, workflow, record);
}

/**
 * The same of a workflow that nobody has conducted, most likely: one question tells both what it is and that nothing else
 * is recorded about it.
 */
export async function loadNew(
  facts: Facts,
  workflow: string,
): Promise<{ readonly loaded: LoadedDefinition; readonly isUntouched: boolean }> {
  const last = await facts.last(everythingOf(workflow));
  if (last?.key === definitionKey(workflow)) {
    return { loaded: await definitionIn(facts, workflow, last), isUntouched: true };
  }
  return { loaded: await loadDefinition(facts, workflow), isUntouched: false };
}

async function definitionIn(
  facts: Facts,
  workflow: string,
  record: Stored,
): Promise<LoadedDefinition> {
  const version = versionOf(record.data) ?? 0;
  if (version > DEFINITION_VERSION) return { is: "newer", version };
  const submittedAt = record.at;
  try {
    const definition = await wholeDefinition(
      workflow,
      record.data,
      (key) => facts.readRecorded(key),
    );
    return { is: "definition", definition, submittedAt, trace: record.trace };
  } catch (error) {
    if (!(error instanceof InvalidWorkflowError)) throw error;
    return { is: "unreadable", error, parent: parentIn(record.data) };
  }
}

function parentIn(head: Uint8Array): Parent | undefined {
  try {
    return decodeHead(head).parent;
  } catch {
    return undefined;
  }
}

export interface LoadedFacts {
  /** In the order of the log. */
  readonly facts: readonly Fact[];
  /** The number of the last control fact: the next one is looked for after it. */
  readonly controls: number;
  /** The place in the log of the last of them; 0: there is none. */
  readonly controlledTo: number;
  readonly outcomes: number;
  /** The last of them. */
  readonly latest: Pick<Stored, "key" | "seq"> | undefined;
  /** Of the latest record of each node, as far as their writers said so. */
  readonly traces: Map<number, TraceContext>;
}

/** What is recorded of a workflow that is new. */
export const untouched = (): LoadedFacts => ({
  facts: [],
  controls: 0,
  controlledTo: 0,
  outcomes: 0,
  latest: undefined,
  traces: new Map(),
});

/** All outcomes and control facts. */
export async function loadFacts(facts: Facts, workflow: string): Promise<LoadedFacts> {
  // Many have no control facts: two small questions instead of two scans.
  const [firstOutcome, firstControl] = await Promise.all([
    facts.next(outcomesOf(workflow), 0),
    facts.next(controlsOf(workflow), 0),
  ]);
  // Outcomes last: whatever was recorded before a control fact that is taken into account must be, too.
  const controls = firstControl === undefined
    ? []
    : await facts.scan(controlsOf(workflow), { bodies: true });
  const outcomes = firstOutcome === undefined && firstControl === undefined
    ? []
    : await facts.scan(outcomesOf(workflow));
  const whole = await Promise.all(outcomes.map((stored) => withBody(facts, stored)));
  // Only what may open another round asks whether this one had ended.
  const ends = controls.some(opensRound) ? await facts.scan(endsOf(workflow)) : [];
  const all = [...whole, ...controls, ...ends].sort((a, b) => a.seq - b.seq);
  const reader = new LogReader();
  return {
    facts: all.flatMap((stored) => reader.take(stored) ?? []),
    controls: lastNumber(workflow, controls),
    controlledTo: controls.at(-1)?.seq ?? 0,
    outcomes: outcomes.length,
    latest: all.at(-1),
    traces: tracesIn(all),
  };
}

function tracesIn(stored: readonly Stored[]): Map<number, TraceContext> {
  const traces = new Map<number, TraceContext>();
  for (const { key, trace } of stored) {
    const parsed = trace === undefined ? undefined : parseKey(key);
    if (parsed !== undefined && "node" in parsed) traces.set(parsed.node, trace!);
  }
  return traces;
}

/** The next control fact is written under the first free number after as many as there are. */
function lastNumber(workflow: string, controls: readonly Stored[]): number {
  const taken = new Set(controls.map(({ key }) => key));
  let n = controls.length;
  while (taken.has(controlKey(workflow, n + 1))) n++;
  return n;
}

function opensRound({ data }: Stored): boolean {
  const is = readControl(data)?.control.is;
  return is === "retry" || is === "rerun";
}
