/**
 * The engine on the memory adapter, in virtual time: workers and processors on ports that a test makes lose something, or
 * let something happen in between. Never waits in real time.
 */
import { setImmediate } from "node:timers";
import { Run } from "../src/client/run.ts";
import { submit } from "../src/client/submit.ts";
import type { AnyTask } from "../src/core/task.ts";
import type { Workflow } from "../src/core/workflow.ts";
import { VirtualClock } from "../src/memory/clock.ts";
import { memoryPorts } from "../src/memory/open.ts";
import { SeededRandom } from "../src/memory/random.ts";
import type { Ports } from "../src/ports.ts";
import { Processor } from "../src/processor/processor.ts";
import { Worker } from "../src/worker/worker.ts";

/** What has not come by then never will. */
const LONGEST_MS = 2 * 3_600_000;

export class VirtualEngine {
  readonly clock = new VirtualClock();
  readonly ports: Ports = memoryPorts({
    clock: this.clock,
    random: new SeededRandom(1),
    log: () => {},
  });

  /** @param ports its own, where they are not those of all. */
  async processor(ports: Ports = this.ports): Promise<Processor> {
    const processor = new Processor(ports, { sweep: "30d" }, { isAnnounced: false });
    await processor.start();
    return processor;
  }

  async worker(tasks: readonly AnyTask[], queues: readonly string[] = ["default"]): Promise<void> {
    await new Worker(this.ports, { tasks, queues }, { isAnnounced: false }).start();
  }

  async submit(workflow: Workflow, id = "run"): Promise<Run> {
    await submit(this.ports, workflow, { id, unknownTasks: "ignore" });
    return new Run(this.ports, id);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve));
  }

  /** Lets time pass, and everything happen that is due in it. */
  async pass(ms: number): Promise<void> {
    await this.until(`${ms} ms are over`, this.sleep(ms));
  }

  /** Lets time pass until `come` is settled. */
  async until<T>(what: string, come: Promise<T>): Promise<T> {
    let isSettled = false;
    const settle = () => void (isSettled = true);
    come.then(settle, settle);
    for (const last = this.clock.monotonic() + LONGEST_MS;;) {
      await turn();
      if (isSettled) return await come;
      if (this.clock.monotonic() > last || !this.clock.fireNext()) {
        throw new Error(`it never comes that ${what}`);
      }
    }
  }
}

/** What the server tells of facts with this in their keys gets lost. */
export function deaf(ports: Ports, lost: string): Ports {
  const onFact: Ports["hints"]["onFact"] = (filter, call) =>
    ports.hints.onFact(filter, (hint) => hint.key.includes(lost) || call(hint));
  return { ...ports, hints: overriding(ports.hints, { onFact }) };
}

/** The same port, but for these methods. */
export function overriding<Port extends object>(port: Port, methods: Partial<Port>): Port {
  return new Proxy(port, {
    get: (target, name) => {
      const value = name in methods ? methods[name as keyof Port] : target[name as keyof Port];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Lets everything happen that needs no time. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
