/**
 * One launch of a nats-server: writes its configuration, spawns it and waits until it answers on the ports it has
 * announced. What runs afterwards is the caller's to stop.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type ServerProcess, spawnServer } from "./process.ts";
import type { Scratch } from "./scratch.ts";

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
   * Whether to listen for WebSockets, without TLS.
   * @default true
   */
  readonly websocket?: boolean | undefined;
  /** @default -1, a free one */
  readonly websocketPort?: number | undefined;
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
  /**
   * The address, as `host:port`, that members tell each other of this one.
   * @default its own
   */
  readonly advertise?: string | undefined;
}

/** The server did not become ready; the message ends with the last lines of its log. */
export class NatsServerStartError extends Error {
  override readonly name = "NatsServerStartError";
}

export interface LaunchPlan {
  readonly executable: string;
  readonly options: NatsServerOptions;
  /** Holds configuration, log, ports file and, unless the caller has another place, the store. */
  readonly scratch: Scratch;
  readonly storeDir: string;
}

/** -1 is any free one, undefined is none. */
export interface Ports {
  readonly client: number;
  readonly websocket: number | undefined;
  readonly monitor: number | undefined;
}

export interface Launched {
  readonly run: ServerProcess;
  readonly ports: Ports;
  readonly version: string;
}

/**
 * While the server was down, somebody's outgoing connection may have been given its port for a moment
 * (even a client's attempt to reconnect to that very port), so a taken port is tried again.
 */
export async function launchOnKnownPorts(plan: LaunchPlan, ports: Ports): Promise<Launched> {
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

export async function launch(plan: LaunchPlan, ports: Ports): Promise<Launched> {
  const portsFolder = join(plan.scratch.folder, "ports");
  // A server that was killed has left its file there.
  await rm(portsFolder, { recursive: true, force: true });
  await mkdir(portsFolder);
  const configPath = join(plan.scratch.folder, "nats.conf");
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
          (lastLines === ""
            ? "It logged nothing; is it a nats-server?"
            : `Its last log lines:\n  ${lastLines}`),
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

export function requestedPorts(options: NatsServerOptions): Ports {
  return {
    client: options.port ?? -1,
    websocket: options.websocket === false ? undefined : options.websocketPort ?? -1,
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
    const { name, serverName, port, routes, advertise } = cluster;
    const told = advertise === undefined ? "" : `, advertise: ${literal(advertise)}`;
    lines.push(
      `server_name: ${literal(serverName)}`,
      `cluster { name: ${literal(name)}, ${listen(port)}, routes: ${literal(routes)}${told} }`,
    );
  }
  return [...lines, config, ""].join("\n");
}

export function logPath({ scratch }: LaunchPlan): string {
  return join(scratch.folder, "nats-server.log");
}

function startTimeoutMs({ options }: LaunchPlan): number {
  return options.startTimeoutMs ?? 20_000;
}
