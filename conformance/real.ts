/** The system that counts: the NATS adapter on a real nats-server, two connections and a namespace of their own for each script. */
import { setTimeout as delay } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import type { NatsServer } from "../scripts/nats_server.ts";
import { namesIn } from "../src/nats/names.ts";
import { natsPorts } from "../src/nats/open.ts";
import type { Ports } from "../src/ports.ts";
import type { Telemetry } from "../src/telemetry.ts";
import type { System } from "./play.ts";
import type { Script } from "./script.ts";

const SHORT_LEASE_MS = 1_000;
const LONG_LEASE_MS = 60_000;
const BEAT_MS = 150;
/** A beat that is so late may have lost a lease. */
const LATE_BEAT_MS = 500;
/** A pull that is lost is asked for again after five seconds: not longer than two of these. */
const BOUND_MS = 12_000;
const LOOK_AGAIN_MS = 4;
const QUIET_MS = 20;
/** Ticks that are given back are collected for 50 ms. */
const COLLECTED_MS = 60;

const MOST_TRIES = 5;

/** So that hints say in which traces facts were written. Nothing at this level tells it anything. */
const telemetry: Telemetry = {
  begin: () => ({ trace: undefined, within: (call) => call(), end: () => {} }),
  measure: () => {},
  observe: () => () => {},
};

/** Scripts that wait for each other: a server is killed under all of them at once. */
export class KilledTogether {
  readonly #server: NatsServer;
  #playing = 0;
  #waiting: (() => void)[] = [];
  #killing: Promise<void> | undefined;

  constructor(server: NatsServer) {
    this.#server = server;
  }

  /** When the server is there; from then on it is not killed before this script waits for it. */
  async join(): Promise<void> {
    while (this.#killing !== undefined) await this.#killing;
    this.#playing++;
  }

  leave(): void {
    this.#playing--;
    this.#killIfAllWait();
  }

  async restart(): Promise<void> {
    const restarted = new Promise<void>((resolve) => void this.#waiting.push(resolve));
    this.#killIfAllWait();
    await restarted;
  }

  #killIfAllWait(): void {
    if (this.#waiting.length === 0 || this.#waiting.length < this.#playing) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#killing = this.#kill().finally(() => {
      this.#killing = undefined;
      for (const goOn of waiting) goOn();
    });
  }

  async #kill(): Promise<void> {
    await this.#server.kill();
    await this.#server.restart();
  }
}

export interface RealSystem extends System {
  /** This process stood still for so long that leases may have run out by themselves. */
  readonly isDisturbed: boolean;
}

let namespaces = 0;

export async function realSystem(
  script: Script,
  server: NatsServer,
  killed: KilledTogether,
): Promise<RealSystem> {
  if (!script.restarts) return await open(script, server, killed);
  await killed.join();
  try {
    return await open(script, server, killed);
  } catch (error) {
    killed.leave();
    throw error;
  }
}

async function open(
  { leases, storage, restarts }: Script,
  server: NatsServer,
  killed: KilledTogether,
): Promise<RealSystem> {
  const namespace = `conform${++namespaces}`;
  const connections = await Promise.all([1, 2].map(() => connection(server.url)));
  const leaseMs = leases === "short" ? SHORT_LEASE_MS : LONG_LEASE_MS;
  const ports: Ports[] = [];
  for (const nc of connections) {
    const options = { namespace, tickLeaseMs: leaseMs, taskLeaseMs: leaseMs, storage, telemetry };
    ports.push(await patiently(() => natsPorts(nc, { ...options, replicas: 1, log: () => {} })));
  }
  let isDisturbed = false;
  return {
    name: `nats-server ${server.version}`,
    ports: [ports[0]!, ports[1]!],
    get isDisturbed() {
      return isDisturbed;
    },
    answer: (call) => call,
    arrive: async (by, isCollected) => {
      if (isCollected) await delay(COLLECTED_MS);
      await connections[by]!.flush();
    },
    observe: async (expected, read) => {
      const giveUpAt = performance.now() + BOUND_MS;
      for (;;) {
        const seen = await read();
        if (seen === expected || performance.now() > giveUpAt) return seen;
        await delay(LOOK_AGAIN_MS);
      }
    },
    quiet: () => delay(QUIET_MS),
    beat: (extend) => {
      let last = performance.now();
      const timer = setInterval(() => {
        const now = performance.now();
        isDisturbed ||= now - last > LATE_BEAT_MS;
        last = now;
        extend();
      }, BEAT_MS);
      return () => clearInterval(timer);
    },
    lapse: async (_extend, isOver) => {
      const began = performance.now();
      await delay(SHORT_LEASE_MS + 2 * BEAT_MS);
      while (!isOver() && performance.now() - began < BOUND_MS) await delay(LOOK_AGAIN_MS);
    },
    restart: async () => {
      await killed.restart();
      for (const nc of connections) await reconnected(nc);
    },
    close: async () => {
      if (restarts) killed.leave();
      await remove(connections[0]!, namespace);
      for (const nc of connections) await nc.close();
    },
  };
}

function connection(servers: string): Promise<NatsConnection> {
  return connect({
    servers,
    noAsyncTraces: true,
    reconnectTimeWait: 20,
    reconnectJitter: 20,
    maxReconnectAttempts: -1,
  });
}

/** Making streams is what servers are slowest at, and the client library waits five seconds. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await act();
    } catch (error) {
      if (tries === MOST_TRIES) throw error;
    }
  }
}

async function reconnected(nc: NatsConnection): Promise<void> {
  const giveUpAt = performance.now() + BOUND_MS;
  for (;;) {
    try {
      await nc.rtt();
      return;
    } catch (error) {
      if (performance.now() > giveUpAt) throw error;
      await delay(LOOK_AGAIN_MS);
    }
  }
}

/** A server with thousands of them would be slower and slower. */
async function remove(nc: NatsConnection, namespace: string): Promise<void> {
  const { streams } = await jetstreamManager(nc, { checkAPI: false });
  const { factsStream, tasksStream, ticksStream, stateBucket, resultsStream } = namesIn(namespace);
  const names = [factsStream, tasksStream, ticksStream, `KV_${stateBucket}`, resultsStream];
  await Promise.all(names.map((name) => streams.delete(name).catch(() => {})));
}
