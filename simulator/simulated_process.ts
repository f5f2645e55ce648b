/**
 * A process of a simulation, as worker, processor or client see it: ports on which every call takes its way over a network
 * that may lose, delay and repeat it, and at every call of which the process may die or stand still. The code on the ports
 * is the product's, unmodified.
 *
 *   running ⇄ paused: nothing reaches it, time goes on; when it runs again all that came meanwhile is there at once
 *   any → dead: no answer comes any more, what it still asks is not asked
 */
import { UnavailableError } from "../src/core/errors.ts";
import { isLimited as isLimitedLane } from "../src/core/lanes.ts";
import type { QueueDelivery } from "../src/memory/queue.ts";
import type { Cancel, Delivery, Intake, Ports, TaskDelivery, TickDelivery } from "../src/ports.ts";
import {
  ASKING,
  COPYING,
  DELIVERING,
  type Fault,
  type Faults,
  HINTING,
  NAKING,
  TELLING,
} from "./faults.ts";
import { chanceOf, Rolls } from "./rolls.ts";
import type { SimulatedServer } from "./simulated_server.ts";
import type { Story } from "./story.ts";
import { BEGINNING, type VirtualWorld } from "./virtual_world.ts";

export interface Surroundings {
  readonly seed: number;
  readonly world: VirtualWorld;
  readonly server: SimulatedServer;
  readonly faults: Faults;
  readonly story: Story;
}

const NEVER = new Promise<never>(() => {});
/** How long the adapter waits for an answer. */
const ANSWER_MS = 5_000;
/** A pull that brought nothing is asked again after this. */
const PULL_MS = 5_000;
/** How long a message that is delayed is under way, at most: a connection that hangs longer is broken. */
const LONGEST_DELAY_MS = 12_000;
/** Beyond the leases of ticks (10 s) and tasks (30 s). */
const LONGEST_PAUSE_MS = 45_000;
/** Beyond the lease of ticks. */
const LONGEST_DISCONNECT_MS = 25_000;
/** A server notices a connection that is gone at once, or when it does not answer pings. */
const UNNOTICED_MS = 4_000;

export class SimulatedProcess {
  readonly name: string;
  readonly ports: Ports;
  readonly #around: Surroundings;
  readonly #onDeath: () => void;
  readonly #intakes: Intake[] = [];
  readonly #gaps = new Set<() => void>();
  #calls = 0;
  #ids = 0;
  #isDead = false;
  /** World time until which it stands still. */
  #pausedUntil = 0;
  #missed: (() => void)[] = [];
  #disconnectedUntil = 0;
  readonly #skewMs: number;
  /** Virtual: when what it asked of others last arrives. What it subscribes to since arrives after that. */
  #askedAt = 0;
  readonly #spreads: boolean;

  constructor(
    name: string,
    around: Surroundings,
    onDeath: () => void,
    { skewMs = 0, spreads = false }: { skewMs?: number; spreads?: boolean } = {},
  ) {
    this.name = name;
    this.#around = around;
    this.#onDeath = onDeath;
    this.#skewMs = skewMs;
    this.#spreads = spreads;
    this.ports = this.#makePorts();
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  kill(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#missed = [];
    this.#around.story.tell(this.name, () => "is killed");
    const { world } = this.#around;
    const noticedMs = this.#chance("noticed") < 0.7 ? 0 : this.#chance("unnoticed") * UNNOTICED_MS;
    world.after(noticedMs, () => {
      for (const intake of this.#intakes) void intake.close();
    });
    this.#onDeath();
  }

  pause(ms: number): void {
    const { world, story } = this.#around;
    if (this.#isDead || this.#isPaused) return;
    story.tell(this.name, () => `stands still for ${Math.round(ms)} ms`);
    this.#pausedUntil = world.now + ms;
    world.after(ms, () => this.#resume());
  }

  #resume(): void {
    const { world, story } = this.#around;
    if (this.#isDead) return;
    story.tell(this.name, () => `goes on, ${this.#missed.length} things have happened`);
    const missed = this.#missed;
    this.#missed = [];
    // One turn of its event loop for each; in an order of their own.
    for (const [i, call] of missed.entries()) {
      world.after(this.#chance(`missed ${this.#calls} ${i}`), () => this.#receive(call));
    }
  }

  get #isPaused(): boolean {
    return this.#around.world.now < this.#pausedUntil;
  }

  #receive(call: () => void): void {
    if (this.#isDead) return;
    if (this.#isPaused) this.#missed.push(call);
    else call();
  }

  #chance(name: string): number {
    return chanceOf(this.#around.seed, `${this.name} ${name}`);
  }

  /** A millisecond at most; mostly less. */
  #latency(name: string): number {
    const chance = this.#chance(name);
    return 0.05 + chance * chance;
  }

  /** Something that is answered. */
  #ask<T>(what: string, act: () => Promise<T>): Promise<T> {
    if (this.#isDead) return NEVER;
    const { faults } = this.#around;
    const at = `${this.name}#${++this.#calls} ${what}`;
    const fault = this.#isDisconnected ? "lose request" : faults.decide(at, ASKING);
    this.#tellStory(what, fault);
    if (fault === "crash before") {
      this.kill();
      return NEVER;
    }
    if (fault === "pause before") this.pause(this.#chance(`${at} pause`) * LONGEST_PAUSE_MS);
    if (fault === "disconnect") this.disconnect(this.#chance(at) * LONGEST_DISCONNECT_MS);
    return new Promise((resolve, reject) => {
      const settle = { resolve, reject };
      this.#send(at, what, act, settle, fault === "disconnect" ? "lose request" : fault);
    });
  }

  #send<T>(
    at: string,
    what: string,
    act: () => Promise<T>,
    settle: { resolve: (value: T) => void; reject: (error: Error) => void },
    fault: Fault | undefined,
  ): void {
    const { world, story } = this.#around;
    const delayed = (which: string) =>
      this.#latency(`${at} ${which}`) +
      (fault === which ? this.#chance(`${at} by`) * LONGEST_DELAY_MS : 0);
    if (fault === "lose request") return this.#failLater(at, what, act, settle);
    world.after(delayed("delay request"), async () => {
      let answer: () => void;
      try {
        const value = await act();
        answer = () => settle.resolve(value);
      } catch (error) {
        answer = () => settle.reject(error as Error);
      }
      if (fault === "crash after") return this.kill();
      if (fault === "pause after") this.pause(this.#chance(`${at} pause`) * LONGEST_PAUSE_MS);
      if (fault === "lose reply" || this.#isDisconnected) {
        story.tell(this.name, () => `is not told what came of "${what}"`);
        return this.#failLater(at, what, act, settle);
      }
      world.after(delayed("delay reply"), () => this.#receive(answer));
    });
  }

  /** No answer: the adapter asks again, or gives up. */
  #failLater<T>(
    at: string,
    what: string,
    act: () => Promise<T>,
    settle: { resolve: (value: T) => void; reject: (error: Error) => void },
  ): void {
    const { world } = this.#around;
    world.after(
      ANSWER_MS,
      () =>
        this.#receive(() => {
          if (this.#chance(`${at} again`) < 0.5 && !this.#isDisconnected) {
            this.#tellStory(`${what}, again`, undefined);
            this.#send(`${at} again`, what, act, settle, undefined);
          } else {
            settle.reject(
              new UnavailableError(`Cannot ${what}: no answer`, { hint: "Try again." }),
            );
          }
        }),
    );
  }

  /** Something that is not answered. @returns in how many milliseconds it arrives; 0: never. */
  #tell(what: string, act: () => void, onLost?: () => void): number {
    if (this.#isDead) return 0;
    const { faults, world } = this.#around;
    const at = `${this.name}#${++this.#calls} ${what}`;
    const fault = this.#isDisconnected ? "lose" : faults.decide(at, TELLING);
    this.#tellStory(what, fault);
    if (fault === "crash before" || fault === "lose") {
      if (fault === "lose") onLost?.();
      else this.kill();
      return 0;
    }
    if (fault === "pause before") this.pause(this.#chance(`${at} pause`) * LONGEST_PAUSE_MS);
    const delayMs = fault === "delay" ? this.#chance(`${at} by`) * LONGEST_DELAY_MS : 0;
    const arrivesInMs = this.#latency(at) + delayMs;
    world.after(arrivesInMs, act);
    if (fault === "crash after") this.kill();
    return arrivesInMs;
  }

  #tellStory(what: string, fault: Fault | undefined): void {
    this.#around.story.tell(this.name, () => fault === undefined ? what : `${what} (${fault})`);
  }

  get #isDisconnected(): boolean {
    return this.#around.world.now < this.#disconnectedUntil;
  }

  /** What it asks and what it is sent meanwhile is lost. */
  disconnect(ms: number): void {
    const { world, story } = this.#around;
    if (this.#isDead) return;
    this.#disconnectedUntil = world.now + ms;
    story.tell(this.name, () => `is cut off for ${Math.round(ms)} ms`);
    world.after(ms, () =>
      this.#receive(() => {
        story.tell(this.name, () => "is connected again");
        for (const call of this.#gaps) call();
      }));
  }

  /** Something from the server that nobody asked for at this moment. */
  #deliver(at: string, fault: Fault | undefined, call: () => void, onLost: () => void): void {
    const { world, story } = this.#around;
    if (this.#isDead) return;
    if (fault === "lose" || this.#isDisconnected) {
      story.tell(this.name, () => `does not get ${at}`);
      return onLost();
    }
    const delayMs = fault === "delay" ? this.#chance(`${at} by`) * LONGEST_DELAY_MS : 0;
    const arrive = () => this.#receive(call);
    world.after(this.#latency(at) + delayMs, arrive);
    if (fault === "repeat") world.after(this.#latency(`${at} again`) + delayMs, arrive);
  }

  #makePorts(): Ports {
    const { world, server, story, seed } = this.#around;
    const rolls = new Rolls(seed, `${this.name} chance`);
    return {
      facts: this.#makeFacts(),
      tasks: this.#makeTasks(),
      ticks: this.#makeTicks(),
      hints: this.#makeHints(),
      views: this.#makeViews(),
      blobs: {
        put: (name, data) => this.#ask(`put blob ${name}`, () => server.blobs.put(name, data)),
        get: (name) => this.#ask(`get blob ${name}`, () => server.blobs.get(name)),
        remove: (name) => this.#ask(`remove blob ${name}`, () => server.blobs.remove(name)),
        removeAll: (run) => this.#ask(`remove blobs of ${run}`, () => server.blobs.removeAll(run)),
      },
      clock: {
        now: () => BEGINNING + Math.floor(world.now + this.#skewMs),
        monotonic: () => world.now,
        after: (ms, call) => this.#after(ms, call),
      },
      random: {
        chance: () => rolls.chance(),
        id: () => `${this.name.replaceAll(".", "x")}i${++this.#ids}`,
      },
      inspect: () => Promise.resolve(undefined),
      log: (level, message) => story.tell(this.name, () => `says (${level}): ${message}`),
      maxRecord: server.maxRecord,
    };
  }

  #after(ms: number, call: () => void): Cancel {
    let isCancelled = false;
    const cancel = this.#around.world.after(ms, () =>
      this.#receive(() => {
        if (!isCancelled) call();
      }));
    return () => {
      isCancelled = true;
      cancel();
    };
  }

  #makeFacts(): Ports["facts"] {
    const { facts } = this.#around.server;
    return {
      create: (key, data, note, trace) =>
        this.#ask(`create ${key}`, () => facts.create(key, data, note, trace)),
      createIf: (key, data, condition, note) =>
        this.#ask(
          `create ${key} after ${condition.seq} of ${condition.filter}`,
          () => facts.createIf(key, data, condition, note),
        ),
      read: (key) => this.#ask(`read ${key}`, () => facts.read(key)),
      readRecorded: (key) => this.#ask(`read ${key}`, () => facts.readRecorded(key)),
      next: (filter, seq) =>
        this.#ask(`read the first of ${filter} from ${seq}`, () => facts.next(filter, seq)),
      last: (filter) => this.#ask(`read the last of ${filter}`, () => facts.last(filter)),
      scan: (filter, options) => this.#ask(`scan ${filter}`, () => facts.scan(filter, options)),
      keys: (filter) => this.#ask(`list ${filter}`, () => facts.keys(filter)),
      recordedFrom: (seq) =>
        this.#ask(`look what was recorded from ${seq}`, () => facts.recordedFrom(seq)),
      purge: (filter, before) => this.#ask(`purge ${filter}`, () => facts.purge(filter, before)),
    };
  }

  #makeTasks(): Ports["tasks"] {
    const { server } = this.#around;
    return {
      leaseMs: server.leases.taskMs,
      publish: (address, data, most, trace) => {
        const { workflow, node, attempt, lane } = address;
        return this.#ask(
          `queue ${workflow}.${node}.${attempt} (${lane})`,
          () => server.queue(address, data, most, trace),
        );
      },
      withdraw: (workflow, node, attempt) =>
        this.#ask(
          `withdraw ${workflow}.${node ?? "*"}.${attempt ?? "*"}`,
          () => server.tasks.withdraw(workflow, node, attempt),
        ),
      has: (address, most) =>
        this.#ask(
          `look whether ${address.workflow}.${address.node}.${address.attempt} is queued`,
          () => server.tasks.has(address, most),
        ),
      tidy: () => this.#ask("tidy the lanes", () => server.tasks.tidy()),
      depths: () => this.#ask("look at the lanes", () => server.tasks.depths()),
      list: (workflow) =>
        this.#ask(`list the tasks of ${workflow}`, () => server.tasks.list(workflow)),
      take: (options, onTask) =>
        this.#take("tasks", (hand) =>
          server.takeTasks(options, (task) =>
            hand(
              `task ${task.subject} (${task.deliveries})`,
              () => onTask(this.#taskDelivery(task)),
              isLimited(task) ? () => settle(task) : undefined,
            ))),
    };
  }

  #makeTicks(): Ports["ticks"] {
    const { server } = this.#around;
    return {
      leaseMs: server.leases.tickMs,
      wake: (workflow) => this.#ask(`wake ${workflow}`, () => server.wake(workflow)),
      ensure: (workflow) =>
        this.#ask(`ensure the tick of ${workflow}`, () => server.ensureTick(workflow)),
      list: () => this.#ask("list the ticks", () => server.listTicks()),
      take: (onTick) =>
        this.#take("ticks", (hand) =>
          server.takeTicks((tick) =>
            hand(
              `tick ${tick.workflow} (${tick.deliveries})`,
              () => onTick(this.#tickDelivery(tick)),
            )
          )),
    };
  }

  async #take(
    what: string,
    open: (
      hand: (which: string, call: () => void, onNeverCame?: () => void) => void,
    ) => Promise<Intake>,
  ): Promise<Intake> {
    const { faults, world, story } = this.#around;
    let closed = false;
    const own = await this.#ask(`take ${what}`, async () => {
      const intake = await open((which, call, onNeverCame) => {
        const at = `${this.name}#${++this.#calls} gets ${which}`;
        const onArrival = () => {
          story.tell(this.name, () => `gets ${which}`);
          call();
        };
        // The pull that it was meant for expires, and is made again.
        const onLost = onNeverCame ??
          (() => void world.after(PULL_MS, () => closed || intake.want(1)));
        this.#deliver(at, faults.decide(at, DELIVERING), onArrival, onLost);
      });
      if (this.#isDead) void intake.close();
      this.#intakes.push(intake);
      return intake;
    });
    return {
      // Pulls are repeated until they bring something: a wish for more is never lost for good.
      want: (count) =>
        void world.after(this.#latency(`want ${this.#calls}`), () => own.want(count)),
      close: () => {
        closed = true;
        return this.#isDead ? NEVER : own.close();
      },
    };
  }

  #taskDelivery(task: TaskDelivery): TaskDelivery {
    return {
      address: task.address,
      subject: task.subject,
      sentNs: task.sentNs,
      trace: task.trace,
      data: task.data,
      begin: () => this.#isDead || task.begin(),
      ...this.#answersTo(task, task.subject),
    };
  }

  #tickDelivery(tick: TickDelivery): TickDelivery {
    const { workflow, seq, sentNs } = tick;
    return { workflow, seq, sentNs, ...this.#answersTo(tick, `tick ${workflow}`) };
  }

  #answersTo(message: TaskDelivery | TickDelivery, name: string) {
    const onLost = () => settle(message);
    return {
      deliveries: message.deliveries,
      ack: () => this.#tell(`ack ${name}`, () => message.ack(), onLost),
      extend: () => this.#tell(`extend ${name}`, () => message.extend()),
      giveBack: (delayMs = 0) => {
        const at = `${this.name}#${this.#calls + 1} back ${name}`;
        const moment = this.#around.faults.decide(at, NAKING);
        const byMs = this.#chance(at) * 5_000;
        const ms = moment === undefined
          ? delayMs
          : Math.max(0, moment === "early" ? delayMs - byMs : delayMs + byMs);
        this.#tell(
          `give back ${name} for ${Math.round(ms)} ms`,
          () => message.giveBack(ms),
          onLost,
        );
      },
    };
  }

  #makeHints(): Ports["hints"] {
    const { server, world } = this.#around;
    const listen = <M>(
      filter: string,
      call: (message: M) => void,
      subscribe: (hear: (topic: string, message: M) => void) => Cancel,
      afterMs = 0,
    ): Cancel => {
      if (this.#isDead) return () => {};
      let cancelled = false;
      let cancel: Cancel = () => {};
      const number = ++this.#calls;
      let heard = 0;
      const spreadMs = this.#spreads ? this.#chance(`spread ${number}`) * 40 : 0;
      world.after(Math.max(afterMs, spreadMs), () => {
        if (cancelled || this.#isDead) return;
        cancel = subscribe((topic, message) => {
          if (this.#isDead) return cancel();
          const at = `${this.name}#${number} hears ${topic} (${++heard})`;
          const fault = this.#around.faults.decide(at, HINTING);
          this.#deliver(at, fault, () => cancelled || call(message), () => {});
        });
      });
      this.#tellStory(`listens to ${filter}`, undefined);
      return () => {
        cancelled = true;
        cancel();
      };
    };
    return {
      spreads: this.#spreads,
      onFact: (filter, call) =>
        listen(
          filter,
          call,
          (hear) => server.hints.onFact(filter, (hint) => hear(hint.key, hint)),
        ),
      onTold: (topic, call) =>
        listen<readonly [string, Uint8Array]>(
          topic,
          ([name, data]) => call(name, data),
          (hear) => server.hints.onTold(topic, (name, data) => hear(name, [name, data])),
        ),
      ask: (topic, data, ms) =>
        new Promise((resolve) => {
          const cancel = this.#after(ms, () => resolve(undefined));
          const arrivesInMs = this.#tell(`ask ${topic}`, async () => {
            const answer = await server.hints.ask(topic, data, ms);
            const at = `${this.name} hears what is answered on ${topic} at ${world.now}`;
            this.#deliver(at, this.#around.faults.decide(at, HINTING), () => {
              cancel();
              resolve(answer);
            }, () => {});
          });
          this.#askedAt = world.now + arrivesInMs;
        }),
      onAsked: (topic, answer) =>
        listen<Question>(
          topic,
          ({ data, reply }) =>
            void answer(data).then((said) => this.#tell(`answer ${topic}`, () => reply(said))),
          (hear) =>
            server.hints.onAsked(
              topic,
              (data) => new Promise((reply) => hear(topic, { data, reply })),
            ),
          Math.max(0, this.#askedAt - world.now),
        ),
      settled: () => this.#ask("wait for subscriptions", () => Promise.resolve()),
      onGap: (call) => {
        this.#gaps.add(call);
        return () => this.#gaps.delete(call);
      },
      tell: (topic, data) => this.#tell(`tell ${topic}`, () => server.hints.tell(topic, data)),
      broadcast: () => {},
    };
  }

  #makeViews(): Ports["views"] {
    const { server: { views, staleView }, faults, server } = this.#around;
    return {
      put: (key, data) => this.#ask(`put ${key}`, () => views.put(key, data)),
      get: (key) => {
        const isStale = faults.decide(`${this.name}#${this.#calls + 1} copy ${key}`, COPYING);
        return this.#ask(
          isStale ? `get a copy of ${key}` : `get ${key}`,
          () => isStale ? staleView.call(server, key) : views.get(key),
        );
      },
      remove: (filter, revision) =>
        this.#ask(`remove ${filter}`, () => views.remove(filter, revision)),
      keys: (prefix) => this.#ask(`list views ${prefix}`, () => views.keys(prefix)),
      list: (prefix) => this.#listViews(prefix),
      swap: (key, revision, data) =>
        this.#ask(`swap ${key}`, () => views.swap(key, revision, data)),
    };
  }

  async *#listViews(prefix: string) {
    const { views } = this.#around.server;
    yield* await this.#ask(`read all views ${prefix}`, async () => {
      const all = [];
      for await (const view of views.list(prefix)) all.push(view);
      return all;
    });
  }
}

interface Question {
  readonly data: Uint8Array;
  readonly reply: (data: Uint8Array) => void;
}

/** What was handed to a taker and got lost, like its answer, counts for the server only. */
function settle(message: Delivery): void {
  (message as Partial<QueueDelivery>).settle?.();
}

function isLimited({ address }: TaskDelivery): boolean {
  return address !== undefined && isLimitedLane(address.lane);
}
