/** Tries again what may be repeated, while the server is out of reach. For calls of the client library, which try once. */
import type { NatsConnection } from "@nats-io/nats-core";
import type { Clock } from "../ports.ts";
import { isTransient, translate } from "./errors.ts";

const PATIENCE_MS = 30_000;
const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2_000;

export class Patience {
  readonly #nc: NatsConnection;
  readonly #clock: Clock;

  constructor(nc: NatsConnection, clock: Clock) {
    this.#nc = nc;
    this.#clock = clock;
  }

  /** What `act` gives in the end. @throws {DyrygentError} its last failure, as `action` failing. */
  async with<T>(action: string, act: () => Promise<T>): Promise<T> {
    const begun = this.#clock.monotonic();
    for (let delayMs = FIRST_RETRY_MS;; delayMs = Math.min(2 * delayMs, LONGEST_RETRY_MS)) {
      try {
        return await act();
      } catch (error) {
        const waited = this.#clock.monotonic() - begun;
        const isHopeless = this.#nc.isClosed() || !isTransient(error);
        if (isHopeless || waited + delayMs > PATIENCE_MS) throw translate(action, error);
        await new Promise<void>((resolve) => this.#clock.after(delayMs, resolve));
      }
    }
  }
}
