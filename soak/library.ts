/** The library as the soak uses it: in its namespace, and with less patience for lanes that are used no more. */
import type { NatsConnection } from "@nats-io/nats-core";
import { Dyrygent, type Log } from "nats-dyrygent";
import { natsPorts } from "../src/nats/open.ts";
import type { Ports } from "../src/ports.ts";

export const NAMESPACE = "soak";

export function portsOn(nc: NatsConnection, log: Log = () => {}): Promise<Ports> {
  return natsPorts(nc, {
    namespace: NAMESPACE,
    replicas: 1,
    storage: "file",
    tickLeaseMs: 10_000,
    taskLeaseMs: 30_000,
    unusedLaneMs: 1_000,
    log,
  });
}

export async function libraryOn(nc: NatsConnection, log: Log): Promise<Dyrygent> {
  return new Dyrygent(await portsOn(nc, log), NAMESPACE);
}
