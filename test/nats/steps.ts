/** A task whose executions are counted outside of the library: each writes into a stream of the test's own before it works. */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers, type NatsConnection, nuid } from "@nats-io/nats-core";
import { chain, currentTask, group, task, Workflow } from "nats-dyrygent";

const streamOf = (namespace: string) => `RAN_${namespace}`;

/** To be called once, before any step runs. */
export async function openLedger(nc: NatsConnection, namespace: string): Promise<void> {
  const { streams } = await jetstreamManager(nc);
  await streams.add({ name: streamOf(namespace), subjects: [`ran.${namespace}.>`] });
}

/** Gives its number after `ms`, having written down that `worker` executes it. */
export function stepTask(nc: NatsConnection, namespace: string, worker: string, ms = 5) {
  const js = jetstream(nc);
  return task("step", async (n: number) => {
    const { workflowId, node } = currentTask();
    const msgID = nuid.next();
    // Until it is acknowledged, whatever becomes of the server meanwhile: the id keeps it from counting twice.
    for (let written = false; !written;) {
      written = await js.publish(`ran.${namespace}.${workflowId}.${node}`, worker, {
        msgID,
        timeout: 500,
      }).then(() => true, () => false);
    }
    await new Promise((resolve) => setTimeout(resolve, ms));
    return n;
  });
}

/** Who executed each node of a workflow, in order. */
export async function executions(
  nc: NatsConnection,
  namespace: string,
  workflow: string,
): Promise<Map<number, string[]>> {
  const consumer = await jetstream(nc).consumers.get(streamOf(namespace), {
    filter_subjects: `ran.${namespace}.${workflow}.*`,
  });
  const ran = new Map<number, string[]>();
  const { num_pending } = await consumer.info();
  if (num_pending === 0) return ran;
  for await (const msg of await consumer.fetch({ max_messages: num_pending, expires: 5_000 })) {
    const node = Number(msg.subject.split(".").at(-1));
    ran.set(node, [...ran.get(node) ?? [], msg.string()]);
  }
  return ran;
}

/** `layers` groups of `width` steps, each group after the one before. */
export function layered(layers: number, width: number) {
  const step = task("step", (n: number) => n); // Only its name travels.
  const groups = Array.from(
    { length: layers },
    (_, l) => group(Array.from({ length: width }, (_, i) => step.si(l * width + i))),
  );
  return Workflow.of(chain(groups), "layered");
}

/** The worker that recorded each outcome of a workflow, by node; a node with more than one record is an error. */
export async function recordedBy(
  nc: NatsConnection,
  namespace: string,
  workflow: string,
): Promise<Map<number, string>> {
  const consumer = await jetstream(nc).consumers.get(`KV_${namespace}`, {
    filter_subjects: `$KV.${namespace}.${workflow}.r.>`,
    headers_only: true,
  });
  const workers = new Map<number, string>();
  const { num_pending } = await consumer.info();
  for await (const msg of await consumer.fetch({ max_messages: num_pending, expires: 5_000 })) {
    const [node, attempt] = msg.subject.split(".").slice(-2).map(Number);
    if (attempt !== 1 || workers.has(node!)) throw new Error(`a second outcome: ${msg.subject}`);
    workers.set(node!, (msg.headers ?? headers()).get("Dyrygent-Outcome").split(" ").at(-1)!);
  }
  return workers;
}
