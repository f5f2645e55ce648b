/** Virtual time: it stands still until somebody moves it on to the next timer. */
import type { Cancel, Clock } from "../ports.ts";

interface Timer {
  readonly at: number;
  /** Timers of the same moment fire in the order they were set. */
  readonly order: number;
  readonly call: () => void;
}

/** Virtual time begins on a round date, so that logs of different runs can be compared. */
const BEGINNING = Date.UTC(2026, 0, 1);

export class VirtualClock implements Clock {
  #elapsed = 0;
  #order = 0;
  /** Sorted by moment, the next one last: most timers are set for the near future and many are cancelled. */
  readonly #timers: Timer[] = [];

  now(): number {
    return BEGINNING + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(ms: number, call: () => void): Cancel {
    const timer: Timer = { at: this.#elapsed + Math.max(0, ms), order: this.#order++, call };
    this.#timers.splice(this.#place(timer), 0, timer);
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at !== -1) this.#timers.splice(at, 1);
    };
  }

  /** Milliseconds until the next timer; undefined when there is none. */
  get untilNext(): number | undefined {
    const next = this.#timers.at(-1);
    return next === undefined ? undefined : Math.max(0, next.at - this.#elapsed);
  }

  /** Moves on to the next timer and fires it. Returns false when there is none. */
  fireNext(): boolean {
    const next = this.#timers.pop();
    if (next === undefined) return false;
    this.#elapsed = Math.max(this.#elapsed, next.at);
    next.call();
    return true;
  }

  /** Lets time pass without firing anything beyond it. */
  pass(ms: number): void {
    this.#elapsed += Math.min(ms, this.untilNext ?? ms);
  }

  #place(timer: Timer): number {
    let low = 0;
    let high = this.#timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isLater(this.#timers[middle]!, timer)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isLater(a: Timer, b: Timer): boolean {
  return a.at > b.at || (a.at === b.at && a.order > b.order);
}
