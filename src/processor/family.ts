/**
 * Runs that take the place of another run's nodes: what the parent's conductor asks of them, and what they tell their parent.
 * All of it is recorded once, under ids that follow from the parent's log, so that every conductor may repeat it.
 */
import type { Parent } from "../core/definition.ts";
import type { FinalState } from "../core/fact.ts";
import { definitionKey, expansionKey, outcomeKey } from "../core/keys.ts";
import { writeExpansion } from "../core/records.ts";
import type { Child } from "../core/scheduler.ts";
import type { Ports } from "../ports.ts";
import { isChildOf } from "../runs/children.ts";
import { recordControlOnce } from "../runs/control.ts";
import { lastEnd } from "../runs/end.ts";
import { recordOutcome } from "./outcome.ts";

/** Whether a run is paused since its last pause or resume, and which of its control facts that is. */
export interface Pausing {
  readonly is: "pause" | "resume";
  readonly n: number;
}

/** How a child ended, as its parent is told. */
export interface ChildEnd {
  readonly state: FinalState;
  readonly at: number;
  readonly startedAt: number;
  readonly why: string;
}

export class Family {
  readonly #ports: Ports;
  readonly #workflow: string;
  /** What was asked of children from here already. */
  readonly #asked = new Set<string>();

  constructor(ports: Ports, workflow: string) {
    this.#ports = ports;
    this.#workflow = workflow;
  }

  /**
   * Tries a child that has failed again, in place of the node's task. Asked before it is recorded: a crash repeats both.
   * @returns whether there is such a run still.
   */
  async revive(
    { node, attempt, child }: { node: number; attempt: number; child: string },
  ): Promise<boolean> {
    const { facts, clock } = this.#ports;
    if (!await isChildOf(facts, child, this.#workflow)) return false;
    await this.#ask(child, { is: "retry", attempt }, `retry-${node}-${attempt}`);
    const record = writeExpansion({ child, at: clock.now() });
    await facts.create(expansionKey(this.#workflow, node, attempt), record);
    return true;
  }

  /** Cancels the children that nobody waits for any more, and lets the others do as their parent does. */
  async keepInStep(
    { running, abandoned, pausing, reason }: {
      running: readonly Child[];
      abandoned: readonly Child[];
      pausing: Pausing | undefined;
      reason: string | undefined;
    },
  ): Promise<void> {
    await Promise.all([
      ...abandoned.map(({ run, node, attempt }) =>
        this.#ask(
          run,
          { is: "cancel", reason: reason ?? `its place in ${this.#workflow} is not needed` },
          `cancel-${node}-${attempt}`,
        )
      ),
      ...(pausing === undefined ? [] : running).map(({ run }) =>
        this.#ask(run, { is: pausing!.is, following: pausing!.n }, `${pausing!.is}-${pausing!.n}`)
      ),
    ]);
  }

  async #ask(
    child: string,
    control: Parameters<typeof recordControlOnce>[2],
    what: string,
  ): Promise<void> {
    const id = `${this.#workflow}:${what}`;
    if (this.#asked.has(`${child} ${id}`)) return;
    // A child that was removed, or is not written yet, is asked nothing; nor is somebody else's run.
    if (!await isChildOf(this.#ports.facts, child, this.#workflow)) return;
    await recordControlOnce(this.#ports, child, control, id);
    this.#asked.add(`${child} ${id}`);
  }

  /**
   * What a child cannot tell itself, because nobody can read whose child it is, or because it was removed.
   * @returns whether it has ended.
   */
  async endFor({ run, node, attempt }: Child): Promise<boolean> {
    const { facts, clock } = this.#ports;
    const tell = (end: ChildEnd) =>
      new Family(this.#ports, run).tellParent({ workflow: this.#workflow, node }, attempt, end);
    const definition = await facts.read(definitionKey(run));
    if (definition === undefined) {
      const why = "it was removed before it had ended";
      await tell({ state: "ERROR", at: clock.now(), startedAt: clock.now(), why });
      return true;
    }
    const last = await lastEnd(facts, run);
    if (last === undefined || last.reopened) return false;
    const { state, at, reason, failed } = last.end;
    const why = reason ?? `${failed.length} nodes failed`;
    await tell({ state, at, startedAt: definition.at, why });
    return true;
  }

  /** The end of this run is the outcome of its parent's node. */
  async tellParent(
    parent: Pick<Parent, "workflow" | "node">,
    attempt: number,
    end: ChildEnd,
  ): Promise<void> {
    const { facts } = this.#ports;
    // Nothing is written about a run that was removed.
    if (await facts.read(definitionKey(parent.workflow)) === undefined) return;
    const message = `run ${this.#workflow} ended as ${end.state}: ${end.why}`;
    await recordOutcome(
      facts,
      outcomeKey(parent.workflow, parent.node, attempt),
      end.state === "SUCCESS"
        ? { is: "succeeded", result: new Uint8Array() }
        : { is: "failed", failure: { name: "WorkflowFailedError", message } },
      {
        startedAt: end.startedAt,
        endedAt: end.at,
        elsewhere: { is: "run", run: this.#workflow },
      },
    );
  }

  /** Whether nobody waits for this run any more: its parent was removed, or has ended without it. */
  async isOrphan(parent: Parent): Promise<boolean> {
    const { facts } = this.#ports;
    if (await facts.read(definitionKey(parent.workflow)) === undefined) return true;
    const end = await lastEnd(facts, parent.workflow);
    return end !== undefined && !end.reopened;
  }
}
