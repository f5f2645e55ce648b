/**
 * Messages of a durable pull consumer, on demand: never more than were asked for. Several pull requests may be open;
 * what an expired one did not deliver is asked for again. Missed heartbeats or a lost connection start afresh:
 * what was on its way then comes back after its lease.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from "@nats-io/nats-core";
import type { Cancel, Clock, Intake, Log } from "../ports.ts";
import { translate } from "./errors.ts";
import { inboxPrefix } from "./requests.ts";
import type { Stall } from "./stall.ts";

export interface IntakeOptions {
  readonly stream: string;
  readonly consumer: string;
  readonly onMessage: (msg: Msg) => void;
  /** The consumer is not there (any more): make it again. */
  readonly restore: () => Promise<void>;
  /** Why it hands nothing out. Asked for now and then while nothing comes. */
  readonly inspect?: () => Promise<Stall>;
  /** Deletes it, so that it is made again: its messages are then handed out anew. */
  readonly remove?: () => Promise<unknown>;
  /** How long nothing may come, although asked for, before it is inspected. @default 10 s */
  readonly doubtMs?: number;
  /** So many were asked for and did not come in time. Default: they are asked for again. */
  readonly onUnused?: (count: number) => void;
}

/** Short, because a pull lost with its server is only asked for again when it would have expired. */
const EXPIRES_MS = 5_000;
const HEARTBEAT_MS = 1_000;
const RETRY_MS = 250;
const DOUBT_MS = 10_000;
/** What was in order is inspected less and less often, down to this. */
const LONGEST_DOUBT_MS = 60_000;
/** A server that is away must not keep anybody from stopping. */
const DRAIN_MS = 1_000;
const NANOS = 1_000_000;
const ACK = new TextEncoder().encode("+ACK");
const IN_PROGRESS = new TextEncoder().encode("+WPI");

const IN_ORDER: Stall = { is: "none" };

export class PullIntake implements Intake {
  readonly #nc: NatsConnection;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: IntakeOptions;
  /** Everything about our requests arrives below this. */
  readonly #inboxes: string;
  #inbox = "";
  #generation = 0;
  #subscription: Subscription;
  /** Asked for by the caller, not yet by us. */
  #wanted = 0;
  /** Asked for by us, not yet delivered. */
  #outstanding = 0;
  #heardAt: number;
  /** When it was inspected last, or handed something out. */
  #trustedAt: number;
  #doubtMs: number;
  /** What it was found to be last, if it was not in order. */
  #stall: Stall = IN_ORDER;
  #isFailing = false;
  #closed = false;
  #next = 0;
  #asking = false;
  #cancelWatch: Cancel;

  constructor(nc: NatsConnection, clock: Clock, log: Log, options: IntakeOptions) {
    this.#nc = nc;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
    this.#heardAt = this.#trustedAt = clock.monotonic();
    this.#doubtMs = options.doubtMs ?? DOUBT_MS;
    this.#inboxes = `${createInbox(inboxPrefix(nc))}.`;
    this.#subscription = this.#subscribe();
    this.#cancelWatch = clock.after(HEARTBEAT_MS, () => this.#watch());
  }

  want(count: number): void {
    this.#wanted += count;
    this.#askIfWorthwhile();
  }

  /**
   * A request for every single message would cost as much as the message: ask when half is used up. Also when that is
   * because messages came: perhaps nothing more is wanted, and nobody would ask for what is.
   */
  #askIfWorthwhile(): void {
    if (this.#wanted > 0 && this.#wanted >= this.#outstanding) this.#askSoon();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelWatch();
    if (this.#nc.isClosed()) return;
    // Draining lets what the server has sent already arrive, so that the caller can give it back at once.
    await new Promise<void>((resolve) => {
      const cancel = this.#clock.after(DRAIN_MS, resolve);
      void this.#subscription.drain().catch(() => {}).then(() => {
        cancel();
        resolve();
      });
    });
  }

  /** After a lost connection: the server has forgotten who asked. */
  restart(): void {
    if (this.#closed || this.#nc.isClosed()) return;
    const old = this.#subscription;
    this.#subscription = this.#subscribe();
    old.drain().catch(() => {});
    this.#heardAt = this.#clock.monotonic();
    this.#wanted += this.#outstanding;
    this.#outstanding = 0;
    this.#askSoon();
  }

  #subscribe(): Subscription {
    this.#inbox = `${this.#inboxes}${this.#generation++}.`;
    try {
      return this.#nc.subscribe(`${this.#inbox}*`, {
        callback: (error, msg) => void (error === null && this.#onMessage(msg)),
      });
    } catch (error) {
      throw translate(`take from ${this.#options.consumer}`, error);
    }
  }

  #askSoon(): void {
    if (this.#asking || this.#closed) return;
    this.#asking = true;
    queueMicrotask(() => {
      this.#asking = false;
      this.#ask();
    });
  }

  #ask(): void {
    const batch = this.#wanted;
    if (batch <= 0 || this.#closed || this.#nc.isClosed()) return;
    if (this.#outstanding === 0) this.#heardAt = this.#clock.monotonic();
    this.#wanted = 0;
    this.#outstanding += batch;
    const { stream, consumer } = this.#options;
    const request = { batch, expires: EXPIRES_MS * NANOS, idle_heartbeat: HEARTBEAT_MS * NANOS };
    this.#nc.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`, JSON.stringify(request), {
      reply: `${this.#inbox}${this.#next++}`,
    });
  }

  #onMessage(msg: Msg): void {
    this.#heardAt = this.#clock.monotonic();
    // A delivered message keeps its own subject; what arrives on the inbox's is about the request.
    if (!msg.subject.startsWith(this.#inboxes)) {
      if (this.#outstanding > 0) this.#outstanding--;
      this.#trust();
      this.#handOut(msg);
      return this.#askIfWorthwhile();
    }
    const code = msg.headers?.code;
    if (code === 100 || !msg.subject.startsWith(this.#inbox)) return;
    const left = Number(msg.headers?.get("Nats-Pending-Messages") || this.#outstanding);
    this.#outstanding = Math.max(0, this.#outstanding - left);
    if (this.#closed) return;
    if (code === 408 || code === 404) return this.#unused(left);
    this.#wanted += left;
    this.#log(
      "debug",
      `pull on ${this.#options.consumer} ended: ${code} ${msg.headers?.description}`,
      { event: "pull-ended", consumer: this.#options.consumer, code },
    );
    this.#clock.after(RETRY_MS, () => void this.#restore());
  }

  /** What a callback throws would close the connection: the message is left alone instead, and comes again after its lease. */
  #handOut(msg: Msg): void {
    try {
      this.#options.onMessage(msg);
    } catch (error) {
      this.#log("error", `a message of ${this.#options.consumer} could not be handled`, {
        event: "message-not-handled",
        consumer: this.#options.consumer,
        error,
      });
    }
  }

  #unused(count: number): void {
    if (this.#options.onUnused === undefined) this.#wanted += count;
    else this.#options.onUnused(count);
    this.#askIfWorthwhile();
  }

  async #restore(): Promise<void> {
    if (this.#closed || this.#nc.isClosed()) return;
    try {
      await this.#options.restore();
      this.#isFailing = false;
    } catch (error) {
      const level = this.#isFailing ? "debug" : "warn";
      this.#isFailing = true;
      this.#log(level, `consumer ${this.#options.consumer} cannot be made again yet`, {
        event: "consumer-not-made",
        consumer: this.#options.consumer,
        error,
      });
    }
    this.#askSoon();
  }

  /** It hands out messages: nothing is wrong with it. */
  #trust(): void {
    this.#trustedAt = this.#heardAt;
    this.#doubtMs = this.#options.doubtMs ?? DOUBT_MS;
    if (this.#stall !== IN_ORDER) this.#onStall(IN_ORDER);
  }

  async #inspect(inspect: () => Promise<Stall>): Promise<void> {
    this.#trustedAt = this.#clock.monotonic();
    try {
      const stall = await inspect();
      // Meanwhile something may have come.
      if (!this.#closed && this.#outstanding > 0) this.#onStall(stall);
    } catch (error) {
      this.#log("debug", `consumer ${this.#options.consumer} cannot be inspected`, {
        event: "consumer-not-inspected",
        consumer: this.#options.consumer,
        error,
      });
    }
  }

  #onStall(stall: Stall): void {
    const before = this.#stall;
    this.#stall = stall;
    if (stall.is === "none") this.#doubtMs = Math.min(2 * this.#doubtMs, LONGEST_DOUBT_MS);
    const { consumer } = this.#options;
    const isNew = before.is !== stall.is;
    switch (stall.is) {
      case "none":
        // What was only waiting may have been handed to others.
        if (before.is === "changed" || before.is === "paused") {
          this.#log("info", `consumer ${consumer} is in order again`, {
            event: "consumer-in-order",
            consumer,
          });
        }
        break;
      case "missing":
        if (isNew) {
          this.#log("warn", `consumer ${consumer} is gone, and is made again`, {
            event: "consumer-gone",
            consumer,
          });
        }
        void this.#restore();
        break;
      case "changed":
        if (isNew) {
          const { message, hint } = stall.error;
          this.#log("error", `nothing comes from consumer ${consumer}: ${message}. ${hint}`, {
            event: "consumer-changed",
            consumer,
            error: stall.error,
          });
        }
        break;
      case "paused":
        if (isNew) {
          const seconds = Math.ceil(stall.forMs / 1_000);
          this.#log("warn", `somebody paused consumer ${consumer}, for another ${seconds} s`, {
            event: "consumer-paused",
            consumer,
            forMs: stall.forMs,
          });
        }
        break;
      case "waiting":
      case "skipping":
        // Once is nothing: it may be handed out this moment. Meanwhile nobody got anything.
        if (before.is !== stall.is || before.delivered !== stall.delivered) {
          this.#trustedAt -= this.#doubtMs - HEARTBEAT_MS;
        } else if (stall.is === "waiting") {
          this.#log(
            "warn",
            `consumer ${consumer} has ${stall.messages} messages and hands none out: asking again`,
            { event: "consumer-silent", consumer, messages: stall.messages },
          );
          this.restart();
        } else void this.#remake(stall.messages);
        break;
      default:
        stall satisfies never;
    }
  }

  /** What was handed out and has no answer yet comes again, too: that does no harm. */
  async #remake(messages: number): Promise<void> {
    const { consumer, remove } = this.#options;
    this.#log(
      "warn",
      `consumer ${consumer} has passed over ${messages} messages: it is made anew`,
      {
        event: "consumer-made-anew",
        consumer,
        messages,
      },
    );
    // Not again soon: if that did not help, nothing else here will.
    this.#doubtMs = LONGEST_DOUBT_MS;
    try {
      await remove?.();
    } catch (error) {
      this.#log("error", `consumer ${consumer} cannot be deleted: do so, and it is made anew`, {
        event: "consumer-not-deleted",
        consumer,
        error,
      });
    }
  }

  #watch(): void {
    if (this.#closed || this.#nc.isClosed()) return;
    this.#cancelWatch = this.#clock.after(HEARTBEAT_MS, () => this.#watch());
    const now = this.#clock.monotonic();
    const silentMs = now - this.#heardAt;
    const { inspect } = this.#options;
    if (this.#outstanding === 0) return;
    if (inspect !== undefined && now - this.#trustedAt >= this.#doubtMs) {
      void this.#inspect(inspect);
    }
    if (silentMs < 3 * HEARTBEAT_MS) return;
    this.#log(
      "debug",
      `no heartbeat from ${this.#options.consumer} for ${Math.round(silentMs)} ms: asking again`,
      { event: "heartbeat-missed", consumer: this.#options.consumer, silentMs },
    );
    void this.#restore();
    this.restart();
  }
}

/** What stands in a delivered message's reply subject. */
export interface AckAddress {
  readonly deliveries: number;
  /** Which delivery of the consumer this is, from 1. */
  readonly consumerSeq: number;
  /** Nanoseconds since 1970, as text. */
  readonly sentNs: string;
  /** Messages still to be delivered after this one. */
  readonly pending: number;
  readonly seq: number;
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<seq>.<consumer seq>.<ns>.<pending>`; newer servers put domain and account in front. */
export function parseAckAddress(reply: string): AckAddress {
  const parts = reply.split(".");
  const at = parts.length >= 11 ? 6 : 4;
  return {
    deliveries: Number(parts[at]),
    seq: Number(parts[at + 1]),
    consumerSeq: Number(parts[at + 2]),
    sentNs: parts[at + 3] ?? "0",
    pending: Number(parts[at + 4]),
  };
}

/** How a delivery is answered. */
export class Acknowledging {
  readonly #nc: NatsConnection;
  protected readonly reply: string;

  /** @param reply where the answer goes. */
  constructor(nc: NatsConnection, reply: string) {
    this.#nc = nc;
    this.reply = reply;
  }

  ack(): void {
    this.#answer(ACK);
  }

  giveBack(delayMs?: number): void {
    this.#answer(
      delayMs === undefined || delayMs <= 0
        ? "-NAK"
        : `-NAK {"delay":${Math.round(delayMs) * NANOS}}`,
    );
  }

  extend(): void {
    this.#answer(IN_PROGRESS);
  }

  /** A lost answer only means that the message comes again. */
  #answer(text: string | Uint8Array): void {
    if (!this.#nc.isClosed()) this.#nc.publish(this.reply, text);
  }
}
