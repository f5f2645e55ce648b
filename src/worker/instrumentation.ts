/**
 * What a worker tells of its attempts, where there is telemetry: how long they waited and how they went. The handler runs
 * inside of its span. Decides nothing.
 */
import type { Reading } from "../core/metrics.ts";
import type { Codec } from "../core/sealing.ts";
import type { Ports } from "../ports.ts";
import type { Ongoing, Telemetry } from "../telemetry.ts";
import type { Executed } from "./execution.ts";
import type { InHand } from "./in_hand.ts";
import type { Verdict } from "./verdict.ts";

export class Instrumentation {
  readonly #telemetry: Telemetry;
  readonly #clock: Ports["clock"];
  readonly #codec: Codec | undefined;
  readonly #workerId: string;

  /** Undefined where nobody is told. */
  static of(ports: Ports, workerId: string): Instrumentation | undefined {
    const { telemetry } = ports;
    return telemetry === undefined ? undefined : new Instrumentation(telemetry, ports, workerId);
  }

  private constructor(telemetry: Telemetry, { clock, codec }: Ports, workerId: string) {
    this.#telemetry = telemetry;
    this.#clock = clock;
    this.#codec = codec;
    this.#workerId = workerId;
  }

  /** Its handler is about to be called. */
  begin(held: InHand, { address, message, signature }: Verdict & { is: "run" }): Ongoing {
    const { task } = held;
    const attempted = {
      run: address.workflow,
      workflow: message.workflow.workflowName,
      parent: task.trace ?? "none",
      node: address.node,
      attempt: address.attempt,
      queue: address.queue,
      lane: address.lane,
      task: signature.task,
    } as const;
    // Since when it waits again after somebody had begun it, nobody knows.
    if (!held.isBegunAgain) {
      const now = this.#clock.now();
      // The server's clock may be ahead of this one.
      const since = Math.min(now, Number(task.sentNs) / 1e6);
      const { queue } = address;
      this.#telemetry.measure({ is: "waited", queue, task: signature.task, ms: now - since });
      this.#telemetry.begin({ ...attempted, is: "wait", since }).end({ outcome: "begun" });
    }
    const { deliveries } = task;
    const worker = this.#workerId;
    return this.#telemetry.begin({ ...attempted, is: "execute", worker, deliveries });
  }

  /** This worker is done with it. */
  end(held: InHand, verdict: Verdict & { is: "run" | "fail" }, executed: Executed): void {
    const failure = executed.is === "failed" ? executed.failure : undefined;
    const shown = this.#codec === undefined ? failure : failure && { name: failure.name };
    held.span?.end({ outcome: executed.is, ...(shown === undefined ? {} : { failure: shown }) });
    held.span = undefined;
    this.#telemetry.measure({
      is: "attempted",
      queue: verdict.address.queue,
      task: verdict.is === "run" ? verdict.signature.task : undefined,
      outcome: executed.is,
      error: failure?.name,
      ms: this.#clock.now() - held.startedAt!,
    });
  }

  /** Says what runs, whenever that is asked for. */
  observe(inHand: Iterable<InHand>): () => void {
    return this.#telemetry.observe(() => Promise.resolve([...runningIn(inHand)]));
  }
}

function* runningIn(inHand: Iterable<InHand>): Iterable<Reading> {
  for (const { span, attempt, task: { address } } of inHand) {
    if (span === undefined || attempt === undefined || address === undefined) continue;
    yield { is: "running", queue: address.queue, task: attempt.taskName, count: 1 };
  }
}
