/** The one thing that may go wrong at any time: whoever waits for something waits for the alarm too. */

/** Something the user should read as it is, without a stack. */
export class DemoError extends Error {
  override readonly name = "DemoError";
}

export class Alarm {
  readonly #raised: Promise<never>;
  #raise: (error: Error) => void = () => {};
  #isRaised = false;

  constructor() {
    this.#raised = new Promise((_, reject) => this.#raise = reject);
    this.#raised.catch(() => {}); // Nobody may be waiting when it is raised.
  }

  get isRaised(): boolean {
    return this.#isRaised;
  }

  /** The first one counts. */
  raise(error: Error): void {
    this.#isRaised = true;
    this.#raise(error);
  }

  /** What `work` gives; rejects when the alarm is raised first, or after `limitMs`. */
  async orElse<T>(work: Promise<T>, limit?: { ms: number; what: string }): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      if (limit === undefined) return;
      const error = new DemoError(`${limit.what} took longer than ${limit.ms / 1_000} s`);
      timer = setTimeout(() => reject(error), limit.ms);
    });
    work.catch(() => {}); // When the alarm came first, nobody waits for it any more.
    try {
      return await Promise.race([work, this.#raised, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}
