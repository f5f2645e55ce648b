/**
 * How many task messages of one workflow are in the queue at once. Enough that workers never wait for the processor, and no
 * more: what is queued later, of other workflows too, waits behind them. It follows from how long messages wait for a
 * worker, by the processor's clock and the worker's own count, so that clocks need not agree. Pure: it is told everything.
 */

/** Below this it does not shrink: so many slots a slow task can fill before any of its messages has come back. */
const LEAST = 256;
const FIRST = 1_000;
/** Messages that wait shorter than this say that workers could do with more. */
const SHORT_WAIT_MS = 25;
/** Messages that wait longer than this say that fewer would do. */
const LONG_WAIT_MS = 100;

export class Window {
  readonly #most: number;
  #size: number;

  /** @param most whatever happens. */
  constructor(most: number) {
    this.#most = most;
    this.#size = Math.min(FIRST, most);
  }

  get size(): number {
    return Math.floor(this.#size);
  }

  /** A message came back: so long, in milliseconds, it waited for a worker. Each moves the size a little. */
  onWaited(waitMs: number): void {
    if (waitMs < SHORT_WAIT_MS) this.#size = Math.min(this.#most, this.#size + 1);
    else if (waitMs > LONG_WAIT_MS) {
      this.#size = Math.max(Math.min(LEAST, this.#most), this.#size - 0.5);
    }
  }
}
