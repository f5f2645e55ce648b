/**
 * The server of a simulation: the memory adapter, which behaves as JetStream does while all goes well (the conformance
 * scripts compare them), and what a server can do besides: restart, lose what it had not written to disk, answer from a
 * copy that lags behind. Watched: whoever checks the invariants sees each thing it did, at once.
 */
import type { TraceContext } from "../src/core/trace_context.ts";
import { memoryPorts } from "../src/memory/open.ts";
import type {
  Delivery,
  Intake,
  Ports,
  Stored,
  TakeOptions,
  TaskAddress,
  TaskDelivery,
  TickDelivery,
  View,
} from "../src/ports.ts";
import { Rolls } from "./rolls.ts";
import { BEGINNING, type VirtualWorld } from "./virtual_world.ts";

/** What the server has done. */
export type Done =
  | { readonly is: "recorded"; readonly stored: Stored }
  | { readonly is: "queued"; readonly address: TaskAddress }
  | { readonly is: "task acked"; readonly address: TaskAddress }
  /** `to`: which of those that take ticks. */
  | { readonly is: "ticked"; readonly workflow: string; readonly to: number }
  | { readonly is: "tick acked"; readonly workflow: string }
  | { readonly is: "removed"; readonly filter: string }
  | { readonly is: "power cut"; readonly lost: readonly string[] };

interface Queued {
  readonly address: TaskAddress;
  readonly data: Uint8Array;
  readonly most: number | undefined;
  readonly trace: TraceContext | undefined;
}

/** Messages that are handed out, and what the server has forgotten about how often. */
class HandedOut<D extends Delivery> {
  readonly #out = new Map<string, D>();
  readonly #forgotten = new Map<string, number>();
  /** How many messages of a key there have been: who settles one that was replaced changes nothing. */
  readonly #made = new Map<string, number>();

  made(key: string): void {
    this.#made.set(key, (this.#made.get(key) ?? 0) + 1);
  }

  took(key: string, delivery: D): { deliveries: number; settle: () => boolean } {
    this.#out.set(key, delivery);
    const made = this.#made.get(key);
    /** @returns whether it is still the message of its key. */
    const settle = () => {
      const isCurrent = made === this.#made.get(key);
      if (isCurrent) this.#out.delete(key);
      return isCurrent;
    };
    return { deliveries: delivery.deliveries - (this.#forgotten.get(key) ?? 0), settle };
  }

  /** A server that starts again hands out anew what was not acknowledged, and counts from 1. */
  restart(): void {
    for (const [key, delivery] of [...this.#out]) {
      this.#forgotten.set(key, delivery.deliveries);
      this.#out.delete(key);
      delivery.giveBack();
    }
  }
}

export class SimulatedServer {
  readonly #world: VirtualWorld;
  #tickTakers = 0;
  readonly #memory: Ports;
  readonly #onDone: (done: Done) => void;
  readonly #tasksOut = new HandedOut<TaskDelivery>();
  readonly #ticksOut = new HandedOut<TickDelivery>();
  /** The latest last. For a power cut. */
  readonly #recorded: string[] = [];
  readonly #queued: Queued[] = [];
  readonly #ackedTasks: Queued[] = [];
  readonly #ticked: string[] = [];
  readonly #copies = new Map<string, View | undefined>();

  constructor(world: VirtualWorld, onDone: (done: Done) => void, maxRecord: number) {
    this.#world = world;
    this.#onDone = onDone;
    this.#memory = memoryPorts({
      clock: {
        now: () => BEGINNING + Math.floor(world.now),
        monotonic: () => world.now,
        after: (ms, call) => world.after(ms, call),
      },
      random: { chance: () => 0.5, id: () => "never" },
      log: () => {},
      maxRecord,
    });
  }

  /** Virtual milliseconds. */
  get now(): number {
    return this.#world.now;
  }

  get maxRecord(): number {
    return this.#memory.maxRecord;
  }

  get hints(): Ports["hints"] {
    return this.#memory.hints;
  }

  get blobs(): Ports["blobs"] {
    return this.#memory.blobs;
  }

  get leases(): { readonly taskMs: number; readonly tickMs: number } {
    return { taskMs: this.#memory.tasks.leaseMs, tickMs: this.#memory.ticks.leaseMs };
  }

  readonly facts: Ports["facts"] = {
    create: async (key, data, note, trace) => {
      const written = await this.#memory.facts.create(key, data, note, trace);
      if (written === "created") await this.#onRecorded(key);
      return written;
    },
    createIf: async (key, data, condition, note) => {
      const written = await this.#memory.facts.createIf(key, data, condition, note);
      if (written === "created") await this.#onRecorded(key);
      return written;
    },
    read: (key) => this.#memory.facts.read(key),
    readRecorded: (key) => this.#memory.facts.readRecorded(key),
    next: (filter, seq) => this.#memory.facts.next(filter, seq),
    last: (filter) => this.#memory.facts.last(filter),
    scan: (filter, options) => this.#memory.facts.scan(filter, options),
    keys: (filter) => this.#memory.facts.keys(filter),
    recordedFrom: (seq) => this.#memory.facts.recordedFrom(seq),
    purge: async (filter, before) => {
      this.#onDone({ is: "removed", filter });
      await this.#memory.facts.purge(filter, before);
    },
  };

  async #onRecorded(key: string): Promise<void> {
    this.#recorded.push(key);
    this.#onDone({ is: "recorded", stored: (await this.#memory.facts.read(key))! });
  }

  async queue(address: TaskAddress, data: Uint8Array, most?: number, trace?: TraceContext) {
    // Before it is there: it may be handed out at once.
    if (!await this.#memory.tasks.has(address)) this.#tasksOut.made(subjectOf(address));
    const written = await this.#memory.tasks.publish(address, data, most, trace);
    if (written === "created") {
      this.#queued.push({ address, data, most, trace });
      this.#onDone({ is: "queued", address });
    }
    return written;
  }

  get tasks(): Pick<Ports["tasks"], "withdraw" | "has" | "list" | "tidy" | "depths"> {
    return this.#memory.tasks;
  }

  takeTasks(options: TakeOptions, onTask: (task: TaskDelivery) => void): Promise<Intake> {
    return this.#memory.tasks.take(options, (task) => {
      const { subject } = task;
      const { deliveries, settle } = this.#tasksOut.took(subject, task);
      const queued = this.#queued.findLast(({ address }) => isSame(address, task.address!));
      onTask({
        ...task,
        deliveries,
        ack: async () => {
          const isThere = this.#memory.tasks.has(task.address!);
          task.ack();
          if (!settle() || !await isThere) return;
          if (queued !== undefined) this.#ackedTasks.push(queued);
          this.#onDone({ is: "task acked", address: task.address! });
        },
        giveBack: (delayMs) => {
          settle();
          task.giveBack(delayMs);
        },
      });
    });
  }

  async wake(workflow: string): Promise<void> {
    this.#ticked.push(workflow);
    this.#ticksOut.made(workflow);
    await this.#memory.ticks.wake(workflow);
  }

  async ensureTick(workflow: string): Promise<void> {
    this.#ticked.push(workflow);
    if (!(await this.listTicks()).includes(workflow)) this.#ticksOut.made(workflow);
    await this.#memory.ticks.ensure(workflow);
  }

  listTicks(): Promise<string[]> {
    return this.#memory.ticks.list();
  }

  takeTicks(onTick: (tick: TickDelivery) => void): Promise<Intake> {
    const to = ++this.#tickTakers;
    return this.#memory.ticks.take((tick) => {
      const { workflow } = tick;
      const { deliveries, settle } = this.#ticksOut.took(workflow, tick);
      this.#onDone({ is: "ticked", workflow, to });
      onTick({
        ...tick,
        deliveries,
        ack: async () => {
          const all = this.listTicks();
          tick.ack();
          if (!settle() || !(await all).includes(workflow)) return;
          this.#onDone({ is: "tick acked", workflow });
        },
        giveBack: (delayMs) => {
          settle();
          tick.giveBack(delayMs);
        },
      });
    });
  }

  readonly views: Ports["views"] = {
    put: async (key, data) => {
      this.#copies.set(key, await this.#memory.views.get(key));
      await this.#memory.views.put(key, data);
    },
    get: (key) => this.#memory.views.get(key),
    remove: (filter, revision) => this.#memory.views.remove(filter, revision),
    keys: (prefix) => this.#memory.views.keys(prefix),
    list: (prefix) => this.#memory.views.list(prefix),
    swap: async (key, revision, data) => {
      const before = await this.#memory.views.get(key);
      const swapped = await this.#memory.views.swap(key, revision, data);
      if (swapped) this.#copies.set(key, before);
      return swapped;
    },
  };

  /** As it was before it last changed. */
  staleView(key: string): Promise<View | undefined> {
    return this.#copies.has(key)
      ? Promise.resolve(this.#copies.get(key))
      : this.#memory.views.get(key);
  }

  /** What was acknowledged is there; what was handed out comes again. */
  restart(): void {
    this.#tasksOut.restart();
    this.#ticksOut.restart();
  }

  /** Each stream loses the last of what it was told, each as much as it likes. */
  async powerCut(rolls: Rolls): Promise<void> {
    const { facts, tasks, ticks } = this.#memory;
    const lost = this.#recorded.splice(Math.max(0, this.#recorded.length - rolls.roll(6)));
    for (const key of lost) await facts.purge(key);
    for (const { address } of this.#queued.splice(-rolls.roll(4))) {
      await tasks.withdraw(address.workflow, address.node);
    }
    // Acknowledgements are lost too.
    for (const { address, data, most, trace } of this.#ackedTasks.slice(-rolls.roll(4))) {
      await tasks.publish(address, data, most, trace);
    }
    for (const workflow of this.#ticked.slice(-rolls.roll(3))) await ticks.ensure(workflow);
    this.#onDone({ is: "power cut", lost });
    this.restart();
  }
}

function subjectOf({ queue, lane, workflow, node, attempt }: TaskAddress): string {
  return [queue, lane, workflow, node, attempt].join(".");
}

function isSame(a: TaskAddress, b: TaskAddress): boolean {
  return a.workflow === b.workflow && a.node === b.node && a.attempt === b.attempt &&
    a.lane === b.lane && a.queue === b.queue;
}
