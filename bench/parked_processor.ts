/** A processor whose ticks are watched: how late they come back, and how soon after a wake. */
import type { NatsConnection } from "@nats-io/nats-core";
import { natsPorts } from "../src/nats/open.ts";
import type { Ports, TickDelivery } from "../src/ports.ts";
import { Processor } from "../src/processor/processor.ts";
import { quantile } from "./statistics.ts";

/** Of a namespace that is opened with the defaults. */
const LEASES = { tickLeaseMs: 10_000, taskLeaseMs: 30_000 };
const WAKES = 200;
/** So many workflows are active at once: fewer, and it takes longer until all are parked. */
const CONCURRENCY = 5_000;

export interface ParkedFigures {
  /** Workflows whose tick was given back and has not come. */
  readonly parked: number;
  /** Ticks that came back. */
  readonly came: number;
  /** How much later than asked for, milliseconds. */
  readonly lateMs: { readonly median: number; readonly p99: number };
}

export class Parked {
  readonly #ports: Ports;
  /** When the tick of a workflow is to come back. */
  readonly #dueAt = new Map<string, number>();
  #lateMs: number[] = [];
  #onTick: (workflow: string) => void = () => {};

  private constructor(ports: Ports) {
    this.#ports = ports;
  }

  static async start(nc: NatsConnection, namespace: string): Promise<Parked> {
    const ports = await natsPorts(nc, {
      namespace,
      ...LEASES,
      replicas: 1,
      storage: "file",
      log: () => {},
    });
    const parked = new Parked(ports);
    const { ticks } = ports;
    const watched: Ports["ticks"] = {
      leaseMs: ticks.leaseMs,
      wake: (workflow) => ticks.wake(workflow),
      ensure: (workflow) => ticks.ensure(workflow),
      list: () => ticks.list(),
      take: (onTick) => ticks.take((tick) => onTick(parked.#watch(tick))),
    };
    await new Processor({ ...ports, ticks: watched }, { concurrency: CONCURRENCY }).start();
    return parked;
  }

  readonly #onGiveBack = (workflow: string, delayMs: number) => {
    this.#dueAt.set(workflow, performance.now() + delayMs);
  };

  #watch(tick: TickDelivery): TickDelivery {
    const { workflow } = tick;
    const due = this.#dueAt.get(workflow);
    const now = performance.now();
    // One that comes before its time was woken.
    if (due !== undefined && now > due) this.#lateMs.push(now - due);
    this.#dueAt.delete(workflow);
    this.#onTick(workflow);
    return new WatchedTick(tick, this.#onGiveBack);
  }

  figures(): ParkedFigures {
    const lateMs = this.#lateMs;
    this.#lateMs = [];
    return {
      parked: this.#dueAt.size,
      came: lateMs.length,
      lateMs: { median: quantile(lateMs, 0.5), p99: quantile(lateMs, 0.99) },
    };
  }

  async wake(): Promise<number[]> {
    const tookMs: number[] = [];
    // Those that would sleep longest: others are to come back by themselves, and are watched for how late.
    const sleeping = [...this.#dueAt].sort(([, a], [, b]) => b - a).slice(0, WAKES);
    for (const [workflow] of sleeping) {
      const came = new Promise<void>((resolve) => {
        this.#onTick = (which) => which === workflow && resolve();
      });
      const start = performance.now();
      await this.#ports.ticks.wake(workflow);
      await came;
      tookMs.push(performance.now() - start);
    }
    return tookMs;
  }
}

/** Small: what is measured is what the processor keeps of it. */
class WatchedTick implements TickDelivery {
  readonly #tick: TickDelivery;
  readonly #onGiveBack: (workflow: string, delayMs: number) => void;

  constructor(tick: TickDelivery, onGiveBack: (workflow: string, delayMs: number) => void) {
    this.#tick = tick;
    this.#onGiveBack = onGiveBack;
  }

  get workflow(): string {
    return this.#tick.workflow;
  }

  get deliveries(): number {
    return this.#tick.deliveries;
  }

  get seq(): number {
    return this.#tick.seq;
  }

  get sentNs(): string {
    return this.#tick.sentNs;
  }

  ack(): void {
    this.#tick.ack();
  }

  extend(): void {
    this.#tick.extend();
  }

  giveBack(delayMs = 0): void {
    this.#onGiveBack(this.workflow, delayMs);
    this.#tick.giveBack(delayMs);
  }
}
