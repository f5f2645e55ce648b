/**
 * The servers that a scenario plays on, and every line to and between them: one server, three that
 * keep everything in three copies, or one with a disk of its own that is small. What runs on them
 * is not its business. It owns what it starts.
 */
import process from "node:process";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { findFreePorts, type NatsServer, startNatsServer } from "../scripts/nats_server.ts";
import { Line } from "./line.ts";
import type { StageKind, Which } from "./plan.ts";
import { SmallDisk } from "./small_disk.ts";

export interface Stage extends AsyncDisposable {
  readonly servers: readonly NatsServer[];
  readonly replicas: 1 | 3;
  /** Absent where the system has no way to make one. */
  readonly disk: SmallDisk | undefined;
  /** A connection on which nothing is broken. */
  readonly control: NatsConnection;
  readonly lines: Lines;
  /** Where in `servers` it is now. */
  find(which: Which, namespace: string): Promise<number>;
}

/**
 * What a dead connection or server is noticed by: sooner than by default, as everything here is
 * sooner.
 */
const PINGS = 'ping_interval: "1s"\nping_max: 3';
/** A server that is killed loses nothing by not syncing. */
const COMMON = {
  version: process.env["NATS_SERVER_VERSION"],
  syncInterval: "default",
  websocket: false,
  config: PINGS,
};
const STORE_BYTES = 40_000_000;
/** How everybody stays connected. */
export const PERSISTENT = {
  maxReconnectAttempts: -1,
  reconnectTimeWait: 100,
  pingInterval: 1_000,
  maxPingOut: 3,
  timeout: 5_000,
};
/** Where nobody listens. */
const NOWHERE = "127.0.0.1:9";

export async function openStage(kind: StageKind): Promise<Stage> {
  const owned: (() => PromiseLike<void> | void)[] = [];
  const close = async () => {
    for (const end of owned.splice(0).reverse()) await end();
  };
  try {
    const disk = kind === "small disk" ? await SmallDisk.make(2 * STORE_BYTES) : undefined;
    if (disk !== undefined) owned.push(() => disk[Symbol.asyncDispose]());
    const lines = new Lines();
    owned.push(() => lines.close());
    const servers = kind === "cluster" ? await startCluster(lines) : [await startSingle(disk)];
    for (const server of servers) owned.push(() => server.stop());
    lines.servers = servers;
    const control = await connect({
      servers: servers.map(({ url }) => url),
      noAsyncTraces: true,
      ...PERSISTENT,
    });
    owned.push(() => control.close());
    return {
      servers,
      replicas: kind === "cluster" ? 3 : 1,
      disk: disk?.isThere === true ? disk : undefined,
      control,
      lines,
      find: (which, namespace) => find(control, servers, which, namespace),
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function startSingle(disk: SmallDisk | undefined): Promise<NatsServer> {
  if (disk === undefined) return startNatsServer(COMMON);
  const folder = JSON.stringify(disk.folder);
  return startNatsServer({
    ...COMMON,
    binary: disk.serverProgram,
    jetstream: false,
    config: `${PINGS}\njetstream { store_dir: ${folder}, max_file_store: ${STORE_BYTES} }`,
  });
}

/**
 * Servers reach each other by lines only: what they are told of each other's addresses leads
 * nowhere.
 */
async function startCluster(lines: Lines): Promise<NatsServer[]> {
  const ports = await findFreePorts(3);
  return await Promise.all(ports.map(async (port, from) => {
    const routes = await Promise.all(
      ports.map((to, i) => i === from ? undefined : lines.route(from, i, to)),
    );
    return startNatsServer({
      ...COMMON,
      cluster: {
        name: "chaos",
        serverName: `s${from}`,
        port,
        advertise: NOWHERE,
        routes: routes.flatMap((line) =>
          line === undefined ? [] : [`nats://127.0.0.1:${line.port}`]
        ),
      },
    });
  }));
}

async function find(
  control: NatsConnection,
  servers: readonly NatsServer[],
  which: Which,
  namespace: string,
): Promise<number> {
  if (which.is === "any") return which.number % servers.length;
  const stream = which.of === "FACTS" ? `KV_${namespace}` : `${namespace}_${which.of}`;
  try {
    const { streams } = await jetstreamManager(control, { timeout: 2_000 });
    const leader = (await streams.info(stream)).cluster?.leader;
    return Math.max(0, servers.findIndex((_, i) => `s${i}` === leader));
  } catch {
    return 0; // While there is none, any will do.
  }
}

/** Every line there is, by its ends. */
export class Lines {
  servers: readonly NatsServer[] = [];
  readonly #ofMembers = new Map<string, Line[]>();
  readonly #routes: { readonly from: number; readonly to: number; readonly line: Line }[] = [];

  async route(from: number, to: number, port: number): Promise<Line> {
    const line = await Line.to(port);
    this.#routes.push({ from, to, line });
    return line;
  }

  /** A line to each server, for somebody of that name. */
  async ofMember(name: string): Promise<readonly Line[]> {
    const known = this.#ofMembers.get(name);
    if (known !== undefined) return known;
    const lines = await Promise.all(
      this.servers.map(({ url }) => Line.to(Number(new URL(url).port))),
    );
    this.#ofMembers.set(name, lines);
    return lines;
  }

  /** Those between a server and the others; with `fromAll` also those of members to it. */
  around(server: number, { fromAll }: { fromAll: boolean }): Line[] {
    const routes = this.#routes.filter(({ from, to }) => from === server || to === server);
    const members = fromAll ? [...this.#ofMembers.values()].map((lines) => lines[server]!) : [];
    return [...routes.map(({ line }) => line), ...members];
  }

  heal(): void {
    for (const line of this.#all()) line.heal();
  }

  close(): void {
    for (const line of this.#all()) line.close();
  }

  #all(): Line[] {
    return [...this.#routes.map(({ line }) => line), ...[...this.#ofMembers.values()].flat()];
  }
}
