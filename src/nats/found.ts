/** How a namespace that is there was opened, as its streams and consumers say: for tools that open what others have made. */
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { CODE, translate } from "./errors.ts";
import { namesIn, parseLaneConsumer } from "./names.ts";
import { existing, NANOS, type StorageOptions } from "./setup.ts";

export interface FoundOptions extends StorageOptions {
  /** Undefined: its consumer is not there. */
  readonly tickLeaseMs: number | undefined;
  /** Undefined: not asked for, or no task was ever queued. */
  readonly taskLeaseMs: number | undefined;
}

/**
 * @param lanes whether to look for the lease of tasks, which takes the right to list the consumers of the queue.
 * @returns undefined: there is no such namespace.
 * @throws {UnsupportedServerError}, {UnavailableError}
 */
export async function findNamespace(
  nc: NatsConnection,
  namespace: string,
  { lanes }: { lanes: boolean },
): Promise<FoundOptions | undefined> {
  const { factsStream, ticksStream, tasksStream, tickConsumer } = namesIn(namespace);
  try {
    const jsm = await jetstreamManager(nc);
    const facts = await existing(() => jsm.streams.info(factsStream), CODE.streamNotFound);
    if (facts === undefined) return undefined;
    const ticks = await existing(
      () => jsm.consumers.info(ticksStream, tickConsumer),
      CODE.consumerNotFound,
      CODE.streamNotFound,
    );
    const { num_replicas, storage } = facts.config;
    return {
      replicas: num_replicas,
      storage,
      tickLeaseMs: leaseMs(ticks?.config.ack_wait),
      taskLeaseMs: lanes ? await laneLeaseMs(jsm, tasksStream) : undefined,
    };
  } catch (error) {
    throw translate(`look for namespace "${namespace}"`, error);
  }
}

async function laneLeaseMs(jsm: JetStreamManager, stream: string): Promise<number | undefined> {
  for await (const { name, config } of jsm.consumers.list(stream)) {
    if (parseLaneConsumer(name) !== undefined) return leaseMs(config.ack_wait);
  }
  return undefined;
}

function leaseMs(ackWait: number | undefined): number | undefined {
  return ackWait === undefined ? undefined : ackWait / NANOS;
}
