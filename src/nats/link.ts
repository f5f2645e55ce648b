/** What every port of the adapter works with: one connection, and what was made on it. */
import type { NatsConnection } from "@nats-io/nats-core";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock, Log } from "../ports.ts";
import type { Names } from "./names.ts";
import type { Patience } from "./patience.ts";
import type { Requests } from "./requests.ts";

/** Whether the server that this client talks to is one of several. */
export function isClustered(nc: NatsConnection): boolean {
  return (nc.info as { cluster?: string } | undefined)?.cluster !== undefined;
}

export interface Link {
  readonly nc: NatsConnection;
  readonly jsm: JetStreamManager;
  readonly requests: Requests;
  readonly patience: Patience;
  readonly names: Names;
  readonly clock: Clock;
  readonly log: Log;
}
