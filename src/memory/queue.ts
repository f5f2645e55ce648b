/**
 * A queue as JetStream's work queues are for the engine: one message for each key; a message is handed to one taker, and
 * comes back when it is given back or its lease runs out. Answers to a message that was replaced or removed do nothing.
 */
import type { Cancel, Clock, Delivery, Intake } from "../ports.ts";

interface Message {
  readonly key: string;
  readonly data: Uint8Array;
  readonly urgency: number;
  readonly order: number;
  readonly queuedAt: number;
  deliveries: number;
  /** While it is held or delayed. */
  cancelReturn: Cancel | undefined;
}

interface Taker {
  readonly accepts: (key: string) => boolean;
  readonly call: (delivery: QueueDelivery) => void;
  wanted: number;
  open: boolean;
}

export class MemoryQueue {
  readonly #clock: Clock;
  readonly leaseMs: number;
  readonly #messages = new Map<string, Message>();
  /** Waiting to be handed out: the most urgent first, then the oldest. */
  readonly #waiting: Message[] = [];
  readonly #takers: Taker[] = [];
  #order = 0;
  #handing = false;

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock;
    this.leaseMs = leaseMs;
  }

  /** Returns false, and changes nothing, when the key has a message. */
  add(key: string, data: Uint8Array, urgency = 0): boolean {
    if (this.#messages.has(key)) return false;
    const message: Message = {
      key,
      data,
      urgency,
      order: this.#order++,
      queuedAt: this.#clock.now(),
      deliveries: 0,
      cancelReturn: undefined,
    };
    this.#messages.set(key, message);
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

  take(accepts: (key: string) => boolean, call: (delivery: QueueDelivery) => void): Intake {
    const taker: Taker = { accepts, call, wanted: 0, open: true };
    this.#takers.push(taker);
    return {
      want: (count) => {
        taker.wanted += count;
        this.#handSoon();
      },
      close: () => {
        taker.open = false;
        this.#takers.splice(this.#takers.indexOf(taker), 1);
        return Promise.resolve();
      },
    };
  }

  #wait(message: Message): void {
    message.cancelReturn?.();
    message.cancelReturn = undefined;
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
      const at = this.#takers.findIndex((taker) => taker.wanted > 0 && taker.accepts(message.key));
      const taker = this.#takers[at];
      if (taker === undefined) {
        if (!this.#takers.some(({ wanted }) => wanted > 0)) return;
        i++;
        continue;
      }
      // In turn: the next message goes to another one.
      this.#takers.push(...this.#takers.splice(at, 1));
      this.#waiting.splice(i, 1);
      taker.wanted--;
      message.deliveries++;
      this.#hold(message);
      taker.call(this.#delivery(message));
    }
  }

  #hold(message: Message): void {
    message.cancelReturn?.();
    message.cancelReturn = this.#clock.after(this.leaseMs, () => this.#wait(message));
  }

  #forget(message: Message): void {
    message.cancelReturn?.();
    if (this.#messages.get(message.key) === message) this.#messages.delete(message.key);
    const at = this.#waiting.indexOf(message);
    if (at !== -1) this.#waiting.splice(at, 1);
  }

  #delivery(message: Message): QueueDelivery {
    const ifCurrent = (act: () => void) => {
      if (this.#messages.get(message.key) === message && !this.#waiting.includes(message)) act();
    };
    return {
      key: message.key,
      data: message.data,
      deliveries: message.deliveries,
      queuedAt: message.queuedAt,
      ack: () => {
        if (this.#messages.get(message.key) === message) this.#forget(message);
      },
      giveBack: (delayMs = 0) =>
        ifCurrent(() => {
          message.cancelReturn?.();
          message.cancelReturn = this.#clock.after(delayMs, () => this.#wait(message));
        }),
      extend: () => ifCurrent(() => this.#hold(message)),
    };
  }
}

export interface QueueDelivery extends Delivery {
  readonly key: string;
  /** Milliseconds since 1970. */
  readonly queuedAt: number;
}

function comesBefore(a: Message, b: Message): boolean {
  return a.urgency > b.urgency || (a.urgency === b.urgency && a.order < b.order);
}
