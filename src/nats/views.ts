/** Status snapshots and presence, in an ordinary KV bucket. */
import type { KV } from "@nats-io/kv";
import type { View, Views } from "../ports.ts";
import { CODE, hasCode } from "./errors.ts";
import type { Link } from "./link.ts";

export class NatsViews implements Views {
  readonly #kv: KV;
  readonly #link: Link;

  constructor(kv: KV, link: Link) {
    this.#kv = kv;
    this.#link = link;
  }

  async put(key: string, data: Uint8Array): Promise<void> {
    await this.#link.patience.with(`write ${key}`, () => this.#kv.put(key, data));
  }

  async get(key: string): Promise<View | undefined> {
    const entry = await this.#link.patience.with(`read ${key}`, () => this.#kv.get(key));
    return entry === null || entry.operation !== "PUT"
      ? undefined
      : { data: entry.value, revision: entry.revision };
  }

  async remove(filter: string): Promise<void> {
    // The bucket's own delete and purge leave a marker behind for each key, for ever.
    await this.#link.patience.with(
      `remove ${filter}`,
      () => {
        const { stateBucket } = this.#link.names;
        return this.#link.jsm.streams.purge(`KV_${stateBucket}`, {
          filter: `$KV.${stateBucket}.${filter}`,
        });
      },
    );
  }

  async *list(prefix: string): AsyncIterable<{ key: string; data: Uint8Array }> {
    const entries = await this.#link.patience.with(
      `list ${prefix}`,
      () => this.#kv.history({ key: `${prefix}>` }),
    );
    for await (const { key, operation, value } of entries) {
      if (operation === "PUT") yield { key, data: value };
    }
  }

  /** A lost answer may make a write that was done look as if somebody else had done it. */
  swap(key: string, revision: number, data: Uint8Array): Promise<boolean> {
    return this.#link.patience.with(`write ${key}`, async () => {
      try {
        if (revision === 0) await this.#kv.create(key, data);
        else await this.#kv.update(key, data, revision);
        return true;
      } catch (error) {
        if (hasCode(error, CODE.wrongLastSequence, CODE.wrongLastSequenceConstant)) return false;
        throw error;
      }
    });
  }
}
