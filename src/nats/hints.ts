/** Core NATS messages: facts as the server republishes them, and what processes tell each other. At most once. */
import type { NatsConnection } from "@nats-io/nats-core";
import type { Cancel, Hint, Hints } from "../ports.ts";
import { NOTE_HEADER } from "./facts.ts";
import type { Names } from "./names.ts";

export class NatsHints implements Hints {
  readonly #nc: NatsConnection;
  readonly #names: Names;
  readonly #onGap = new Set<() => void>();

  constructor(nc: NatsConnection, names: Names) {
    this.#nc = nc;
    this.#names = names;
    void this.#watchConnection();
  }

  get spreads(): boolean {
    return (this.#nc.info as { cluster?: string } | undefined)?.cluster !== undefined;
  }

  onFact(filter: string, call: (hint: Hint) => void): Cancel {
    const { hintPrefix } = this.#names;
    const subscription = this.#nc.subscribe(hintPrefix + filter, {
      callback: (error, msg) => {
        if (error !== null) return;
        const note = msg.headers?.get(NOTE_HEADER);
        const key = msg.subject.slice(hintPrefix.length);
        call(
          note === undefined || note === ""
            ? { key, data: msg.data }
            : { key, note, data: msg.data },
        );
      },
    });
    return () => subscription.unsubscribe();
  }

  settled(): Promise<void> {
    return this.#nc.flush();
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
    const subscription = this.#nc.subscribe(eventPrefix + topic, {
      callback: (error, msg) =>
        void (error === null && call(msg.subject.slice(eventPrefix.length), msg.data)),
    });
    return () => subscription.unsubscribe();
  }

  async #watchConnection(): Promise<void> {
    for await (const { type } of this.#nc.status()) {
      if (type === "reconnect") { for (const call of this.#onGap) call(); }
    }
  }
}
