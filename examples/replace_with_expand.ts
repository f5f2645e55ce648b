/** A task looks at its work, and returns the canvas that does it: that takes the task's place (Celery's `replace`). */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chain, chord, Dyrygent, expand, type Expansion, task } from "nats-dyrygent";

const resize = task("resize", (image: string, width: number) => `${image}@${width}`);
const zip = task("zip", (files: string[]) => files.join("+"));
const thumbnails = task("thumbnails", (image: string) => {
  if (image.endsWith(".svg")) return image; // Nothing to do: a result like any other.
  return expand(chord([80, 160, 320].map((width) => resize.s(image, width)), zip.s()));
});
const upload = task("upload", (file: string) => `uploaded ${file}`);

/** May expand again, as often as it likes, 32 deep. Such a task needs its type written down. */
const countdown = task("countdown", (from: number): string | Expansion<string> => {
  return from === 0 ? "lift-off" : expand(countdown.s(from - 1));
});

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_expand" });
const worker = app.worker({ tasks: [resize, zip, thumbnails, upload, countdown] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

for (const image of ["cat.png", "logo.svg"]) {
  const run = await app.submit(chain(thumbnails.s(image), upload.s()));
  console.log(await run.result());
}
console.log(await (await app.submit(countdown.s(3))).result());

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// uploaded cat.png@80+cat.png@160+cat.png@320
// uploaded logo.svg
// lift-off
