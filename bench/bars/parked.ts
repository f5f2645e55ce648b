/** Very many workflows that wait, each for one slow task: what they cost, and how soon one of them is awake. */
import { Dyrygent } from "nats-dyrygent";
import type { Bar } from "../bar.ts";
import { Member } from "../member.ts";
import { Place } from "../place.ts";
import { waiting } from "../shapes.ts";
import { median } from "../statistics.ts";

const WORKFLOWS = 50_000;
const SUBMITS = 250;
const LOOK_MS = 10_000;
/** After this all have been looked after a few times, and their ticks are as far apart as they get. */
const SETTLE_MS = 120_000;

const pass = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function submitAll(app: Dyrygent, count: number): Promise<void> {
  let left = count;
  await Promise.all(Array.from({ length: SUBMITS }, async () => {
    while (left-- > 0) await app.submit(waiting(), { unknownTasks: "ignore" });
  }));
}

export const parked: Bar = {
  name: "parked",
  async measure({ runs, share }) {
    const n = Math.round(WORKFLOWS * share);
    const namespace = "parked";
    await using place = await Place.open();
    const app = await Dyrygent.open(await place.connect(), { namespace });
    await using processor = await Member.start(place, { is: "parked processor", namespace });
    const before = await processor.ask("usage");
    await submitAll(app, n);
    while ((await processor.ask("parked")).parked < n) await pass(500);
    await pass(SETTLE_MS * Math.min(1, 5 * share));
    const lateMs: number[] = [];
    const cpu: number[] = [];
    const wakeMs: number[] = [];
    for (let run = 0; run < runs; run++) {
      await processor.ask("parked");
      const from = await processor.ask("cpuMs");
      const start = performance.now();
      await pass(LOOK_MS);
      cpu.push((await processor.ask("cpuMs") - from) / (performance.now() - start) * 100);
      lateMs.push((await processor.ask("parked")).lateMs.p99);
      wakeMs.push(median(await processor.ask("wake")));
    }
    const { heap } = await processor.ask("usage");
    const each = (heap - before.heap) / n / 1_000;
    return [
      { bench: "parked: processor", n, unit: "% of a core", values: cpu, bar: { atMost: 5 } },
      { bench: "parked: memory each", n, unit: "KB", values: [each], bar: { atMost: 3 } },
      {
        bench: "parked: wake",
        n,
        unit: "ms",
        values: wakeMs,
        bar: { atMost: 5 },
      },
      { bench: "parked: ticks late, p99", n, unit: "ms", values: lateMs, bar: { atMost: 250 } },
    ];
  },
};
