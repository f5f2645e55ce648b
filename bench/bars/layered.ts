/** Layers of random edges. */
import { type Bar, inTurns, openReference, WINDOW } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Place } from "../place.ts";
import { layered as layeredOf } from "../shapes.ts";
import { seeded } from "../statistics.ts";

export const layered: Bar = {
  name: "layered",
  async measure({ runs, share }) {
    const n = Math.round(10_000 * share);
    const random = seeded(7);
    await using place = await Place.open();
    await using reference = await openReference(place);
    await using engine = await Engine.open(place);
    const byHand = () => reference.reference.throughput(2 * n, WINDOW);
    const conducted = () => engine.rate(layeredOf(n, random), n);
    await inTurns(1, byHand, conducted);
    const { values, references } = await inTurns(runs, byHand, conducted);
    const bar = { atLeast: 0.65 };
    return [{ bench: "layered", n, unit: "tasks/s", values, reference: references, bar }];
  },
};
