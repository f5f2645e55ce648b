/** Many small workflows at once, and one of them alone. */
import { type Bar, inTurns, openReference, WINDOW } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Place } from "../place.ts";
import { diamond } from "../shapes.ts";
import { median } from "../statistics.ts";

const TASKS = 4;
const ALONE = 50;

export const diamonds: Bar = {
  name: "diamonds",
  async measure({ runs, share }) {
    const n = Math.round(2_000 * share);
    await using place = await Place.open();
    await using reference = await openReference(place);
    await using engine = await Engine.open(place);
    const together = async () => {
      const start = performance.now();
      const submitted = await Promise.all(
        Array.from({ length: n }, () => engine.app.submit(diamond())),
      );
      await Promise.all(submitted.map((run) => run.ended()));
      return n * TASKS / (performance.now() - start) * 1_000;
    };
    const alone = async () => {
      const tookMs: number[] = [];
      for (let i = 0; i < ALONE; i++) {
        const start = performance.now();
        await (await engine.app.submit(diamond())).ended();
        tookMs.push(performance.now() - start);
      }
      return median(tookMs);
    };
    const byHand = () => reference.reference.throughput(2 * n * TASKS, WINDOW);
    const hop = async () => median(await reference.reference.hops(ALONE * TASKS));
    await inTurns(1, byHand, together);
    const many = await inTurns(runs, byHand, together);
    const one = await inTurns(runs, hop, alone);
    return [
      {
        bench: "diamonds at once",
        n,
        unit: "tasks/s",
        values: many.values,
        reference: many.references,
        bar: { atLeast: 0.5 },
      },
      {
        bench: "one diamond",
        n: 1,
        unit: "ms",
        values: one.values,
        reference: one.references,
        bar: { atMost: 5 },
      },
    ];
  },
};
