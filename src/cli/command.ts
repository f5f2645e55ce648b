/** What a command is, and what all of them share. */
import type { ParseArgsConfig } from "node:util";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Dyrygent } from "../dyrygent.ts";
import type { Telemetry } from "../telemetry.ts";
import { UsageError } from "./exit.ts";
import type { Output } from "./output.ts";

export type Flags = NonNullable<ParseArgsConfig["options"]>;
export type Values = Readonly<Record<string, string | boolean | undefined>>;

/** What a command line asked for. */
export interface Asked {
  readonly positionals: readonly string[];
  readonly values: Values;
  readonly output: Output;
  /**
   * The namespace that the flags say, on their server or on `server`; connected when it is first asked for, and closed at
   * the end. The first one to ask says how.
   */
  readonly open: (
    how?: { readonly server?: string | undefined; readonly telemetry?: Telemetry | undefined },
  ) => Promise<{ app: Dyrygent; nc: NatsConnection }>;
  /** Aborts at SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

export interface Command {
  readonly name: string;
  /** What follows the name: `<id> [node]`. */
  readonly usage: string;
  readonly summary: string;
  /** Shown by `--help`, under the summary. */
  readonly flags?: Flags;
  /** By flag. */
  readonly help?: Readonly<Record<string, string>>;
  /** It goes on until it is told to stop, and then ends by itself. @default false */
  readonly serves?: true;
  /** A namespace that is not there is made. @default false: it is said that there is none */
  readonly creates?: true;
  /** @returns its exit code. */
  readonly run: (asked: Asked) => Promise<number>;
}

/** Flags of every command. */
export const COMMON: Flags = {
  server: { type: "string", short: "s" },
  context: { type: "string" },
  creds: { type: "string" },
  nkey: { type: "string" },
  user: { type: "string" },
  password: { type: "string" },
  token: { type: "string" },
  tlscert: { type: "string" },
  tlskey: { type: "string" },
  tlsca: { type: "string" },
  namespace: { type: "string", short: "n" },
  codec: { type: "string" },
  json: { type: "boolean" },
  help: { type: "boolean", short: "h" },
};

export const COMMON_HELP: Readonly<Record<string, string>> = {
  server: "addresses of servers, comma-separated (NATS_URL); nats://, tls://, ws://, wss://",
  context: "a context of the nats command (NATS_CONTEXT)",
  creds: "a credentials file (NATS_CREDS)",
  nkey: "a file with an nkey's seed (NATS_NKEY)",
  user: "a user's name (NATS_USER)",
  password: "its password (NATS_PASSWORD)",
  token: "a token (NATS_TOKEN)",
  tlscert: "a client certificate (NATS_CERT)",
  tlskey: "its key (NATS_KEY)",
  tlsca: "who signed the server's certificate (NATS_CA)",
  namespace: 'the deployment (DYRYGENT_NAMESPACE); "dyrygent" unless told otherwise',
  codec: "a module that exports the namespace's codec, as codec or by default",
  json: "for programs: one JSON value a line",
  help: "this text",
};

/** The first positional, which is called so. @throws {UsageError} */
export function needed({ positionals }: Asked, at: number, what: string): string {
  const value = positionals[at];
  if (value === undefined) throw new UsageError(`Say which ${what}.`);
  return value;
}

/** The flags as they were given, for another command line. @param except these */
export function flagsAgain({ values }: Asked, except: readonly string[]): string[] {
  return Object.entries(values).flatMap(([name, value]) =>
    except.includes(name) || value === undefined
      ? []
      : value === true
      ? [`--${name}`]
      : [`--${name}`, String(value)]
  );
}

/** A flag's text. */
export function textFlag({ values }: Asked, name: string): string | undefined {
  const value = values[name];
  return typeof value === "string" ? value : undefined;
}

/** @throws {UsageError} when it is no JSON. */
export function jsonOf(what: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${what} is not JSON: ${(error as Error).message}`);
  }
}

/** @throws {UsageError} when it is no whole number from 1. */
export function countOf(what: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) {
    throw new UsageError(`${what} ${text}: give a whole number from 1.`);
  }
  return count;
}

/** A node as people name it: its number or its label. */
export function nodeOf(text: string): string | number {
  return /^\d+$/.test(text) ? Number(text) : text;
}
