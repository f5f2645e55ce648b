/** Status snapshots and presence, in an ordinary KV bucket. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import type { View, Views } from "../ports.ts";
import { CODE, hasCode, translate } from "./errors.ts";

export class NatsViews implements Views {
  readonly #kv: KV;
  readonly #jsm: JetStreamManager;
  readonly #bucket: string;

  constructor(kv: KV, jsm: JetStreamManager, bucket: string) {
    this.#kv = kv;
    this.#jsm = jsm;
    this.#bucket = bucket;
  }

  async put(key: string, data: Uint8Array): Promise<void> {
    await this.#tried(`write ${key}`, () => this.#kv.put(key, data));
  }

  async get(key: string): Promise<View | undefined> {
    const entry = await this.#tried(`read ${key}`, () => this.#kv.get(key));
    return entry === null || entry.operation !== "PUT"
      ? undefined
      : { data: entry.value, revision: entry.revision };
  }

  async remove(key: string): Promise<void> {
    // The bucket's own delete and purge leave a marker behind for each key, for ever.
    await this.#tried(
      `remove ${key}`,
      () => this.#jsm.streams.purge(`KV_${this.#bucket}`, { filter: `$KV.${this.#bucket}.${key}` }),
    );
  }

  async *list(prefix: string): AsyncIterable<{ key: string; data: Uint8Array }> {
    const entries = await this.#tried(
      `list ${prefix}`,
      () => this.#kv.history({ key: `${prefix}>` }),
    );
    for await (const { key, operation, value } of entries) {
      if (operation === "PUT") yield { key, data: value };
    }
  }

  async swap(key: string, revision: number, data: Uint8Array): Promise<boolean> {
    try {
      if (revision === 0) await this.#kv.create(key, data);
      else await this.#kv.update(key, data, revision);
      return true;
    } catch (error) {
      if (hasCode(error, CODE.wrongLastSequence, CODE.wrongLastSequenceConstant)) return false;
      throw translate(`write ${key}`, error);
    }
  }

  async #tried<T>(action: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw translate(action, error);
    }
  }
}
