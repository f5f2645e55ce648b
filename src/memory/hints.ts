/** Messages between the parts of one process: told soon, never inside the call that tells. */
import type { Cancel, Hint, Hints } from "../ports.ts";
import { filterOf } from "./filter.ts";

type Listener<T> = {
  readonly matches: (topic: string) => boolean;
  readonly call: (topic: string, message: T) => void;
};

export class MemoryHints implements Hints {
  readonly spreads = false;
  readonly #onFact = new Set<Listener<Hint>>();
  readonly #onTold = new Set<Listener<Uint8Array>>();

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

function tell<T>(listeners: Set<Listener<T>>, topic: string, message: T): void {
  for (const listener of listeners) {
    if (!listener.matches(topic)) continue;
    queueMicrotask(() => {
      if (listeners.has(listener)) listener.call(topic, message);
    });
  }
}
