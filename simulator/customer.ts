/**
 * A client of a simulation: submits its plan's workflow, presses the planned buttons and waits for the end. It may die in the
 * middle; whoever takes its place begins with the same submit. What it was promised is written down.
 */
import { KnownTasks } from "../src/client/known_tasks.ts";
import { Run } from "../src/client/run.ts";
import { submit } from "../src/client/submit.ts";
import {
  DyrygentError,
  NotFoundError,
  UnavailableError,
  WorkflowFailedError,
} from "../src/core/errors.ts";
import type { Ports } from "../src/ports.ts";
import type { Action, Plan } from "./plan.ts";
import { eventOf, workflowOf } from "./planned_workflow.ts";

/** What was acknowledged to somebody. */
export interface Promised {
  submitted: boolean;
  /** It has seen the run's end. */
  done: boolean;
  readonly pressed: Set<Action>;
}

const TRY_AGAIN_MS = 400;
const PAUSE_MS = 700;

export class Customer {
  readonly #ports: Ports;
  readonly #plan: Plan;
  readonly #id: string;
  readonly #promised: Promised;
  readonly #wasCut: () => boolean;

  /** @param wasCut whether what was acknowledged may be lost. */
  constructor(ports: Ports, plan: Plan, id: string, promised: Promised, wasCut: () => boolean) {
    this.#ports = ports;
    this.#plan = plan;
    this.#id = id;
    this.#promised = promised;
    this.#wasCut = wasCut;
  }

  async act(): Promise<void> {
    await this.#submit();
    this.#promised.submitted = true;
    const run = new Run(this.#ports, this.#id);
    const [during, afterwards] = [false, true].map((isLate) =>
      this.#plan.actions.filter(({ press }) => isAfterwards(press) === isLate)
    ) as [Action[], Action[]];
    await Promise.all(during.map((action) => this.#press(run, action)));
    await this.#insist(() => run.ended());
    for (const action of afterwards) {
      await this.#press(run, action);
      // What was sent to a run that had ended was not kept.
      for (const sent of during) if (sent.press === "send") await this.#press(run, sent);
      await this.#insist(() => run.ended());
    }
    await this.#insist(() => this.#readResult(run));
    this.#promised.done = true;
  }

  /** Whatever it gives, it can be read. */
  async #readResult(run: Run): Promise<void> {
    try {
      await run.result();
    } catch (error) {
      if (error instanceof WorkflowFailedError) return;
      const mayBeGone = this.#plan.retentionMs !== undefined || this.#wasCut();
      if (error instanceof NotFoundError && !mayBeGone) {
        throw new Error(`L1: a result cannot be read: ${error.message}`, { cause: error });
      }
      throw error;
    }
  }

  async #submit(): Promise<void> {
    const knownTasks = new KnownTasks(this.#ports);
    const options = { id: this.#id, unknownTasks: "ignore" } as const;
    await this.#insist(() => submit(this.#ports, workflowOf(this.#plan), options, knownTasks));
  }

  async #press(run: Run, action: Action): Promise<void> {
    const { ms, press, node } = action;
    // What was sent to a round that ended is sent to the next one, also by a customer that knows only of the first.
    if (this.#promised.pressed.has(action) && press !== "send") return;
    await this.#sleep(ms);
    switch (press) {
      case "cancel":
        await this.#insist(() => run.cancel("as planned"));
        break;
      case "pause":
        await this.#insist(() => run.pause());
        await this.#sleep(PAUSE_MS);
        await this.#insist(() => run.resume());
        break;
      case "skip":
        await this.#insist(() => run.skip([node]));
        break;
      case "send":
        await this.#insist(() => run.send<null>(eventOf(node), null));
        break;
      case "submit again":
        await this.#submit();
        break;
      case "retry":
        await this.#insist(() => run.retryFailed());
        break;
      case "rerun":
        await this.#insist(() => run.rerun({ from: node }));
        break;
      default:
        press satisfies never;
    }
    this.#promised.pressed.add(action);
  }

  /** Tries again while the server is out of reach, as a person would. */
  async #insist(act: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await act();
        return;
      } catch (error) {
        // Removed after its retention: there is nothing to wait for.
        if (!(error instanceof UnavailableError)) {
          if (this.#promised.submitted && error instanceof DyrygentError) return;
          throw error;
        }
        await this.#sleep(TRY_AGAIN_MS);
      }
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.after(ms, resolve));
  }
}

function isAfterwards(press: Action["press"]): boolean {
  return press === "retry" || press === "rerun";
}
