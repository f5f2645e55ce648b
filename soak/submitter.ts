/** The soak's client: keeps a bounded number of workflows under way, and sees each through to its end. */
import type { Dyrygent, Run } from "nats-dyrygent";
import { type Job, jobs, scheduledWorkflow } from "./workload.ts";

export interface SubmitterOptions {
  readonly seed: number;
  readonly size: number;
  /** Workflows at the same time. */
  readonly underWay: number;
}

/** Longer than any workflow here should take, milliseconds. */
const LIMIT_MS = 120_000;

export class Submitter {
  readonly #app: Dyrygent;
  readonly #jobs: Generator<Job, never>;
  readonly #underWay: number;

  constructor(app: Dyrygent, { seed, size, underWay }: SubmitterOptions) {
    this.#app = app;
    this.#jobs = jobs(seed, size);
    this.#underWay = underWay;
  }

  /** Submits `count` workflows, and occurrences of a schedule beside them. Resolves when all have ended. */
  async submit(count: number): Promise<void> {
    let left = count;
    const follow = async () => {
      while (left-- > 0) await this.#conduct(this.#jobs.next().value);
    };
    const schedule = await this.#app.schedule("every", { every: "1s" }, scheduledWorkflow());
    try {
      await Promise.all(Array.from({ length: Math.min(count, this.#underWay) }, follow));
    } finally {
      await schedule.remove();
    }
  }

  async #conduct({ shape, workflow, seeThrough }: Job): Promise<void> {
    const begun = performance.now();
    const run = await this.#app.submit(workflow);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      const fail = () => reject(new Error(`it did not end within ${LIMIT_MS / 1_000} s`));
      timer = setTimeout(fail, LIMIT_MS);
    });
    try {
      await Promise.race([seeThrough(run as Run), late]);
    } catch (cause) {
      const afterMs = Math.round(performance.now() - begun);
      throw new Error(`run ${run.id} (${shape}, after ${afterMs} ms): ${cause}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }
}
