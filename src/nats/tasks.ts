/**
 * The queue of task messages. Every priority of a queue is a lane: a subject of its own and a durable consumer that all
 * workers share, made when it is first used. Whoever queues into a new lane tells the workers.
 */
import type { NatsConnection } from "@nats-io/nats-core";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Clock, Intake, Log, TaskAddress, TaskDelivery, Tasks } from "../ports.ts";
import { DEFAULT_PRIORITY } from "../core/options.ts";
import { CODE, translate } from "./errors.ts";
import { Lanes } from "./lanes.ts";
import {
  type Lane,
  laneConsumer,
  laneOf,
  type Names,
  parseLaneConsumer,
  parseTaskSubject,
  taskSubject,
} from "./names.ts";
import type { Requests } from "./requests.ts";
import { ensureConsumer, laneConfig } from "./setup.ts";

export class NatsTasks implements Tasks {
  readonly #nc: NatsConnection;
  readonly #jsm: JetStreamManager;
  readonly #requests: Requests;
  readonly #names: Names;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Lanes that are being made. */
  readonly #opening = new Map<string, Promise<void>>();
  /** Lanes known to be there. */
  readonly #open = new Set<string>();
  readonly leaseMs: number;

  constructor(
    nc: NatsConnection,
    jsm: JetStreamManager,
    requests: Requests,
    names: Names,
    clock: Clock,
    log: Log,
    leaseMs: number,
  ) {
    this.#nc = nc;
    this.#jsm = jsm;
    this.#requests = requests;
    this.#names = names;
    this.#clock = clock;
    this.#log = log;
    this.leaseMs = leaseMs;
  }

  publish(address: TaskAddress, data: Uint8Array): Promise<"created" | "exists"> {
    const lane = laneOf(address.priority);
    const subject = taskSubject(this.#names, address);
    if (this.#open.has(laneConsumer(address.queue, lane))) {
      return this.#requests.publishOnce("queue a task", subject, data);
    }
    return this.#openLane(address.queue, lane, { tell: true })
      .then(() => this.#requests.publishOnce("queue a task", subject, data));
  }

  async withdraw(workflow: string, node?: number): Promise<void> {
    const filter = `${this.#names.taskPrefix}*.*.${workflow}.${
      node === undefined ? ">" : `${node}.*`
    }`;
    try {
      await this.#jsm.streams.purge(this.#names.tasksStream, { filter });
    } catch (error) {
      throw translate(`withdraw the tasks of ${workflow}`, error);
    }
  }

  async has(address: TaskAddress): Promise<boolean> {
    const { error } = await this.#requests.json<
      { error?: { err_code?: number; description?: string } }
    >(
      "look for a task",
      `$JS.API.STREAM.MSG.GET.${this.#names.tasksStream}`,
      { last_by_subj: taskSubject(this.#names, address) },
    );
    if (error !== undefined && error.err_code !== CODE.messageNotFound) {
      throw translate("look for a task", new Error(error.description));
    }
    return error === undefined;
  }

  async list(workflow: string): Promise<TaskAddress[]> {
    const { tasksStream, taskPrefix } = this.#names;
    try {
      const { state } = await this.#jsm.streams.info(tasksStream, {
        subjects_filter: `${taskPrefix}*.*.${workflow}.>`,
      });
      return Object.keys(state.subjects ?? {}).flatMap((subject) =>
        parseTaskSubject(this.#names, subject) ?? []
      );
    } catch (error) {
      throw translate(`list the tasks of ${workflow}`, error);
    }
  }

  async take(queues: readonly string[], onTask: (task: TaskDelivery) => void): Promise<Intake> {
    await Promise.all(
      queues.map((queue) => this.#openLane(queue, laneOf(DEFAULT_PRIORITY), { tell: false })),
    );
    const lanes = new Lanes(this.#nc, this.#clock, this.#log, {
      names: this.#names,
      queues,
      listLanes: () => this.#listLanes(queues),
      restoreLane: ({ queue, lane }) => this.#ensureLane(queue, lane),
      onTask,
    });
    await lanes.open();
    return lanes;
  }

  /** Makes the lane's consumer if need be, once. */
  #openLane(queue: string, lane: string, { tell }: { tell: boolean }): Promise<void> {
    const name = laneConsumer(queue, lane);
    if (this.#open.has(name)) return Promise.resolve();
    let opening = this.#opening.get(name);
    if (opening === undefined) {
      opening = this.#ensureLane(queue, lane)
        .then(() => {
          this.#open.add(name);
          if (tell) this.#nc.publish(`${this.#names.eventPrefix}lane.${queue}`, lane);
        })
        .finally(() => this.#opening.delete(name));
      this.#opening.set(name, opening);
    }
    return opening;
  }

  async #ensureLane(queue: string, lane: string): Promise<void> {
    await ensureConsumer(
      this.#jsm,
      this.#names.tasksStream,
      laneConfig(this.#names, queue, lane, this.leaseMs),
    );
  }

  async #listLanes(queues: readonly string[]): Promise<Lane[]> {
    const lanes: Lane[] = [];
    for await (const { name } of this.#jsm.consumers.list(this.#names.tasksStream)) {
      const lane = parseLaneConsumer(name);
      if (lane !== undefined && queues.includes(lane.queue)) lanes.push(lane);
    }
    return lanes;
  }
}
