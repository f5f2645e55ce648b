/** One message for each workflow under way: a durable consumer hands it to one processor at a time. */
import type { Msg, NatsConnection } from "@nats-io/nats-core";
import type { JetStreamManager } from "@nats-io/jetstream";
import { isId } from "../core/ids.ts";
import { TICK } from "../core/records.ts";
import type { Clock, Intake, Log, TickDelivery, Ticks } from "../ports.ts";
import { translate } from "./errors.ts";
import { Acknowledging, PullIntake } from "./intake.ts";
import type { Names } from "./names.ts";
import type { Requests } from "./requests.ts";
import { ensureConsumer, tickConsumerConfig } from "./setup.ts";

/** More than about a hundred delayed naks a second starve redelivery on the server; bursts do not. */
const GIVE_BACK_EVERY_MS = 50;

export class NatsTicks implements Ticks {
  readonly #nc: NatsConnection;
  readonly #jsm: JetStreamManager;
  readonly #requests: Requests;
  readonly #names: Names;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly leaseMs: number;

  constructor(
    nc: NatsConnection,
    jsm: JetStreamManager,
    requests: Requests,
    names: Names,
    clock: Clock,
    log: Log,
    leaseMs: number,
  ) {
    this.#nc = nc;
    this.#jsm = jsm;
    this.#requests = requests;
    this.#names = names;
    this.#clock = clock;
    this.#log = log;
    this.leaseMs = leaseMs;
  }

  wake(workflow: string): Promise<void> {
    return this.#requests.publish(`wake ${workflow}`, this.#names.tickPrefix + workflow, TICK);
  }

  async ensure(workflow: string): Promise<void> {
    await this.#requests.publishOnce(`wake ${workflow}`, this.#names.tickPrefix + workflow, TICK);
  }

  take(onTick: (tick: TickDelivery) => void): Promise<Intake> {
    const { ticksStream, tickConsumer, tickPrefix } = this.#names;
    const burst = new Burst(this.#clock);
    const intake = new PullIntake(this.#nc, this.#clock, this.#log, {
      stream: ticksStream,
      consumer: tickConsumer,
      restore: () =>
        ensureConsumer(this.#jsm, ticksStream, tickConsumerConfig(this.#names, this.leaseMs)),
      onMessage: (msg) => {
        const workflow = msg.subject.slice(tickPrefix.length);
        const tick = new NatsTickDelivery(this.#nc, msg, workflow, burst);
        if (isId(workflow)) return onTick(tick);
        this.#log(
          "warn",
          `a tick for the impossible workflow id ${JSON.stringify(workflow)} was removed`,
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
    const { ticksStream, tickPrefix } = this.#names;
    try {
      const { state } = await this.#jsm.streams.info(ticksStream, {
        subjects_filter: `${tickPrefix}>`,
      });
      return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(tickPrefix.length));
    } catch (error) {
      throw translate("list the ticks", error);
    }
  }
}

/** Collects what can wait a moment and does it at once. */
class Burst {
  readonly #clock: Clock;
  #todo: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(act: () => void): void {
    if (this.#todo.push(act) === 1) this.#clock.after(GIVE_BACK_EVERY_MS, () => this.flush());
  }

  flush(): void {
    const todo = this.#todo;
    this.#todo = [];
    for (const act of todo) act();
  }
}

class NatsTickDelivery extends Acknowledging implements TickDelivery {
  readonly workflow: string;
  readonly #burst: Burst;

  constructor(nc: NatsConnection, msg: Msg, workflow: string, burst: Burst) {
    super(nc, msg);
    this.workflow = workflow;
    this.#burst = burst;
  }

  override giveBack(delayMs?: number): void {
    this.#burst.add(() => super.giveBack(delayMs));
  }
}
