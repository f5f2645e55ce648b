/** Map and reduce over a list that is only known at run time: a node for each element, and one for what they give. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { currentTask, Dyrygent, task, Workflow } from "nats-dyrygent";

const books: Record<string, string> = {
  first: "a queue is a line of messages",
  second: "a stream is a line of messages that stay",
  third: "a line",
};

const listBooks = task("books.list", () => Object.keys(books));
const countWords = task("words.count", { retry: { max: 2, base: 10 } }, (book: string) => {
  // Each element is a node of its own: only this one is tried again.
  if (book === "second" && currentTask().attempt === 1) throw new Error("a page is stuck");
  const counts: Record<string, number> = {};
  for (const word of books[book]!.split(" ")) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
});
const merge = task("words.merge", (all: Record<string, number>[], least: number) => {
  const total: Record<string, number> = {};
  for (const counts of all) {
    for (const [word, count] of Object.entries(counts)) total[word] = (total[word] ?? 0) + count;
  }
  return Object.entries(total).filter(([, count]) => count >= least);
});

const wf = new Workflow("word-count");
const counts = wf.map(countWords, wf.call(listBooks)).named("counts");
const frequent = wf.call(merge, counts, 2);

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_map_reduce" });
const worker = app.worker({ tasks: [listBooks, countWords, merge] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

const run = await app.submit(wf.output(frequent), { id: "words" });
console.log(JSON.stringify(await run.result()));
const [attempt] = await run.attempts("counts");
const child = app.run(attempt!.run!); // The run that took the place of the node.
console.log(`${child.id}: ${(await child.status()).counts.SUCCESS} nodes`);
console.log((await child.attempts(1)).map(({ state }) => state).join(", "));

await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// [["a",5],["is",2],["line",3],["of",2],["messages",2]]
// words__1_1: 3 nodes
// FAILURE, SUCCESS
