/** Keeps the presence of one running worker or processor: writes it, refreshes it, removes it. Failing at it fails nothing. */
import {
  type LiveProcessor,
  type LiveWorker,
  PRESENCE,
  readPresence,
  writePresence,
} from "../core/presence.ts";
import { failureOf } from "../core/records.ts";
import type { Cancel, Ports } from "../ports.ts";
import { atMost } from "./time.ts";

/** How long a process that stops tries to remove its presence. */
const REMOVE_MS = 1_000;

export class Presence {
  readonly #ports: Ports;
  readonly #key: string;
  readonly #live: (at: number) => LiveWorker | LiveProcessor;
  readonly #instance: string;
  #cancel: Cancel = () => {};
  #writing: Promise<void> = Promise.resolve();
  #isWritten = false;
  #isEnded = false;
  #isTwice = false;
  #isFailing = false;

  /** @param live what it is to say, at this moment. */
  constructor(ports: Ports, key: string, live: (at: number) => LiveWorker | LiveProcessor) {
    this.#ports = ports;
    this.#key = key;
    this.#live = live;
    this.#instance = ports.random.id();
  }

  /** Resolves when it can be read, or could not be written. From then on it is refreshed. */
  begin(): Promise<void> {
    if (!this.#isEnded) this.#writing = this.#write();
    return this.#writing;
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    this.#cancel();
    await atMost(this.#ports.clock, REMOVE_MS, this.#writing.then(() => this.#remove()));
  }

  async #write(): Promise<void> {
    const { views, clock, log } = this.#ports;
    try {
      if (this.#isWritten) await this.#lookForAnother();
      await views.put(this.#key, writePresence(this.#instance, this.#live(clock.now())));
      this.#isWritten = true;
      this.#isFailing = false;
    } catch (error) {
      const level = this.#isFailing ? "debug" : "warn";
      this.#isFailing = true;
      log(level, `${this.#key} cannot say that it is there: ${failureOf(error).message}`, {
        event: "presence-not-written",
        key: this.#key,
        error,
      });
    }
    if (this.#isEnded) return;
    this.#cancel = clock.after(PRESENCE.refreshMs, () => void this.begin());
  }

  /** What stands there was written since we wrote: by a process that runs now. */
  async #lookForAnother(): Promise<void> {
    if (this.#isTwice || await this.#isOurs()) return;
    this.#isTwice = true;
    this.#ports.log(
      "warn",
      `two live processes use the name "${this.#key}": give each an id of its own`,
      { event: "presence-twice", key: this.#key },
    );
  }

  async #isOurs(): Promise<boolean> {
    const view = await this.#ports.views.get(this.#key);
    const written = view === undefined ? undefined : readPresence(view.data);
    return written === undefined || written.instance === this.#instance;
  }

  async #remove(): Promise<void> {
    try {
      if (this.#isWritten && await this.#isOurs()) await this.#ports.views.remove(this.#key);
    } catch (error) {
      this.#ports.log("debug", `${this.#key} cannot be removed`, {
        event: "view-not-removed",
        key: this.#key,
        error,
      });
    }
  }
}
