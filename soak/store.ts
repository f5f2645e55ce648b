/** What the server holds for the soak: messages, consumers, subscriptions, memory and files. Only looks. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { NatsServer } from "../scripts/nats_server.ts";
import { isLimited } from "../src/core/lanes.ts";
import { namesIn, parseLaneConsumer } from "../src/nats/names.ts";
import type { Ports } from "../src/ports.ts";
import { removeOrphans } from "../src/processor/orphans.ts";
import { NAMESPACE, portsOn } from "./library.ts";

/** How the server stands while nothing is under way. */
export interface StoreSample {
  readonly rssBytes: number;
  readonly files: number;
  readonly storeBytes: number;
  readonly subscriptions: number;
  /** Of each connection that was asked for. */
  readonly subscriptionsOf: readonly number[];
  readonly consumers: number;
}

/** Views that stay when no run is left: who is there, how far sweeps are, and when a rate's last task began. */
const LASTING_VIEWS = /^(?:worker\.|processor\.|sweep$|tidy$|orphans$|rate\.)/;
const LOOKS = 5;
const LOOK_EVERY_MS = 200;

export class Store {
  readonly #server: NatsServer;
  readonly #nc: NatsConnection;
  readonly #ports: Ports;
  readonly #names = namesIn(NAMESPACE);

  private constructor(server: NatsServer, nc: NatsConnection, ports: Ports) {
    this.#server = server;
    this.#nc = nc;
    this.#ports = ports;
  }

  static async open(server: NatsServer, nc: NatsConnection): Promise<Store> {
    return new Store(server, nc, await portsOn(nc));
  }

  /** A part of what a processor does only every ten minutes: lanes of keys that are used no more go. */
  async tidyLanes(): Promise<void> {
    await this.#ports.tasks.tidy();
  }

  /** Another part: what was written of a run after its removal goes. On a busy machine a view may come so late. */
  async removeLate(): Promise<void> {
    await removeOrphans(this.#ports);
  }

  /** What is there and should not be when nothing is under way: subjects, and consumers of keys. */
  async leftovers(): Promise<string[]> {
    const { factsStream, tasksStream, ticksStream, resultsStream, stateBucket } = this.#names;
    const jsm = await jetstreamManager(this.#nc);
    const found: string[] = [];
    const streams = [tasksStream, ticksStream, factsStream];
    // Made when there is a first big result.
    for await (const name of jsm.streams.names()) if (name === resultsStream) streams.push(name);
    for (const name of streams) {
      const { state } = await jsm.streams.info(name, { subjects_filter: ">" });
      found.push(...Object.keys(state.subjects ?? {}));
    }
    const views = await jsm.streams.info(`KV_${stateBucket}`, { subjects_filter: ">" });
    const prefix = `$KV.${stateBucket}.`;
    for (const subject of Object.keys(views.state.subjects ?? {})) {
      if (!LASTING_VIEWS.test(subject.slice(prefix.length))) found.push(subject);
    }
    for await (const { name } of jsm.consumers.list(tasksStream)) {
      if (isLimited(parseLaneConsumer(name)?.lane ?? "")) found.push(name);
    }
    return found;
  }

  /** @param connections whose subscriptions are to be told. */
  async sample(connections: readonly number[]): Promise<StoreSample> {
    const subscriptions = await this.#leastOf(async () => [
      (await this.#monitor<{ num_subscriptions: number }>("subsz")).num_subscriptions,
    ]);
    const subscriptionsOf = await this.#leastOf(async () => {
      const { connections: all } = await this.#monitor<
        { connections: { cid: number; subscriptions: number }[] }
      >("connz?limit=1024");
      return connections.map((cid) => all.find((one) => one.cid === cid)?.subscriptions ?? NaN);
    });
    const { consumers } = await this.#monitor<{ consumers: number }>("jsz");
    const { pid, storeDir } = this.#server;
    return {
      rssBytes: residentBytes(pid!),
      files: readdirSync(`/proc/${pid}/fd`).length,
      storeBytes: bytesIn(storeDir),
      subscriptions: subscriptions[0]!,
      subscriptionsOf,
      consumers,
    };
  }

  /** A sweep reads by a consumer and subscriptions of its own, which come and go: the least of some looks is what stays. */
  async #leastOf(look: () => Promise<number[]>): Promise<number[]> {
    let least = await look();
    for (let again = 1; again < LOOKS; again++) {
      await delay(LOOK_EVERY_MS);
      const seen = await look();
      least = least.map((count, i) => Math.min(count, seen[i]!));
    }
    return least;
  }

  async #monitor<T>(page: string): Promise<T> {
    return await (await fetch(`${this.#server.monitorUrl}/${page}`)).json() as T;
  }
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return 1_024 * Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1]);
}

/** The server removes files while we look. */
function bytesIn(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    try {
      bytes += entry.isDirectory() ? bytesIn(path) : statSync(path).size;
    } catch { /* It is gone. */ }
  }
  return bytes;
}
