/** The engine under measurement: processor and worker in this process, each on its own connection, and the shapes it runs. */
import type { NatsConnection } from "@nats-io/nats-core";
import {
  chain,
  Dyrygent,
  type Processor,
  type Run,
  task,
  type Worker,
  Workflow,
} from "nats-dyrygent";

const noop = task("noop", (_text?: unknown) => null);
const gather = task("gather", (results: unknown[]) => results.length);
/** Message bodies as large as the reference's. */
const TEXT = "x".repeat(120);

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
  ): Promise<Engine> {
    const app = await Dyrygent.open(processorSide, { namespace });
    const worker = (await Dyrygent.open(workerSide, { namespace })).worker({
      tasks: [noop, gather],
      concurrency: 500,
      prefetch: 500,
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
