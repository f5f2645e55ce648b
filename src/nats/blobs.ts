/**
 * Big results in a bucket of the object store, in the form that its clients read: chunks, and a record that describes
 * them. Written and read here because everything of a run must be found by its id, also chunks without a description:
 * chunks stand under the blob's name, where the client library has a random one. The bucket is made when it is needed.
 */
import { fromBase64, toBase64 } from "../core/base64.ts";
import { isCount } from "../core/limits.ts";
import { parseRecord } from "../core/records.ts";
import type { Blobs } from "../ports.ts";
import { agreed } from "./agreement.ts";
import { CODE, hasCode, translate } from "./errors.ts";
import type { StoredReply } from "./facts.ts";
import type { Link } from "./link.ts";
import { ensureStream, resultsConfig, type StorageOptions } from "./setup.ts";

const encoder = new TextEncoder();
/** Descriptions removed at once. */
const PURGE_BATCH = 64;

interface Message {
  readonly seq: number;
  readonly data: Uint8Array;
}

export class NatsBlobs implements Blobs {
  readonly #link: Link;
  readonly #storage: StorageOptions;
  readonly #chunkBytes: number;
  #made: Promise<void> | undefined;
  #isThere = false;

  /** @param chunkBytes of the largest message. */
  constructor(link: Link, storage: StorageOptions, chunkBytes: number) {
    this.#link = link;
    this.#storage = storage;
    this.#chunkBytes = chunkBytes;
  }

  async put(name: string, data: Uint8Array): Promise<void> {
    await this.#make();
    try {
      await this.#write(name, data);
    } catch (error) {
      // A store that is full must not be filled by what was begun again and again.
      await this.remove(name).catch(() => {});
      throw error;
    }
  }

  async #write(name: string, data: Uint8Array): Promise<void> {
    const { requests, patience, clock, names } = this.#link;
    const what = `keep the result ${name}`;
    const subject = this.#chunksOf(name);
    let last = 0;
    let chunks = 0;
    for (let at = 0; at < data.length; at += this.#chunkBytes) {
      const chunk = data.subarray(at, at + this.#chunkBytes);
      const write = () => requests.append(what, subject, chunk, last);
      // Nobody else writes there: if the place is taken, this chunk took it and only the answer was lost.
      const read = async () => {
        const seq = await this.#lastOf(subject, last);
        return seq > last ? seq : undefined;
      };
      last = await write() ?? await agreed(patience, what, { read, write });
      chunks++;
    }
    const description = {
      name,
      description: "",
      options: { max_chunk_size: this.#chunkBytes },
      bucket: names.resultsBucket,
      nuid: name,
      size: data.length,
      chunks,
      mtime: new Date(clock.now()).toISOString(),
      digest: await digestOf(data),
      deleted: false,
    };
    const query = { last_by_subj: this.#descriptionOf(name) };
    const text = encoder.encode(JSON.stringify(description));
    const write = async () => {
      const answer = await requests.publishOnce(what, query.last_by_subj, text);
      return answer === "created" ? true : undefined;
    };
    const read = async () => await this.#ask(query) === undefined ? undefined : true;
    if (await write() === undefined) await agreed(patience, what, { read, write });
  }

  async get(name: string): Promise<Uint8Array | "gone" | "damaged"> {
    if (!await this.#exists()) return "gone";
    const description = await this.#message({ last_by_subj: this.#descriptionOf(name) });
    if (description === undefined) return "gone";
    const { size, digest } = parseRecord(description.data) ?? {};
    if (!isCount(size, MOST_BYTES)) return "damaged";
    const chunks: Uint8Array[] = [];
    const subject = this.#chunksOf(name);
    for (let left = size, seq = 1; left > 0;) {
      const chunk = await this.#message({ next_by_subj: subject, seq });
      if (chunk === undefined) return "gone";
      if (chunk.data.length > left) return "damaged";
      chunks.push(chunk.data);
      left -= chunk.data.length;
      seq = chunk.seq + 1;
    }
    // Not before all of it is here: a description may claim any size.
    const whole = new Uint8Array(size);
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return await digestOf(whole) === digest ? whole : "damaged";
  }

  /** The description first: chunks without one are found by the run's id, one without chunks is not. */
  async remove(name: string): Promise<void> {
    if (!await this.#exists()) return;
    await this.#purge(this.#descriptionOf(name));
    await this.#purge(this.#chunksOf(name));
  }

  async removeAll(workflow: string): Promise<void> {
    if (!await this.#exists()) return;
    const all = this.#chunksOf(`${workflow}.>`);
    const { state } = await this.#link.patience.with(
      `list the results of ${workflow}`,
      () => this.#link.jsm.streams.info(this.#link.names.resultsStream, { subjects_filter: all }),
    );
    const prefix = this.#chunksOf("");
    const blobs = Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
    if (blobs.length === 0) return;
    for (let i = 0; i < blobs.length; i += PURGE_BATCH) {
      const batch = blobs.slice(i, i + PURGE_BATCH);
      await Promise.all(batch.map((name) => this.#purge(this.#descriptionOf(name))));
    }
    await this.#purge(all);
  }

  #chunksOf(name: string): string {
    return `$O.${this.#link.names.resultsBucket}.C.${name}`;
  }

  /** Clients of the object store look for an object by its name in base64. */
  #descriptionOf(name: string): string {
    return `$O.${this.#link.names.resultsBucket}.M.${base64url(encoder.encode(name))}`;
  }

  /** Only whoever has a big result needs the bucket, and the permission to make it. */
  async #make(): Promise<void> {
    this.#made ??= ensureStream(this.#link, resultsConfig(this.#link.names, this.#storage));
    try {
      await this.#made;
      this.#isThere = true;
    } catch (error) {
      this.#made = undefined;
      throw error;
    }
  }

  async #exists(): Promise<boolean> {
    if (this.#isThere) return true;
    const { jsm, names, patience } = this.#link;
    this.#isThere = await patience.with(`look for bucket ${names.resultsBucket}`, async () => {
      try {
        await jsm.streams.info(names.resultsStream);
        return true;
      } catch (error) {
        if (hasCode(error, CODE.streamNotFound)) return false;
        throw error;
      }
    });
    return this.#isThere;
  }

  /** @param known its last one so far; 0: there is none yet. */
  async #lastOf(subject: string, known: number): Promise<number> {
    const last = await this.#ask({ last_by_subj: subject });
    if (last !== undefined || known === 0) return last?.seq ?? 0;
    throw translate(`keep ${subject}`, new Error("it is removed while it is written"));
  }

  async #message(query: object): Promise<Message | undefined> {
    const { requests, names } = this.#link;
    const subject = `$JS.API.DIRECT.GET.${names.resultsStream}`;
    const msg = await requests.message("read a big result", subject, JSON.stringify(query));
    // A copy may lag behind: only the leader's "no" counts.
    if ((msg.headers?.code ?? 0) >= 300) return this.#ask(query);
    return { seq: Number(msg.headers!.get("Nats-Sequence")), data: msg.data };
  }

  async #ask(query: object): Promise<Message | undefined> {
    const { requests, names } = this.#link;
    const what = "read a big result";
    const subject = `$JS.API.STREAM.MSG.GET.${names.resultsStream}`;
    const { message, error } = await requests.json<StoredReply>(what, subject, query);
    if (message !== undefined) return { seq: message.seq, data: fromBase64(message.data ?? "") };
    if (error?.err_code === CODE.messageNotFound) return undefined;
    throw translate(what, new Error(error?.description ?? "the answer has no message"));
  }

  async #purge(filter: string): Promise<void> {
    await this.#link.patience.with(
      `remove ${filter}`,
      () => this.#link.jsm.streams.purge(this.#link.names.resultsStream, { filter }),
    );
  }
}

/** More than any text of this runtime may have: a description that says so is not to be believed. */
const MOST_BYTES = 0x4000_0000;

async function digestOf(data: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", data as BufferSource);
  return `SHA-256=${base64url(new Uint8Array(digest))}`;
}

function base64url(bytes: Uint8Array): string {
  return toBase64(bytes).replaceAll("+", "-").replaceAll("/", "_");
}
