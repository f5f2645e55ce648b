/** An image pipeline: fetch each image (retried: the network is bad), make three versions side by side, store them together. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, chord, currentTask, Dyrygent, group, task } from "nats-dyrygent";

/** Grey values, line by line. Pixels of real size are too big for a message: they go to the object store by themselves. */
type Image = { name: string; width: number; pixels: number[] };

const fetchImage = task(
  "image.fetch",
  { timeout: "30s", retry: { max: 4, base: "10ms", cap: "1m", on: ["NetworkError"] } },
  (name: string): Image => {
    if (currentTask().attempt < 3) {
      throw Object.assign(new Error("connection reset"), { name: "NetworkError" });
    }
    return { name, width: 4, pixels: Array.from({ length: 16 }, (_, i) => i * 16) };
  },
);
const half = task("image.half", ({ name, width, pixels }: Image): Image => {
  const kept = (_: number, i: number) => i % 2 === 0 && Math.floor(i / width) % 2 === 0;
  return { name: `${name}-half`, width: width / 2, pixels: pixels.filter(kept) };
});
const negative = task("image.negative", ({ name, width, pixels }: Image): Image => {
  return { name: `${name}-negative`, width, pixels: pixels.map((grey) => 255 - grey) };
});
const stored = new Map<string, Image>();
const store = task("image.store", (versions: Image[]) => {
  // Named by what it is, not by when: an attempt that is made again writes the same.
  for (const image of versions) stored.set(image.name, image);
  return versions.map(({ name, width, pixels }) => `${name} ${width}x${pixels.length / width}`);
});
const index = task("image.index", (pages: string[][]) => pages.flat());

const pipeline = (name: string) =>
  chain(
    fetchImage.s(name),
    group([half.s(), negative.s(), chain(half.s(), negative.s())]),
    store.s(),
  );

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_images" });
const worker = app.worker({ tasks: [fetchImage, half, negative, store, index] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);
const run = await app.submit(chord(["cat", "dog"].map(pipeline), index.s()));
console.log((await run.result()).join("\n"));
console.log((await run.attempts(0)).map(({ state }) => state).join(", "));
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// cat-half 2x2
// cat-negative 4x4
// cat-half-negative 2x2
// dog-half 2x2
// dog-negative 4x4
// dog-half-negative 2x2
// FAILURE, FAILURE, SUCCESS
