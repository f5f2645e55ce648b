/** A task that writes down who executes it, where the engine cannot reach it, before it does anything else. */
import { jetstream, type JetStreamClient, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection } from "@nats-io/nats-core";
import { currentTask, type Task, task } from "nats-dyrygent";

/** Short, so that a killed process is missed soon. Everybody in a namespace has to say the same. */
export const LEASES = { tickLease: "1s", taskLease: "1s" } as const;

export interface Execution {
  readonly node: number;
  readonly by: string;
}

const streamOf = (namespace: string) => `${namespace}_executions`;
const subjectOf = (namespace: string) => `${namespace}executions`;

export async function recordExecutions(nc: NatsConnection, namespace: string): Promise<void> {
  const { streams } = await jetstreamManager(nc);
  await streams.add({ name: streamOf(namespace), subjects: [`${subjectOf(namespace)}.>`] });
}

/** Takes some milliseconds, so that a kill finds it under way. */
export function recorded(
  js: JetStreamClient,
  namespace: string,
  by: string,
): Task<[value: number, ...upstreams: unknown[]], Promise<number>> {
  return task("recorded", async (value: number, ..._upstreams: unknown[]) => {
    const hdrs = headers();
    hdrs.set("By", by);
    await js.publish(`${subjectOf(namespace)}.${currentTask().node}`, "", { headers: hdrs });
    await new Promise((resolve) => setTimeout(resolve, 5));
    return value;
  });
}

/** Every execution, in order. */
export async function executions(nc: NatsConnection, namespace: string): Promise<Execution[]> {
  const stream = streamOf(namespace);
  const { state } = await (await jetstreamManager(nc)).streams.info(stream);
  if (state.messages === 0) return [];
  const found: Execution[] = [];
  const consumer = await jetstream(nc).consumers.get(stream);
  for await (const msg of await consumer.consume()) {
    found.push({ node: Number(msg.subject.split(".").at(-1)), by: msg.headers?.get("By") ?? "" });
    if (msg.info.pending === 0) break;
  }
  return found;
}
