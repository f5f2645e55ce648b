/** From the beginning of the last task to that of the body that gets all results. */
import type { Bar } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Place } from "../place.ts";
import { chordOf, onTask } from "../shapes.ts";

export const chord: Bar = {
  name: "chord",
  async measure({ runs, share }) {
    const n = Math.round(10_000 * share);
    await using place = await Place.open();
    await using engine = await Engine.open(place);
    const values: number[] = [];
    for (let run = 0; run <= runs; run++) {
      let lastAt = 0;
      let bodyAt = 0;
      onTask.began = () => void (lastAt = performance.now());
      onTask.body = () => void (bodyAt = performance.now());
      await (await engine.app.submit(chordOf(n))).ended();
      // The first one is for warming up.
      if (run > 0) values.push(bodyAt - lastAt);
    }
    onTask.began = onTask.body = () => {};
    return [{ bench: "chord's fan-in", n, unit: "ms", values, bar: { atMost: 200 } }];
  },
};
