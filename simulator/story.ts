/** Who did what, in order: kept only where somebody is going to read it. */

export class Story {
  readonly #now: () => number;
  readonly #isTold: boolean;
  readonly lines: string[] = [];

  constructor(now: () => number, isTold: boolean) {
    this.#now = now;
    this.#isTold = isTold;
  }

  tell(who: string, what: () => string): void {
    if (!this.#isTold) return;
    const at = `${this.#now().toFixed(2)} ms`.padStart(13);
    this.lines.push(`${at}  ${who.padEnd(12)} ${what()}`);
  }
}
