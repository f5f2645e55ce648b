/** A figure without a bar: how a small workflow fares that is submitted behind a huge one. */
import { type Bar, openReference } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Place } from "../place.ts";
import { chainOf, fan, onTask } from "../shapes.ts";
import { median } from "../statistics.ts";

const HOPS = 10;

export const fairness: Bar = {
  name: "fairness",
  async measure({ runs, share }) {
    const n = Math.round(100_000 * share);
    await using place = await Place.open();
    await using reference = await openReference(place);
    // Few slots: with many, nothing would have to wait.
    await using engine = await Engine.open(place, { slots: { concurrency: 64 } });
    const values: number[] = [];
    const hops: number[] = [];
    for (let run = 0; run < runs; run++) {
      hops.push(HOPS * median(await reference.reference.hops(1_000)));
      const underWay = new Promise<void>((resolve) => onTask.began = resolve);
      const huge = await engine.app.submit(fan(n));
      await underWay;
      const start = performance.now();
      await (await engine.app.submit(chainOf(HOPS))).ended();
      values.push(performance.now() - start);
      await huge.ended();
    }
    onTask.began = () => {};
    return [{ bench: `chain of ${HOPS} behind`, n, unit: "ms", values, reference: hops }];
  },
};
