/**
 * What the soak runs: tasks, and workflows of every shape, each with what its submitter does while it runs. Shapes follow
 * from a seed. Knows neither server nor processes.
 */
import {
  type AnyTask,
  chain,
  currentTask,
  event,
  expand,
  FatalTaskError,
  group,
  type Node,
  NotFoundError,
  type Run,
  task,
  Workflow,
} from "nats-dyrygent";
import { seeded } from "../bench/statistics.ts";

/** A workflow, and how it is seen through to its end. */
export interface Job {
  readonly shape: string;
  readonly workflow: Workflow;
  readonly seeThrough: (run: Run) => Promise<unknown>;
}

/** Larger than a record: results of this many bytes are blobs. */
const BLOB_BYTES = 1_100_000;
const FAST_RETRIES = { max: 3, backoff: "fixed", base: "10ms", jitter: false } as const;

export function later(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const work = task("work", (..._inputs: unknown[]): number => 1);
const flaky = task("flaky", { retry: FAST_RETRIES }, (fails: number): number => {
  if (currentTask().attempt > fails) return fails;
  throw new Error("as planned");
});
const broken = task("broken", (..._inputs: unknown[]): number => {
  throw new FatalTaskError("as planned");
});
const slow = task("slow", async (ms: number): Promise<number> => {
  const { signal, progress } = currentTask();
  progress(0);
  await Promise.race([
    later(ms),
    new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true })),
  ]);
  return ms;
});
const stuck = task(
  "stuck",
  { timeout: "100ms", retry: { max: 1, base: "10ms" } },
  (): Promise<number> => new Promise(() => {}),
);
const list = task(
  "list",
  (length: number): number[] => Array.from({ length }, (_, i) => i),
);
const big = task("big", (bytes: number): string => "x".repeat(bytes));
const grow = task("grow", (depth: number): unknown => {
  const next = depth > 1 ? [grow.si(depth - 1)] : [];
  return expand(chain([group([work.si(1), work.si(2)]), ...next]));
});
const tell = task("tell", (_about: unknown): null => null);

const TASKS: readonly AnyTask[] = [work, flaky, broken, slow, stuck, list, big, grow, tell];

/** The tasks, for a worker. @param onRun is called when one begins. */
export function countedTasks(onRun: () => void): AnyTask[] {
  return TASKS.map((known) => {
    const run = known as unknown as (...args: unknown[]) => unknown;
    return task(known.taskName, (...args: unknown[]) => {
      onRun();
      return run(...args);
    });
  });
}

/** What needs nobody to see it through. */
export function scheduledWorkflow(): Workflow {
  const wf = new Workflow("scheduled");
  wf.call(work, wf.call(work));
  return wf;
}

/** Endless. @param size tasks that a workflow has, more or less. */
export function* jobs(seed: number, size: number): Generator<Job, never> {
  const random = seeded(seed);
  const shapes = Object.entries(SHAPES).flatMap(([name, { often }]) => Array(often).fill(name));
  for (let n = 0;; n++) {
    const shape: string = shapes[Math.floor(random() * shapes.length)]!;
    const most = Math.max(4, Math.round(size * (0.5 + random())));
    const workflow = new Workflow(shape, { payload: { n } });
    const seeThrough = SHAPES[shape]!.make(workflow, most, n) ?? ((run: Run) => run.ended());
    yield { shape, workflow, seeThrough };
  }
}

interface Shape {
  /** Among how many. */
  readonly often: number;
  /** Builds it, of about `size` tasks. @returns how to see it through, if not just until it ends. */
  readonly make: (wf: Workflow, size: number, n: number) => Job["seeThrough"] | void;
}

const SHAPES: Readonly<Record<string, Shape>> = {
  chain: {
    often: 10,
    make: (wf, size) => void wf.add(chain(times(size, () => work.si()))),
  },
  fan: {
    often: 20,
    make: (wf, size) => void wf.call(work).after(times(3 * size, (i) => wf.call(work, i))),
  },
  diamonds: {
    often: 12,
    make: (wf, size) => {
      let end: Node = wf.call(work, 0);
      for (let n = 0; n < size; n += 5) {
        end = wf.call(work, times(4, () => wf.call(work, end)));
      }
    },
  },
  retries: {
    often: 8,
    make: (wf, size) => void times(size, (i) => wf.call(flaky, i % 3)),
  },
  map: {
    often: 12,
    make: (wf, size) => void wf.call(work, wf.map(work, wf.call(list, 2 * size))),
  },
  nested: {
    often: 4,
    make: (wf) => {
      const inner = new Workflow("inner");
      inner.call(work, inner.input());
      wf.call(work, wf.run(inner, wf.call(grow, 3)));
    },
  },
  timers: {
    often: 6,
    make: (wf, size) => {
      const waits = times(Math.min(size, 20), (i) => wf.call(work).set({ countdown: 20 * i + 10 }));
      const told = wf.waitFor(event<number>("told"));
      const never = wf.waitFor(event<number>("never"), { timeout: "300ms" }).optional();
      wf.call(work, told).after([...waits]).after(never, { on: "done" });
      return (run) => run.send<number>("told", 1).then(() => run.ended());
    },
  },
  timeouts: {
    often: 3,
    make: (wf) => {
      wf.call(stuck);
      wf.call(work).set({ expires: "1m", timeout: "10s" });
      wf.finally(tell.s());
    },
  },
  cancelled: {
    often: 6,
    make: (wf, size) => {
      const slows = times(Math.min(size, 40), () => wf.call(slow, 200));
      wf.call(work, wf.map(slow, [200, 200])).after(slows);
      wf.finally(tell.s());
      return (run) => later(60).then(() => run.cancel("as planned")).then(() => run.ended());
    },
  },
  paused: {
    often: 4,
    make: (wf, size) => {
      wf.add(chain(times(Math.min(size, 30), () => slow.si(5))));
      return async (run) => {
        await later(20);
        await run.pause();
        await later(50);
        await run.resume();
        await run.ended();
      };
    },
  },
  failed: {
    often: 6,
    make: (wf, size) => {
      const undone = times(Math.min(size, 20), () => wf.call(work).compensate(tell.s()));
      wf.call(broken).after(undone);
      wf.onError(tell.s());
      wf.finally(tell.s());
      return async (run) => {
        await run.ended();
        await run.retryFailed().then(() => run.ended()).catch((error) => {
          // On a busy machine its retention may be over by now.
          if (!(error instanceof NotFoundError)) throw error;
        });
      };
    },
  },
  blobs: {
    often: 2,
    make: (wf) => {
      const data = wf.call(big, BLOB_BYTES);
      for (let i = 0; i < 3; i++) wf.call(work, data);
    },
  },
  watched: {
    often: 4,
    make: (wf, size) => {
      wf.add(chain(times(Math.min(size, 50), () => slow.si(1))));
      return async (run) => {
        for await (const { is } of run.watch()) void is;
      };
    },
  },
  limited: {
    often: 5,
    make: (wf, size, n) => {
      // Each has keys of its own, as if they were made of its tenant.
      const key = `tenant${n}`;
      times(size, () => wf.call(work).set({ concurrency: { key, max: 8 } }));
      const rateLimit = { key, max: 200, per: "1s" } as const;
      times(5, () => wf.call(work).set({ rateLimit }));
    },
  },
  priorities: {
    often: 4,
    make: (wf, size) => void times(size, (i) => wf.call(work).set({ priority: i % 10 })),
  },
};

function times<T>(count: number, make: (i: number) => T): T[] {
  return Array.from({ length: count }, (_, i) => make(i));
}
