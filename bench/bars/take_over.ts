/** A processor is killed in the middle of a large workflow: when the next one goes on, and whether anything runs again. */
import { currentTask } from "nats-dyrygent";
import type { Bar } from "../bar.ts";
import { Engine } from "../engine.ts";
import { Member } from "../member.ts";
import { Place } from "../place.ts";
import { layered, onTask } from "../shapes.ts";
import { seeded } from "../statistics.ts";

/** The lease of a tick. */
const ACK_WAIT_MS = 10_000;
const MORE_MS = 2_000;
/** More than can be under way at once. */
const LEAST_NODES = 20_000;
/** What is in the queue when it dies is done at once; the next one has taken over when something comes after this. */
const SILENCE_MS = 500;

async function takeOver(nodes: number): Promise<{ afterMs: number; again: number }> {
  const namespace = "engine";
  await using place = await Place.open();
  await using engine = await Engine.open(place, { processor: "apart", namespace });
  const times = new Uint8Array(nodes);
  let began = 0;
  let killedAt = Infinity;
  let lastAt = 0;
  let goesOnAt: number | undefined;
  let onMiddle = () => {};
  const middle = new Promise<void>((resolve) => onMiddle = resolve);
  onTask.began = () => {
    const now = performance.now();
    times[currentTask().node]!++;
    if (++began === nodes >> 1) onMiddle();
    if (now - Math.max(lastAt, killedAt) > SILENCE_MS) goesOnAt ??= now;
    lastAt = now;
  };
  const run = await engine.app.submit(layered(nodes, seeded(7)));
  await using _next = await Member.start(place, { is: "processor", namespace });
  await middle;
  engine.processor!.kill();
  killedAt = performance.now();
  await run.ended();
  onTask.began = () => {};
  const again = times.reduce((sum, count) => sum + count - 1, 0);
  return { afterMs: (goesOnAt ?? Infinity) - killedAt, again };
}

export const takeOvers: Bar = {
  name: "take-over",
  async measure({ runs, share }) {
    const n = Math.max(LEAST_NODES, Math.round(100_000 * share));
    const afterMs: number[] = [];
    let again = 0;
    for (let run = 0; run < runs; run++) {
      const took = await takeOver(n);
      afterMs.push(took.afterMs);
      again += took.again;
    }
    return [
      {
        bench: "take-over",
        n,
        unit: "ms",
        values: afterMs,
        bar: { atMost: ACK_WAIT_MS + MORE_MS },
      },
      { bench: "executed again", n, unit: "tasks", values: [again], bar: { atMost: 0 } },
    ];
  },
};
