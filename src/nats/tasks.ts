/**
 * The queue of task messages. Every priority of a queue is a lane, and so is every key of limited tasks: a subject of its
 * own and a durable consumer that all workers share, made when it is first used. The server keeps the limit of a lane:
 * it hands out no more while that many messages are unacknowledged. Whoever queues into a lane looks now and then whether
 * it is there, makes it, and tells the workers of one that is new, or whose limit has changed.
 */
import type { ConsumerConfig } from "@nats-io/jetstream";
import { ConfigMismatchError } from "../core/errors.ts";
import { DEFAULT_PRIORITY, isLimited, laneFor } from "../core/lanes.ts";
import type { Intake, TakeOptions, TaskAddress, TaskDelivery, Tasks } from "../ports.ts";
import { CODE, translate } from "./errors.ts";
import { Lanes } from "./lanes.ts";
import {
  type Lane,
  laneConsumer,
  type Names,
  parseLaneConsumer,
  parseTaskSubject,
  taskSubject,
} from "./names.ts";
import { ensureConsumer, ensureLimitedConsumer, laneConfig } from "./setup.ts";
import type { Link } from "./link.ts";

/** Somebody may have deleted a lane, or changed its limit: how long a process trusts what it knows. */
const LOOK_AGAIN_MS = 10_000;

/** Monotonic time of the last look. */
interface OpenLane {
  readonly most: number | undefined;
  readonly at: number;
}

export class NatsTasks implements Tasks {
  /** Lanes that are being made. */
  readonly #opening = new Map<string, Promise<void>>();
  /** Lanes known to be there, with the limit this process gave them. */
  readonly #open = new Map<string, OpenLane>();
  readonly leaseMs: number;

  readonly #link: Link;

  constructor(link: Link, leaseMs: number) {
    this.#link = link;
    this.leaseMs = leaseMs;
  }

  publish(
    address: TaskAddress,
    data: Uint8Array,
    most?: number,
  ): Promise<"created" | "exists"> {
    const { queue, lane } = address;
    const subject = taskSubject(this.#link.names, address);
    const opened = most === undefined ? { queue, lane } : { queue, lane, most };
    if (this.#isOpen(opened)) {
      return this.#link.requests.publishOnce("queue a task", subject, data);
    }
    return this.#openLane(opened, { tell: true })
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
    const { queue, lane } = address;
    // Where the lane was deleted, its message reaches nobody. The limit of another lane is not known here.
    if (!isLimited(lane)) await this.#openLane({ queue, lane }, { tell: true });
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

  async take(
    { queues, ahead }: TakeOptions,
    onTask: (task: TaskDelivery) => void,
  ): Promise<Intake> {
    const lane = laneFor({ priority: DEFAULT_PRIORITY });
    await Promise.all(queues.map((queue) => {
      this.#open.delete(laneConsumer(queue, lane));
      return this.#openLane({ queue, lane }, { tell: false });
    }));
    const lanes = new Lanes(this.#link.nc, this.#link.clock, this.#link.log, {
      names: this.#link.names,
      queues,
      ahead,
      listLanes: () => this.#listLanes(queues),
      lookAtLane: (lane) => this.#lookAtLane(lane),
      restoreLane: async (lane) => void await this.#ensureLane(lane, { mayChange: false }),
      onTask,
    });
    await lanes.open();
    return lanes;
  }

  #isOpen({ queue, lane, most }: Lane): boolean {
    const open = this.#open.get(laneConsumer(queue, lane));
    return open !== undefined && open.most === most &&
      this.#link.clock.monotonic() - open.at < LOOK_AGAIN_MS;
  }

  /** Makes the lane's consumer if need be, once, and gives it its limit. */
  #openLane(lane: Lane, { tell }: { tell: boolean }): Promise<void> {
    if (this.#isOpen(lane)) return Promise.resolve();
    const name = laneConsumer(lane.queue, lane.lane);
    const key = `${name} ${lane.most ?? ""}`;
    let opening = this.#opening.get(key);
    if (opening === undefined) {
      const isKnown = this.#open.get(name)?.most === lane.most && this.#open.has(name);
      opening = this.#ensureLane(lane, { mayChange: true })
        .catch((error) => {
          // Tasks still flow through it; whoever opens it next refuses it, and the doctor tells.
          if (!isKnown || !(error instanceof ConfigMismatchError)) throw error;
          this.#link.log("warn", error.message);
          return { changed: false };
        })
        .then(({ changed }) => {
          this.#open.set(name, { most: lane.most, at: this.#link.clock.monotonic() });
          if (tell && (changed || !isKnown)) this.#tell(lane);
        })
        .finally(() => this.#opening.delete(key));
      this.#opening.set(key, opening);
    }
    return opening;
  }

  #tell({ queue, lane }: Lane): void {
    this.#link.nc.publish(`${this.#link.names.eventPrefix}lane.${queue}`, lane);
  }

  async #ensureLane(
    lane: Lane,
    { mayChange }: { mayChange: boolean },
  ): Promise<{ changed: boolean }> {
    const { jsm, names, log, patience } = this.#link;
    const config = laneConfig(names, lane, this.leaseMs);
    const action = `open lane ${lane.lane} of queue ${lane.queue}`;
    if (!isLimited(lane.lane)) {
      const ensure = () => ensureConsumer(jsm, names.tasksStream, config);
      return { changed: await patience.with(action, ensure) };
    }
    const was = await patience.with(
      action,
      () => ensureLimitedConsumer(jsm, names.tasksStream, config, { mayChange }),
    );
    if (was === undefined) return { changed: false };
    const [from, to] = [was, config.max_ack_pending!].map((most) => most === -1 ? "none" : most);
    log("info", `the limit of lane ${lane.lane} of queue ${lane.queue} is ${to} now; was ${from}`);
    return { changed: true };
  }

  async #listLanes(queues: readonly string[]): Promise<Lane[]> {
    const lanes: Lane[] = [];
    for await (const { name, config } of this.#link.jsm.consumers.list(this.#names.tasksStream)) {
      const lane = parseLaneConsumer(name);
      if (lane !== undefined && queues.includes(lane.queue)) lanes.push(withLimit(lane, config));
    }
    return lanes;
  }

  /** The lane as it is now: its limit may have changed. */
  async #lookAtLane({ queue, lane }: Lane): Promise<Lane> {
    const name = laneConsumer(queue, lane);
    const { config } = await this.#link.jsm.consumers.info(this.#names.tasksStream, name);
    return withLimit({ queue, lane }, config);
  }

  get #names(): Names {
    return this.#link.names;
  }
}

function withLimit({ queue, lane }: Lane, { max_ack_pending: most = -1 }: ConsumerConfig): Lane {
  return most >= 1 ? { queue, lane, most } : { queue, lane };
}
