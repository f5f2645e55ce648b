/** Wakes whoever waits for something to happen. A ring that comes while nobody waits is not lost. Says nothing of what it was. */
import type { Clock } from "../ports.ts";

export class Bell {
  #isRung = false;
  #wake = () => {};

  ring(): void {
    this.#isRung = true;
    this.#wake();
  }

  /** Waits for a ring, or `ms`. @returns whether it was rung, now or since the last wait. */
  async wait(clock: Clock, ms: number): Promise<boolean> {
    if (!this.#isRung) {
      await new Promise<void>((resolve) => {
        const cancel = clock.after(ms, resolve);
        this.#wake = () => {
          cancel();
          resolve();
        };
      });
    }
    const wasRung = this.#isRung;
    this.#isRung = false;
    return wasRung;
  }
}
