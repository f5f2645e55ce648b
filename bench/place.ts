/** Where a bar is measured: one nats-server or three, and connections to them. It owns what it starts. */
import { type NatsConnection, wsconnect } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { findFreePorts, type NatsServer, startNatsServer } from "../scripts/nats_server.ts";

export interface PlaceOptions {
  /** "2m" is the server's own default. @default "2m" */
  readonly syncInterval?: string;
  /** Three servers, everything in three copies. @default false */
  readonly isCluster?: boolean;
  /** @default false */
  readonly isWebSocket?: boolean;
}

export class Place implements AsyncDisposable {
  readonly replicas: 1 | 3;
  readonly #servers: readonly NatsServer[];
  readonly #isWebSocket: boolean;
  readonly #connections: NatsConnection[] = [];

  private constructor(servers: readonly NatsServer[], isWebSocket: boolean) {
    this.#servers = servers;
    this.#isWebSocket = isWebSocket;
    this.replicas = servers.length === 3 ? 3 : 1;
  }

  static async open(
    { syncInterval = "2m", isCluster = false, isWebSocket = false }: PlaceOptions = {},
  ): Promise<Place> {
    const options = { syncInterval, websocket: isWebSocket };
    if (!isCluster) return new Place([await startNatsServer(options)], isWebSocket);
    const ports = await findFreePorts(3);
    const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
    const servers = await Promise.all(
      ports.map((port) =>
        startNatsServer({
          ...options,
          cluster: { name: "bench", serverName: `n${port}`, port, routes },
        })
      ),
    );
    return new Place(servers, isWebSocket);
  }

  get urls(): string[] {
    return this.#servers.map(({ url }) => url);
  }

  get version(): string {
    return this.#servers[0]!.version;
  }

  /** One more connection. */
  async connect(): Promise<NatsConnection> {
    const nc = this.#isWebSocket
      ? await connectWebSocket(this.#servers[0]!.websocketUrl!)
      : await connectTo(this.urls);
    this.#connections.push(nc);
    return nc;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#connections.map((nc) => nc.close()));
    await Promise.all(this.#servers.map((server) => server.stop()));
  }
}

export function connectTo(servers: string[]): Promise<NatsConnection> {
  return connect({ servers, noAsyncTraces: true });
}

/** With the same socket on both runtimes: Node 20 has none of its own, and Deno's waits for delayed acks. */
async function connectWebSocket(servers: string): Promise<NatsConnection> {
  // Not with the others: processes whose memory is measured load this file too.
  const { WebSocket: NodeWebSocket } = await import("ws");
  return await wsconnect({
    servers,
    noAsyncTraces: true,
    wsFactory: async (url: string) => ({
      socket: new NodeWebSocket(url) as unknown as WebSocket,
      encrypted: false,
    }),
  });
}

/** Members of a cluster answer before they have elected a leader. */
export async function patiently<T>(act: () => Promise<T>, tries = 60): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (--tries === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
}
