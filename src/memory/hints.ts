/** Messages between the parts of one process: told soon, never inside the call that tells. */
import type { Cancel, Clock, Hint, Hints } from "../ports.ts";
import { filterOf } from "./filter.ts";

type Listener<T> = {
  readonly matches: (topic: string) => boolean;
  readonly call: (topic: string, message: T) => void;
};

interface Question {
  readonly data: Uint8Array;
  readonly answer: (data: Uint8Array) => void;
}

export class MemoryHints implements Hints {
  readonly spreads = false;
  readonly #onFact = new Set<Listener<Hint>>();
  readonly #onTold = new Set<Listener<Uint8Array>>();
  readonly #onAsked = new Set<Listener<Question>>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  onFact(filter: string, call: (hint: Hint) => void): Cancel {
    return listen(this.#onFact, filter, (_, hint) => call(hint));
  }

  settled(): Promise<void> {
    return Promise.resolve();
  }

  onGap(): Cancel {
    return () => {};
  }

  tell(topic: string, data: Uint8Array): void {
    tell(this.#onTold, topic, data);
  }

  onTold(topic: string, call: (topic: string, data: Uint8Array) => void): Cancel {
    return listen(this.#onTold, topic, call);
  }

  ask(topic: string, data: Uint8Array, ms: number): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(ms, () => resolve(undefined));
      const answer = (said?: Uint8Array) => {
        cancel();
        resolve(said);
      };
      if (tell(this.#onAsked, topic, { data, answer }) === 0) answer();
    });
  }

  onAsked(topic: string, answer: (data: Uint8Array) => Promise<Uint8Array>): Cancel {
    return listen(this.#onAsked, topic, (_, question) => {
      void answer(question.data).then(question.answer);
    });
  }

  /** There is nobody outside. */
  broadcast(): void {}

  tellFact(hint: Hint): void {
    tell(this.#onFact, hint.key, hint);
  }
}

function listen<T>(listeners: Set<Listener<T>>, filter: string, call: Listener<T>["call"]): Cancel {
  const listener = { matches: filterOf(filter), call };
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** @returns how many it is told. */
function tell<T>(listeners: Set<Listener<T>>, topic: string, message: T): number {
  let told = 0;
  for (const listener of listeners) {
    if (!listener.matches(topic)) continue;
    told++;
    queueMicrotask(() => {
      if (listeners.has(listener)) listener.call(topic, message);
    });
  }
  return told;
}
