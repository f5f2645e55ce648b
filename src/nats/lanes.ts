/**
 * All lanes of a worker's queues as one intake: what is more urgent first, lanes of equal priority in turn. A lane that is
 * empty, as far as known, has a demand of one, so that its next message is not overlooked; the rest goes to the most
 * urgent lanes that have messages. While these have more than a worker can take, it asks nothing of less urgent ones.
 */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import type { Cancel, Clock, Intake, Log, TaskAddress, TaskDelivery } from "../ports.ts";
import { Acknowledging, PullIntake } from "./intake.ts";
import { type Lane, laneConsumer, type Names, parseTaskSubject } from "./names.ts";

/** How often workers look for lanes nobody told them of. */
const LOOK_FOR_LANES_MS = 30_000;
/** How long a lane that delivers nothing may keep less urgent ones waiting: other workers may have emptied it. */
const DOUBT_MS = 100;

class NatsTaskDelivery extends Acknowledging implements TaskDelivery {
  readonly subject: string;
  readonly address: TaskAddress | undefined;

  constructor(nc: NatsConnection, names: Names, msg: Msg) {
    super(nc, msg);
    this.subject = msg.subject;
    this.address = parseTaskSubject(names, msg.subject);
  }
}

export interface LanesOptions {
  readonly names: Names;
  readonly queues: readonly string[];
  readonly listLanes: () => Promise<Lane[]>;
  readonly restoreLane: (lane: Lane) => Promise<void>;
  readonly onTask: (task: TaskDelivery) => void;
}

interface OpenLane {
  readonly intake: PullIntake;
  readonly priority: number;
  /** Asked of this lane and not delivered yet. */
  asked: number;
  /** Delivered something since demand last came back from it unused. */
  busy: boolean;
  /** Messages it had left when it last delivered one. */
  left: number;
  /** Counts its deliveries. */
  delivered: number;
  /** When it was asked last, among its equals. */
  turn: number;
  doubted: boolean;
}

export class Lanes implements Intake {
  readonly #nc: NatsConnection;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, OpenLane>();
  readonly #told: Subscription[] = [];
  #cancelLook: Cancel = () => {};
  /** Wanted by the caller and not asked of any lane. Below zero: lanes have been given their one in advance. */
  #free = 0;
  #turn = 0;
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
    for (const equals of this.#byPriority()) {
      for (const lane of equals) {
        if (lane.asked === 0 && this.#mayAskInAdvance()) this.#ask(lane, 1);
      }
      const full = equals.filter(hasMore);
      full.forEach((lane, i) => {
        const share = Math.ceil(this.#free / (full.length - i));
        this.#ask(lane, Math.min(share, lane.left - lane.asked));
      });
      if (full.some(hasMore)) return full.forEach((lane) => this.#doubtLater(lane));
    }
    const lanes = [...this.#lanes.values()];
    const busy = lanes.filter((lane) => lane.busy);
    const takers = busy.length > 0 ? busy : lanes;
    takers.forEach((lane, i) => this.#ask(lane, Math.ceil(this.#free / (takers.length - i))));
  }

  /** The most urgent first; among equals, who was asked longest ago. */
  #byPriority(): OpenLane[][] {
    const groups = new Map<number, OpenLane[]>();
    for (const lane of this.#lanes.values()) {
      const equals = groups.get(lane.priority);
      if (equals === undefined) groups.set(lane.priority, [lane]);
      else equals.push(lane);
    }
    for (const equals of groups.values()) equals.sort((a, b) => a.turn - b.turn);
    return [...groups].sort(([a], [b]) => b - a).map(([, equals]) => equals);
  }

  /** At most one message for each lane, however often this is asked. */
  #mayAskInAdvance(): boolean {
    return this.#free > -this.#lanes.size;
  }

  #doubtLater(lane: OpenLane): void {
    if (lane.doubted) return;
    lane.doubted = true;
    const { delivered } = lane;
    this.#clock.after(DOUBT_MS, () => {
      lane.doubted = false;
      if (this.#closed || lane.asked === 0 || lane.delivered !== delivered) return;
      lane.left = 0;
      this.#share();
    });
  }

  #ask(lane: OpenLane, count: number): void {
    if (count <= 0) return;
    this.#free -= count;
    lane.asked += count;
    lane.turn = ++this.#turn;
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
      priority: Number(lane.lane.slice(1)),
      asked: 0,
      busy: false,
      left: 0,
      delivered: 0,
      turn: 0,
      doubted: false,
      intake: new PullIntake(this.#nc, this.#clock, this.#log, {
        stream: names.tasksStream,
        consumer,
        restore: () => restoreLane(lane),
        onMessage: (msg) => {
          const task = new NatsTaskDelivery(this.#nc, names, msg);
          open.asked--;
          open.busy = true;
          open.left = task.pending;
          open.delivered++;
          onTask(task);
        },
        onUnused: (count) => {
          open.asked -= count;
          open.busy = false;
          open.left = 0;
          this.want(count);
        },
      }),
    };
    this.#lanes.set(consumer, open);
    this.#share();
  }
}

/** Whether more is in the lane than was asked for, as far as known. */
function hasMore(lane: OpenLane): boolean {
  return lane.left > lane.asked;
}
