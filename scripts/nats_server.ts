// Starts, stops, kills and restarts nats-servers on 127.0.0.1 for tests, benches and the demo, on Node
// and Deno alike. A server lives in a temporary folder and ends with the process that started it; this
// is no way to run one in production.
//
//   node --import tsx scripts/nats_server.ts [--version 2.10] [--port 4222]
//   node --import tsx scripts/nats_server.ts --which [--version 2.10]

import { existsSync, realpathSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join, resolve } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findNatsServer } from "./nats_server_binary.ts";
import {
  createScratchFolder,
  removeScratchFolder,
  type ServerProcess,
  spawnServer,
  tailOf,
} from "./nats_server_process.ts";

export interface NatsServerOptions {
  /**
   * Path of an executable.
   * @default what `findNatsServer` finds for `version`
   */
  readonly binary?: string | undefined;
  /** `"2.10"` or `"2.10.27"`. Ignored with `binary`. */
  readonly version?: string | undefined;
  /**
   * Kept when the server stops.
   * @default a temporary folder, deleted by `stop()`
   */
  readonly storeDir?: string | undefined;
  /**
   * When JetStream's files reach the disk: `"always"`, a duration such as `"2m"`, or `"default"` for
   * the server's own default (two minutes).
   * @default "always"
   */
  readonly syncInterval?: string | undefined;
  /** @default true */
  readonly jetstream?: boolean | undefined;
  /**
   * Whether to listen for WebSockets, without TLS, on a free port.
   * @default true
   */
  readonly websocket?: boolean | undefined;
  /** @default -1, a free one */
  readonly port?: number | undefined;
  /**
   * Port of the HTTP monitor; -1 is a free one.
   * @default no monitor
   */
  readonly httpPort?: number | undefined;
  /** In bytes. @default the server's: 1 MiB */
  readonly maxPayload?: number | undefined;
  readonly cluster?: NatsClusterOptions | undefined;
  /**
   * More configuration, in the server's own language, placed last. A block given here replaces the
   * whole block of the same name: limits for JetStream need `jetstream: false` and a `store_dir`.
   */
  readonly config?: string | undefined;
  /** @default 20000 */
  readonly startTimeoutMs?: number | undefined;
  /** How long `stop()` waits before SIGKILL. @default 5000 */
  readonly stopTimeoutMs?: number | undefined;
}

/**
 * JetStream refuses to start in a cluster without routes, so all members' cluster ports must be known
 * before the first one starts. All may be given the same routes:
 *
 * ```ts
 * const ports = await findFreePorts(3);
 * const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
 * const servers = await Promise.all(
 *   ports.map((port) =>
 *     startNatsServer({ cluster: { name: "demo", serverName: `n${port}`, port, routes } })
 *   ),
 * );
 * ```
 *
 * A member is ready before the cluster has elected a leader: the first JetStream requests may fail.
 */
export interface NatsClusterOptions {
  readonly name: string;
  /** Must differ between the members. */
  readonly serverName: string;
  readonly port: number;
  readonly routes: readonly string[];
}

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

/** The server did not become ready; the message ends with the last lines of its log. */
export class NatsServerStartError extends Error {
  override readonly name = "NatsServerStartError";
}

/**
 * Starts a server and waits until it answers.
 *
 * @throws {NatsServerNotFoundError} when there is no executable
 * @throws {NatsServerStartError}
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const executable = options.binary ?? (await findNatsServer({ version: options.version })).path;
  const scratch = await createScratchFolder();
  const storeDir = resolve(options.storeDir ?? join(scratch, "store"));
  const plan: LaunchPlan = { executable, options, scratch, storeDir };
  try {
    return new LocalNatsServer(plan, await launch(plan, requestedPorts(options)));
  } catch (error) {
    await removeScratchFolder(scratch);
    throw error;
  }
}

/** Different ports that were free a moment ago, for what cannot use port -1. */
export async function findFreePorts(count: number): Promise<number[]> {
  const listeners = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  return await Promise.all(listeners.map(async (listener) => {
    await new Promise((resolve, reject) => {
      listener.once("listening", resolve).once("error", reject);
    });
    const address = listener.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  })).finally(() => Promise.all(listeners.map((listener) => listener.close())));
}

interface LaunchPlan {
  readonly executable: string;
  readonly options: NatsServerOptions;
  /** Holds configuration, log, ports file and, unless the caller has another place, the store. */
  readonly scratch: string;
  readonly storeDir: string;
}

/** -1 is any free one, undefined is none. */
interface Ports {
  readonly client: number;
  readonly websocket: number | undefined;
  readonly monitor: number | undefined;
}

interface Launched {
  readonly run: ServerProcess;
  readonly ports: Ports;
  readonly version: string;
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
      await removeScratchFolder(this.#plan.scratch);
    });
  }

  kill(): Promise<void> {
    return this.#inTurn(() => this.#launched.run.kill());
  }

  restart(): Promise<void> {
    return this.#inTurn(async () => {
      if (!existsSync(this.#plan.scratch)) {
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

/**
 * While the server was down, somebody's outgoing connection may have been given its port for a moment
 * (even a client's attempt to reconnect to that very port), so a taken port is tried again.
 */
async function launchOnKnownPorts(plan: LaunchPlan, ports: Ports): Promise<Launched> {
  const giveUpAt = performance.now() + startTimeoutMs(plan);
  for (;;) {
    try {
      return await launch(plan, ports);
    } catch (error) {
      const isPortTaken = String(error).includes("address already in use");
      if (!isPortTaken || performance.now() > giveUpAt) throw error;
      await delay(50);
    }
  }
}

async function launch(plan: LaunchPlan, ports: Ports): Promise<Launched> {
  const portsFolder = join(plan.scratch, "ports");
  // A server that was killed has left its file there.
  await rm(portsFolder, { recursive: true, force: true });
  await mkdir(portsFolder);
  const configPath = join(plan.scratch, "nats.conf");
  await writeFile(configPath, configText(plan, ports, portsFolder));
  const run = spawnServer(plan.executable, ["-c", configPath], plan.scratch, logPath(plan));
  const readiness = await waitUntilReady(run, portsFolder, startTimeoutMs(plan));
  switch (readiness.is) {
    case "ready":
      return { run, ports: readiness.ports, version: readiness.version };
    case "failed": {
      await run.kill();
      const lastLines = run.output().trim().split("\n").slice(-10).join("\n  ");
      throw new NatsServerStartError(
        `Cannot start ${plan.executable}: ${readiness.why}. ` +
          (lastLines === "" ? "It logged nothing; is it a nats-server?" : `Its last log lines:\n  ${lastLines}`),
      );
    }
    default:
      return readiness satisfies never;
  }
}

type Readiness =
  | { readonly is: "ready"; readonly ports: Ports; readonly version: string }
  | { readonly is: "failed"; readonly why: string };

async function waitUntilReady(
  run: ServerProcess,
  portsFolder: string,
  timeoutMs: number,
): Promise<Readiness> {
  const giveUpAt = performance.now() + timeoutMs;
  while (performance.now() < giveUpAt) {
    if (run.hasEnded) return { is: "failed", why: await run.ended };
    const ports = await announcedPorts(portsFolder);
    const version = ports === undefined ? undefined : await greetedVersion(ports.client);
    if (ports !== undefined && version !== undefined) return { is: "ready", ports, version };
    await delay(2);
  }
  return { is: "failed", why: `not ready after ${timeoutMs} ms` };
}

/** The server writes its ports file once everything listens; undefined until it is there in full. */
async function announcedPorts(folder: string): Promise<Ports | undefined> {
  const file = (await readdir(folder)).find((name) => name.endsWith(".ports"));
  if (file === undefined) return undefined;
  let urls: Readonly<Record<string, readonly string[] | undefined>>;
  try {
    urls = JSON.parse(await readFile(join(folder, file), "utf8"));
  } catch {
    return undefined; // Half-written.
  }
  const portOf = (listener: string): number | undefined => {
    const port = /:(\d+)$/.exec(urls[listener]?.[0] ?? "")?.[1];
    return port === undefined ? undefined : Number(port);
  };
  const client = portOf("nats");
  if (client === undefined) return undefined;
  return { client, websocket: portOf("websocket"), monitor: portOf("monitoring") };
}

/** Reads the INFO line that a server sends to every new client; undefined when none comes. */
function greetedVersion(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port, timeout: 1_000 });
    let received = "";
    const finish = (version: string | undefined) => {
      socket.destroy();
      resolve(version);
    };
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      received += text;
      const info = /^INFO (\{.*\})\s*\r\n/.exec(received)?.[1];
      if (info !== undefined) finish((JSON.parse(info) as { version: string }).version);
    });
    socket.on("timeout", () => finish(undefined));
    socket.on("error", () => finish(undefined));
    socket.on("close", () => finish(undefined));
  });
}

function requestedPorts(options: NatsServerOptions): Ports {
  return {
    client: options.port ?? -1,
    websocket: options.websocket === false ? undefined : -1,
    monitor: options.httpPort,
  };
}

function configText({ options, storeDir }: LaunchPlan, ports: Ports, portsFolder: string): string {
  const { jetstream = true, syncInterval = "always", maxPayload, cluster, config = "" } = options;
  // The server reads JSON's strings and lists as its own.
  const literal = JSON.stringify;
  const listen = (port: number) => `listen: "127.0.0.1:${port}"`;
  const lines = [listen(ports.client), `ports_file_dir: ${literal(portsFolder)}`];
  if (ports.monitor !== undefined) lines.push(`http: "127.0.0.1:${ports.monitor}"`);
  if (maxPayload !== undefined) lines.push(`max_payload: ${maxPayload}`);
  if (jetstream) {
    const sync = syncInterval === "default" ? "" : `, sync_interval: ${literal(syncInterval)}`;
    lines.push(`jetstream { store_dir: ${literal(storeDir)}${sync} }`);
  }
  if (ports.websocket !== undefined) {
    lines.push(`websocket { ${listen(ports.websocket)}, no_tls: true }`);
  }
  if (cluster !== undefined) {
    const { name, serverName, port, routes } = cluster;
    lines.push(
      `server_name: ${literal(serverName)}`,
      `cluster { name: ${literal(name)}, ${listen(port)}, routes: ${literal(routes)} }`,
    );
  }
  return [...lines, config, ""].join("\n");
}

function logPath({ scratch }: LaunchPlan): string {
  return join(scratch, "nats-server.log");
}

function startTimeoutMs({ options }: LaunchPlan): number {
  return options.startTimeoutMs ?? 20_000;
}

const usage = `Usage: nats_server.ts [--version 2.10] [--port 4222]   run one until Ctrl-C
       nats_server.ts --which [--version 2.10]         print the path of the executable`;

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      version: { type: "string" },
      port: { type: "string" },
      which: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return console.log(usage);
  if (values.which) return console.log((await findNatsServer({ version: values.version })).path);

  const server = await startNatsServer({ version: values.version, port: portFrom(values.port) });
  console.log(
    `nats-server ${server.version}, process ${server.pid}; Ctrl-C stops it and deletes its store`,
  );
  console.log(`  nats       ${server.url}\n  websocket  ${server.websocketUrl}`);
  console.log(`  store      ${server.storeDir}`);
  let isStopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      isStopping = true;
      void server.stop();
    });
  }
  const keepAlive = setInterval(() => {}, 60_000);
  const how = await server.ended;
  clearInterval(keepAlive);
  if (isStopping) return await server.stop();
  throw new Error(`nats-server ended by itself (${how}):\n${server.logs()}`);
}

function portFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= -1 && port !== 0 && port <= 65_535) return port;
  throw new Error(
    `Cannot listen on port ${JSON.stringify(text)}: give 1 to 65535, or -1 for a free one.`,
  );
}

// Not import.meta.main, which Node 20 lacks.
const startedAs = process.argv[1];
if (startedAs !== undefined && existsSync(startedAs)) {
  if (realpathSync(startedAs) === realpathSync(fileURLToPath(import.meta.url))) {
    await main(process.argv.slice(2)).catch((error) => {
      console.error(error instanceof Error ? error.message : error);
      process.exitCode = 1;
    });
  }
}
