/**
 * What a processor may send that has not heard of this round's control facts: hints may get lost, and until it reads the log it
 * goes on as if they were not there. It sends what was to be sent before, and what follows from it; no more.
 */
import { type Allowed, LogAudit } from "../src/core/audit.ts";
import type { Definition } from "../src/core/definition.ts";
import type { Control, Fact } from "../src/core/fact.ts";
import { LogReader } from "../src/core/recorded.ts";
import { Scheduler } from "../src/core/scheduler.ts";
import type { Stored } from "../src/ports.ts";

/** After these something may not be sent any more. */
const STOPPING: readonly Control["is"][] = ["cancel", "timeout", "skip", "pause"];

/** A log in its order, with what is allowed by it: by all of it, or by what somebody may have heard of it. */
export class WatchedLog {
  readonly audit: LogAudit;
  readonly #reader = new LogReader();
  readonly #facts: Fact[] = [];
  readonly #begin: () => Scheduler;
  /** As it is for whoever has heard of none of this round's control facts. */
  #unheard: Scheduler | undefined;
  #seq = 0;
  #round = 1;

  constructor(run: string, definition: Definition, submittedAt: number) {
    this.audit = new LogAudit(run, definition, submittedAt);
    this.#begin = () => {
      const scheduler = new Scheduler(definition, run, submittedAt);
      scheduler.begin();
      return scheduler;
    };
  }

  get allowed(): ReadonlyMap<string, Allowed> {
    return this.audit.allowed;
  }

  take(stored: Stored): void {
    this.#seq = stored.seq;
    this.audit.take(stored);
    const fact = this.#reader.take(stored);
    if (fact === undefined) return;
    this.#facts.push(fact);
    const { round } = this.audit.scheduler;
    if (round !== this.#round) {
      this.#round = round;
      this.#unheard = undefined;
    } else if (fact.is !== "control") this.#hear(fact);
    else if (STOPPING.includes(fact.control.is)) this.#unheard ??= this.#before();
    else this.#unheard?.apply(fact);
  }

  #before(): Scheduler {
    const scheduler = this.#begin();
    for (const fact of this.#facts.slice(0, -1)) scheduler.apply(fact);
    return scheduler;
  }

  #hear(fact: Fact): void {
    for (const effect of this.#unheard?.apply(fact) ?? []) {
      if (effect.is !== "dispatch") continue;
      const key = `${effect.node}.${effect.attempt}`;
      if (!this.allowed.has(key)) this.audit.allowed.set(key, { seq: this.#seq, is: "dispatch" });
    }
  }
}
