/**
 * What happens in a run, as a stream of events. The same scheduler that conducts works out the states from the same facts,
 * here; so it costs the processors nothing, and starts with everything that happened before.
 */
import { type Definition, labelOf } from "../core/definition.ts";
import { everythingOf, parseKey } from "../core/keys.ts";
import { LogReader, type Recorded } from "../core/recorded.ts";
import { readEnd } from "../core/records.ts";
import {
  type FinalState,
  type NodeState,
  Scheduler,
  type WorkflowState,
} from "../core/scheduler.ts";
import { unseal } from "../core/sealing.ts";
import type { Cancel, Ports } from "../ports.ts";
import { Bell } from "./bell.ts";

/** A change of a node or of the workflow, or a progress report of a running task. */
export type RunEvent =
  | {
    readonly is: "node";
    readonly node: number;
    readonly label: string;
    readonly state: NodeState;
    readonly attempt: number;
    /** The run that takes its place, when that has begun. */
    readonly run?: string;
  }
  | {
    readonly is: "progress";
    readonly node: number;
    readonly label: string;
    readonly value: unknown;
  }
  | { readonly is: "workflow"; readonly state: WorkflowState };

/** Something told may have been missed: after a quiet time the log is read again. */
const LOOK_AGAIN_MS = 10_000;

export async function* watch(
  ports: Ports,
  workflow: string,
  loadDefinition: () => Promise<Definition>,
): AsyncGenerator<RunEvent, void, void> {
  const { hints, facts, clock } = ports;
  const definition = await loadDefinition();
  const story = new Story(definition, workflow);
  const heard: Recorded[] = [];
  let missed = true;
  const bell = new Bell();
  const hear = (recorded: Recorded) => {
    heard.push(recorded);
    bell.ring();
  };
  const cancels: Cancel[] = [
    hints.onFact(everythingOf(workflow), hear),
    hints.onTold(`started.${workflow}.>`, (topic) => story.started(topic) && bell.ring()),
    hints.onTold(
      `progress.${workflow}.>`,
      (topic, data) => story.progress(topic, data) && bell.ring(),
    ),
    hints.onGap(() => {
      missed = true;
      bell.ring();
    }),
  ];
  try {
    await hints.settled();
    while (true) {
      if (missed) {
        missed = false;
        const recorded = await facts.scan(everythingOf(workflow), { bodies: true });
        // It was removed: that it is gone is all there is to say.
        if (recorded.length === 0) await loadDefinition();
        for (const stored of recorded) story.take(stored);
      }
      for (const recorded of heard.splice(0)) story.take(recorded);
      for (const event of story.events()) {
        const shown = event.is === "progress" ? await readable(ports, event) : event;
        if (shown !== undefined) yield shown;
      }
      if (story.ended) return;
      if (!await bell.wait(clock, LOOK_AGAIN_MS)) missed = true;
    }
  } finally {
    for (const cancel of cancels) cancel();
  }
}

/** Progress may get lost: also what cannot be unsealed. */
async function readable(
  { codec, log }: Ports,
  event: RunEvent & { is: "progress" },
): Promise<RunEvent | undefined> {
  try {
    return { ...event, value: await unseal(codec, event.value) };
  } catch (error) {
    log("debug", `the progress of ${event.label} cannot be read`, {
      event: "progress-unreadable",
      node: event.node,
      error,
    });
    return undefined;
  }
}

/** Facts in, events out; each fact counts once. */
class Story {
  readonly #definition: Definition;
  readonly #scheduler: Scheduler;
  readonly #reader = new LogReader();
  readonly #seen = new Set<string>();
  #events: RunEvent[] = [];
  #state: WorkflowState = "INITIAL";
  /** How rounds ended. */
  readonly #ends = new Map<number, FinalState>();

  constructor(definition: Definition, workflow: string) {
    this.#definition = definition;
    this.#scheduler = new Scheduler(
      definition,
      workflow,
      0,
      (node, state) => this.#node(node, state),
    );
    this.#scheduler.begin();
  }

  /** The run's current round has its terminal record. */
  get ended(): boolean {
    return this.#end !== undefined;
  }

  take(recorded: Recorded): void {
    if (this.#seen.has(recorded.key)) return;
    this.#seen.add(recorded.key);
    const parsed = parseKey(recorded.key);
    const fact = this.#reader.take(recorded);
    if (parsed?.is === "end") {
      this.#ends.set(parsed.round, readEnd(recorded.data)?.state ?? "ERROR");
    } else {
      if (fact === undefined) return;
      if (this.#state === "INITIAL") this.#workflow("RUNNING");
      this.#scheduler.apply(fact);
      if (this.#scheduler.finished === undefined) this.#workflow(this.#scheduler.workflowState);
    }
    if (this.#end !== undefined) this.#workflow(this.#end);
  }

  /** How the current round ended, once its terminal record and all that led to it are known. */
  get #end(): FinalState | undefined {
    return this.#scheduler.finished && this.#ends.get(this.#scheduler.round);
  }

  started(topic: string): boolean {
    const [node, attempt] = topic.split(".").slice(-2).map(Number);
    if (
      node === undefined || this.#scheduler.attemptOf(node) !== attempt ||
      !this.#scheduler.isOpen(node)
    ) return false;
    this.#node(node, "STARTED");
    return true;
  }

  progress(topic: string, data: Uint8Array): boolean {
    const node = Number(topic.split(".").at(-2));
    try {
      const value = JSON.parse(new TextDecoder().decode(data));
      this.#events.push({ is: "progress", node, label: labelOf(this.#definition, node), value });
      return true;
    } catch {
      return false;
    }
  }

  events(): RunEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  #node(node: number, state: NodeState): void {
    if (this.#definition.policies[this.#definition.policyOf[node]!]!.join === true) return;
    const label = labelOf(this.#definition, node);
    const run = this.#scheduler.childOf(node);
    this.#events.push({
      is: "node",
      node,
      label,
      state,
      attempt: this.#scheduler.attemptOf(node),
      ...(run === undefined ? {} : { run }),
    });
  }

  #workflow(state: WorkflowState): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#events.push({ is: "workflow", state });
  }
}
