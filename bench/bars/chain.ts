/** How long it takes from the beginning of a task to that of the next. */
import { type Bar, inTurns, openReference } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Place } from "../place.ts";
import { quantile } from "../statistics.ts";

export const chain: Bar = {
  name: "chain",
  async measure({ runs, share }) {
    const n = Math.round(1_000 * share);
    await using place = await Place.open();
    await using reference = await openReference(place);
    await using engine = await Engine.open(place);
    const byHand = () => reference.reference.hops(n);
    const conducted = () => engine.hops(n);
    await inTurns(1, byHand, conducted);
    const { values, references } = await inTurns(runs, byHand, conducted);
    const line = (bench: string, at: number, atMost: number) => ({
      bench,
      n,
      unit: "ms/hop" as const,
      values: values.map((hops) => quantile(hops, at)),
      reference: references.map((hops) => quantile(hops, at)),
      bar: { atMost },
    });
    const distribution = { values: values.flat(), reference: references.flat() };
    return [{ ...line("chain, median", 0.5, 1.4), distribution }, line("chain, p99", 0.99, 2)];
  },
};
