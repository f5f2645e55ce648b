/**
 * One schedule: a plan, conducted by the unmodified engine in a world in which things go wrong, watched from its first step
 * to its end. All of it follows from the seed. What was broken comes back as text; nothing is thrown for it.
 */
import { Processor } from "../src/processor/processor.ts";
import { Worker } from "../src/worker/worker.ts";
import { audit, type Execution } from "../test/audit.ts";
import { Customer, type Promised } from "./customer.ts";
import {
  anyFaults,
  type Call,
  type Fault,
  type FaultOptions,
  Faults,
  type Injected,
  SERVING,
} from "./faults.ts";
import { anyPlan, type Plan, type Press } from "./plan.ts";
import { tasksOf } from "./planned_workflow.ts";
import { chanceOf, Rolls } from "./rolls.ts";
import { SimulatedProcess, type Surroundings } from "./simulated_process.ts";
import { SimulatedServer } from "./simulated_server.ts";
import { Story } from "./story.ts";
import { VirtualWorld } from "./virtual_world.ts";
import { Witness } from "./witness.ts";

export interface ScheduleOptions {
  readonly seed: number;
  /** @default the plan of the seed */
  readonly plan?: Plan;
  /** @default the faults of the seed */
  readonly faults?: FaultOptions;
  /** Whether it is told who did what. */
  readonly told?: boolean;
}

export interface Report {
  readonly seed: number;
  readonly plan: Plan;
  readonly broken: readonly string[];
  readonly injected: readonly Injected[];
  /** Where something could go wrong; only told of faults that were chosen one by one. */
  readonly calls: readonly Call[];
  readonly story: readonly string[];
  readonly steps: number;
  readonly executions: number;
  /** Virtual milliseconds. */
  readonly tookMs: number;
}

/** From then on all goes well. */
const HEAL_MS = 30_000;
/** By then all has ended, whatever happened before: a tick may be away for an hour. */
const ENDED_MS = HEAL_MS + 65 * 60_000;
/** A schedule that takes so many steps goes in circles. */
const MOST_STEPS = 300_000;
const MOMENT_MS = 700;
const POWERLESS_MS = 1_500;
const RUN = "w";

export function runSchedule(options: ScheduleOptions): Promise<Report> {
  return new Schedule(options).run();
}

type Role = "client" | "processor" | "worker";

interface Member {
  readonly process: SimulatedProcess;
  stop(): Promise<void>;
}

class Schedule {
  readonly #seed: number;
  readonly #plan: Plan;
  readonly #world = new VirtualWorld();
  readonly #around: Surroundings;
  readonly #witness: Witness;
  readonly #faults: Faults;
  readonly #server: SimulatedServer;
  readonly #members = new Map<string, Member>();
  readonly #executions: Execution[] = [];
  readonly #promised: Promised = { submitted: false, done: false, pressed: new Set() };
  readonly #broken: string[] = [];
  #recorded = 0;
  #steps = 0;

  constructor(
    { seed, plan = anyPlan(seed), faults = anyFaults(seed), told = false }: ScheduleOptions,
  ) {
    this.#seed = seed;
    this.#plan = plan;
    this.#faults = new Faults(faults);
    const onDone: Witness["onDone"] = (done) => {
      if (done.is === "recorded") this.#recorded = done.stored.seq;
      this.#witness.onDone(done);
    };
    this.#server = new SimulatedServer(this.#world, onDone, plan.maxRecord);
    this.#witness = new Witness(this.#server, this.#faults);
    const story = new Story(() => this.#world.now, told);
    this.#around = {
      seed,
      world: this.#world,
      server: this.#server,
      faults: this.#faults,
      story,
    };
  }

  async run(): Promise<Report> {
    const { processors, workers } = this.#plan;
    for (let i = 1; i <= processors; i++) this.#begin("processor", i, 1);
    for (let i = 1; i <= workers; i++) this.#begin("worker", i, 1);
    this.#begin("client", 1, 1);
    this.#watchMoments(1);
    this.#world.after(HEAL_MS, () => this.#faults.heal());
    await this.#toTheEnd();
    // What was left in the middle is not judged by how it ends.
    if (this.#broken.length + this.#witness.broken.length === 0) await this.#judge();
    return {
      seed: this.#seed,
      plan: this.#plan,
      broken: [...this.#witness.broken, ...this.#broken],
      injected: this.#faults.injected,
      calls: this.#faults.calls,
      story: this.#around.story.lines,
      steps: this.#steps,
      executions: this.#executions.length,
      tookMs: this.#world.now,
    };
  }

  async #toTheEnd(): Promise<void> {
    while (!this.#promised.done || !await this.#isOver()) {
      if (this.#world.now > ENDED_MS || this.#steps > MOST_STEPS) {
        if (this.#isExcused) return;
        this.#broken.push(await this.#whyNotOver());
        return;
      }
      this.#steps++;
      if (!await this.#world.step()) return void this.#broken.push("L1: nothing goes on");
      if (this.#witness.isBehind) await this.#witness.look();
      if (this.#witness.broken.length > 0) return;
    }
  }

  async #isOver(): Promise<boolean> {
    if (this.#witness.hasOpen) return false;
    if ((await this.#server.listTicks()).length > 0) return false;
    for (const run of this.#witness.runs) {
      if ((await this.#server.tasks.list(run)).length > 0) return false;
    }
    return this.#plan.retentionMs === undefined ||
      (await this.#server.facts.keys(">")).length === 0;
  }

  /** A power cut took away what somebody had asked for, or the end of a round: the run waits for it for ever. */
  get #isExcused(): boolean {
    const needed: readonly Press[] = ["pause", "send", "retry", "rerun"];
    return this.#witness.wasCut && this.#plan.actions.some(({ press }) => needed.includes(press));
  }

  async #whyNotOver(): Promise<string> {
    const ticks = await this.#server.listTicks();
    const tasks = (await Promise.all(this.#witness.runs.map((run) => this.#server.tasks.list(run))))
      .flat().map(({ workflow, node, attempt }) => `${workflow}.${node}.${attempt}`);
    const facts = this.#plan.retentionMs === undefined ? [] : await this.#server.facts.keys(">");
    return `L1: not over after ${
      Math.round(this.#world.now / 1_000)
    } s and ${this.#steps} steps: ` +
      `submitted ${this.#promised.submitted}, done ${this.#promised.done}; without an end: ${
        this.#witness.open.join(", ") || "none"
      }; ` +
      `ticks ${ticks.join(", ") || "none"}; tasks ${tasks.join(", ") || "none"}` +
      (facts.length > 0 ? `; not removed: ${facts.slice(0, 5).join(", ")}` : "");
  }

  /** After the end: the whole log, and what is left. */
  async #judge(): Promise<void> {
    const isFaultless = this.#faults.injected.length === 0;
    const { repeats, handOverRepeats, wasCut } = this.#witness;
    // In a cluster a subscription takes a moment to reach every server: who conducts a run may be asked in vain.
    const excused = this.#plan.spreads ? handOverRepeats : 0;
    const unexcused = repeats + handOverRepeats - excused;
    if (unexcused > 0 && isFaultless) {
      this.#broken.push(`S10: ${unexcused} attempts ran again, and nothing had gone wrong`);
    }
    // What a power cut took away is in the memory of those who lived on: the log alone does not explain what they do.
    if (wasCut) return;
    const facts = await this.#server.facts.scan(">", { bodies: true });
    if (this.#plan.retentionMs === undefined && facts.length === 0) {
      this.#broken.push("S5: nothing is left of what was submitted");
    }
    const executions = this.#executions.filter(({ workflow }) =>
      facts.some(({ key }) => key === `${workflow}.def.0`)
    );
    const left = { tasks: 0, ticks: 0 };
    const crashed = !isFaultless || excused > 0;
    this.#broken.push(...await audit({ facts, executions, left, crashed }));
  }

  /** A process; when it dies, another one takes its place. */
  #begin(role: Role, slot: number, life: number): void {
    const name = `${role}${slot}${life === 1 ? "" : `.${life}`}`;
    if (role === "client" && this.#promised.done) return;
    const again = () => {
      this.#members.delete(`${role}${slot}`);
      const afterMs = 50 + chanceOf(this.#seed, `${name} again`) * 3_000;
      this.#world.after(afterMs, () => this.#begin(role, slot, life + 1));
    };
    const { skewMs, spreads } = this.#plan;
    const process = new SimulatedProcess(name, this.#around, again, {
      skewMs: (chanceOf(this.#seed, `${name} skew`) - 0.5) * skewMs,
      spreads,
    });
    switch (role) {
      case "client": {
        const { ports } = process;
        const isCut = () => this.#witness.wasCut;
        const customer = new Customer(ports, this.#plan, RUN, this.#promised, isCut);
        customer.act().catch((error) =>
          this.#broken.push(`the client failed: ${(error as Error).stack}`)
        );
        break;
      }
      case "processor":
        this.#run(process, `${role}${slot}`, () => this.#processor(process), again);
        break;
      case "worker":
        this.#run(process, `${role}${slot}`, () => this.#worker(process), again);
        break;
      default:
        role satisfies never;
    }
  }

  #run(
    process: SimulatedProcess,
    slot: string,
    make: () => Processor | Worker,
    again: () => void,
  ): void {
    const member = make();
    const stop = async () => {
      await member.stop();
      if (!process.isDead) again();
    };
    this.#members.set(slot, { process, stop });
    // A process that cannot begin ends, and is started again.
    member.start().catch(() => process.kill());
  }

  #processor({ ports }: SimulatedProcess): Processor {
    const { retentionMs, keep } = this.#plan;
    const options = retentionMs === undefined
      ? {}
      : { retention: retentionMs, sweep: "20s" } as const;
    const kept = keep === undefined ? {} : { keep };
    return new Processor(ports, options, { isAnnounced: false, ...kept });
  }

  #worker({ ports }: SimulatedProcess): Worker {
    const tasks = tasksOf({
      began: (beginning) => {
        const { workflow, node, attempt } = beginning;
        this.#executions.push({ workflow, node, attempt, after: this.#recorded });
        this.#witness.onBegan(beginning);
      },
      sleep: (ms) => new Promise((resolve) => ports.clock.after(ms, resolve)),
    });
    const options = { tasks, concurrency: 3, prefetch: 1, maxCrashes: 1_000 };
    return new Worker(ports, options, { isAnnounced: false });
  }

  /** What can happen to the server, or be done to processes, at any time. */
  #watchMoments(n: number): void {
    this.#world.after(MOMENT_MS * (0.5 + chanceOf(this.#seed, `moment ${n}`)), () => {
      if (this.#faults.healed) return;
      const at = `moment ${n}`;
      const fault: Fault | undefined = this.#faults.decide(at, SERVING);
      if (fault !== undefined) this.#disturb(at, fault);
      this.#watchMoments(n + 1);
    });
  }

  #disturb(at: string, fault: Fault): void {
    const { story } = this.#around;
    switch (fault) {
      case "restart":
        story.tell("server", () => "starts again");
        return this.#server.restart();
      case "power cut":
        story.tell("server", () => "has a power cut");
        for (const { process } of this.#members.values()) process.disconnect(POWERLESS_MS);
        return void this.#server.powerCut(new Rolls(this.#seed, at));
      case "hand over": {
        const members = [...this.#members.values()];
        const member = members[Math.floor(chanceOf(this.#seed, `${at} who`) * members.length)];
        if (member === undefined) return;
        story.tell(member.process.name, () => "is asked to stop");
        return void member.stop();
      }
    }
  }
}
