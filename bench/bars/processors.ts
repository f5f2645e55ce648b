/** Several processors beside each other: they must not slow each other down, nor do anything twice. */
import { jetstreamManager } from "@nats-io/jetstream";
import { Dyrygent } from "nats-dyrygent";
import type { Bar } from "../bar.ts";
import type { Line } from "../line.ts";
import { Member } from "../member.ts";
import { Place } from "../place.ts";
import { diamond } from "../shapes.ts";

const COUNTS = [1, 2, 4];
const TASKS = 4;
const UNDER_WAY = 500;
/** A millisecond more or less is noise. */
const AT_LEAST = 0.95;

async function conduct(processors: number, workflows: number) {
  const namespace = "processors";
  await using place = await Place.open();
  const nc = await place.connect();
  const app = await Dyrygent.open(nc, { namespace });
  await using _worker = await Member.start(place, { is: "worker", namespace });
  const running = await Promise.all(Array.from({ length: processors }, async () => {
    const processor = (await Dyrygent.open(await place.connect(), { namespace })).processor();
    await processor.start();
    return processor;
  }));
  const start = performance.now();
  let left = workflows;
  await Promise.all(Array.from({ length: UNDER_WAY }, async () => {
    while (left-- > 0) await (await app.submit(diamond())).ended();
  }));
  const rate = workflows * TASKS / (performance.now() - start) * 1_000;
  const { streams } = await jetstreamManager(nc);
  const { state } = await streams.info(`${namespace}_TASKS`);
  for (const processor of running) await processor.stop();
  return { rate, twice: state.last_seq - workflows * TASKS };
}

export const processors: Bar = {
  name: "processors",
  async measure({ runs, share }) {
    const n = Math.round(10_000 * share);
    await conduct(1, Math.ceil(n / 10));
    const measured = new Map(COUNTS.map((count) => [count, [] as number[]]));
    let twice = 0;
    for (let run = 0; run < runs; run++) {
      for (const count of COUNTS) {
        const conducted = await conduct(count, n);
        measured.get(count)!.push(conducted.rate);
        twice += conducted.twice;
      }
    }
    const one = measured.get(1)!;
    const lines = COUNTS.map((count): Line => ({
      bench: `processors: ${count}`,
      n,
      unit: "tasks/s",
      values: measured.get(count)!,
      ...(count === 1 ? {} : { reference: one, bar: { atLeast: AT_LEAST } }),
    }));
    const bar = { atMost: 0 };
    return [...lines, { bench: "dispatched twice", n, unit: "tasks", values: [twice], bar }];
  },
};
