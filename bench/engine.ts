/** The engine under measurement: processor and worker in this process, each on its own connection, and the shapes it runs. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  chain,
  Dyrygent,
  type Processor,
  type Run,
  task,
  type Worker,
  type WorkerOptions,
  Workflow,
} from "nats-dyrygent";

const noop = task("noop", (_text?: unknown) => null);
const gather = task("gather", (results: unknown[]) => results.length);
/** Told about each call in this process. */
let onCounted = () => {};
const counted = task("counted", (_text: string) => {
  onCounted();
  return null;
});
/** Message bodies as large as the reference's. */
const TEXT = "x".repeat(120);

/** How a small workflow fares behind a huge one. */
export interface Fairness {
  /** Milliseconds that the small one took. */
  readonly tookMs: number;
  /** The share of the huge one's tasks that had ended when the small one had. */
  readonly share: number;
}

export class Engine {
  readonly #app: Dyrygent;
  readonly #worker: Worker;
  readonly #processor: Processor;

  private constructor(app: Dyrygent, worker: Worker, processor: Processor) {
    this.#app = app;
    this.#worker = worker;
    this.#processor = processor;
  }

  static async open(
    processorSide: NatsConnection,
    workerSide: NatsConnection,
    namespace: string,
    slots: Pick<WorkerOptions, "concurrency" | "prefetch"> = { concurrency: 500, prefetch: 500 },
  ): Promise<Engine> {
    const app = await Dyrygent.open(processorSide, { namespace });
    const worker = (await Dyrygent.open(workerSide, { namespace })).worker({
      tasks: [noop, gather, counted],
      ...slots,
    });
    const processor = app.processor();
    await worker.start();
    await processor.start();
    return new Engine(app, worker, processor);
  }

  async close(): Promise<void> {
    await this.#worker.stop();
    await this.#processor.stop();
  }

  /** @returns tasks a second, from submit to result, of `n` tasks side by side and one that waits for all. */
  async fan(n: number): Promise<number> {
    const wf = new Workflow("fan");
    const nodes = Array.from({ length: n }, () => wf.call(noop, TEXT));
    // Order only: how fast 10,000 results are gathered is another question.
    wf.call(gather, []).after(nodes);
    return this.#rate(wf, n + 1);
  }

  /** @returns tasks a second of a layered random graph. */
  async layered(nodes: number, random: () => number): Promise<number> {
    return this.#rate(layeredDag(nodes, random), nodes);
  }

  /** @returns milliseconds of each hop of a chain, from the log's own times. */
  async chain(n: number): Promise<number> {
    const run = await this.#app.submit(chain(Array.from({ length: n }, () => noop.si(TEXT))));
    const start = performance.now();
    await run.result();
    return (performance.now() - start) / n;
  }

  /** A chain of `hops` that is submitted while `n` tasks of another workflow, side by side, have just begun. */
  async fairness(n: number, hops: number): Promise<Fairness> {
    const huge = new Workflow("huge");
    for (let i = 0; i < n; i++) huge.call(counted, TEXT);
    let ended = 0;
    const underWay = new Promise<void>((resolve) => {
      onCounted = () => {
        ended++;
        resolve();
      };
    });
    const first = await this.#app.submit(huge);
    await underWay;
    const tookMs = await this.chain(hops) * hops;
    const share = ended / n;
    await first.ended();
    return { tookMs, share };
  }

  async #rate(wf: Workflow, tasks: number): Promise<number> {
    const start = performance.now();
    const run: Run = await this.#app.submit(wf);
    await run.ended();
    return tasks / (performance.now() - start) * 1_000;
  }
}

/** Layers of 500; each node waits for 1 to 5 nodes of the layer before. */
export function layeredDag(nodes: number, random: () => number): Workflow {
  const wf = new Workflow("layered");
  const width = 500;
  let layer: ReturnType<typeof add>[] = [];
  const add = () => wf.call(noop, TEXT);
  while (wf.size < nodes) {
    const next = Array.from({ length: Math.min(width, nodes - wf.size) }, () => {
      const node = add();
      for (let i = 0, most = 1 + Math.floor(random() * 5); i < most && layer.length > 0; i++) {
        node.after(layer[Math.floor(random() * layer.length)]!);
      }
      return node;
    });
    layer = next;
  }
  return wf;
}
