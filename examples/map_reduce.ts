/** Map and reduce over the files of a folder: a node for each file that turns up, and one for what they give together. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { currentTask, Dyrygent, task, Workflow } from "nats-dyrygent";

type Counts = Record<string, number>;

/** Workers share the folder: what travels are names and counts, not the files. */
const listFiles = task("files.list", async (folder: string) => {
  return (await readdir(folder)).sort().map((name) => join(folder, name));
});
const countStatus = task("status.count", { retry: { max: 2, base: 10 } }, async (file: string) => {
  // Each file is a node of its own: only this one is tried again.
  if (file.endsWith("b.log") && currentTask().attempt === 1) throw new Error("the disk is busy");
  const counts: Counts = {};
  for (const line of (await readFile(file, "utf8")).trim().split("\n")) {
    const status = line.split(" ")[1]!;
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
});
const merge = task("status.merge", (all: Counts[]) => {
  const total: Counts = {};
  for (const [status, n] of all.flatMap((counts) => Object.entries(counts))) {
    total[status] = (total[status] ?? 0) + n;
  }
  return total;
});

const wf = new Workflow("status-codes");
const counts = wf.map(countStatus, wf.call(listFiles, wf.input<string>())).named("counts");
const done = wf.output(wf.call(merge, counts));

const folder = await mkdtemp(join(tmpdir(), "logs-")); // Your folder of access logs.
for (const [name, errors] of [["a", 1], ["b", 3], ["c", 0]] as const) {
  const lines = Array.from({ length: 1_000 }, (_, i) => `GET ${i < errors ? 500 : 200} /${i}`);
  await writeFile(join(folder, `${name}.log`), lines.join("\n"));
}

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_map_reduce" });
const worker = app.worker({ tasks: [listFiles, countStatus, merge] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);
const run = await app.submit(done, { input: folder });
console.log(JSON.stringify(await run.result()));
const child = app.run((await run.attempts("counts"))[0]!.run!); // It took the node's place.
console.log((await child.attempts(1)).map(({ state }) => state).join(", "));
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();
await rm(folder, { recursive: true });

// Output:
// {"200":2996,"500":4}
// FAILURE, SUCCESS
