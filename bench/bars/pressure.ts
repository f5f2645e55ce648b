/**
 * A graph far too large for its few workers, through a stream of tasks that is full all the time: what is not done yet is in
 * nobody's memory. Heaps are looked at while it runs.
 */
import { jetstreamManager } from "@nats-io/jetstream";
import { Dyrygent } from "nats-dyrygent";
import type { Bar } from "../bar.ts";
import { Member } from "../member.ts";
import { Place } from "../place.ts";
import { fan } from "../shapes.ts";

const NODES = 50_000;
/** Messages that the stream of tasks takes: a tenth of what a processor would queue. */
const ROOM = 400;
const SLOTS = { concurrency: 4, prefetch: 4 };
const LOOK_MS = 500;
const MB = 1e6;
/** The same as for growth, less what a process has before it does anything. */
const PROCESSOR_MB = 50;
const BYTES_PER_NODE = 300;
const WORKER_MB = 50;

interface Heaps {
  readonly processor: number;
  readonly worker: number;
}

async function press(nodes: number): Promise<Heaps> {
  const namespace = "pressure";
  await using place = await Place.open();
  const nc = await place.connect();
  const app = await Dyrygent.open(nc, { namespace });
  await using processor = await Member.start(place, { is: "processor", namespace });
  await using worker = await Member.start(place, { is: "worker", namespace, slots: SLOTS });
  // Whoever opens a namespace refuses a stream that is not as it should be.
  await (await jetstreamManager(nc)).streams.update(`${namespace}_TASKS`, { max_msgs: ROOM });
  const run = await app.submit(fan(nodes));
  let isOver = false;
  const ended = run.ended().finally(() => isOver = true);
  const most = { processor: 0, worker: 0 };
  while (!isOver) {
    most.processor = Math.max(most.processor, (await processor.ask("usage")).heap / MB);
    most.worker = Math.max(most.worker, (await worker.ask("usage")).heap / MB);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  const { state, counts } = await ended;
  if (state !== "SUCCESS" || counts.SUCCESS !== nodes + 1) {
    throw new Error(`the run ended as ${state}, with ${counts.SUCCESS} of ${nodes + 1} nodes`);
  }
  return most;
}

export const pressure: Bar = {
  name: "pressure",
  async measure({ runs, share }) {
    const n = Math.round(NODES * share);
    const heaps: Heaps[] = [];
    for (let run = 0; run < runs; run++) heaps.push(await press(n));
    const of = (who: keyof Heaps) => heaps.map((heap) => heap[who]);
    const processorMb = PROCESSOR_MB + BYTES_PER_NODE * n / MB;
    return [
      {
        bench: "pressure: processor",
        n,
        unit: "MB",
        values: of("processor"),
        bar: { atMost: processorMb },
      },
      {
        bench: "pressure: worker",
        n,
        unit: "MB",
        values: of("worker"),
        bar: { atMost: WORKER_MB },
      },
    ];
  },
};
