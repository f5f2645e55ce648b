/** A handle on a submitted workflow: its result, its state, and what can be asked of it. Holds nothing but the id. */
import type { Definition } from "../core/definition.ts";
import { findNode, labelOf } from "../core/definition.ts";
import { decodeHead, type Head } from "../core/definition_codec.ts";
import { NotFoundError, TaskError, WorkflowFailedError } from "../core/errors.ts";
import type { EventName } from "../core/event.ts";
import type { Control, WorkflowState } from "../core/fact.ts";
import { checkId, quote } from "../core/ids.ts";
import { exactJson } from "../core/json.ts";
import { definitionKey, endsOf, outcomeKey, outcomesOfNode, parseKey } from "../core/keys.ts";
import { noCounts } from "../core/node_state.ts";
import { wholeDefinition } from "../core/recorded.ts";
import {
  type EndRecord,
  readExpansion,
  readOutcomeNote,
  readStatus,
  type RunStatus,
} from "../core/records.ts";
import { shownFailure } from "../core/sealed_failure.ts";
import { sealJson, withReadablePayload } from "../core/sealing.ts";
import { Node } from "../core/workflow.ts";
import type { Ports, Stored } from "../ports.ts";
import { recordControl } from "../runs/control.ts";
import { type LastEnd, lastEnd, type RoundEnd, roundEndIn } from "../runs/end.ts";
import { removeRun } from "../runs/removal.ts";
import { fillFrom, lastOutcome, resultOf, successOf } from "../runs/results.ts";
import { audit, type AuditOptions, type AuditReport } from "./audit.ts";
import { checkLogsOptions, logs, type LogsOptions, type TaskLogLine } from "./logs.ts";
import { nodesOf, type NodeStatus } from "./nodes.ts";
import { waitFor } from "./wait.ts";
import { type RunEvent, watch } from "./watch.ts";

/** A definition can be large, and only tells again that its run was not removed. */
const READ_AGAIN_MS = 10_000;

/** What came of a control request. */
export interface ControlAnswer {
  /** False when it changes nothing: the run had ended (or, for a retry, had not failed; for a rerun, had not ended). */
  readonly applied: boolean;
  /** The run's state when it was asked. */
  readonly state: WorkflowState;
}

/** A node: its handle, its number, its name, or the label that errors and events show. */
export type NodeReference = Node | string | number;

/** Nothing need come with an event that is only named, or whose type is `null`. */
type SentWith<Data> = unknown extends Data ? [data?: Data]
  : [Data] extends [null] ? [data?: null]
  : [data: NoInfer<Data>];

/** One try to run a node, as far as it is recorded. */
export interface AttemptStatus {
  /** From 1. */
  readonly attempt: number;
  readonly state: "SUCCESS" | "FAILURE" | "STARTED";
  /** Milliseconds since 1970, by the worker's clock; undefined while another run takes the node's place. */
  readonly startedAt?: number;
  readonly endedAt?: number;
  /** The worker that ran it. */
  readonly worker?: string;
  readonly failure?: TaskError;
  /** The run that takes, or took, the node's place. */
  readonly run?: string;
}

/** A submitted workflow: its result, how it stands, and what can be asked of it. From `app.submit(…)` or `app.run(id)`. */
export class Run<Out = unknown> {
  readonly id: string;
  /** Whether it was given back instead of being submitted: an earlier submit had the same `dedupe.key`. */
  readonly deduplicated: boolean;
  readonly #ports: Ports;

  constructor(ports: Ports, id: string, { deduplicated = false }: { deduplicated?: boolean } = {}) {
    this.#ports = ports;
    this.id = id;
    this.deduplicated = deduplicated;
  }

  /**
   * The workflow's result, or a node's, as soon as there is one. Waiting costs nothing: the server tells when it ends.
   * @throws {WorkflowFailedError} when the workflow did not succeed; {TaskError} for a node that failed; {NotFoundError};
   * {CodecError} when it is sealed and the codec at hand cannot read it
   */
  async result(): Promise<Out>;
  async result<T>(node: Node<T>): Promise<T>;
  async result(node: NodeReference): Promise<unknown>;
  async result(node?: NodeReference): Promise<unknown> {
    if (node !== undefined) return this.#nodeResult(node);
    const { end, stored } = await this.#waitForEnd();
    const head = headOrNothing(stored);
    if (end.state !== "SUCCESS" || head === undefined) throw await this.#failure(end);
    const output = head.output ?? (await this.#definition()).output;
    return await fillFrom(this.#ports, this.id, output) as Out;
  }

  /** Resolves when the run has ended, however it ended. */
  async ended(): Promise<RunStatus> {
    const { stored, ...last } = await this.#waitForEnd();
    return withReadablePayload(this.#ports.codec, endedStatus(this.id, stored, last));
  }

  /** How it stands. While it runs, counts are up to a second old. A payload that the codec cannot read is shown sealed. */
  async status(): Promise<RunStatus> {
    return withReadablePayload(this.#ports.codec, await this.#storedStatus());
  }

  async #storedStatus(): Promise<RunStatus> {
    const [view, last, stored] = await Promise.all([
      this.#ports.views.get(`wf.${this.id}`),
      lastEnd(this.#ports.facts, this.id),
      this.#ports.facts.read(definitionKey(this.id)),
    ]);
    if (stored === undefined) throw this.#notFound();
    if (last !== undefined && !last.reopened) return endedStatus(this.id, stored, last);
    const shown = view === undefined ? undefined : readStatus(view.data);
    const base = shown ?? firstStatus(this.id, stored);
    // A view may be of the round before.
    return hasEnded(base.state) ? { ...base, state: "RUNNING", finishedAt: undefined } : base;
  }

  /** Changes of nodes and of the workflow, from its beginning, as they are recorded; ends when the run has ended. */
  watch(): AsyncGenerator<RunEvent, void, void> {
    return watch(this.#ports, this.id, () => this.#definition());
  }

  /**
   * What its tasks have logged with `currentTask().log`, in the order of its moments; not what those of runs in the place
   * of its nodes have. All that matches is held at once: of a run with very many nodes, ask for one.
   * @throws {NotFoundError}, {InvalidOptionError}, {UnavailableError} when it is iterated; {CodecError} when it is sealed and
   * the codec at hand cannot read it
   */
  async *logs(
    options: LogsOptions<NodeReference> = {},
  ): AsyncGenerator<TaskLogLine, void, void> {
    const definition = await this.#definition();
    const checked = checkLogsOptions(options, (node) => this.#find(definition, node));
    yield* logs(this.#ports, this.id, definition, checked, async () => {
      if (await this.#ports.facts.read(definitionKey(this.id)) === undefined) {
        throw this.#notFound();
      }
    });
  }

  /** Stops the run: what has not begun never will, what runs is told by its signal; `finally` still runs. */
  cancel(reason?: string): Promise<ControlAnswer> {
    return this.#control({ is: "cancel", ...(reason === undefined ? {} : { reason }) });
  }

  /** Starts nothing new until {@link resume}. What runs goes on. */
  pause(): Promise<ControlAnswer> {
    return this.#control({ is: "pause" });
  }

  resume(): Promise<ControlAnswer> {
    return this.#control({ is: "resume" });
  }

  /** Runs what failed, and what depends on it, again. Only for a run that has ended without success. */
  async retryFailed(): Promise<ControlAnswer> {
    // A definition that cannot be read will not be readable in the next round either: say so to the caller.
    await this.#definition();
    return this.#control({ is: "retry" });
  }

  /** Runs these nodes and all that depends on them again, though they succeeded, and what failed. Only for a run that has ended. */
  async rerun(
    { from }: { from: NodeReference | readonly NodeReference[] },
  ): Promise<ControlAnswer> {
    return this.#control({ is: "rerun", nodes: await this.#numbers(from) });
  }

  /** Nodes that have not ended are not run: what depends on them runs with `null` for their results. */
  async skip(nodes: NodeReference | readonly NodeReference[]): Promise<ControlAnswer> {
    return this.#control({ is: "skip", nodes: await this.#numbers(nodes) });
  }

  /**
   * Tells the run that something has happened: nodes that wait for it (`wf.waitFor`) get `data`. Kept when it is sent
   * before a node waits; of several of one name, the first counts.
   * @param data any JSON. @default null
   */
  async send<Data>(
    event: EventName<Data> | string,
    ...[data]: SentWith<Data>
  ): Promise<ControlAnswer> {
    const name = checkId("event", typeof event === "string" ? event : event.name);
    const json = exactJson(data ?? null, "data");
    const { codec } = this.#ports;
    const sent = codec === undefined ? json : await sealJson(codec, json);
    return this.#control({ is: "event", name, data: JSON.parse(sent) });
  }

  /**
   * Removes the run with all that is recorded about it, and the runs that took the place of its nodes. Only for a run that
   * has ended, and not for one that a run under way needs; processors do this by themselves when its retention is over.
   */
  async remove(): Promise<ControlAnswer> {
    const { state, parent } = await this.#storedStatus();
    const isNeeded = parent !== undefined && await this.#isUnderWay(parent.id);
    if (!hasEnded(state) || isNeeded) return { applied: false, state };
    await removeRun(this.#ports, this.id);
    return { applied: true, state };
  }

  /**
   * Checks what is recorded against the invariants (docs/architecture.md#invariants), and what is queued; names each edge
   * that was violated and each record that is missing. Also of the runs that took the place of its nodes. A run under way
   * is judged as far as it is. Needs no codec. Child runs that were removed after their retention are no finding.
   * @throws {NotFoundError}, {InvalidOptionError}, {UnavailableError}
   */
  audit(options: AuditOptions = {}): Promise<AuditReport> {
    return audit(this.#ports, this.id, options);
  }

  async #isUnderWay(run: string): Promise<boolean> {
    const { facts } = this.#ports;
    if (await facts.read(definitionKey(run)) === undefined) return false;
    const last = await lastEnd(facts, run);
    return last === undefined || last.reopened;
  }

  /**
   * How each node stands, in the order of their numbers, joins included; from the log: that an attempt has begun shows only
   * when it has ended. Reads the whole log: of a run with a million nodes that takes a while.
   * @throws {NotFoundError}, {UnavailableError}
   */
  async nodes(): Promise<NodeStatus[]> {
    const { definition, submittedAt } = await this.#submitted();
    return await nodesOf(this.#ports.facts, this.id, definition, submittedAt);
  }

  /** What is recorded of a node's attempts, in order: also those of earlier rounds. */
  async attempts(reference: NodeReference): Promise<AttemptStatus[]> {
    const definition = await this.#definition();
    const node = this.#find(definition, reference);
    const { facts } = this.#ports;
    const found = new Map<number, AttemptStatus>();
    for (const stored of await facts.scan(outcomesOfNode(this.id, node), { bodies: true })) {
      const key = parseKey(stored.key);
      if (key?.is !== "outcome" && key?.is !== "expansion") continue;
      const { attempt } = key;
      const known = found.get(attempt) ?? { attempt, state: "STARTED" };
      const note = readOutcomeNote(stored.note);
      if (key.is === "expansion") {
        const run = readExpansion(stored.data)?.child;
        found.set(attempt, run === undefined ? known : { ...known, run });
      } else if (note !== undefined) {
        const { startedAt, endedAt, worker } = note;
        const times = { ...known, startedAt, endedAt, worker };
        found.set(
          attempt,
          note.is === "succeeded" ? { ...times, state: "SUCCESS" } : {
            ...times,
            state: "FAILURE",
            failure: await this.#errorIn(definition, node, attempt, stored),
          },
        );
      }
    }
    return [...found.values()].sort((a, b) => a.attempt - b.attempt);
  }

  /**
   * Recorded in the same log as what it races with: what it came too late for stands before it, and the answer says so.
   */
  async #control(control: Control): Promise<ControlAnswer> {
    const { facts, random } = this.#ports;
    const { state } = await this.#storedStatus();
    if (!appliesIn(control, state)) return { applied: false, state };
    const recorded = await recordControl(this.#ports, this.id, control, random.id());
    if (recorded === undefined) throw this.#notFound();
    const { seq } = recorded;
    const last = await lastEnd(facts, this.id);
    const isTooLate = last !== undefined && last.seq < seq &&
      !appliesIn(control, last.reopened ? "RUNNING" : last.end.state) && control.is !== "retry" &&
      control.is !== "rerun";
    return isTooLate ? { applied: false, state: last.end.state } : { applied: true, state };
  }

  async #nodeResult(reference: NodeReference): Promise<unknown> {
    const { facts } = this.#ports;
    const definition = await this.#definition();
    const node = this.#find(definition, reference);
    const found = await waitFor(
      this.#ports,
      [`${this.id}.r.${node}.*`, `${this.id}.end.*`],
      async () => {
        const success = await successOf(facts, this.id, node);
        if (success !== undefined) return { is: "success" as const, success };
        const last = await this.#endSoFar();
        return last === undefined ? undefined : { is: "ended" as const, end: last.end };
      },
    );
    if (found.is === "success") return resultOf(this.#ports, found.success);
    // It may have been recorded just before the end.
    const success = await successOf(facts, this.id, node);
    if (success !== undefined) return resultOf(this.#ports, success);
    const failed = await lastOutcome(facts, this.id, node);
    if (failed !== undefined) {
      throw await this.#errorIn(definition, node, failed.attempt, failed.stored);
    }
    if (found.end.state === "SUCCESS") return null;
    throw await this.#failure(found.end);
  }

  /** @param below the runs whose failures this one's explains. */
  async #failure(end: EndRecord, below: readonly string[] = []): Promise<WorkflowFailedError> {
    if (end.failed.length === 0) return new WorkflowFailedError(this.id, end.state, [], end.reason);
    const definition = await this.#definition();
    const failures = await Promise.all(end.failed.map(async ({ node, attempt }) => {
      const stored = await this.#ports.facts.readRecorded(outcomeKey(this.id, node, attempt));
      return this.#errorIn(definition, node, attempt, stored, below);
    }));
    return new WorkflowFailedError(this.id, end.state, failures, end.reason);
  }

  async #errorIn(
    definition: Definition,
    node: number,
    attempt: number,
    stored: Stored | undefined,
    below: readonly string[] = [],
  ): Promise<TaskError> {
    const failure = await shownFailure(this.#ports.codec, stored?.data ?? new Uint8Array());
    const elsewhere = readOutcomeNote(stored?.note)?.elsewhere;
    const cause = elsewhere?.is === "run"
      ? await this.#failureOf(elsewhere.run, [...below, this.id])
      : undefined;
    return new TaskError(labelOf(definition, node), attempt, failure, cause);
  }

  /** How a run that took a node's place failed; undefined when that is not to be found any more. */
  async #failureOf(
    child: string,
    below: readonly string[],
  ): Promise<WorkflowFailedError | undefined> {
    if (below.includes(child)) return undefined;
    const last = await lastEnd(this.#ports.facts, child);
    if (last === undefined || last.end.state === "SUCCESS") return undefined;
    return await new Run(this.#ports, child).#failure(last.end, below);
  }

  /** @returns how it ended, and the first record of its definition. */
  async #waitForEnd(): Promise<RoundEnd & { readonly stored: Stored }> {
    const { facts, clock } = this.#ports;
    let stored: Stored | undefined;
    let readAt = -Infinity;
    const definition = async () => {
      if (clock.monotonic() - readAt < READ_AGAIN_MS) return stored;
      readAt = clock.monotonic();
      return await facts.read(definitionKey(this.id));
    };
    /** The one that is under way. */
    let round = 1;
    const ended = await waitFor(this.#ports, [endsOf(this.id)], async (told) => {
      const isTold = told === undefined ? undefined : roundEndIn(told);
      if (stored !== undefined && isTold?.round === round) return isTold;
      const [last, head] = await Promise.all([
        lastEnd(facts, this.id),
        definition(),
      ]);
      stored ??= head;
      if (stored === undefined) throw this.#notFound();
      if (last?.reopened === false) return last;
      if (head === undefined) throw this.#notFound();
      if (last !== undefined) round = last.round + 1;
      return undefined;
    });
    return { ...ended, stored: stored! };
  }

  /** Its end, unless it is under way. What was removed will never end: whoever waits for it must not wait for ever. */
  async #endSoFar(): Promise<LastEnd | undefined> {
    const { facts } = this.#ports;
    const last = await lastEnd(facts, this.id);
    if (last !== undefined) return last.reopened ? undefined : last;
    if (await facts.read(definitionKey(this.id)) === undefined) throw this.#notFound();
    return undefined;
  }

  async #definition(): Promise<Definition> {
    return (await this.#submitted()).definition;
  }

  async #submitted(): Promise<{ definition: Definition; submittedAt: number }> {
    const { facts } = this.#ports;
    const head = await facts.read(definitionKey(this.id));
    if (head === undefined) throw this.#notFound();
    const read = (key: string) => facts.readRecorded(key);
    return {
      definition: await wholeDefinition(this.id, head.data, read),
      submittedAt: head.at,
    };
  }

  async #numbers(references: NodeReference | readonly NodeReference[]): Promise<number[]> {
    const definition = await this.#definition();
    return ([references].flat() as NodeReference[]).map((reference) =>
      this.#find(definition, reference)
    );
  }

  #find(definition: Definition, reference: NodeReference): number {
    const node = findNode(definition, reference instanceof Node ? reference.index : reference);
    if (node !== undefined) return node;
    throw new NotFoundError(`Run "${this.id}" has no node ${quote(reference)}`, {
      hint:
        "Use a handle of the submitted workflow, a node's name, number, or the label that events show.",
    });
  }

  #notFound(): NotFoundError {
    return new NotFoundError(`There is no run "${this.id}"`, {
      hint: "See app.list(); finished runs are removed after their retention (a day by default).",
    });
  }
}

function headOrNothing(stored: Stored): Head | undefined {
  try {
    return decodeHead(stored.data);
  } catch {
    return undefined;
  }
}

/** As it stood when it was submitted. */
function firstStatus(id: string, stored: Stored): RunStatus {
  const head = headOrNothing(stored);
  return {
    id,
    name: head?.name ?? "",
    state: "INITIAL",
    counts: noCounts(),
    round: 1,
    submittedAt: stored.at,
    ...(head?.payload === undefined ? {} : { payload: head.payload }),
    ...(head?.parent === undefined
      ? {}
      : { parent: { id: head.parent.workflow, node: head.parent.node } }),
  };
}

function endedStatus(id: string, stored: Stored, { end, round }: RoundEnd): RunStatus {
  const { state, counts, at } = end;
  return { ...firstStatus(id, stored), state, counts, round, finishedAt: at };
}

function hasEnded(state: WorkflowState): boolean {
  return state !== "INITIAL" && state !== "RUNNING" && state !== "PAUSED";
}

/** Whether it could change anything of a run in this state. */
function appliesIn(control: Control, state: WorkflowState): boolean {
  switch (control.is) {
    case "retry":
      return hasEnded(state) && state !== "SUCCESS";
    case "rerun":
      return hasEnded(state);
    case "cancel":
    case "timeout":
    case "pause":
    case "resume":
    case "skip":
    case "event":
      return !hasEnded(state);
  }
  return control satisfies never;
}
