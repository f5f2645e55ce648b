/** The same graph ten and a hundred times as large: speed, memory of the processor, and how long a submit takes. */
import type { Bar, Effort } from "../bar.ts";
import { Engine } from "../engine.ts";
import type { Line } from "../line.ts";
import { Place } from "../place.ts";
import { layered } from "../shapes.ts";
import { seeded } from "../statistics.ts";

const SIZES = [10_000, 100_000, 1_000_000];
const MB = 1e6;
const PROCESSOR_MB = 150;
const BYTES_PER_NODE = 300;
const SUBMIT_S = 30;

interface Grown {
  readonly rate: number;
  readonly submitS: number;
  readonly processorMb: number;
}

async function grow(nodes: number): Promise<Grown> {
  await using place = await Place.open();
  await using engine = await Engine.open(place, { worker: "apart", processor: "apart" });
  await engine.rate(layered(1_000, seeded(1)), 1_000);
  const workflow = layered(nodes, seeded(7));
  const start = performance.now();
  const run = await engine.app.submit(workflow);
  const submitS = (performance.now() - start) / 1_000;
  await run.ended();
  const rate = nodes / (performance.now() - start) * 1_000;
  const { maxRss } = await engine.processor!.ask("usage");
  return { rate, submitS, processorMb: maxRss / MB };
}

export const growth: Bar = {
  name: "growth",
  async measure({ runs, share }: Effort): Promise<Line[]> {
    const lines: Line[] = [];
    let smallest: number[] = [];
    for (const size of SIZES) {
      const n = Math.round(size * share);
      const grown: Grown[] = [];
      for (let run = 0; run < runs; run++) grown.push(await grow(n));
      const rates = grown.map(({ rate }) => rate);
      const isMiddle = size === SIZES[1];
      lines.push({
        bench: "growth",
        n,
        unit: "tasks/s",
        values: rates,
        ...(smallest.length === 0 ? {} : { reference: smallest }),
        ...(isMiddle ? { bar: { atLeast: 0.9 } } : {}),
      }, {
        bench: "processor's memory",
        n,
        unit: "MB",
        values: grown.map(({ processorMb }) => processorMb),
        bar: { atMost: PROCESSOR_MB + BYTES_PER_NODE * n / MB },
      }, {
        bench: "submit",
        n,
        unit: "s",
        values: grown.map(({ submitS }) => submitS),
        bar: { atMost: SUBMIT_S },
      });
      if (smallest.length === 0) smallest = rates;
    }
    return lines;
  },
};
