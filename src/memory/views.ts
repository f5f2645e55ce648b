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

  remove(filter: string): Promise<void> {
    for (const key of [...this.#records.keys()].filter(filterOf(filter))) this.#records.delete(key);
    return Promise.resolve();
  }

  async *list(prefix: string): AsyncIterable<{ key: string; data: Uint8Array }> {
    for (const [key, { data }] of [...this.#records]) {
      if (key.startsWith(prefix)) yield { key, data };
    }
  }

  async swap(key: string, revision: number, data: Uint8Array): Promise<boolean> {
    if ((this.#records.get(key)?.revision ?? 0) !== revision) return false;
    await this.put(key, data);
    return true;
  }
}
