/** What users attach to a processor. A hook never breaks a workflow: what it throws is logged. */
import { failureOf, type RunStatus } from "../core/records.ts";
import type { WorkflowState } from "../core/scheduler.ts";
import { type Codec, withReadablePayload } from "../core/sealing.ts";
import type { Log } from "../ports.ts";

/** Events of a processor: they are told by the processor that saw them, at least once for each workflow. */
export interface ProcessorEvents {
  /** A workflow is in another state. */
  stateChange: (workflow: RunStatus, state: WorkflowState) => unknown;
  /** A workflow was looked after: its tick came, or something of it was recorded after a quiet time. */
  activeTick: (workflow: RunStatus) => unknown;
  /** A workflow has ended; its terminal record is durable. */
  finish: (workflow: RunStatus) => unknown;
}

export class Hooks {
  readonly #log: Log;
  readonly #codec: Codec | undefined;
  /** With a codec, calls wait for their payload; they stay in order. */
  #last: Promise<unknown> = Promise.resolve();
  readonly #handlers: { [E in keyof ProcessorEvents]: Set<ProcessorEvents[E]> } = {
    stateChange: new Set(),
    activeTick: new Set(),
    finish: new Set(),
  };

  constructor(log: Log, codec: Codec | undefined) {
    this.#log = log;
    this.#codec = codec;
  }

  add<E extends keyof ProcessorEvents>(event: E, handler: ProcessorEvents[E]): () => void {
    this.#handlers[event].add(handler);
    return () => this.#handlers[event].delete(handler);
  }

  has(event: string): event is keyof ProcessorEvents {
    return Object.hasOwn(this.#handlers, event);
  }

  /** @param details are only worked out when somebody listens. */
  call<E extends keyof ProcessorEvents>(
    event: E,
    details: () => Parameters<ProcessorEvents[E]>,
  ): void {
    if (this.#handlers[event].size === 0) return;
    const args = details();
    if (this.#codec === undefined) return this.#callAll(event, args);
    const [status, ...more] = args as [RunStatus, ...unknown[]];
    this.#last = this.#last.then(async () =>
      this.#callAll(event, [await withReadablePayload(this.#codec, status), ...more])
    );
  }

  #callAll(event: keyof ProcessorEvents, args: readonly unknown[]): void {
    for (const handler of this.#handlers[event]) {
      void this.#callOne(event, () => (handler as (...args: unknown[]) => unknown)(...args));
    }
  }

  async #callOne(event: string, call: () => unknown): Promise<void> {
    try {
      await call();
    } catch (error) {
      this.#log("error", `a ${event} hook failed: ${failureOf(error).message}`, {
        event: "hook-failed",
        hook: event,
        error,
      });
    }
  }
}
