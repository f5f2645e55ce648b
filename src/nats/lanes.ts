/**
 * All lanes of a worker's queues as one intake: what is more urgent first, lanes of equal urgency in turn.
 *
 * Lanes of a priority share the demand. One that is empty, as far as known, has a demand of one, so that its next message is
 * not overlooked; the rest goes to the most urgent lanes that have messages. While these have more than a worker can take,
 * it asks nothing of less urgent ones, limited or not.
 *
 * A limited lane has no part in that demand: it may be at its limit and deliver nothing, and must not keep others waiting.
 * Its messages count from when they begin. What is asked of it is bounded by the slots instead, because a message that is
 * held and does not run keeps the lane's other messages from every worker:
 * - of a lane that is empty, as far as known: one, like above; of all these together at most so many;
 * - of lanes that have messages: as many as there are slots without a message in hand, and if there is none, one of all
 *   of them together, which then is the next to begin;
 * - of one lane never more than its limit leaves, and of a rated one only one that has not begun.
 * A message that comes and finds no slot, the worker gives back; its lane then rests here for a moment, so that others get
 * it, or until a slot gets free. A rated lane rests as long as its message was given back for.
 *
 * Keys come and go: a limited lane that nobody has used for long is closed here, and opened again when it is used.
 */
import type { Msg, NatsConnection, Subscription } from "@nats-io/nats-core";
import { laneKind, urgencyOf } from "../core/lanes.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Cancel, Clock, Intake, Log, TaskAddress, TaskDelivery } from "../ports.ts";
import { Acknowledging, parseAckAddress, PullIntake } from "./intake.ts";
import { notedOf } from "./note.ts";
import type { Stall } from "./stall.ts";
import { isLane, type Lane, laneConsumer, type Names, parseTaskSubject } from "./names.ts";

/** How long a lane that delivers nothing may keep less urgent ones waiting: other workers may have emptied it. */
const DOUBT_MS = 100;
/** How long a limited lane is left to other workers after this one had no slot for its message. */
const REST_MS = 1_000;
/** Limited lanes that are asked for a message although they seem empty. */
const MOST_IN_ADVANCE = 256;

class NatsTaskDelivery extends Acknowledging implements TaskDelivery {
  readonly data: Uint8Array;
  readonly subject: string;
  readonly address: TaskAddress | undefined;
  readonly deliveries: number;
  readonly sentNs: string;
  /** Messages that its consumer had left to deliver when it delivered this one. */
  readonly pending: number;
  readonly #msg: Msg;

  constructor(nc: NatsConnection, names: Names, msg: Msg) {
    super(nc, msg.reply!);
    this.#msg = msg;
    this.data = msg.data;
    this.subject = msg.subject;
    this.address = parseTaskSubject(names, msg.subject);
    const { deliveries, sentNs, pending } = parseAckAddress(this.reply);
    this.deliveries = deliveries;
    this.sentNs = sentNs;
    this.pending = pending;
  }

  get trace(): TraceContext | undefined {
    return notedOf(this.#msg).trace;
  }

  begin(): void {}
}

type OnChange = (change: "begun" | "settled" | "returned", delayMs: number) => void;

/** Tells its lane what becomes of it: each once. */
class LimitedDelivery extends NatsTaskDelivery {
  readonly #lane: LimitedLane;
  readonly #onChange: OnChange;
  #state: "waiting" | "begun" | "settled" = "waiting";

  constructor(
    nc: NatsConnection,
    names: Names,
    msg: Msg,
    lane: LimitedLane,
    onChange: OnChange,
  ) {
    super(nc, names, msg);
    this.#lane = lane;
    this.#onChange = onChange;
    lane.inHand++;
    lane.waiting++;
  }

  override begin(): void {
    if (this.#state !== "waiting") return;
    this.#state = "begun";
    this.#lane.waiting--;
    this.#onChange("begun", 0);
  }

  override ack(): void {
    super.ack();
    this.#settle("settled", 0);
  }

  override giveBack(delayMs?: number): void {
    super.giveBack(delayMs);
    this.#settle("returned", delayMs ?? 0);
  }

  #settle(change: "settled" | "returned", delayMs: number): void {
    if (this.#state === "settled") return;
    if (this.#state === "waiting") this.#lane.waiting--;
    this.#state = "settled";
    this.#lane.inHand--;
    this.#onChange(change, delayMs);
  }
}

export interface LanesOptions {
  readonly names: Names;
  readonly queues: readonly string[];
  /** How many of the messages wanted at a time are only to be held ready. */
  readonly ahead: number;
  /** How often to look for lanes nobody told of. */
  readonly lookEveryMs: number;
  /** Of limited lanes, those that were used lately. */
  readonly listLanes: () => Promise<Lane[]>;
  readonly lookAtLane: (lane: Lane) => Promise<Lane>;
  readonly restoreLane: (lane: Lane) => Promise<void>;
  readonly inspectLane: (lane: Lane) => Promise<Stall>;
  readonly removeLane: (lane: Lane) => Promise<unknown>;
  readonly onTask: (task: TaskDelivery) => void;
}

interface OpenLane {
  readonly intake: PullIntake;
  readonly urgency: number;
  /** Asked of this lane and not delivered yet. */
  asked: number;
  /** Messages it had left when it last delivered one. */
  left: number;
  /** When it was asked last, among its equals. */
  turn: number;
}

interface PriorityLane extends OpenLane {
  readonly is: "priority";
  /** Delivered something since demand last came back from it unused. */
  busy: boolean;
  /** Counts its deliveries. */
  delivered: number;
  doubted: boolean;
}

interface LimitedLane extends OpenLane {
  readonly is: "shared" | "rated";
  /** How many of its messages workers may have at once. */
  most: number;
  /** Messages of it that are here. */
  inHand: number;
  /** Those of them that have not begun. */
  waiting: number;
  /** Monotonic: until then it is left to other workers. */
  restsUntil: number;
  /** Monotonic: when somebody said that it is there. */
  toldAt: number;
}

export class Lanes implements Intake {
  readonly #nc: NatsConnection;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #options: LanesOptions;
  readonly #lanes = new Map<string, PriorityLane | LimitedLane>();
  readonly #told: Subscription[] = [];
  #cancelLook: Cancel = () => {};
  /** Wanted by the caller and not delivered; what limited lanes deliver counts when it begins. */
  #wanted = 0;
  /** Asked of lanes of a priority and not delivered. */
  #asked = 0;
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
        callback: (error, msg) => {
          if (error === null && isLane(msg.string())) {
            void this.#onTold({ queue, lane: msg.string() });
          }
        },
      }));
    }
    await this.#look();
  }

  want(count: number): void {
    this.#wanted += count;
    for (const lane of this.#lanes.values()) if (lane.is === "shared") lane.restsUntil = 0;
    this.#shareSoon();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelLook();
    if (!this.#nc.isClosed()) { for (const subscription of this.#told) subscription.unsubscribe(); }
    await Promise.all([...this.#lanes.values()].map(({ intake }) => intake.close()));
  }

  #shareSoon(): void {
    if (this.#sharing) return;
    this.#sharing = true;
    queueMicrotask(() => {
      this.#sharing = false;
      if (!this.#closed) this.#share();
    });
  }

  /** Wanted and not asked of any lane of a priority. Below zero: these have been given their one in advance. */
  get #free(): number {
    return this.#wanted - this.#asked;
  }

  #share(): void {
    for (const equals of this.#byUrgency()) {
      this.#askLimited(equals.filter((lane) => lane.is !== "priority"));
      const lanes = equals.filter((lane) => lane.is === "priority");
      for (const lane of lanes) if (lane.asked === 0 && this.#mayAskInAdvance()) this.#ask(lane, 1);
      const full = lanes.filter(hasMore);
      full.forEach((lane, i) => {
        const share = Math.ceil(this.#free / (full.length - i));
        this.#ask(lane, Math.min(share, lane.left - lane.asked));
      });
      if (full.some(hasMore)) return full.forEach((lane) => this.#doubtLater(lane));
    }
    const lanes = [...this.#lanes.values()].filter((lane) => lane.is === "priority");
    const busy = lanes.filter((lane) => lane.busy);
    const takers = busy.length > 0 ? busy : lanes;
    takers.forEach((lane, i) => this.#ask(lane, Math.ceil(this.#free / (takers.length - i))));
  }

  /** The most urgent first; among equals, who was asked longest ago. */
  #byUrgency(): (PriorityLane | LimitedLane)[][] {
    const groups = new Map<number, (PriorityLane | LimitedLane)[]>();
    for (const lane of this.#lanes.values()) {
      const equals = groups.get(lane.urgency);
      if (equals === undefined) groups.set(lane.urgency, [lane]);
      else equals.push(lane);
    }
    for (const equals of groups.values()) equals.sort((a, b) => a.turn - b.turn);
    return [...groups].sort(([a], [b]) => b - a).map(([, equals]) => equals);
  }

  /** At most one message for each lane, however often this is asked. */
  #mayAskInAdvance(): boolean {
    let lanes = 0;
    for (const lane of this.#lanes.values()) if (lane.is === "priority") lanes++;
    return this.#free > -lanes;
  }

  #askLimited(lanes: readonly LimitedLane[]): void {
    const slots = this.#wanted - this.#options.ahead;
    let inAdvance = 0;
    let underWay = 0;
    for (const lane of lanes) {
      if (lane.left <= 0) inAdvance += lane.asked;
      else if (lane.is === "shared") underWay += lane.asked + lane.waiting;
    }
    const now = this.#clock.monotonic();
    for (const lane of lanes) {
      if (lane.left <= 0) {
        if (lane.asked > 0 || inAdvance >= MOST_IN_ADVANCE) continue;
        inAdvance += this.#ask(lane, Math.min(1, room(lane)));
      } else if (lane.restsUntil > now) {
        continue;
      } else if (lane.is === "rated") {
        this.#ask(lane, room(lane));
      } else {
        const free = Math.max(slots, 1) - underWay;
        underWay += this.#ask(lane, Math.min(free, room(lane), lane.left - lane.asked));
      }
    }
  }

  #doubtLater(lane: PriorityLane): void {
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

  /** @returns how many it was asked for. */
  #ask(lane: PriorityLane | LimitedLane, count: number): number {
    if (count <= 0) return 0;
    if (lane.is === "priority") this.#asked += count;
    lane.asked += count;
    lane.turn = ++this.#turn;
    lane.intake.want(count);
    return count;
  }

  async #look(): Promise<void> {
    const { listLanes, lookEveryMs } = this.#options;
    try {
      const before = this.#clock.monotonic();
      for (const lane of await listLanes()) this.#add(lane);
      this.#closeUnused(before - lookEveryMs);
    } catch (error) {
      this.#log("warn", `the lanes of ${this.#options.queues.join(", ")} cannot be listed`, {
        event: "lanes-not-listed",
        queues: this.#options.queues,
        error,
      });
    }
    if (!this.#closed) {
      this.#cancelLook = this.#clock.after(lookEveryMs, () => void this.#look());
    }
  }

  /** Lanes are listed, or told of, as long as they are used. */
  #closeUnused(since: number): void {
    for (const [consumer, lane] of this.#lanes) {
      if (lane.is === "priority" || lane.inHand > 0 || lane.toldAt > since) continue;
      this.#lanes.delete(consumer);
      void lane.intake.close();
    }
  }

  /** There is a new lane, or a lane has another limit. */
  async #onTold(lane: Lane): Promise<void> {
    if (laneKind(lane.lane).is === "priority") return this.#add(lane);
    try {
      this.#add(await this.#options.lookAtLane(lane));
    } catch (error) {
      // It is found again when the lanes are listed.
      this.#log("debug", `lane ${lane.lane} of ${lane.queue} cannot be looked at`, {
        event: "lane-not-read",
        queue: lane.queue,
        lane: lane.lane,
        error,
      });
    }
  }

  #add(lane: Lane): void {
    if (this.#closed) return;
    const consumer = laneConsumer(lane.queue, lane.lane);
    const known = this.#lanes.get(consumer);
    if (known === undefined) this.#lanes.set(consumer, this.#openLane(lane, consumer));
    else if (known.is !== "priority") {
      known.most = lane.most ?? Infinity;
      known.toldAt = this.#clock.monotonic();
    }
    this.#shareSoon();
  }

  #openLane(lane: Lane, consumer: string): PriorityLane | LimitedLane {
    const kind = laneKind(lane.lane);
    const urgency = urgencyOf(lane.lane);
    const common = { urgency, asked: 0, left: 0, turn: 0 };
    if (kind.is === "priority") {
      const intake = this.#pull(lane, consumer, (msg) => this.#onMessage(open, msg), (count) => {
        this.#asked -= count;
        open.busy = false;
        this.#onUnused(open, count);
      });
      const open: PriorityLane = {
        is: kind.is,
        ...common,
        intake,
        busy: false,
        delivered: 0,
        doubted: false,
      };
      return open;
    }
    const intake = this.#pull(
      lane,
      consumer,
      (msg) => this.#onLimitedMessage(open, msg),
      (count) => this.#onUnused(open, count),
    );
    const open: LimitedLane = {
      is: kind.is,
      ...common,
      intake,
      most: lane.most ?? Infinity,
      inHand: 0,
      waiting: 0,
      restsUntil: 0,
      toldAt: this.#clock.monotonic(),
    };
    return open;
  }

  #pull(
    lane: Lane,
    consumer: string,
    onMessage: (msg: Msg) => void,
    onUnused: (count: number) => void,
  ): PullIntake {
    const { names, restoreLane, inspectLane, removeLane } = this.#options;
    return new PullIntake(this.#nc, this.#clock, this.#log, {
      stream: names.tasksStream,
      consumer,
      restore: () => restoreLane(lane),
      inspect: () => inspectLane(lane),
      remove: () => removeLane(lane),
      onMessage,
      onUnused,
    });
  }

  #onMessage(lane: PriorityLane, msg: Msg): void {
    const { names, onTask } = this.#options;
    const task = new NatsTaskDelivery(this.#nc, names, msg);
    this.#asked--;
    this.#wanted--;
    lane.asked--;
    lane.busy = true;
    lane.left = task.pending;
    lane.delivered++;
    onTask(task);
  }

  #onLimitedMessage(lane: LimitedLane, msg: Msg): void {
    const { names, onTask } = this.#options;
    const task = new LimitedDelivery(this.#nc, names, msg, lane, (change, delayMs) => {
      if (change === "begun") this.#wanted--;
      if (change === "returned") this.#rest(lane, lane.is === "rated" ? delayMs : 0);
      this.#shareSoon();
    });
    lane.asked--;
    lane.left = task.pending;
    onTask(task);
  }

  /** It has at least the message that was given back. @param leastMs also when that is longer than is usual. */
  #rest(lane: LimitedLane, leastMs: number): void {
    const restMs = Math.max(leastMs, REST_MS);
    lane.left = Math.max(1, lane.left);
    lane.restsUntil = this.#clock.monotonic() + restMs;
    this.#clock.after(restMs, () => this.#shareSoon());
  }

  #onUnused(lane: PriorityLane | LimitedLane, count: number): void {
    lane.asked -= count;
    lane.left = 0;
    this.#shareSoon();
  }
}

/** Whether more is in the lane than was asked for, as far as known. */
function hasMore(lane: OpenLane): boolean {
  return lane.left > lane.asked;
}

/** How much may be asked of a limited lane. */
function room({ is, most, inHand, waiting, asked }: LimitedLane): number {
  const limit = most - inHand - asked;
  return is === "rated" ? Math.min(limit, 1 - waiting - asked) : limit;
}
