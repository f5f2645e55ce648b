/** Views in memory. */
import type { View, Views } from "../ports.ts";
import { filterOf } from "./filter.ts";

export class MemoryViews implements Views {
  readonly #records = new Map<string, View>();
  #revision = 0;

  put(key: string, data: Uint8Array): Promise<void> {
    this.#records.set(key, { data: data.slice(), revision: ++this.#revision });
    return Promise.resolve();
  }

  get(key: string): Promise<View | undefined> {
    return Promise.resolve(this.#records.get(key));
  }

  remove(filter: string, revision?: number): Promise<void> {
    for (const key of [...this.#records.keys()].filter(filterOf(filter))) {
      if (revision === undefined || this.#records.get(key)?.revision === revision) {
        this.#records.delete(key);
      }
    }
    return Promise.resolve();
  }

  keys(prefix: string): Promise<string[]> {
    return Promise.resolve([...this.#records.keys()].filter((key) => key.startsWith(prefix)));
  }

  async *list(prefix: string): AsyncIterable<View & { key: string }> {
    for (const [key, view] of [...this.#records]) {
      if (key.startsWith(prefix)) yield { key, ...view };
    }
  }

  async swap(key: string, revision: number, data: Uint8Array): Promise<boolean> {
    if ((this.#records.get(key)?.revision ?? 0) !== revision) return false;
    await this.put(key, data);
    return true;
  }
}
