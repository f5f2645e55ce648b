/**
 * A connection as the tools of NATS make it: from flags, else from the environment, else from a context of the `nats`
 * command, else to a server on this machine.
 */
import { homedir } from "node:os";
import { join } from "node:path";
import {
  type ConnectionOptions,
  credsAuthenticator,
  type NatsConnection,
  nkeyAuthenticator,
  wsconnect,
} from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { UnavailableError } from "../core/errors.ts";
import { readContext, type Where } from "./context_file.ts";
import { fileOf } from "./file.ts";

/** A server that is down is said so soon. */
const TIMEOUT_MS = 4_000;

/** Flags first, then the environment, then a context. */
export function resolved(flags: Where, env: Readonly<Record<string, string | undefined>>): Where {
  const own: Where = {
    server: flags.server ?? env["NATS_URL"],
    creds: flags.creds ?? env["NATS_CREDS"],
    nkey: flags.nkey ?? env["NATS_NKEY"],
    user: flags.user ?? env["NATS_USER"],
    password: flags.password ?? env["NATS_PASSWORD"],
    token: flags.token ?? env["NATS_TOKEN"],
    tlscert: flags.tlscert ?? env["NATS_CERT"],
    tlskey: flags.tlskey ?? env["NATS_KEY"],
    tlsca: flags.tlsca ?? env["NATS_CA"],
  };
  const folder = join(env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"), "nats");
  const name = flags.context ?? env["NATS_CONTEXT"];
  // The context that is chosen with `nats context select` is for whoever says nothing else.
  const context = readContext(folder, name ?? (own.server === undefined ? "selected" : undefined));
  const said = Object.entries(own).filter(([, value]) => value !== undefined);
  return { ...context, ...Object.fromEntries(said) };
}

/** @throws {UsageError}, {UnavailableError} */
export async function connectTo(where: Where): Promise<NatsConnection> {
  const servers = (where.server ?? "nats://127.0.0.1:4222").split(",").map((one) => one.trim());
  const options: ConnectionOptions = {
    servers,
    name: "nats-dyrygent",
    timeout: TIMEOUT_MS,
    maxReconnectAttempts: -1,
    noAsyncTraces: true,
    ...credentials(where),
    ...tls(where),
  };
  try {
    return await (servers.every(isWebSocket) ? wsconnect(options) : connect(options));
  } catch (error) {
    throw new UnavailableError(
      `Cannot connect to ${servers.join(", ")}: ${(error as Error).message}`,
      {
        hint: "Start a nats-server with JetStream there (nats-server -js), or say where one is: " +
          "--server, --context or NATS_URL.",
        cause: error,
      },
    );
  }
}

function isWebSocket(server: string): boolean {
  return /^wss?:\/\//.test(server);
}

function credentials({ creds, nkey, user, password, token }: Where): ConnectionOptions {
  if (creds !== undefined) return { authenticator: credsAuthenticator(fileOf("creds", creds)) };
  if (nkey !== undefined) {
    const seed = new TextDecoder().decode(fileOf("nkey", nkey)).trim();
    return { authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)) };
  }
  if (user !== undefined) return { user, ...(password === undefined ? {} : { pass: password }) };
  return token === undefined ? {} : { token };
}

function tls({ tlscert, tlskey, tlsca }: Where): ConnectionOptions {
  const files = {
    ...(tlscert === undefined ? {} : { certFile: tlscert }),
    ...(tlskey === undefined ? {} : { keyFile: tlskey }),
    ...(tlsca === undefined ? {} : { caFile: tlsca }),
  };
  return Object.keys(files).length === 0 ? {} : { tls: files };
}
