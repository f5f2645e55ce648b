/** The log of facts on a KV bucket whose stream refuses a second write to any key. */
import type { Msg } from "@nats-io/nats-core";
import { AckPolicy, DeliverPolicy, type PurgeOpts, ReplayPolicy } from "@nats-io/jetstream";
import { fromBase64 } from "../core/base64.ts";
import { workflowOf } from "../core/keys.ts";
import { isBehind, type LogCondition } from "../core/log_condition.ts";
import { hasSubjectConditions } from "../core/server_health.ts";
import { type TraceContext, traceLines } from "../core/trace_context.ts";
import type { Facts, Stored } from "../ports.ts";
import { agreed } from "./agreement.ts";
import { CODE, translate } from "./errors.ts";
import { parseAckAddress, PullIntake } from "./intake.ts";
import { notedIn, notedOf, noteLine } from "./note.ts";
import { ifFree, ifLast } from "./requests.ts";
import { isClustered, type Link } from "./link.ts";

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

/** Before a scan of a copy that lags behind is repeated. */
const BEHIND_MS = 50;
/** How many messages a scan has under way. */
const SCAN_BATCH = 2_000;

export class NatsFacts implements Facts {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  create(
    key: string,
    data: Uint8Array,
    note?: string,
    trace?: TraceContext,
  ): Promise<"created" | "exists"> {
    const { requests, patience, names } = this.#link;
    const what = note === undefined ? "record a fact" : "record an outcome";
    const headers = note === undefined && trace === undefined ? undefined : ifFree(
      (note === undefined ? "" : noteLine(note)) + (trace === undefined ? "" : traceLines(trace)),
    );
    const write = () => requests.publishOnce(what, names.factPrefix + key, data, headers);
    return write().then((answer) =>
      answer === "created" ? answer : agreed<"created" | "exists">(patience, what, {
        read: async () => await this.read(key) === undefined ? undefined : "exists",
        write: async () => await write() === "created" ? "created" : undefined,
      })
    );
  }

  async createIf(
    key: string,
    data: Uint8Array,
    condition: LogCondition,
    note?: string,
  ): Promise<"created" | "exists" | "behind"> {
    const { nc, requests, names } = this.#link;
    const { filter, seq } = condition;
    if (hasSubjectConditions(nc.info?.version ?? "")) {
      const more = note === undefined ? "" : noteLine(note);
      const headers = ifLast(seq, names.factPrefix + filter, more);
      const subject = names.factPrefix + key;
      const answer = await requests.publishOnce("record a fact", subject, data, headers);
      if (answer === "created") return answer;
    }
    if (await this.read(key) !== undefined) return "exists";
    if (isBehind(condition, (await this.last(filter))?.seq ?? 0)) return "behind";
    return await this.create(key, data, note);
  }

  read(key: string): Promise<Stored | undefined> {
    return this.last(key);
  }

  last(filter: string): Promise<Stored | undefined> {
    return this.#get(`read ${filter}`, { last_by_subj: this.#link.names.factPrefix + filter });
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
      ...notedOf(msg),
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
      ...notedIn(message.hdrs === undefined ? undefined : atob(message.hdrs)),
      data: fromBase64(message.data ?? ""),
    };
  }

  async scan(filter: string, { bodies = false }: { bodies?: boolean } = {}): Promise<Stored[]> {
    const found: Stored[] = [];
    const start = () => void found.splice(0);
    for (;;) {
      const last = await this.#lastIn(filter);
      await this.#readThrough([filter], { bodies, from: 0 }, start, (stored) => found.push(stored));
      if ((found.at(-1)?.seq ?? 0) >= last || await this.#lastIn(filter) < last) return found;
      await new Promise<void>((resolve) => this.#link.clock.after(BEHIND_MS, resolve));
    }
  }

  /** Where the leader's last one is. A scan may be of a copy that lags behind; of one server it is not. */
  async #lastIn(filter: string): Promise<number> {
    return isClustered(this.#link.nc) ? (await this.last(filter))?.seq ?? 0 : 0;
  }

  async recordedFrom(seq: number): Promise<{ workflows: ReadonlySet<string>; next: number }> {
    const workflows = new Set<string>();
    let next = seq;
    const filters = ["*.r.>", "*.ctl.*", "*.end.*"];
    await this.#readThrough(filters, { bodies: false, from: seq }, () => {}, (stored) => {
      workflows.add(workflowOf(stored.key));
      next = stored.seq + 1;
    });
    return { workflows, next };
  }

  /** Gives every fact that matches one of `filters`, in the order of the log. @param start is called before the first. */
  #readThrough(
    filters: readonly string[],
    { bodies, from }: { bodies: boolean; from: number },
    start: () => void,
    take: (stored: Stored) => void,
  ): Promise<void> {
    const { factsStream, factPrefix } = this.#link.names;
    const subjects = filters.map((filter) => factPrefix + filter);
    // One that loses its consumer (a server went away) starts again: half of it would be wrong.
    return this.#link.patience.with(`scan ${filters.join(", ")}`, async () => {
      const info = await this.#link.jsm.consumers.add(factsStream, {
        ack_policy: AckPolicy.None,
        ...(from > 0
          ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: from }
          : { deliver_policy: DeliverPolicy.All }),
        replay_policy: ReplayPolicy.Instant,
        ...(subjects.length === 1
          ? { filter_subject: subjects[0]! }
          : { filter_subjects: subjects }),
        headers_only: !bodies,
        inactive_threshold: 30_000_000_000,
        mem_storage: true,
        num_replicas: 1,
      });
      start();
      try {
        if (info.num_pending > 0) await this.#collect(info.name, info.num_pending, take);
      } finally {
        await this.#link.jsm.consumers.delete(factsStream, info.name).catch(() => {});
      }
    });
  }

  #collect(
    consumer: string,
    expected: number,
    take: (stored: Stored) => void,
  ): Promise<void> {
    let taken = 0;
    return new Promise((resolve, reject) => {
      const finish = (error?: Error) => {
        void intake.close();
        if (error === undefined) resolve();
        else reject(error);
      };
      const onMessage = (msg: Msg) => {
        const { seq, consumerSeq, pending, sentNs } = parseAckAddress(msg.reply!);
        if (consumerSeq !== taken + 1) return lose("messages of it were lost");
        take({
          key: msg.subject.slice(this.#link.names.factPrefix.length),
          seq,
          at: Number(sentNs.slice(0, -6)),
          ...notedOf(msg),
          data: msg.data,
        });
        taken++;
        // What is recorded during the scan is not waited for: `pending` may never be 0 under load.
        if (pending === 0 || taken >= expected) finish();
        else if (taken % SCAN_BATCH === 0) intake.want(Math.min(expected - taken, SCAN_BATCH));
      };
      const lose = (why: string) => finish(translate("scan", new Error(why)));
      const restore = () => Promise.resolve(lose("the scan's consumer was lost"));
      const intake = new PullIntake(this.#link.nc, this.#link.clock, this.#link.log, {
        stream: this.#link.names.factsStream,
        consumer,
        onMessage,
        restore,
        // What was removed during the scan does not come; what is only slow does.
        onUnused: (count) => {
          this.#isAllDelivered(consumer).then(
            (isAll) => isAll ? finish() : intake.want(count),
            (error) => finish(translate("scan", error)),
          );
        },
      });
      intake.want(Math.min(expected, SCAN_BATCH));
    });
  }

  async #isAllDelivered(consumer: string): Promise<boolean> {
    const { jsm, names } = this.#link;
    return (await jsm.consumers.info(names.factsStream, consumer)).num_pending === 0;
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

  async purge(filter: string, before?: number): Promise<void> {
    const { factsStream, factPrefix } = this.#link.names;
    const what = { filter: factPrefix + filter, ...(before === undefined ? {} : { seq: before }) };
    await this.#link.patience.with(
      `remove ${filter}`,
      () => this.#link.jsm.streams.purge(factsStream, what as PurgeOpts),
    );
  }
}
