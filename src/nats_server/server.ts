/**
 * Starts, stops, kills and restarts nats-servers on 127.0.0.1, on Node and Deno alike: for development, tests and benches. A
 * server lives in a temporary folder and ends with the process that started it; this is no way to run one in production.
 */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { findNatsServer } from "./binary.ts";
import {
  launch,
  type Launched,
  launchOnKnownPorts,
  type LaunchPlan,
  logPath,
  type NatsServerOptions,
  NatsServerStartError,
  requestedPorts,
} from "./launch.ts";
import { tailOf } from "./process.ts";
import { createScratch } from "./scratch.ts";

/** Calls of `stop`, `kill` and `restart` wait for each other. */
export interface NatsServer extends AsyncDisposable {
  /** `"nats://127.0.0.1:4222"` */
  readonly url: string;
  /** `"ws://127.0.0.1:8080"`; undefined with `websocket: false`. */
  readonly websocketUrl: string | undefined;
  /** `"http://127.0.0.1:8222"`; undefined without `httpPort`. */
  readonly monitorUrl: string | undefined;
  /** As the server announces it, e.g. `"2.15.1"`. */
  readonly version: string;
  /** Undefined while the server is not running. */
  readonly pid: number | undefined;
  readonly storeDir: string;
  /** The last 64 KB of the log over all restarts, also after `stop()`. */
  logs(): string;
  /**
   * Resolves to how the present run ended, e.g. `"exit code 1"`, whoever ended it; a new promise after
   * each restart. Waiting for it does not keep the process alive.
   */
  readonly ended: Promise<string>;
  /**
   * SIGTERM, after `stopTimeoutMs` SIGKILL, then deletes what is temporary: all of it, or with
   * `keepStore` nothing yet, so that `restart()` can follow.
   */
  stop(options?: { readonly keepStore?: boolean }): Promise<void>;
  /** SIGKILL, as in a crash. The store stays for `restart()`. */
  kill(): Promise<void>;
  /**
   * Starts again on the same ports and the same store; a server still running is stopped first.
   *
   * @throws {NatsServerStartError} also when `stop()` has deleted a temporary store
   */
  restart(): Promise<void>;
}

/**
 * Starts a server and waits until it answers.
 *
 * @throws {NatsServerNotFoundError} when there is no executable
 * @throws {NatsServerStartError}
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const executable = options.binary ?? (await findNatsServer({ version: options.version })).path;
  const scratch = await createScratch("nats-server-");
  const storeDir = resolve(options.storeDir ?? join(scratch.folder, "store"));
  const plan: LaunchPlan = { executable, options, scratch, storeDir };
  try {
    return new LocalNatsServer(plan, await launch(plan, requestedPorts(options)));
  } catch (error) {
    await scratch.remove();
    throw error;
  }
}

class LocalNatsServer implements NatsServer {
  readonly #plan: LaunchPlan;
  #launched: Launched;
  #logsAtStop = "";
  #lastInLine: Promise<void> = Promise.resolve();

  constructor(plan: LaunchPlan, launched: Launched) {
    this.#plan = plan;
    this.#launched = launched;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#launched.ports.client}`;
  }

  get websocketUrl(): string | undefined {
    const { websocket } = this.#launched.ports;
    return websocket === undefined ? undefined : `ws://127.0.0.1:${websocket}`;
  }

  get monitorUrl(): string | undefined {
    const { monitor } = this.#launched.ports;
    return monitor === undefined ? undefined : `http://127.0.0.1:${monitor}`;
  }

  get version(): string {
    return this.#launched.version;
  }

  get pid(): number | undefined {
    return this.#launched.run.hasEnded ? undefined : this.#launched.run.pid;
  }

  get storeDir(): string {
    return this.#plan.storeDir;
  }

  get ended(): Promise<string> {
    return this.#launched.run.ended;
  }

  logs(): string {
    const log = logPath(this.#plan);
    return existsSync(log) ? tailOf(log) : this.#logsAtStop;
  }

  stop({ keepStore = false }: { readonly keepStore?: boolean } = {}): Promise<void> {
    return this.#inTurn(async () => {
      await this.#stopProcess();
      if (keepStore) return;
      this.#logsAtStop = this.logs();
      await this.#plan.scratch.remove();
    });
  }

  kill(): Promise<void> {
    return this.#inTurn(() => this.#launched.run.kill());
  }

  restart(): Promise<void> {
    return this.#inTurn(async () => {
      if (!existsSync(this.#plan.scratch.folder)) {
        throw new NatsServerStartError(
          `Cannot restart nats-server at ${this.url}: it was stopped for good and its temporary files ` +
            `are deleted. Use stop({ keepStore: true }) or kill() before restart().`,
        );
      }
      await this.#stopProcess();
      this.#launched = await launchOnKnownPorts(this.#plan, this.#launched.ports);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #stopProcess(): Promise<void> {
    await this.#launched.run.stop(this.#plan.options.stopTimeoutMs ?? 5_000);
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const turn = this.#lastInLine.then(step);
    this.#lastInLine = turn.catch(() => {});
    return turn;
  }
}
