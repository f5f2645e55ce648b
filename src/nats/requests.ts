/**
 * Requests, many at once, cheaply: one reply subscription, a map of who waits, one timer for all time-outs. The client
 * library's own request builds an error with a stack for each call, which costs two thirds of the throughput.
 * Also the retry policy: what may be tried again without thinking is tried again here.
 */
import {
  createInbox,
  type Msg,
  MsgHdrsImpl,
  type NatsConnection,
  PermissionViolationError,
} from "@nats-io/nats-core";
import { UnavailableError } from "../core/errors.ts";
import type { Clock } from "../ports.ts";
import { CODE, translate } from "./errors.ts";

/** One request, until it is answered for good. */
interface Pending {
  readonly what: string;
  readonly subject: string;
  readonly data: Uint8Array | string;
  /** Encoded. */
  readonly headers: Uint8Array | undefined;
  /** What an answer means. */
  readonly judge: (msg: Msg, what: string) => Verdict;
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
  /** Monotonic: when the first try was sent. */
  readonly begun: number;
  /** Milliseconds before the next try. */
  retryMs: number;
  /** Monotonic: when this try is given up. */
  deadline: number;
}

type Verdict = { is: "done"; value: unknown } | { is: "again"; failure: Error };

export interface RequestOptions {
  /** How long to wait for one answer, milliseconds. */
  readonly timeoutMs: number;
  /** How long to try again what may be tried again, milliseconds. */
  readonly patienceMs: number;
  /** Requests under way at most; more wait their turn. */
  readonly window: number;
}

/** Requests that had to wait and were sent since, from which on it is worth moving the others up. */
const FORGET_FROM = 1_024;
const SWEEP_MS = 250;
const FIRST_RETRY_MS = 25;
const LONGEST_RETRY_MS = 2_000;

/** What the server said of a publish. */
interface PublishReply {
  readonly seq?: number;
  readonly error?: {
    readonly err_code?: number;
    readonly code?: number;
    readonly description?: string;
  };
}

export class Requests {
  readonly #nc: NatsConnection;
  readonly #clock: Clock;
  readonly #options: RequestOptions;
  readonly #prefix: string;
  readonly #sent = new Map<string, Pending>();
  /** Those that wait for their turn. */
  readonly #queued: Pending[] = [];
  #queuedFrom = 0;
  /** Read while publishing, so one carrier serves all messages. */
  readonly #headers = new EncodedHeaders();
  #next = 0;
  #sweeping = false;

  constructor(nc: NatsConnection, clock: Clock, options: RequestOptions) {
    this.#nc = nc;
    this.#clock = clock;
    this.#options = options;
    this.#prefix = `${createInbox(inboxPrefix(nc))}.`;
    nc.subscribe(`${this.#prefix}*`, {
      callback: (error, msg) => void (error === null && this.#onReply(msg)),
    });
    void nc.closed().then(() => this.#rejectAll("the connection was closed"));
    void this.#watchConnection();
  }

  /** A request whose answer is a message. Tried again while the server is out of reach. */
  message(what: string, subject: string, data: Uint8Array | string): Promise<Msg> {
    return this.#request(what, subject, data, undefined, asIs);
  }

  /** A request whose answer is JSON; tried again while the server is out of reach. */
  json<T>(what: string, subject: string, payload: unknown): Promise<T> {
    return this.#request(what, subject, JSON.stringify(payload), undefined, asJson);
  }

  /** Writes `data` unless the subject has a message already. Tried again while the server is out of reach. */
  publishOnce(
    what: string,
    subject: string,
    data: Uint8Array,
    headers: Uint8Array = ONLY_IF_FREE,
  ): Promise<"created" | "exists"> {
    return this.#request(what, subject, data, headers, asCreated);
  }

  /** Writes `data` after the subject's message `after` (0: as its first). Its sequence; undefined: another one is there. */
  append(
    what: string,
    subject: string,
    data: Uint8Array,
    after: number,
  ): Promise<number | undefined> {
    return this.#request(what, subject, data, expecting(after), asAppended);
  }

  /** Writes `data`, replacing what the stream says it replaces. */
  publish(what: string, subject: string, data: Uint8Array): Promise<void> {
    return this.#request(what, subject, data, undefined, asWritten);
  }

  #request<T>(
    what: string,
    subject: string,
    data: Uint8Array | string,
    headers: Uint8Array | undefined,
    judge: (msg: Msg, what: string) => Verdict,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const begun = this.#clock.monotonic();
      this.#send({
        what,
        subject,
        data,
        headers,
        judge,
        resolve,
        reject,
        begun,
        retryMs: FIRST_RETRY_MS,
        deadline: 0,
      });
    });
  }

  #send(pending: Pending): void {
    if (this.#sent.size >= this.#options.window) {
      this.#queued.push(pending);
      return;
    }
    const token = (this.#next++).toString(36);
    pending.deadline = this.#clock.monotonic() + this.#options.timeoutMs;
    try {
      const reply = this.#prefix + token;
      const { subject, data, headers } = pending;
      if (headers === undefined) {
        this.#nc.publish(subject, data, { reply });
      } else {
        this.#headers.bytes = headers;
        this.#nc.publish(subject, data, { reply, headers: this.#headers });
      }
    } catch (error) {
      return this.#fail(pending, translate(pending.what, error));
    }
    this.#sent.set(token, pending);
    this.#sweepLater();
  }

  #onReply(msg: Msg): void {
    const token = msg.subject.slice(this.#prefix.length);
    const pending = this.#sent.get(token);
    if (pending === undefined) return;
    this.#sent.delete(token);
    this.#sendNext();
    if (msg.data.length === 0 && msg.headers?.code === 503) {
      return this.#fail(
        pending,
        unanswered(pending.what, "no JetStream answers (it may be electing a leader)"),
      );
    }
    let verdict: Verdict;
    try {
      verdict = pending.judge(msg, pending.what);
    } catch (error) {
      verdict = { is: "again", failure: translate(pending.what, error) };
    }
    if (verdict.is === "again") this.#fail(pending, verdict.failure);
    else pending.resolve(verdict.value as never);
  }

  #sendNext(): void {
    const next = this.#queued[this.#queuedFrom];
    if (next === undefined) return;
    // Under a load that never ends some always wait: those that were sent must go all the same, now and then.
    const sent = ++this.#queuedFrom;
    if (sent === this.#queued.length || (sent >= FORGET_FROM && 2 * sent >= this.#queued.length)) {
      this.#queued.splice(0, sent);
      this.#queuedFrom = 0;
    }
    this.#send(next);
  }

  /** This try came to nothing. */
  #fail(pending: Pending, failure: Error): void {
    const { retryMs, begun, reject } = pending;
    const waited = this.#clock.monotonic() - begun;
    if (this.#nc.isClosed() || waited + retryMs > this.#options.patienceMs) return reject(failure);
    pending.retryMs = Math.min(2 * retryMs, LONGEST_RETRY_MS);
    this.#clock.after(retryMs, () => this.#send(pending));
  }

  #sweepLater(): void {
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#clock.after(SWEEP_MS, () => this.#sweep());
  }

  /** All wait equally long, so the first that is not due ends the search. */
  #sweep(): void {
    this.#sweeping = false;
    const now = this.#clock.monotonic();
    for (const [token, pending] of this.#sent) {
      if (pending.deadline > now) break;
      this.#sent.delete(token);
      this.#sendNext();
      this.#fail(
        pending,
        unanswered(pending.what, `the server did not answer within ${this.#options.timeoutMs} ms`),
      );
    }
    if (this.#sent.size > 0) this.#sweepLater();
  }

  async #watchConnection(): Promise<void> {
    for await (const status of this.#nc.status()) {
      if (status.type === "reconnect") this.#tryAllAgain();
      else if (status.type === "error" && status.error instanceof PermissionViolationError) {
        this.#rejectDenied(status.error);
      }
    }
  }

  /** Answers to what was sent over a connection that is lost do not come any more. */
  #tryAllAgain(): void {
    const lost = [...this.#sent.values()];
    this.#sent.clear();
    for (const pending of lost) {
      this.#fail(pending, unanswered(pending.what, "the connection was lost"));
      this.#sendNext();
    }
  }

  /** What may not be published gets no answer: only the connection is told, and trying again would not help. */
  #rejectDenied(error: PermissionViolationError): void {
    if (error.operation !== "publish") return;
    for (const [token, pending] of this.#sent) {
      if (pending.subject !== error.subject) continue;
      this.#sent.delete(token);
      this.#sendNext();
      pending.reject(translate(pending.what, error));
    }
  }

  #rejectAll(why: string): void {
    const lost = [...this.#sent.values(), ...this.#queued.slice(this.#queuedFrom)];
    this.#sent.clear();
    this.#queued.length = this.#queuedFrom = 0;
    for (const { reject, what } of lost) reject(unanswered(what, why));
  }
}

const CREATED: Verdict = { is: "done", value: "created" };
const EXISTS: Verdict = { is: "done", value: "exists" };

function asIs(msg: Msg): Verdict {
  return { is: "done", value: msg };
}

function asJson(msg: Msg, what: string): Verdict {
  const reply = msg.json<PublishReply>();
  const code = reply.error?.err_code;
  return code !== undefined && isTransient(code)
    ? again(what, reply)
    : { is: "done", value: reply };
}

/** `{"stream":…` is success, `{"error":…` is not: the one answer that comes with every task is not worth parsing. */
function isPlainSuccess({ data }: Msg): boolean {
  return data[2] === 0x73 && data[1] === 0x22;
}

function asCreated(msg: Msg, what: string): Verdict {
  if (isPlainSuccess(msg)) return CREATED;
  const reply = msg.json<PublishReply>();
  if (reply.error === undefined) return CREATED;
  return isRefused(reply.error) ? EXISTS : again(what, reply);
}

function asAppended(msg: Msg, what: string): Verdict {
  const reply = msg.json<PublishReply>();
  if (reply.error === undefined) return { is: "done", value: reply.seq };
  return isRefused(reply.error) ? { is: "done", value: undefined } : again(what, reply);
}

/** Because of what stands there: trying again would not help. A full stream has the same code as a full subject. */
function isRefused({ err_code, description = "" }: NonNullable<PublishReply["error"]>): boolean {
  return err_code === CODE.wrongLastSequence || err_code === CODE.wrongLastSequenceConstant ||
    (err_code === CODE.storeFull && description.includes("per subject"));
}

function asWritten(msg: Msg, what: string): Verdict {
  const reply = msg.json<PublishReply>();
  return reply.error === undefined ? { is: "done", value: undefined } : again(what, reply);
}

function again(what: string, reply: PublishReply): Verdict {
  const { err_code: code, description = "no reason given" } = reply.error ?? {};
  const hint = code === CODE.storeFull
    ? "The stream is full: raise its limits or let workers catch up. Nothing was written."
    : "Try again; see whether the server's JetStream is healthy.";
  return {
    is: "again",
    failure: new UnavailableError(`Cannot ${what}: ${description} (${code ?? "no code"})`, {
      hint,
    }),
  };
}

function unanswered(what: string, why: string): UnavailableError {
  return new UnavailableError(`Cannot ${what}: ${why}`, {
    hint: "Try again; see whether the server is up and reachable.",
  });
}

function isTransient(code: number): boolean {
  return code === CODE.jetStreamDown || code === CODE.duplicateInProcess;
}

const encoder = new TextEncoder();

/** Encoded headers that make a publish conditional on the subject's last message being `seq`, and say `more` (whole lines). */
function expecting(seq: number, more = ""): Uint8Array {
  const condition = `Nats-Expected-Last-Subject-Sequence: ${seq}\r\n`;
  return encoder.encode(`NATS/1.0\r\n${condition}${more}\r\n`);
}

/** The same, on its subject being free. */
export function ifFree(more = ""): Uint8Array {
  return expecting(0, more);
}

/** The same, on another subject, which may have wildcards. Older servers (see `hasSubjectConditions`) would ask their own. */
export function ifLast(seq: number, subject: string, more = ""): Uint8Array {
  return expecting(seq, `Nats-Expected-Last-Subject-Sequence-Subject: ${subject}\r\n${more}`);
}

const ONLY_IF_FREE = ifFree();

/** Carries headers that are encoded already: the client's own are built, checked and encoded anew for each message. */
class EncodedHeaders extends MsgHdrsImpl {
  bytes: Uint8Array = new Uint8Array();

  override encode(): Uint8Array {
    return this.bytes;
  }
}

/** The library keeps it with the connection but does not show it in the type. */
export function inboxPrefix(nc: NatsConnection): string | undefined {
  return (nc as { options?: { inboxPrefix?: string } }).options?.inboxPrefix;
}
