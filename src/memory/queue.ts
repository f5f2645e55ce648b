/**
 * A queue as JetStream's work queues are for the engine: one message for each key; a message is handed to one taker, and
 * comes back when it is given back or its lease runs out. Answers to a message that was replaced or removed do nothing.
 * Limited lanes are as in src/nats/lanes.ts: no more than their limit is out, and a taker without slots holds one message.
 */
import type { TraceContext } from "../core/trace_context.ts";
import type { Cancel, Clock, Delivery, Intake } from "../ports.ts";

interface Message {
  readonly key: string;
  readonly data: Uint8Array;
  readonly trace: TraceContext | undefined;
  readonly urgency: number;
  readonly lane: MemoryLane | undefined;
  readonly order: number;
  readonly queuedAt: number;
  deliveries: number;
  /** While it is held or delayed. */
  cancelReturn: Cancel | undefined;
  isOut: boolean;
}

/** What limited messages share. */
export interface MemoryLane {
  most: number;
  /** Handed out and not settled. */
  out: number;
  /** A taker has one of them that has not begun, at most. */
  readonly isRated: boolean;
}

export interface Place {
  readonly urgency: number;
  readonly lane?: MemoryLane;
  /** Handed out with the message. */
  readonly trace?: TraceContext;
}

/** One delivery of a message of a limited lane, to one taker. */
interface Held {
  readonly lane: MemoryLane;
}

interface Taker {
  readonly accepts: (key: string) => boolean;
  readonly call: (delivery: QueueDelivery) => void;
  wanted: number;
  /** How many of those wanted are only to be held ready. */
  readonly ahead: number;
  /** What it has of limited lanes and has not begun. */
  readonly unbegun: Set<Held>;
  /** Deliveries of limited lanes that it has not answered, also when their leases have run out. */
  readonly inHand: Map<MemoryLane, number>;
  /**
   * Limited lanes that it gave a message back to: monotonic, until when it leaves them to others. Others than rated ones only
   * until it wants more.
   */
  readonly rests: Map<MemoryLane, number>;
}

/** How long a taker that gave a message of a limited lane back leaves the lane to others. */
const REST_MS = 1_000;

export class MemoryQueue {
  readonly #clock: Clock;
  readonly leaseMs: number;
  readonly #messages = new Map<string, Message>();
  /** Waiting to be handed out: the most urgent first, then the oldest. */
  readonly #waiting: Message[] = [];
  readonly #takers: Taker[] = [];
  #order = 0;
  #hasLimited = false;
  #handing = false;

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock;
    this.leaseMs = leaseMs;
  }

  /** Returns false, and changes nothing, when the key has a message. */
  add(key: string, data: Uint8Array, { urgency, lane, trace }: Place = { urgency: 0 }): boolean {
    if (this.#messages.has(key)) {
      // Its lane may have another limit now.
      this.#handSoon();
      return false;
    }
    const message: Message = {
      key,
      data,
      trace,
      urgency,
      lane,
      order: this.#order++,
      queuedAt: this.#clock.now(),
      deliveries: 0,
      cancelReturn: undefined,
      isOut: false,
    };
    this.#messages.set(key, message);
    this.#hasLimited ||= lane !== undefined;
    this.#wait(message);
    return true;
  }

  replace(key: string, data: Uint8Array): void {
    this.remove((other) => other === key);
    this.add(key, data);
  }

  remove(matches: (key: string) => boolean): void {
    for (const message of [...this.#messages.values()]) {
      if (matches(message.key)) this.#forget(message);
    }
  }

  has(key: string): boolean {
    return this.#messages.has(key);
  }

  keys(): string[] {
    return [...this.#messages.keys()];
  }

  /** Whether it is with a taker, or given back with a delay that is not over. */
  isOut(key: string): boolean {
    return this.#messages.get(key)?.isOut === true;
  }

  take(
    accepts: (key: string) => boolean,
    call: (delivery: QueueDelivery) => void,
    ahead = 0,
  ): Intake {
    const taker: Taker = {
      accepts,
      call,
      wanted: 0,
      ahead,
      unbegun: new Set(),
      inHand: new Map(),
      rests: new Map(),
    };
    this.#takers.push(taker);
    return {
      want: (count) => {
        taker.wanted += count;
        for (const lane of taker.rests.keys()) if (!lane.isRated) taker.rests.delete(lane);
        this.#handSoon();
      },
      close: () => {
        const at = this.#takers.indexOf(taker);
        if (at !== -1) this.#takers.splice(at, 1);
        return Promise.resolve();
      },
    };
  }

  #wait(message: Message): void {
    message.cancelReturn?.();
    message.cancelReturn = undefined;
    this.#comeIn(message);
    let at = this.#waiting.length;
    while (at > 0 && comesBefore(message, this.#waiting[at - 1]!)) at--;
    this.#waiting.splice(at, 0, message);
    this.#handSoon();
  }

  /** Never inside the call that queued it: neither would a server. */
  #handSoon(): void {
    if (this.#handing) return;
    this.#handing = true;
    queueMicrotask(() => {
      this.#handing = false;
      this.#handOut();
    });
  }

  #handOut(): void {
    let i = 0;
    while (i < this.#waiting.length) {
      const message = this.#waiting[i]!;
      // Only messages of limited lanes may come unwanted.
      if (!this.#hasLimited && !this.#takers.some(({ wanted }) => wanted > 0)) return;
      const at = this.#takers.findIndex((taker) =>
        taker.accepts(message.key) && mayHave(taker, message, this.#clock.monotonic())
      );
      const taker = this.#takers[at];
      if (taker === undefined) {
        i++;
        continue;
      }
      // In turn: the next message goes to another one.
      this.#takers.push(...this.#takers.splice(at, 1));
      this.#waiting.splice(i, 1);
      const { lane } = message;
      const held = lane && { lane };
      if (held === undefined) taker.wanted--;
      else {
        taker.unbegun.add(held);
        count(taker.inHand, held.lane, 1);
      }
      message.deliveries++;
      this.#goOut(message);
      this.#hold(message);
      taker.call(this.#delivery(message, taker, held));
    }
  }

  #goOut(message: Message): void {
    if (message.isOut) return;
    if (message.lane !== undefined) message.lane.out++;
    message.isOut = true;
  }

  #comeIn(message: Message): void {
    if (!message.isOut) return;
    message.isOut = false;
    if (message.lane === undefined) return;
    message.lane.out--;
    this.#handSoon();
  }

  /** @param leastMs also when that is longer than is usual. */
  #rest({ rests }: Taker, lane: MemoryLane, leastMs: number): void {
    const restMs = Math.max(leastMs, REST_MS);
    rests.set(lane, this.#clock.monotonic() + restMs);
    this.#clock.after(restMs, () => this.#handSoon());
  }

  #hold(message: Message): void {
    message.cancelReturn?.();
    message.cancelReturn = this.#clock.after(this.leaseMs, () => this.#wait(message));
  }

  #forget(message: Message): void {
    message.cancelReturn?.();
    this.#comeIn(message);
    if (this.#messages.get(message.key) === message) this.#messages.delete(message.key);
    this.#waitNoMore(message);
  }

  #isWaiting(message: Message): boolean {
    return this.#waiting.includes(message);
  }

  #waitNoMore(message: Message): void {
    const at = this.#waiting.indexOf(message);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  #delivery(message: Message, taker: Taker, held: Held | undefined): QueueDelivery {
    const isCurrent = () => this.#messages.get(message.key) === message;
    let isAnswered = false;
    const settle = () => {
      if (isAnswered) return;
      isAnswered = true;
      if (held === undefined) return;
      taker.unbegun.delete(held);
      count(taker.inHand, held.lane, -1);
      this.#handSoon();
    };
    return {
      key: message.key,
      data: message.data,
      trace: message.trace,
      deliveries: message.deliveries,
      order: message.order,
      queuedAt: message.queuedAt,
      begin: () => {
        if (held !== undefined && taker.unbegun.delete(held)) taker.wanted--;
        this.#handSoon();
      },
      ack: () => {
        settle();
        if (isCurrent()) this.#forget(message);
      },
      giveBack: (delayMs = 0) => {
        const isFirst = !isAnswered;
        settle();
        // Its lease may have run out without anybody having got it since: that it is to come later counts all the same.
        if (isCurrent() && (delayMs > 0 || !this.#isWaiting(message))) {
          message.cancelReturn?.();
          this.#waitNoMore(message);
          this.#goOut(message);
          // Until then it counts against its lane's limit: a server counts what is not acknowledged.
          message.cancelReturn = this.#clock.after(delayMs, () => this.#wait(message));
        }
        // After the message's own return: a rated lane's next one must not overtake it.
        if (isFirst && held) this.#rest(taker, held.lane, held.lane.isRated ? delayMs : 0);
      },
      extend: () => {
        if (isCurrent() && !this.#isWaiting(message)) this.#hold(message);
      },
      settle,
    };
  }
}

export interface QueueDelivery extends Delivery {
  readonly key: string;
  readonly data: Uint8Array;
  readonly trace: TraceContext | undefined;
  /** How many were queued before it. */
  readonly order: number;
  /** Milliseconds since 1970. */
  readonly queuedAt: number;
  begin(): void;
  /** Its taker does not have it any more, whether it said so or that, or the message itself, got lost. */
  settle(): void;
}

function mayHave(
  { wanted, ahead, unbegun, inHand, rests }: Taker,
  { lane }: Message,
  now: number,
): boolean {
  if (lane === undefined) return wanted > 0;
  // A message whose lease has run out counts for whoever still has it: others may have it, but not the same one twice.
  if (Math.max(lane.out, inHand.get(lane) ?? 0) >= lane.most) return false;
  if ((rests.get(lane) ?? 0) > now) return false;
  const waiting = [...unbegun].filter((other) =>
    lane.isRated ? other.lane === lane : isShared(other)
  );
  return waiting.length < (lane.isRated ? 1 : Math.max(1, wanted - ahead));
}

function count<K>(counts: Map<K, number>, key: K, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}

function isShared({ lane }: Held): boolean {
  return !lane.isRated;
}

function comesBefore(a: Message, b: Message): boolean {
  return a.urgency > b.urgency || (a.urgency === b.urgency && a.order < b.order);
}
