/**
 * The task messages of one workflow: what is ready to be sent, and what was sent and has no outcome yet. It sends as many as
 * the window allows. Which attempts are still to be made, its conductor says.
 */
import type { Definition } from "../core/definition.ts";
import type { NodeEffect } from "../core/fact.ts";
import type { LanePolicy } from "../core/lanes.ts";
import type { OutcomeNote } from "../core/records.ts";
import type { Scheduler } from "../core/scheduler.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Ports, TaskAddress } from "../ports.ts";
import { atMost } from "../runs/time.ts";
import { InFlight, type OnItsWay, type Sent } from "./in_flight.ts";
import type { Waiting } from "./in_queue.ts";
import type { Instrumentation } from "./instrumentation.ts";
import type { LoadedWorkflow } from "./load.ts";
import { timeoutOf } from "./overdue.ts";
import { Ready } from "./ready.ts";
import { Routes } from "./routes.ts";
import { TaskMessages } from "./task_messages.ts";
import { Window } from "./window.ts";

type Dispatch = NodeEffect & { is: "dispatch" };

export interface OutboxOptions {
  /** Limits of whole queues, by name; for nodes without a limit of their own. */
  readonly queues: ReadonlyMap<string, LanePolicy>;
  /** Task messages of one workflow in the queue at once. */
  readonly window: number;
}

/** What it asks of its conductor. */
export interface OutboxOwner {
  /** How the workflow stands: another object after the log was read anew. */
  readonly scheduler: () => Scheduler;
  /** Whether this attempt is still to be made. */
  readonly isOpen: (node: number, attempt: number) => boolean;
  /** A write that is under way. */
  readonly follow: (write: Promise<unknown>, onDone?: () => void) => void;
  /** It was sent, and may begin until then; milliseconds since 1970. */
  readonly onExpiring: (node: number, attempt: number, expiresAt: number) => void;
  /** Its signature cannot be read. */
  readonly onUnreadable: (node: number, attempt: number) => void;
}

/** Requests to the server at once. */
const BATCH = 256;
/** A message that was sent has arrived by then, if all is well. */
const ARRIVES_MS = 1_000;

export class Outbox {
  readonly #ports: Ports;
  readonly #workflow: string;
  readonly #definition: Definition;
  readonly #owner: OutboxOwner;
  readonly #instruments: Instrumentation | undefined;
  /** What the workflow was submitted in, for its task messages. */
  readonly #trace: TraceContext | undefined;
  readonly #messages: TaskMessages;
  readonly #routes: Routes;
  readonly #window: Window;
  readonly #ready = new Ready<Dispatch>();
  readonly #inFlight = new InFlight();

  constructor(
    ports: Ports,
    workflow: string,
    { definition, submittedAt, trace }: LoadedWorkflow,
    { queues, window }: OutboxOptions,
    instruments: Instrumentation | undefined,
    owner: OutboxOwner,
  ) {
    this.#ports = ports;
    this.#workflow = workflow;
    this.#definition = definition;
    this.#owner = owner;
    this.#instruments = instruments;
    this.#trace = trace;
    this.#messages = new TaskMessages(definition, submittedAt, ports.maxRecord);
    this.#routes = new Routes(workflow, definition, queues);
    this.#window = new Window(Math.min(window, definition.maxParallel ?? Infinity));
  }

  /** How many messages were sent and have no outcome. */
  get size(): number {
    return this.#inFlight.size;
  }

  /** Nothing is ready that could be sent now. */
  get isBlocked(): boolean {
    return this.#ready.isEmpty || this.#inFlight.size >= this.#window.size;
  }

  /** A node's result, for the messages of those that take it. */
  keep(node: number, result: Uint8Array): void {
    this.#messages.keep(node, result);
  }

  push(effect: Dispatch): void {
    this.#ready.push(effect);
  }

  /** Sends what is ready, as far as the window allows. */
  pump(): void {
    while (!this.isBlocked) {
      const { node, attempt, expiresAt } = this.#ready.shift()!;
      if (this.#isToSend(node, attempt)) this.send(node, attempt, expiresAt);
    }
  }

  /** Sends it whatever the window says; in place of what was sent of this node before. */
  send(node: number, attempt: number, expiresAt: number | undefined): void {
    const message = this.#messages.write(node, attempt, this.#owner.scheduler(), expiresAt);
    if (message === undefined) return this.#owner.onUnreadable(node, attempt);
    const address = this.#routes.addressOf(node, attempt);
    const { clock } = this.#ports;
    const sent: Sent = {
      attempt,
      lane: address.lane,
      at: clock.monotonic(),
      confirmedAt: undefined,
      expiresAt,
      freedAt: this.#instruments?.freedAt,
    };
    this.#inFlight.add(node, sent);
    if (expiresAt !== undefined) this.#owner.onExpiring(node, attempt, expiresAt);
    const most = this.#routes.limitOf(node)?.max;
    sent.published = this.#publish(address, message, most);
    this.#owner.follow(sent.published, () => sent.confirmedAt = clock.monotonic());
  }

  #publish(address: TaskAddress, message: Uint8Array, most?: number): Promise<unknown> {
    const { tasks } = this.#ports;
    return this.#instruments === undefined
      ? tasks.publish(address, message, most, this.#trace)
      : this.#instruments.dispatch(
        address,
        (trace) => tasks.publish(address, message, most, trace),
      );
  }

  /** What another conductor has sent, and the server has. @param expiryOf of a node that is open. */
  adopt(queued: readonly TaskAddress[], expiryOf: (node: number) => number | undefined): void {
    const at = this.#ports.clock.monotonic();
    for (const { node, attempt, lane } of queued) {
      if (!this.#isToSend(node, attempt)) continue;
      this.#inFlight.add(node, { attempt, lane, at, confirmedAt: at, expiresAt: expiryOf(node) });
    }
  }

  /** Still to be made, and not sent from here. */
  #isToSend(node: number, attempt: number): boolean {
    return this.#owner.isOpen(node, attempt) && this.sent(node, attempt) === undefined;
  }

  /** What was sent of this attempt. */
  sent(node: number, attempt: number): Sent | undefined {
    return this.#inFlight.get(node, attempt);
  }

  /** What was sent of this attempt, and where it is queued. */
  waitingFor(node: number, attempt: number): Waiting | undefined {
    const sent = this.sent(node, attempt);
    return sent === undefined ? undefined : this.#waiting(node, attempt, sent.lane);
  }

  /** All that the server had at `before`, monotonic milliseconds. */
  waitingSince(before: number): Waiting[] {
    return [...this.#inFlight.confirmedBy(before)]
      .map(({ node, attempt, lane }) => this.#waiting(node, attempt, lane));
  }

  /** All that was sent; undefined: some may not have arrived yet, or may have to be given up whatever is recorded. */
  lasting(): Waiting[] | undefined {
    const waiting: Waiting[] = [];
    for (const { node, attempt, lane, expiresAt } of this.#inFlight.confirmedBy(Infinity)) {
      if (expiresAt !== undefined || timeoutOf(this.#definition, node) !== undefined) {
        return undefined;
      }
      waiting.push(this.#waiting(node, attempt, lane));
    }
    return waiting.length < this.#inFlight.size ? undefined : waiting;
  }

  #waiting(node: number, attempt: number, lane: string): Waiting {
    const address = this.#routes.addressOf(node, attempt, lane);
    return { address, most: this.#routes.limitOf(node)?.max };
  }

  /** There is an outcome of this attempt. A limited one waits for its limit, whatever the workers do. */
  take(node: number, attempt: number, outcome: OutcomeNote | undefined): void {
    const sent = this.#inFlight.take(node, attempt);
    if (sent === undefined) return;
    this.#instruments?.arrived(sent, outcome);
    if (outcome === undefined || this.#routes.limitOf(node) !== undefined) return;
    const tookMs = this.#ports.clock.monotonic() - sent.at;
    this.#window.onWaited(tookMs - (outcome.endedAt - outcome.startedAt));
  }

  /** After the log was read anew: what is ready is said again. @returns what is on its way, and may not run any more. */
  restart(): OnItsWay[] {
    this.#ready.clear();
    return this.#inFlight.keep(this.#owner.isOpen);
  }

  /**
   * Takes back messages whose node may not run any more. One that is on its way is taken back when it has arrived; a full
   * stream lets it wait for long, and the end of the run does not wait with it.
   */
  async withdrawStale(onTheirWay: readonly OnItsWay[]): Promise<void> {
    const { tasks, clock } = this.#ports;
    const late = onTheirWay.map(async ({ node, attempt, published }) => {
      await published;
      await tasks.withdraw(this.#workflow, node, attempt);
    });
    for (const withdrawal of late) this.#owner.follow(withdrawal);
    await atMost(clock, ARRIVES_MS, Promise.allSettled(late));
    const queued = await tasks.list(this.#workflow);
    const stale = queued.filter(({ node, attempt }) => !this.#owner.isOpen(node, attempt));
    for (let i = 0; i < stale.length; i += BATCH) {
      await Promise.all(
        stale.slice(i, i + BATCH).map(({ node }) => tasks.withdraw(this.#workflow, node)),
      );
    }
  }
}
