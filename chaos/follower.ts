/**
 * A client that sees workloads through: submits them, asks what can be asked, waits for their ends.
 * Every call is noted before it is made and when it is answered; what is out of reach is asked
 * again. It judges nothing.
 */
import {
  ConflictError,
  type Dyrygent,
  DyrygentError,
  type Run,
  UnavailableError,
  Workflow,
  WorkflowFailedError,
} from "nats-dyrygent";
import { type Button, Rolls } from "../test/mixed/plans.ts";
import { digestOf, type Journal } from "./history.ts";
import { listed } from "./proof.ts";
import { type Workload, workloadOf, type WorkloadOptions } from "./workload.ts";

/** What a client is told of a run's end. */
export interface ToldEnd {
  readonly state: string;
  /** The digest of its result. */
  readonly result?: string;
}

const AGAIN_MS = 200;

export class Follower {
  readonly #app: Dyrygent;
  readonly #journal: Journal;
  readonly #options: WorkloadOptions;
  #calls = 0;

  constructor(app: Dyrygent, journal: Journal, options: WorkloadOptions) {
    this.#app = app;
    this.#journal = journal;
    this.#options = options;
  }

  stop(): Promise<void> {
    return Promise.resolve();
  }

  /** Safe to be done again by another client, from the beginning. */
  async follow(index: number): Promise<void> {
    const workload = workloadOf(index, this.#options);
    const rolls = new Rolls(index + 1);
    const run = await this.#submit(workload);
    if (rolls.often(15)) await this.#submit(workload);
    if (rolls.often(10)) await this.#submitOther(workload.id);
    if (rolls.often(30)) await this.#status(run);
    if (workload.is === "proof") await this.#awaitEnd(run, rolls);
    else await this.#press(run, workload);
  }

  #submit({ id, workflow, input }: Workload): Promise<Run<unknown>> {
    return this.#call(id, "submit", undefined, async () => {
      const given = input === undefined ? {} : { input };
      const run = await this.#app.submit(workflow, { id, unknownTasks: "ignore", ...given });
      return { answer: null, value: run };
    });
  }

  /** The same id with other content. */
  #submitOther(id: string): Promise<void> {
    const other = new Workflow("other");
    other.call(listed, []);
    return this.#call(id, "submit other", undefined, async () => {
      try {
        await this.#app.submit(other, { id, unknownTasks: "ignore" });
        return { answer: "accepted", value: undefined };
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error;
        return { answer: "CONFLICT", value: undefined };
      }
    });
  }

  #status(run: Run<unknown>): Promise<void> {
    return this.#call(run.id, "status", undefined, async () => {
      const { state, round } = await run.status();
      return { answer: { state, round }, value: undefined };
    });
  }

  async #awaitEnd(run: Run<unknown>, rolls: Rolls): Promise<void> {
    switch (rolls.roll(4)) {
      case 0:
        await this.#ended(run);
        break;
      case 1:
        await this.#watch(run);
        break;
      default:
    }
    await this.#call(run.id, "result", undefined, async () => {
      const answer: ToldEnd = await run.result().then(
        (result) => ({ state: "SUCCESS", result: digestOf(result) }),
        (error) => {
          if (!(error instanceof WorkflowFailedError)) throw error;
          return { state: error.state };
        },
      );
      return { answer, value: undefined };
    });
  }

  #ended(run: Run<unknown>): Promise<void> {
    return this.#call(run.id, "ended", undefined, async () => {
      const { state, round } = await run.ended();
      return { answer: { state, round }, value: undefined };
    });
  }

  /** The nodes that were told to succeed, in that order, and how the run was told to end. */
  #watch(run: Run<unknown>): Promise<void> {
    return this.#call(run.id, "watch", undefined, async () => {
      const succeeded: number[] = [];
      let state = "";
      for await (const event of run.watch()) {
        if (event.is === "workflow") state = event.state;
        else if (event.is === "node" && event.state === "SUCCESS") succeeded.push(event.node);
      }
      return { answer: { state, succeeded }, value: undefined };
    });
  }

  /** Everything that a mixed plan does to a run, in its order. */
  async #press(run: Run<unknown>, workload: Workload & { is: "mixed" }): Promise<void> {
    const { buttons, afterwards } = workload.plan;
    const press = (button: Omit<Button, "ms">) =>
      this.#call(run.id, button.what.split(" ")[0]!, button.what, async () => ({
        answer: await button.press(run as Run),
        value: undefined,
      }));
    const pressed = this.#pressInOrder(buttons, press);
    await this.#ended(run);
    // A retry may need what is only sent later, or run into a pause.
    await pressed;
    await this.#ended(run);
    for (const button of afterwards) {
      await press(button);
      // What was sent to a run that had ended was not kept.
      for (const sent of buttons) if (sent.what.startsWith("send")) await press(sent);
      await this.#ended(run);
    }
  }

  /** Each when the one before was answered: a pause that is recorded after its resume would stay. */
  async #pressInOrder(
    buttons: readonly Button[],
    press: (button: Button) => Promise<void>,
  ): Promise<void> {
    const begun = performance.now();
    for (const button of [...buttons].sort((a, b) => a.ms - b.ms)) {
      await sleep(Math.max(0, begun + button.ms - performance.now()));
      await press(button);
    }
  }

  async #call<T>(
    run: string,
    what: string,
    args: unknown,
    act: () => Promise<{ answer: unknown; value: T }>,
  ): Promise<T> {
    for (;;) {
      const call = ++this.#calls;
      this.#journal.write({ is: "invoked", call, run, what, args });
      try {
        const { answer, value } = await act();
        this.#journal.write({ is: "answered", call, answer });
        return value;
      } catch (error) {
        const code = error instanceof DyrygentError ? error.code : "UNEXPECTED";
        const message = error instanceof Error ? error.stack ?? error.message : String(error);
        this.#journal.write({ is: "failed", call, code, message });
        if (!(error instanceof UnavailableError)) throw error;
        await sleep(AGAIN_MS);
      }
    }
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
