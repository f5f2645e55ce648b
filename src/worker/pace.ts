/**
 * Claims the moments at which attempts with a limited rate may begin, of one record that all workers share, by
 * compare-and-set. It decides nothing: src/core/rate.ts does.
 */
import { laneKind, type Rate } from "../core/lanes.ts";
import { decideStart, isMissed, rateKey, readLastStart, writeLastStart } from "../core/rate.ts";
import type { Ports, TaskAddress } from "../ports.ts";
import { sleep } from "../runs/time.ts";

export type Claimed =
  /** This is the moment. */
  | { readonly is: "now" }
  | { readonly is: "later"; readonly afterMs: number };

export class Pace {
  readonly #ports: Ports;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** Resolves at the moment, or at once when it is not near. @throws {UnavailableError} */
  async claim({ queue, lane }: TaskAddress, rate: Rate): Promise<Claimed> {
    const { views, clock } = this.#ports;
    const kind = laneKind(lane);
    if (kind.is !== "rated") return { is: "now" };
    const key = rateKey(queue, kind.key);
    for (;;) {
      const view = await views.get(key);
      const last = view === undefined ? undefined : readLastStart(view.data);
      const decision = decideStart(rate, last, clock.now());
      if (decision.is === "later") return decision;
      const { at } = decision;
      if (!await views.swap(key, view?.revision ?? 0, writeLastStart(at))) continue;
      await this.#until(at);
      if (!isMissed(rate, at, clock.now())) return { is: "now" };
    }
  }

  /** Timers may come early by the part of a millisecond that clocks do not show. */
  async #until(at: number): Promise<void> {
    const { clock } = this.#ports;
    for (let leftMs = at - clock.now(); leftMs > 0; leftMs = at - clock.now()) {
      await sleep(clock, Math.ceil(leftMs));
    }
  }
}
