/** Status snapshots and presence, in an ordinary KV bucket. */
import type { PurgeOpts } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import type { View, Views } from "../ports.ts";
import { translate } from "./errors.ts";
import type { Link } from "./link.ts";

/** What the server says of the subjects of a stream, a page at a time. */
interface SubjectsPage {
  readonly total?: number;
  readonly limit?: number;
  readonly state?: { readonly subjects?: Readonly<Record<string, number>> };
  readonly error?: { readonly description?: string };
}

/** Keys that two pages share. */
const OVERLAP = 1_000;
/** Reads under way at once. */
const LIST_BATCH = 256;

export class NatsViews implements Views {
  readonly #kv: KV;
  readonly #link: Link;

  readonly #isDirect: boolean;

  /** @param isDirect whether the bucket answers direct reads: many at once cost little. */
  constructor(kv: KV, link: Link, { isDirect }: { isDirect: boolean }) {
    this.#kv = kv;
    this.#link = link;
    this.#isDirect = isDirect;
  }

  async put(key: string, data: Uint8Array): Promise<void> {
    await this.#link.requests.publish(`write ${key}`, this.#subjectOf(key), data);
  }

  async get(key: string): Promise<View | undefined> {
    if (this.#isDirect) return this.#getDirect(key);
    const entry = await this.#link.patience.with(`read ${key}`, () => this.#kv.get(key));
    return entry === null || entry.operation !== "PUT"
      ? undefined
      : { data: entry.value, revision: entry.revision };
  }

  async #getDirect(key: string): Promise<View | undefined> {
    const { stateBucket } = this.#link.names;
    const what = `read ${key}`;
    const { headers, data } = await this.#link.requests.message(
      what,
      `$JS.API.DIRECT.GET.KV_${stateBucket}.$KV.${stateBucket}.${key}`,
      "",
    );
    const code = headers?.code ?? 0;
    if (code === 404) return undefined;
    if (code >= 300) throw translate(what, new Error(headers?.description));
    const isThere = headers?.get("KV-Operation") === "";
    return isThere ? { data, revision: Number(headers.get("Nats-Sequence")) } : undefined;
  }

  async remove(filter: string, revision?: number): Promise<void> {
    // The bucket's own delete and purge leave a marker behind for each key, for ever.
    await this.#link.patience.with(
      `remove ${filter}`,
      () => {
        const { stateBucket } = this.#link.names;
        return this.#link.jsm.streams.purge(`KV_${stateBucket}`, {
          filter: `$KV.${stateBucket}.${filter}`,
          // Up to, but not with, this one.
          ...(revision === undefined ? {} : { seq: revision + 1 }),
        } as PurgeOpts);
      },
    );
  }

  async keys(prefix: string): Promise<string[]> {
    const { stateBucket } = this.#link.names;
    const subjectPrefix = `$KV.${stateBucket}.`;
    const found = new Set<string>();
    // The server sorts subjects and gives them in pages. What is removed meanwhile moves the others up: pages overlap.
    for (let offset = 0;;) {
      const what = `list ${prefix}`;
      const { total = 0, limit = Infinity, state, error } = await this.#link.requests.json<
        SubjectsPage
      >(
        what,
        `$JS.API.STREAM.INFO.KV_${stateBucket}`,
        { subjects_filter: `${subjectPrefix}${prefix}>`, offset },
      );
      if (error !== undefined) throw translate(what, new Error(error.description));
      const subjects = Object.keys(state?.subjects ?? {});
      for (const subject of subjects) found.add(subject.slice(subjectPrefix.length));
      if (offset + subjects.length >= total || subjects.length <= OVERLAP) return [...found];
      offset += Math.min(limit, subjects.length) - OVERLAP;
    }
  }

  async *list(prefix: string): AsyncIterable<View & { key: string }> {
    const keys = await this.keys(prefix);
    for (let i = 0; i < keys.length; i += LIST_BATCH) {
      const batch = keys.slice(i, i + LIST_BATCH);
      const views = await Promise.all(batch.map((key) => this.get(key)));
      for (const [k, view] of views.entries()) {
        if (view !== undefined) yield { key: batch[k]!, ...view };
      }
    }
  }

  /** A lost answer may make a write that was done look as if somebody else had done it. */
  async swap(key: string, revision: number, data: Uint8Array): Promise<boolean> {
    const { requests } = this.#link;
    const seq = await requests.append(`write ${key}`, this.#subjectOf(key), data, revision);
    return seq !== undefined;
  }

  #subjectOf(key: string): string {
    return `$KV.${this.#link.names.stateBucket}.${key}`;
  }
}
