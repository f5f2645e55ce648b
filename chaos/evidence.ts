/**
 * Collects what the checker judges from: what processes noted, and what the streams hold, read
 * message by message without the library. Reads only.
 */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import type { Stored } from "../src/ports.ts";
import type { Entry } from "./history.ts";
import type { Expected } from "./proof.ts";

export interface Evidence {
  readonly history: readonly Entry[];
  /** Everything recorded. */
  readonly facts: readonly Stored[];
  readonly left: Left;
  /** What was submitted. */
  readonly workloads: readonly Submitted[];
}

/** Messages left when all was done: their subjects, without the namespace and what it is of. */
export interface Left {
  readonly tasks: readonly string[];
  readonly ticks: readonly string[];
}

/** A workload, with what must be recorded of it. */
export interface Submitted {
  readonly id: string;
  /** Key and record: its definition. */
  readonly definition: ReadonlyMap<string, Uint8Array>;
  readonly expected: Expected | undefined;
}

const FETCH_MS = 10_000;

/** @throws {Error} when not all of it can be read. */
export async function readFacts(nc: NatsConnection, namespace: string): Promise<Stored[]> {
  const stream = `KV_${namespace}`;
  const prefix = `$KV.${namespace}.`;
  const { state } = await (await jetstreamManager(nc)).streams.info(stream);
  const facts: Stored[] = [];
  if (state.messages === 0) return facts;
  const consumer = await jetstream(nc).consumers.get(stream);
  const messages = await consumer.fetch({ max_messages: state.messages, expires: FETCH_MS });
  for await (const msg of messages) {
    const note = msg.headers?.get("Dyrygent-Outcome");
    facts.push({
      key: msg.subject.slice(prefix.length),
      seq: msg.seq,
      at: msg.info.timestampNanos / 1e6,
      ...(note === undefined || note === "" ? {} : { note }),
      data: msg.data,
    });
  }
  if (facts.length < state.messages) {
    throw new Error(`only ${facts.length} of ${state.messages} facts of ${stream} can be read`);
  }
  return facts;
}

export async function readLeft(nc: NatsConnection, namespace: string): Promise<Left> {
  const { streams } = await jetstreamManager(nc);
  const subjects = async (stream: string, prefix: string) => {
    const { state } = await streams.info(stream, { subjects_filter: `${prefix}>` });
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
  };
  const [tasks, ticks] = await Promise.all([
    subjects(`${namespace}_TASKS`, `${namespace}.task.`),
    subjects(`${namespace}_TICKS`, `${namespace}.tick.`),
  ]);
  return { tasks, ticks };
}
