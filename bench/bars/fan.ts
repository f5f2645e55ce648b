/** A fan-out and fan-in, at different places: what the whole way of a task costs beside the same way by hand. */
import { type Bar, inTurns, openReference, WINDOW } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Place, type PlaceOptions } from "../place.ts";
import { fan as fanOf } from "../shapes.ts";

interface Fan {
  readonly name: string;
  readonly place?: PlaceOptions;
  readonly worker?: "here" | "apart";
  readonly nodes: number;
  readonly atLeast: number;
}

const bar = ({ name, place: options, worker = "here", nodes, atLeast }: Fan): Bar => ({
  name,
  async measure({ runs, share }) {
    const n = Math.round(nodes * share);
    await using place = await Place.open(options);
    await using reference = await openReference(place, worker);
    await using engine = await Engine.open(place, { worker });
    const byHand = () => reference.reference.throughput(2 * n, WINDOW);
    const conducted = () => engine.rate(fanOf(n), n + 1);
    await inTurns(1, byHand, conducted);
    const { values, references } = await inTurns(runs, byHand, conducted);
    return [{ bench: name, n, unit: "tasks/s", values, reference: references, bar: { atLeast } }];
  },
});

export const fan = bar({ name: "fan", nodes: 10_000, atLeast: 0.75 });
export const fanApart = bar({
  name: "fan, worker apart",
  nodes: 10_000,
  worker: "apart",
  atLeast: 0.75,
});
export const fanSynced = bar({
  name: "fan, always synced",
  nodes: 3_000,
  place: { syncInterval: "always" },
  atLeast: 0.75,
});
export const fanInCluster = bar({
  name: "fan, three replicas",
  nodes: 5_000,
  place: { isCluster: true },
  atLeast: 0.75,
});
export const fanByWebSocket = bar({
  name: "fan, WebSocket",
  nodes: 10_000,
  place: { isWebSocket: true },
  atLeast: 0.8,
});
