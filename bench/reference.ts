/**
 * The reference: the whole task path written by hand, with nothing but what NATS needs. Publish (if the subject is free) →
 * consume → create the outcome → republished hint → ack. What an engine adds to this is its cost.
 */
import { createInbox, headers, type MsgHdrs, type NatsConnection } from "@nats-io/nats-core";
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  jetstreamManager,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
} from "@nats-io/jetstream";

/** The sender's half; the other one is `workForReference`, on a connection of its own. */
export class Reference {
  readonly #sender: NatsConnection;
  readonly #name: string;
  readonly #free: MsgHdrs = headers();
  readonly #inbox: string;
  readonly #body: Uint8Array = new TextEncoder().encode(
    JSON.stringify({ task: "noop", args: ["x".repeat(150)] }),
  );
  #run = 0;
  #onHint: () => void = () => {};

  constructor(sender: NatsConnection, name: string) {
    this.#sender = sender;
    this.#name = name;
    this.#inbox = createInbox();
    this.#free.set("Nats-Expected-Last-Subject-Sequence", "0");
  }

  /** Makes the streams. */
  async open(replicas: number): Promise<void> {
    const jsm = await jetstreamManager(this.#sender);
    const name = this.#name;
    const common = {
      max_msgs_per_subject: 1,
      discard: DiscardPolicy.New,
      discard_new_per_subject: true,
      storage: StorageType.File,
      num_replicas: replicas,
    };
    await jsm.streams.add({
      ...common,
      name: `${name}_T`,
      subjects: [`${name}.t.>`],
      retention: RetentionPolicy.Workqueue,
    });
    await jsm.streams.add({
      ...common,
      name: `KV_${name}`,
      subjects: [`$KV.${name}.>`],
      deny_delete: true,
      allow_direct: true,
      republish: { src: `$KV.${name}.>`, dest: `${name}.fact.>` },
    });
    await jsm.consumers.add(`${name}_T`, {
      durable_name: "worker",
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      replay_policy: ReplayPolicy.Instant,
      max_ack_pending: -1,
    });
    this.#sender.subscribe(`${this.#inbox}.s`, { callback: () => {} });
    this.#sender.subscribe(`${name}.fact.>`, { callback: () => this.#onHint() });
    await this.#sender.flush();
  }

  #send(subject: string): void {
    this.#sender.publish(subject, this.#body, { reply: `${this.#inbox}.s`, headers: this.#free });
  }

  /** @returns tasks a second for `n` tasks, at most `window` under way. */
  async throughput(n: number, window: number): Promise<number> {
    const prefix = `${this.#name}.t.r${this.#run++}.`;
    let sent = 0;
    let done = 0;
    const start = performance.now();
    await new Promise<void>((resolve) => {
      this.#onHint = () => {
        if (++done === n) resolve();
        else if (sent < n) this.#send(prefix + sent++);
      };
      while (sent < Math.min(n, window)) this.#send(prefix + sent++);
    });
    return n / (performance.now() - start) * 1_000;
  }

  /** @returns milliseconds of each of `n` hops, one after the other. */
  async hops(n: number): Promise<number[]> {
    const prefix = `${this.#name}.t.r${this.#run++}.`;
    const times: number[] = [];
    let sent = 0;
    let before = performance.now();
    await new Promise<void>((resolve) => {
      this.#onHint = () => {
        const now = performance.now();
        times.push(now - before);
        before = now;
        if (times.length === n) resolve();
        else this.#send(prefix + sent++);
      };
      this.#send(prefix + sent++);
    });
    return times;
  }
}
