/** Several processors and workers on one set of memory ports, in virtual time, some of which are stopped or killed meanwhile. */
import { Run } from "../../src/client/run.ts";
import { submit } from "../../src/client/submit.ts";
import { KnownTasks } from "../../src/client/known_tasks.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { Processor } from "../../src/processor/processor.ts";
import { Worker } from "../../src/worker/worker.ts";
import type { Ports } from "../../src/ports.ts";
import { type Execution } from "../audit.ts";
import { mortal } from "./mortal.ts";
import { type Plan, Rolls, seeThrough, tasksIn } from "./plans.ts";

export interface WorldOptions {
  readonly seed: number;
  /** Whether processes are killed, not only stopped. */
  readonly kills: boolean;
}

/** A process that takes part, and how it ends. */
interface Member {
  stop(): Promise<void>;
  kill(): void;
}

/** After that the processes are left in peace: every delay is then explained. */
const MOST_DISTURBANCES = 12;
/** Virtual days: what has not ended by then never will. */
const LIMIT_MS = 30 * 86_400_000;

export class World {
  readonly clock: VirtualClock = new VirtualClock();
  readonly ports: Ports;
  readonly executions: Execution[] = [];
  readonly #rolls: Rolls;
  readonly #kills: boolean;
  readonly #members: Member[] = [];
  crashed = false;

  constructor({ seed, kills }: WorldOptions) {
    this.#rolls = new Rolls(seed + 7_777);
    this.#kills = kills;
    this.ports = memoryPorts({
      clock: this.clock,
      random: new SeededRandom(seed),
      log: () => {},
    });
  }

  /** Runs the plans to their end, and what is done afterwards to its end. */
  async conduct(plans: readonly Plan[]): Promise<void> {
    for (let i = 0; i < 2; i++) await this.#begin("worker");
    for (let i = 0; i < 2; i++) await this.#begin("processor");
    let ended = false;
    const all = Promise.all(plans.map((plan, i) => this.#follow(plan, `run${i}`)))
      .finally(() => ended = true);
    all.catch(() => {});
    this.#disturbLater(() => !ended);
    while (!ended) {
      await turn();
      if (ended) break;
      if (!this.clock.fireNext()) throw new Error("nothing is due, and not all has ended");
      if (this.clock.monotonic() > LIMIT_MS) throw new Error("not all has ended after a month");
    }
    await all;
    await this.#rest();
  }

  async #follow(plan: Plan, id: string): Promise<void> {
    const { workflow, input } = plan;
    const options = {
      id,
      ...(input === undefined ? {} : { input }),
      unknownTasks: "ignore" as const,
    };
    await submit(this.ports, workflow, options, new KnownTasks(this.ports));
    await seeThrough(new Run(this.ports, id), plan, (ms) => this.#after(ms));
  }

  #after(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve));
  }

  async #begin(what: "worker" | "processor"): Promise<void> {
    const { ports, kill } = mortal(this.ports);
    const member = what === "worker"
      ? new Worker(ports, { tasks: this.#tasks(), concurrency: 8, maxCrashes: 1_000 })
      : new Processor(ports, { retention: "30d" });
    await member.start();
    this.#members.push({ stop: () => member.stop(), kill });
  }

  #tasks() {
    return tasksIn({
      note: (execution) => {
        this.executions.push({ ...execution, after: this.#lastSeq });
      },
      sleep: (ms) => this.#after(ms),
    });
  }

  #lastSeq = 0;
  #disturbances = 0;

  /** To be told of everything that is recorded. */
  listen(): void {
    const { facts } = this.ports;
    const create = facts.create.bind(facts);
    facts.create = async (...args) => {
      const written = await create(...args);
      if (written === "created") this.#lastSeq++;
      return written;
    };
  }

  /** Every now and then a process ends, and another one takes its place. */
  #disturbLater(isNeeded: () => boolean): void {
    this.clock.after(50 + this.#rolls.roll(3_000), () => {
      if (!isNeeded() || this.#disturbances++ === MOST_DISTURBANCES) return;
      void this.#disturb().finally(() => this.#disturbLater(isNeeded));
    });
  }

  async #disturb(): Promise<void> {
    const at = this.#rolls.roll(this.#members.length);
    const isWorker = at < 2;
    const [member] = this.#members.splice(at, 1);
    if (this.#kills && this.#rolls.often(50)) {
      this.crashed = true;
      member!.kill();
    } else void member!.stop();
    await this.#begin(isWorker ? "worker" : "processor");
    // Workers stay in front.
    if (isWorker) this.#members.unshift(this.#members.pop()!);
  }

  /** What was told last must be acknowledged. */
  async #rest(): Promise<void> {
    for (let i = 0; i < 5_000; i++) {
      await turn();
      if ((await this.ports.ticks.list()).length === 0) return;
      this.clock.fireNext();
    }
  }

  async stop(): Promise<void> {
    const stopped = Promise.all(this.#members.map((member) => member.stop()));
    let done = false;
    void stopped.then(() => done = true);
    while (!done) {
      await turn();
      if (!done) this.clock.fireNext();
    }
  }
}

/** Lets everything happen that needs no time. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
