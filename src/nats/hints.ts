/** Core NATS messages: facts as the server republishes them, and what processes tell each other. At most once. */
import { headers, type Msg, type NatsConnection } from "@nats-io/nats-core";
import type { Cancel, Hint, Hints } from "../ports.ts";
import { translate } from "./errors.ts";
import { isClustered } from "./link.ts";
import type { Names } from "./names.ts";
import { notedOf, noteOf, recordedAt } from "./note.ts";

export class NatsHints implements Hints {
  readonly #nc: NatsConnection;
  readonly #names: Names;
  readonly #onGap = new Set<() => void>();
  readonly #settling = new Set<() => void>();
  readonly #isTraced: boolean;

  /** @param isTraced whether somebody wants to know in which traces facts were written, and when exactly. */
  constructor(nc: NatsConnection, names: Names, { isTraced }: { isTraced: boolean }) {
    this.#nc = nc;
    this.#names = names;
    this.#isTraced = isTraced;
    void this.#watchConnection();
  }

  get spreads(): boolean {
    return isClustered(this.#nc);
  }

  onFact(filter: string, call: (hint: Hint) => void): Cancel {
    const { hintPrefix } = this.#names;
    return this.#on(hintPrefix + filter, (msg) => {
      const key = msg.subject.slice(hintPrefix.length);
      call(
        this.#isTraced
          ? { key, ...notedOf(msg), ...recordedAt(msg), data: msg.data }
          : { key, ...noteOf(msg), data: msg.data },
      );
    });
  }

  /** A connection that is lost meanwhile is no failure but a gap, and told as one. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#settling.add(resolve);
      // The client leaves a flush unanswered when the connection is closed before its answer.
      void this.#nc.flush().catch(() => {}).then(() => {
        this.#settling.delete(resolve);
        resolve();
      });
    });
  }

  onGap(call: () => void): Cancel {
    this.#onGap.add(call);
    return () => this.#onGap.delete(call);
  }

  tell(topic: string, data: Uint8Array): void {
    if (!this.#nc.isClosed()) this.#nc.publish(this.#names.eventPrefix + topic, data);
  }

  onTold(topic: string, call: (topic: string, data: Uint8Array) => void): Cancel {
    const { eventPrefix } = this.#names;
    return this.#on(eventPrefix + topic, (msg) => {
      call(msg.subject.slice(eventPrefix.length), msg.data);
    });
  }

  /** The server says at once when nobody subscribes to it, as far as it knows. */
  async ask(topic: string, data: Uint8Array, ms: number): Promise<Uint8Array | undefined> {
    try {
      const subject = this.#names.eventPrefix + topic;
      return (await this.#nc.request(subject, data, { timeout: ms })).data;
    } catch {
      return undefined;
    }
  }

  onAsked(topic: string, answer: (data: Uint8Array) => Promise<Uint8Array>): Cancel {
    return this.#on(this.#names.eventPrefix + topic, (msg) => {
      void answer(msg.data).then((data) => this.#nc.isClosed() || msg.respond(data));
    });
  }

  /** A stream that somebody keeps it in leaves out what has an id that it has had just before. */
  broadcast(topic: string, data: Uint8Array, id: string): void {
    if (this.#nc.isClosed()) return;
    const told = headers();
    told.set("Nats-Msg-Id", id);
    this.#nc.publish(this.#names.feedPrefix + topic, data, { headers: told });
  }

  #on(subject: string, call: (msg: Msg) => void): Cancel {
    try {
      const subscription = this.#nc.subscribe(subject, {
        callback: (error, msg) => void (error === null && call(msg)),
      });
      return () => subscription.unsubscribe();
    } catch (error) {
      throw translate(`listen to ${subject}`, error);
    }
  }

  async #watchConnection(): Promise<void> {
    for await (const { type } of this.#nc.status()) if (type === "reconnect") this.#tellOfGap();
    // Closed: whoever waits looks again, and learns it.
    for (const resolve of this.#settling) resolve();
    this.#tellOfGap();
  }

  #tellOfGap(): void {
    for (const call of [...this.#onGap]) call();
  }
}
