/** The log of facts on a KV bucket whose stream refuses a second write to any key. */
import type { Msg } from "@nats-io/nats-core";
import { AckPolicy, DeliverPolicy, ReplayPolicy } from "@nats-io/jetstream";
import { fromBase64 } from "../core/base64.ts";
import type { Facts, Stored } from "../ports.ts";
import { CODE, translate } from "./errors.ts";
import { parseAckAddress, PullIntake } from "./intake.ts";
import { ifFree } from "./requests.ts";
import type { Link } from "./link.ts";

/** The header that says how an attempt ended, beside a body that is only the result. */
export const NOTE_HEADER = "Dyrygent-Outcome";

/** What the leader says when it is asked for a message. */
export interface StoredReply {
  readonly message?: {
    readonly subject: string;
    readonly seq: number;
    readonly time: string;
    readonly data?: string;
    readonly hdrs?: string;
  };
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

/** How many messages a scan has under way. */
const SCAN_BATCH = 2_000;

export class NatsFacts implements Facts {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  create(key: string, data: Uint8Array, note?: string): Promise<"created" | "exists"> {
    const subject = this.#link.names.factPrefix + key;
    if (note === undefined) return this.#link.requests.publishOnce("record a fact", subject, data);
    const headers = ifFree(`${NOTE_HEADER}: ${note}\r\n`);
    return this.#link.requests.publishOnce("record an outcome", subject, data, headers);
  }

  read(key: string): Promise<Stored | undefined> {
    return this.#get(`read ${key}`, { last_by_subj: this.#link.names.factPrefix + key });
  }

  async readRecorded(key: string): Promise<Stored | undefined> {
    const what = `read ${key}`;
    const { factsStream, factPrefix } = this.#link.names;
    const msg = await this.#link.requests.message(
      what,
      `$JS.API.DIRECT.GET.${factsStream}.${factPrefix}${key}`,
      "",
    );
    const code = msg.headers?.code ?? 0;
    // A copy may lag behind: only the leader's "no" counts.
    if (code >= 300) return this.read(key);
    return {
      key,
      seq: Number(msg.headers!.get("Nats-Sequence")),
      at: Date.parse(msg.headers!.get("Nats-Time-Stamp")),
      ...noteOf(msg.headers?.get(NOTE_HEADER)),
      data: msg.data,
    };
  }

  next(filter: string, seq: number): Promise<Stored | undefined> {
    return this.#get(`read after ${seq} of ${filter}`, {
      next_by_subj: this.#link.names.factPrefix + filter,
      seq: Math.max(1, seq),
    });
  }

  async #get(what: string, query: object): Promise<Stored | undefined> {
    const { message, error } = await this.#link.requests.json<StoredReply>(
      what,
      `$JS.API.STREAM.MSG.GET.${this.#link.names.factsStream}`,
      query,
    );
    if (message === undefined) {
      if (error?.err_code === CODE.messageNotFound) return undefined;
      throw translate(what, new Error(error?.description ?? "the answer has no message"));
    }
    return {
      key: message.subject.slice(this.#link.names.factPrefix.length),
      seq: message.seq,
      at: Date.parse(message.time),
      ...noteOf(message.hdrs === undefined ? undefined : noteInHeaders(atob(message.hdrs))),
      data: fromBase64(message.data ?? ""),
    };
  }

  scan(filter: string, { bodies = false }: { bodies?: boolean } = {}): Promise<Stored[]> {
    const { factsStream, factPrefix } = this.#link.names;
    // One that loses its consumer (a server went away) starts again: half of it would be wrong.
    return this.#link.patience.with(`scan ${filter}`, async () => {
      const info = await this.#link.jsm.consumers.add(factsStream, {
        ack_policy: AckPolicy.None,
        deliver_policy: DeliverPolicy.All,
        replay_policy: ReplayPolicy.Instant,
        filter_subject: factPrefix + filter,
        headers_only: !bodies,
        inactive_threshold: 30_000_000_000,
        mem_storage: true,
        num_replicas: 1,
      });
      try {
        return info.num_pending === 0 ? [] : await this.#collect(info.name, info.num_pending);
      } finally {
        await this.#link.jsm.consumers.delete(factsStream, info.name).catch(() => {});
      }
    });
  }

  #collect(consumer: string, expected: number): Promise<Stored[]> {
    const { factsStream } = this.#link.names;
    const found: Stored[] = [];
    return new Promise((resolve, reject) => {
      const finish = (error?: Error) => {
        void intake.close();
        if (error === undefined) resolve(found);
        else reject(error);
      };
      const onMessage = (msg: Msg) => {
        const { seq, consumerSeq, pending, sentNs } = parseAckAddress(msg.reply!);
        if (consumerSeq !== found.length + 1) return lose("messages of it were lost");
        found.push({
          key: msg.subject.slice(this.#link.names.factPrefix.length),
          seq,
          at: Number(sentNs.slice(0, -6)),
          ...noteOf(msg.headers?.get(NOTE_HEADER)),
          data: msg.data,
        });
        // What is recorded during the scan is not waited for: `pending` may never be 0 under load.
        if (pending === 0 || found.length >= expected) finish();
        else if (found.length % SCAN_BATCH === 0) {
          intake.want(Math.min(expected - found.length, SCAN_BATCH));
        }
      };
      const lose = (why: string) => finish(translate("scan", new Error(why)));
      const restore = () => Promise.resolve(lose("the scan's consumer was lost"));
      // What was removed during the scan does not come; the rest may only be late.
      const onUnused = async () => {
        const { num_pending: left } = await this.#link.jsm.consumers.info(factsStream, consumer);
        if (left === 0) finish();
        else intake.want(Math.min(left, SCAN_BATCH));
      };
      const intake = new PullIntake(this.#link.nc, this.#link.clock, this.#link.log, {
        stream: factsStream,
        consumer,
        onMessage,
        restore,
        onUnused: () => void onUnused().catch(finish),
      });
      intake.want(Math.min(expected, SCAN_BATCH));
    });
  }

  async keys(filter: string): Promise<string[]> {
    const { factsStream, factPrefix } = this.#link.names;
    const query = { subjects_filter: factPrefix + filter };
    const { state } = await this.#link.patience.with(
      `list ${filter}`,
      () => this.#link.jsm.streams.info(factsStream, query),
    );
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(factPrefix.length));
  }

  async purge(filter: string): Promise<void> {
    const { factsStream, factPrefix } = this.#link.names;
    await this.#link.patience.with(
      `remove ${filter}`,
      () => this.#link.jsm.streams.purge(factsStream, { filter: factPrefix + filter }),
    );
  }
}

function noteOf(note: string | undefined): { note?: string } {
  return note === undefined || note === "" ? {} : { note };
}

function noteInHeaders(text: string): string | undefined {
  return new RegExp(`^${NOTE_HEADER}: *(.*)$`, "m").exec(text)?.[1]?.trim();
}
