/**
 * What the tests of this folder stand on: a real nats-server for each file (`NATS_SERVER_VERSION=2.10` chooses which),
 * and for each test a scope with a namespace of its own. A scope owns what is opened in it, ends it in order, and fails
 * the test when it leaks: a subscription left behind, a task or tick that stays in its stream when all is done.
 */
import process from "node:process";
import type { NatsConnection } from "@nats-io/nats-core";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, type NodeConnectionOptions } from "@nats-io/transport-node";
import { type NatsOptions, natsPorts } from "../../src/nats/open.ts";
import type { Ports } from "../../src/ports.ts";
import {
  Dyrygent,
  type DyrygentOptions,
  type LogLevel,
  type Processor,
  type ProcessorOptions,
  type Worker,
  type WorkerOptions,
} from "nats-dyrygent";
import {
  type NatsServer,
  type NatsServerOptions,
  startNatsServer,
} from "../../scripts/nats_server.ts";

/** A server of the version under test. */
export function startServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  return startNatsServer({
    version: process.env["NATS_SERVER_VERSION"],
    // A server that is killed loses nothing by it, and the suite runs twice as fast.
    syncInterval: "default",
    httpPort: -1,
    ...options,
  });
}

export interface ScopeOptions {
  /** Milliseconds the test may take. @default 20000 */
  readonly within?: number;
  /** Whether it may end with unfinished work. @default false */
  readonly leavesWork?: boolean;
}

/** One server for the tests of a file, started by the first of them. `test.after(() => tests.stop())` ends it. */
export class TestServer {
  readonly #options: NatsServerOptions;
  #server: Promise<NatsServer> | undefined;
  #scopes = 0;

  constructor(options: NatsServerOptions = {}) {
    this.#options = options;
  }

  get started(): Promise<NatsServer> {
    return this.#server ??= startServer(this.#options);
  }

  /** Uses a server that somebody else has started and stops. */
  static on(server: NatsServer): TestServer {
    const tests = new TestServer();
    tests.#server = Promise.resolve(server);
    return tests;
  }

  async stop(): Promise<void> {
    await (await this.#server)?.stop();
  }

  /** A test's body, with a scope. What the test itself threw is what is reported, never a leak that followed from it. */
  scope(
    body: (scope: Scope) => Promise<void>,
    { within: boundMs = 20_000, leavesWork = false }: ScopeOptions = {},
  ): () => Promise<void> {
    return async () => {
      const scope = new Scope(await this.started, `t${++this.#scopes}`);
      try {
        await within("the test", body(scope), boundMs);
        if (!leavesWork) await scope.rest();
        await scope.stop();
        await scope.refuseLeaks();
      } catch (error) {
        const telling = scope.logs.filter(({ level }) => level === "warn" || level === "error");
        for (const { level, message } of telling.slice(-20)) {
          console.log(`    [${level}] ${message}`);
        }
        throw error;
      } finally {
        await scope.close();
      }
    };
  }
}

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
}

/** What a connection is subscribed to when nothing of a test runs on it. */
type Baseline = number;

/** Where messages are: how many of each stream. */
export interface Contents {
  readonly facts: number;
  readonly tasks: number;
  readonly ticks: number;
}

export class Scope {
  readonly server: NatsServer;
  readonly namespace: string;
  /** What the library said, all levels. */
  readonly logs: LogLine[] = [];
  readonly #connections = new Map<NatsConnection, Baseline | undefined>();
  readonly #running: { stop(): Promise<void> }[] = [];
  #raw: Promise<NatsConnection> | undefined;

  constructor(server: NatsServer, namespace: string) {
    this.server = server;
    this.namespace = namespace;
  }

  /** A connection that is closed at the end. */
  async connect(options: NodeConnectionOptions = {}): Promise<NatsConnection> {
    const nc = await connect({ servers: this.server.url, noAsyncTraces: true, ...options });
    this.#connections.set(nc, undefined);
    return nc;
  }

  /** The library in this test's namespace, on `nc` or on a connection of its own. */
  async open(options: DyrygentOptions = {}, nc?: NatsConnection): Promise<Dyrygent> {
    const connection = nc ?? await this.connect();
    const app = await Dyrygent.open(connection, {
      namespace: this.namespace,
      log: (level, message) => void this.logs.push({ level, message }),
      ...options,
    });
    if (this.#connections.has(connection)) {
      this.#connections.set(connection, await this.#subscriptions(connection));
    }
    return app;
  }

  /** A started worker that is stopped at the end. */
  async worker(app: Dyrygent, options: WorkerOptions): Promise<Worker> {
    const worker = app.worker(options);
    this.#running.push({ stop: () => worker.stop({ timeout: "2s" }) });
    await worker.start();
    return worker;
  }

  /** A started processor that is stopped at the end. */
  async processor(app: Dyrygent, options: ProcessorOptions = {}): Promise<Processor> {
    const processor = app.processor(options);
    this.#running.push(processor);
    await processor.start();
    return processor;
  }

  /** A worker and a processor at work, each on its own connection; the library on a third. */
  async running(options: WorkerOptions, processor: ProcessorOptions = {}): Promise<Dyrygent> {
    await this.worker(await this.open(), options);
    await this.processor(await this.open(), processor);
    return this.open();
  }

  /** A connection without the library, to look and to write behind its back. */
  get raw(): Promise<NatsConnection> {
    return this.#raw ??= this.connect();
  }

  /** What is stored, behind the library's back. @param options where they differ from those of {@link open} */
  async ports(
    nc?: NatsConnection,
    options: Partial<NatsOptions> = {},
  ): Promise<Ports> {
    return await natsPorts(nc ?? await this.raw, {
      namespace: this.namespace,
      replicas: 1,
      storage: "file",
      log: () => {},
      tickLeaseMs: 10_000,
      taskLeaseMs: 30_000,
      ...options,
    });
  }

  /** How many messages the streams hold. */
  async contents(): Promise<Contents> {
    const { streams } = await jetstreamManager(await this.raw);
    const count = async (name: string) => (await streams.info(name)).state.messages;
    const [facts, tasks, ticks] = await Promise.all([
      count(`KV_${this.namespace}`),
      count(`${this.namespace}_TASKS`),
      count(`${this.namespace}_TICKS`),
    ]);
    return { facts, tasks, ticks };
  }

  /** Resolves when no task and no tick is left. */
  async rest(): Promise<void> {
    if (!(await this.#streamNames()).includes(`${this.namespace}_TICKS`)) return;
    await eventually("no task and no tick is left", async () => {
      const { tasks, ticks } = await this.contents();
      return tasks === 0 && ticks === 0 || `${tasks} tasks, ${ticks} ticks`;
    });
  }

  /** Stops what was started here, the last first. */
  async stop(): Promise<void> {
    for (const running of this.#running.splice(0).reverse()) await running.stop();
  }

  async refuseLeaks(): Promise<void> {
    for (const [nc, before] of this.#connections) {
      if (before === undefined || nc.isClosed()) continue;
      const left = await this.#subscriptions(nc);
      if (left > before) throw new Error(`the test leaked ${left - before} subscriptions`);
    }
  }

  /** Leaves nothing, whatever happened. */
  async close(): Promise<void> {
    await within("to stop", this.stop()).catch(() => {});
    if (this.server.pid !== undefined) await this.#deleteStreams().catch(() => {});
    for (const nc of this.#connections.keys()) await nc.close();
  }

  async #deleteStreams(): Promise<void> {
    const { streams } = await jetstreamManager(await this.raw);
    await Promise.all((await this.#streamNames()).map((name) => streams.delete(name)));
  }

  async #streamNames(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of (await jetstreamManager(await this.raw)).streams.names()) {
      if (name.split("_").includes(this.namespace)) names.push(name);
    }
    return names;
  }

  /** As the server sees it, after everything sent so far. */
  async #subscriptions(nc: NatsConnection): Promise<number> {
    await nc.flush();
    const url = `${this.server.monitorUrl}/connz?cid=${nc.info!.client_id}`;
    const { connections } = await (await fetch(url)).json() as {
      connections: { subscriptions: number }[];
    };
    return connections[0]!.subscriptions;
  }
}

/** What `promise` gives, or a failure that names it once `boundMs` have passed. */
export async function within<T>(what: string, promise: Promise<T>, boundMs = 10_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what}: not within ${boundMs} ms`)),
      boundMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks again and again until `look` gives true, for what nobody is told of. What it gave last is in the failure. */
export async function eventually(
  what: string,
  look: () => unknown | Promise<unknown>,
  boundMs = 10_000,
): Promise<void> {
  const until = performance.now() + boundMs;
  for (;;) {
    const seen = await look();
    if (seen === true) return;
    if (performance.now() > until) {
      throw new Error(`${what}: not within ${boundMs} ms; last seen: ${String(seen)}`);
    }
    await new Promise((again) => setTimeout(again, 10));
  }
}

/** Something a test waits for and something else says: a handler that began, a hook that was called. */
export class Moment<T = void> {
  readonly #promise: Promise<T>;
  readonly #what: string;
  come: (value: T) => void = () => {};

  constructor(what: string) {
    this.#what = what;
    this.#promise = new Promise((resolve) => this.come = resolve);
  }

  /** @throws {Error} when it does not come in time. */
  reached(boundMs?: number): Promise<T> {
    return within(this.#what, this.#promise, boundMs);
  }

  /** For the one who is held up until it comes: without a bound. */
  get wait(): Promise<T> {
    return this.#promise;
  }
}

/** What `promise` is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("expected a rejection, but it was fulfilled");
}
