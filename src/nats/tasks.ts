/**
 * The queue of task messages. Every priority of a queue is a lane: a subject of its own and a durable consumer that all
 * workers share, made when it is first used. Whoever queues into a new lane tells the workers.
 */
import type { Intake, TaskAddress, TaskDelivery, Tasks } from "../ports.ts";
import { DEFAULT_PRIORITY } from "../core/options.ts";
import { CODE, translate } from "./errors.ts";
import { Lanes } from "./lanes.ts";
import {
  type Lane,
  laneConsumer,
  laneOf,
  parseLaneConsumer,
  parseTaskSubject,
  taskSubject,
} from "./names.ts";
import { ensureConsumer, laneConfig } from "./setup.ts";
import type { Link } from "./link.ts";

export class NatsTasks implements Tasks {
  /** Lanes that are being made. */
  readonly #opening = new Map<string, Promise<void>>();
  /** Lanes known to be there. */
  readonly #open = new Set<string>();
  readonly leaseMs: number;

  readonly #link: Link;

  constructor(link: Link, leaseMs: number) {
    this.#link = link;
    this.leaseMs = leaseMs;
  }

  publish(address: TaskAddress, data: Uint8Array): Promise<"created" | "exists"> {
    const lane = laneOf(address.priority);
    const subject = taskSubject(this.#link.names, address);
    if (this.#open.has(laneConsumer(address.queue, lane))) {
      return this.#link.requests.publishOnce("queue a task", subject, data);
    }
    return this.#openLane(address.queue, lane, { tell: true })
      .then(() => this.#link.requests.publishOnce("queue a task", subject, data));
  }

  async withdraw(workflow: string, node?: number): Promise<void> {
    const filter = `${this.#link.names.taskPrefix}*.*.${workflow}.${
      node === undefined ? ">" : `${node}.*`
    }`;
    await this.#link.patience.with(
      `withdraw the tasks of ${workflow}`,
      () => this.#link.jsm.streams.purge(this.#link.names.tasksStream, { filter }),
    );
  }

  async has(address: TaskAddress): Promise<boolean> {
    const { error } = await this.#link.requests.json<
      { error?: { err_code?: number; description?: string } }
    >(
      "look for a task",
      `$JS.API.STREAM.MSG.GET.${this.#link.names.tasksStream}`,
      { last_by_subj: taskSubject(this.#link.names, address) },
    );
    if (error !== undefined && error.err_code !== CODE.messageNotFound) {
      throw translate("look for a task", new Error(error.description));
    }
    return error === undefined;
  }

  async list(workflow: string): Promise<TaskAddress[]> {
    const { tasksStream, taskPrefix } = this.#link.names;
    const query = { subjects_filter: `${taskPrefix}*.*.${workflow}.>` };
    const { state } = await this.#link.patience.with(
      `list the tasks of ${workflow}`,
      () => this.#link.jsm.streams.info(tasksStream, query),
    );
    return Object.keys(state.subjects ?? {}).flatMap((subject) =>
      parseTaskSubject(this.#link.names, subject) ?? []
    );
  }

  async take(queues: readonly string[], onTask: (task: TaskDelivery) => void): Promise<Intake> {
    await Promise.all(
      queues.map((queue) => this.#openLane(queue, laneOf(DEFAULT_PRIORITY), { tell: false })),
    );
    const lanes = new Lanes(this.#link.nc, this.#link.clock, this.#link.log, {
      names: this.#link.names,
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
          if (tell) this.#link.nc.publish(`${this.#link.names.eventPrefix}lane.${queue}`, lane);
        })
        .finally(() => this.#opening.delete(name));
      this.#opening.set(name, opening);
    }
    return opening;
  }

  async #ensureLane(queue: string, lane: string): Promise<void> {
    await ensureConsumer(
      this.#link.jsm,
      this.#link.names.tasksStream,
      laneConfig(this.#link.names, queue, lane, this.leaseMs),
    );
  }

  async #listLanes(queues: readonly string[]): Promise<Lane[]> {
    const lanes: Lane[] = [];
    for await (const { name } of this.#link.jsm.consumers.list(this.#link.names.tasksStream)) {
      const lane = parseLaneConsumer(name);
      if (lane !== undefined && queues.includes(lane.queue)) lanes.push(lane);
    }
    return lanes;
  }
}
