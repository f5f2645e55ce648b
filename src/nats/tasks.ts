/**
 * The queue of task messages. Every priority of a queue is a lane: a subject of its own and a durable consumer that all
 * workers share, made when it is first used. Whoever queues into a new lane tells the workers.
 */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import type { JetStreamManager } from "@nats-io/jetstream";
import type { Cancel, Clock, Intake, Log, TaskAddress, TaskDelivery, Tasks } from "../ports.ts";
import { DEFAULT_PRIORITY } from "../core/options.ts";
import { CODE, translate } from "./errors.ts";
import { Acknowledging, PullIntake } from "./intake.ts";
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

/** How often workers look for lanes nobody told them of. */
const LOOK_FOR_LANES_MS = 30_000;

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

class NatsTaskDelivery extends Acknowledging implements TaskDelivery {
  readonly subject: string;
  readonly address: TaskAddress | undefined;

  constructor(nc: NatsConnection, names: Names, msg: Msg) {
    super(nc, msg);
    this.subject = msg.subject;
    this.address = parseTaskSubject(names, msg.subject);
  }
}

interface LanesOptions {
  readonly names: Names;
  readonly queues: readonly string[];
  readonly listLanes: () => Promise<Lane[]>;
  readonly restoreLane: (lane: Lane) => Promise<void>;
  readonly onTask: (task: TaskDelivery) => void;
}

interface OpenLane {
  readonly intake: PullIntake;
  /** Asked of this lane and not delivered yet. */
  asked: number;
  /** Delivered something since demand last came back from it unused. */
  busy: boolean;
}

/**
 * All lanes of a worker's queues as one intake. Every lane has a demand of at least one, so that none is overlooked; the
 * rest goes to the lanes that deliver. What an idle lane was asked for comes back after a few seconds and moves on.
 */
class Lanes implements Intake {
  readonly #nc: NatsConnection;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, OpenLane>();
  readonly #told: Subscription[] = [];
  #cancelLook: Cancel = () => {};
  /** Wanted by the caller and not asked of any lane. Below zero: lanes have been given their one in advance. */
  #free = 0;
  #sharing = false;
  #closed = false;

  constructor(nc: NatsConnection, clock: Clock, log: Log, options: LanesOptions) {
    this.#nc = nc;
    this.#clock = clock;
    this.#log = log;
    this.#options = options;
  }

  async open(): Promise<void> {
    const { names, queues } = this.#options;
    for (const queue of queues) {
      this.#told.push(this.#nc.subscribe(`${names.eventPrefix}lane.${queue}`, {
        callback: (error, msg) => void (error === null && this.#add({ queue, lane: msg.string() })),
      }));
    }
    await this.#look();
  }

  want(count: number): void {
    this.#free += count;
    if (this.#sharing) return;
    this.#sharing = true;
    queueMicrotask(() => {
      this.#sharing = false;
      this.#share();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook();
    if (!this.#nc.isClosed()) { for (const subscription of this.#told) subscription.unsubscribe(); }
    await Promise.all([...this.#lanes.values()].map(({ intake }) => intake.close()));
  }

  #share(): void {
    const lanes = [...this.#lanes.values()];
    for (const lane of lanes) if (lane.asked === 0) this.#ask(lane, 1);
    const busy = lanes.filter((lane) => lane.busy);
    const takers = busy.length > 0 ? busy : lanes;
    takers.forEach((lane, i) => this.#ask(lane, Math.ceil(this.#free / (takers.length - i))));
  }

  #ask(lane: OpenLane, count: number): void {
    if (count <= 0) return;
    this.#free -= count;
    lane.asked += count;
    lane.intake.want(count);
  }

  async #look(): Promise<void> {
    try {
      for (const lane of await this.#options.listLanes()) this.#add(lane);
    } catch (error) {
      this.#log("warn", `the lanes of ${this.#options.queues.join(", ")} cannot be listed`, {
        error,
      });
    }
    if (!this.#closed) {
      this.#cancelLook = this.#clock.after(LOOK_FOR_LANES_MS, () => void this.#look());
    }
  }

  #add(lane: Lane): void {
    const { names, restoreLane, onTask } = this.#options;
    const consumer = laneConsumer(lane.queue, lane.lane);
    if (this.#lanes.has(consumer) || this.#closed) return;
    const open: OpenLane = {
      asked: 0,
      busy: false,
      intake: new PullIntake(this.#nc, this.#clock, this.#log, {
        stream: names.tasksStream,
        consumer,
        restore: () => restoreLane(lane),
        onMessage: (msg) => {
          open.asked--;
          open.busy = true;
          onTask(new NatsTaskDelivery(this.#nc, names, msg));
        },
        onUnused: (count) => {
          open.asked -= count;
          open.busy = false;
          this.want(count);
        },
      }),
    };
    this.#lanes.set(consumer, open);
    this.#share();
  }
}
