/** One message for each workflow under way: a durable consumer hands it to one processor at a time. */
import type { NatsConnection } from "@nats-io/nats-core";
import { isId } from "../core/ids.ts";
import { TICK } from "../core/records.ts";
import type { Clock, Intake, TickDelivery, Ticks } from "../ports.ts";
import { Acknowledging, parseAckAddress, PullIntake } from "./intake.ts";
import { ensureConsumer, tickConsumerConfig } from "./setup.ts";
import type { Link } from "./link.ts";
import { lookForStall } from "./stall.ts";

/** More than about a hundred delayed naks a second starve redelivery on the server; bursts do not. */
const GIVE_BACK_EVERY_MS = 50;

export class NatsTicks implements Ticks {
  readonly leaseMs: number;

  readonly #link: Link;

  constructor(link: Link, leaseMs: number) {
    this.#link = link;
    this.leaseMs = leaseMs;
  }

  wake(workflow: string): Promise<void> {
    return this.#link.requests.publish(
      `wake ${workflow}`,
      this.#link.names.tickPrefix + workflow,
      TICK,
    );
  }

  async ensure(workflow: string): Promise<void> {
    await this.#link.requests.publishOnce(
      `wake ${workflow}`,
      this.#link.names.tickPrefix + workflow,
      TICK,
    );
  }

  take(onTick: (tick: TickDelivery) => void): Promise<Intake> {
    const { ticksStream, tickConsumer, tickPrefix } = this.#link.names;
    const { jsm, names } = this.#link;
    const config = tickConsumerConfig(names, this.leaseMs);
    const burst = new Burst(this.#link.clock);
    const intake = new PullIntake(this.#link.nc, this.#link.clock, this.#link.log, {
      stream: ticksStream,
      consumer: tickConsumer,
      restore: async () => void await ensureConsumer(jsm, ticksStream, config),
      inspect: () => lookForStall(jsm, ticksStream, config),
      remove: () => jsm.consumers.delete(ticksStream, tickConsumer),
      onMessage: (msg) => {
        const workflow = msg.subject.slice(tickPrefix.length);
        const tick = new NatsTickDelivery(this.#link.nc, msg.reply!, workflow, burst);
        if (isId(workflow)) return onTick(tick);
        this.#link.log(
          "warn",
          `a tick for the impossible workflow id ${JSON.stringify(workflow)} was removed`,
          { event: "tick-impossible", subject: msg.subject },
        );
        tick.ack();
      },
    });
    return Promise.resolve({
      want: (count) => intake.want(count),
      close: async () => {
        await intake.close();
        burst.flush();
      },
    });
  }

  async list(): Promise<string[]> {
    const { ticksStream, tickPrefix } = this.#link.names;
    const { state } = await this.#link.patience.with(
      "list the ticks",
      () => this.#link.jsm.streams.info(ticksStream, { subjects_filter: `${tickPrefix}>` }),
    );
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(tickPrefix.length));
  }
}

/** What is given back, and when it is to come again. */
interface GivenBack {
  /** Monotonic. */
  readonly dueAt: number;
  readonly send: (delayMs: number) => void;
}

/** Collects what is given back and sends it at once. A delay counts from when it was asked for, however late that is. */
class Burst {
  readonly #clock: Clock;
  #todo: GivenBack[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(delayMs: number, send: (delayMs: number) => void): void {
    const dueAt = this.#clock.monotonic() + delayMs;
    if (this.#todo.push({ dueAt, send }) === 1) {
      this.#clock.after(GIVE_BACK_EVERY_MS, () => this.flush());
    }
  }

  flush(): void {
    const todo = this.#todo;
    this.#todo = [];
    const now = this.#clock.monotonic();
    for (const { dueAt, send } of todo) send(dueAt - now);
  }
}

/** Tens of thousands may be held, for hours: it keeps little, and works out the rest. */
class NatsTickDelivery extends Acknowledging implements TickDelivery {
  readonly workflow: string;
  readonly #burst: Burst;

  constructor(nc: NatsConnection, reply: string, workflow: string, burst: Burst) {
    super(nc, reply);
    this.workflow = workflow;
    this.#burst = burst;
  }

  get deliveries(): number {
    return parseAckAddress(this.reply).deliveries;
  }

  get seq(): number {
    return parseAckAddress(this.reply).seq;
  }

  get sentNs(): string {
    return parseAckAddress(this.reply).sentNs;
  }

  override giveBack(delayMs = 0): void {
    this.#burst.add(delayMs, (leftMs) => super.giveBack(leftMs));
  }
}
