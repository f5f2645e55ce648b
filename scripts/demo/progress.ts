/** One line that tells how far it is: rewritten in place on a terminal, now and then a new one elsewhere. */
import type { WriteStream } from "node:tty";

const ON_TERMINAL_MS = 80;
const ELSEWHERE_MS = 1_000;
const BAR = 24;

export class Progress {
  readonly #out: WriteStream;
  readonly #size: number;
  readonly #start = performance.now();
  #shownAt = this.#start;

  /** @param size what counts as all of it. */
  constructor(out: WriteStream, size: number) {
    this.#out = out;
    this.#size = size;
  }

  show(done: number, sent: number, last: string): void {
    const now = performance.now();
    if (now - this.#shownAt < (this.#out.isTTY ? ON_TERMINAL_MS : ELSEWHERE_MS)) return;
    this.#shownAt = now;
    const full = Math.round(done / this.#size * BAR);
    const bar = this.#out.isTTY ? `${"█".repeat(full)}${"░".repeat(BAR - full)} ` : "";
    const seconds = ((now - this.#start) / 1_000).toFixed(1);
    const line =
      `${bar}${done} of ${this.#size} done, ${sent} in the queue or running, ${seconds} s, last: ${last}`;
    this.#out.write(
      this.#out.isTTY ? `\r\x1b[2K${line.slice(0, this.#out.columns - 1)}` : `${line}\n`,
    );
  }

  /** Leaves no half line behind. */
  clear(): void {
    if (this.#out.isTTY) this.#out.write("\r\x1b[2K");
  }
}
