/** One attempt of a node as its handler sees it. What few handlers ask for is only made when they do. */
import type { SignatureRecord } from "../core/definition.ts";
import type { TaskContext } from "../core/records.ts";
import type { TaskAddress } from "../ports.ts";
import type { CurrentTask } from "./current_task.ts";
import type { TaskLog, TaskLogger } from "./task_log.ts";

export class Attempt implements CurrentTask {
  readonly #address: TaskAddress;
  readonly #signature: SignatureRecord;
  readonly #workflow: TaskContext;
  readonly #tellProgress: (value: unknown) => void;
  readonly #openLog: () => TaskLog;
  #log: TaskLog | undefined;
  #controller: AbortController | undefined;
  #aborted: { readonly reason: Error } | undefined;

  constructor(
    address: TaskAddress,
    signature: SignatureRecord,
    workflow: TaskContext,
    tellProgress: (value: unknown) => void,
    openLog: () => TaskLog,
  ) {
    this.#address = address;
    this.#signature = signature;
    this.#workflow = workflow;
    this.#tellProgress = tellProgress;
    this.#openLog = openLog;
    // Handlers take it apart: const { progress } = currentTask().
    this.progress = this.progress.bind(this);
  }

  get workflowId(): string {
    return this.#address.workflow;
  }

  get workflowName(): string {
    return this.#workflow.workflowName;
  }

  get node(): number {
    return this.#address.node;
  }

  get taskName(): string {
    return this.#signature.task;
  }

  get queue(): string {
    return this.#address.queue;
  }

  get attempt(): number {
    return this.#address.attempt;
  }

  get nodeKey(): string {
    return `${this.workflowId}.${this.node}`;
  }

  get idempotencyKey(): string {
    return `${this.nodeKey}.${this.attempt}`;
  }

  get payload(): unknown {
    return this.#signature.payload;
  }

  get workflowPayload(): unknown {
    return this.#workflow.workflowPayload;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  progress(value: unknown): void {
    this.#tellProgress(value);
  }

  get log(): TaskLogger {
    return (this.#log ??= this.#openLog()).logger;
  }

  /** It logs no more. @returns what resolves when all it logged is written; undefined when that is so already. */
  endLog(): Promise<void> | undefined {
    return this.#log?.end();
  }

  /** Only the first reason counts. */
  abort(reason: Error): void {
    this.#aborted ??= { reason };
    this.#controller?.abort(reason);
  }

  /** Aborts, and does not wait for the handler any longer: this is how the attempt failed. */
  cutOff(reason: Error): void {
    this.abort(reason);
    this.onCutOff(reason);
  }

  /** Set by whoever waits for the handler. */
  onCutOff: (reason: Error) => void = () => {};
}
