/** Big results in memory. */
import type { Blobs } from "../ports.ts";

export class MemoryBlobs implements Blobs {
  readonly #blobs = new Map<string, Uint8Array>();

  put(name: string, data: Uint8Array): Promise<void> {
    this.#blobs.set(name, data.slice());
    return Promise.resolve();
  }

  get(name: string): Promise<Uint8Array | "gone"> {
    return Promise.resolve(this.#blobs.get(name) ?? "gone");
  }

  remove(name: string): Promise<void> {
    this.#blobs.delete(name);
    return Promise.resolve();
  }

  removeAll(workflow: string): Promise<void> {
    for (const name of [...this.#blobs.keys()]) {
      if (name.startsWith(`${workflow}.`)) this.#blobs.delete(name);
    }
    return Promise.resolve();
  }
}
