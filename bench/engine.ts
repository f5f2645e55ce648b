/** The engine under measurement, on connections of its own: processor and worker in this process or in others. */
import { Dyrygent, type Run, type WorkerOptions } from "nats-dyrygent";
import { Member, SLOTS } from "./member.ts";
import { patiently, type Place } from "./place.ts";
import { chainOf, onTask, tasks } from "./shapes.ts";

export type Submittable = Parameters<Dyrygent["submit"]>[0];

export interface EngineOptions {
  readonly namespace?: string;
  /** Where it is. @default "here" */
  readonly worker?: "here" | "apart";
  readonly processor?: "here" | "apart";
  readonly slots?: Pick<WorkerOptions, "concurrency" | "prefetch">;
}

export class Engine implements AsyncDisposable {
  readonly app: Dyrygent;
  /** Absent when it is in this process. */
  readonly processor: Member | undefined;
  /** In the order in which they were started. */
  readonly #owned: readonly AsyncDisposable[];

  private constructor(
    app: Dyrygent,
    processor: Member | undefined,
    owned: readonly AsyncDisposable[],
  ) {
    this.app = app;
    this.processor = processor;
    this.#owned = owned;
  }

  static async open(place: Place, options: EngineOptions = {}): Promise<Engine> {
    const { namespace = "engine", slots = SLOTS } = options;
    const owned: AsyncDisposable[] = [];
    const open = { namespace, replicas: place.replicas };
    const nc = await place.connect();
    const app = await patiently(() => Dyrygent.open(nc, open));
    if (options.worker === "apart") {
      owned.push(await Member.start(place, { is: "worker", namespace }));
    } else {
      const own = await Dyrygent.open(await place.connect(), open);
      const worker = own.worker({ tasks, ...slots });
      owned.push(worker);
      await worker.start();
    }
    if (options.processor !== "apart") {
      const processor = app.processor();
      owned.push(processor);
      await processor.start();
      return new Engine(app, undefined, owned);
    }
    const processor = await Member.start(place, { is: "processor", namespace });
    owned.push(processor);
    return new Engine(app, processor, owned);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#owned) await one[Symbol.asyncDispose]();
  }

  /** @returns tasks a second, from submit to end. */
  async rate(workflow: Submittable, size: number): Promise<number> {
    const start = performance.now();
    const run: Run = await this.app.submit(workflow);
    await run.ended();
    return size / (performance.now() - start) * 1_000;
  }

  /** @returns milliseconds between the beginnings of a chain's tasks; its worker must be here. */
  async hops(n: number): Promise<number[]> {
    const began: number[] = [];
    onTask.began = () => void began.push(performance.now());
    try {
      const run = await this.app.submit(chainOf(n));
      await run.ended();
    } finally {
      onTask.began = () => {};
    }
    return began.slice(1).map((at, i) => at - began[i]!);
  }
}
