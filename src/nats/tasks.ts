/**
 * The queue of task messages. Every priority of a queue is a lane, and so is every key of limited tasks: a subject of its
 * own and a durable consumer that all workers share, made when it is first used. The server keeps the limit of a lane:
 * it hands out no more while that many messages are unacknowledged. Whoever queues into a lane that is new, or whose
 * limit has changed, tells the workers.
 *
 * The lane of a key that is used no more is closed by the workers, then its consumer is removed. Whoever queues into it may
 * do so at the same moment, and believe it open: the message is in the stream all the same, and when it is looked after
 * (`has`), its lane is made again.
 */
import type { ConsumerConfig, ConsumerInfo } from "@nats-io/jetstream";
import { ConfigMismatchError } from "../core/errors.ts";
import { DEFAULT_PRIORITY, isLimited, laneFor } from "../core/lanes.ts";
import { type TraceContext, traceLines } from "../core/trace_context.ts";
import type { Intake, LaneDepth, TakeOptions, TaskAddress, TaskDelivery, Tasks } from "../ports.ts";
import { CODE, translate } from "./errors.ts";
import { laneDepths } from "./lane_depths.ts";
import { Lanes } from "./lanes.ts";
import {
  type Lane,
  laneConsumer,
  type Names,
  parseLaneConsumer,
  parseTaskSubject,
  taskSubject,
} from "./names.ts";
import { ifFree } from "./requests.ts";
import { ensureConsumer, ensureLimitedConsumer, laneConfig } from "./setup.ts";
import type { Link } from "./link.ts";
import { lookForStall, type Stall } from "./stall.ts";

/** Somebody may have deleted a lane, or changed its limit: how long a process trusts what it knows. */
const LOOK_AGAIN_MS = 10_000;
/** How often workers look for lanes nobody told them of. */
const LOOK_FOR_LANES_MS = 30_000;

interface Opening {
  /** Whether to say so to the workers. */
  readonly tell: boolean;
  /** Whether a lane with another limit is given this one. */
  readonly mayChange: boolean;
}

/** Before something is queued into it. */
const OPEN: Opening = { tell: true, mayChange: true };
/** For what is queued in it: the latest limit holds. */
const KEEP: Opening = { tell: true, mayChange: false };
/** For workers, which look for themselves. */
const TAKE: Opening = { tell: false, mayChange: true };

interface OpenLane {
  /** Its limit. */
  readonly most: number | undefined;
  /** Monotonic: when that was looked at. */
  readonly at: number;
}

export class NatsTasks implements Tasks {
  /** Lanes that are being made. */
  readonly #opening = new Map<string, Promise<void>>();
  /** Lanes known to be there, the longest known first. */
  readonly #open = new Map<string, OpenLane>();
  readonly leaseMs: number;
  readonly #unusedMs: number;

  readonly #link: Link;

  /** @param unusedMs a limited lane of which nothing was handed out or settled for so long is used no more. */
  constructor(link: Link, leaseMs: number, unusedMs: number) {
    this.#link = link;
    this.leaseMs = leaseMs;
    this.#unusedMs = unusedMs;
  }

  publish(
    address: TaskAddress,
    data: Uint8Array,
    most?: number,
    trace?: TraceContext,
  ): Promise<"created" | "exists"> {
    const { queue, lane } = address;
    const subject = taskSubject(this.#link.names, address);
    const opened = most === undefined ? { queue, lane } : { queue, lane, most };
    const headers = trace === undefined ? undefined : ifFree(traceLines(trace));
    if (this.#isOpen(opened, OPEN)) {
      return this.#link.requests.publishOnce("queue a task", subject, data, headers);
    }
    return this.#openLane(opened, OPEN)
      .then(() => this.#link.requests.publishOnce("queue a task", subject, data, headers));
  }

  async withdraw(workflow: string, node?: number, attempt?: number): Promise<void> {
    const which = `${workflow}.${node === undefined ? ">" : `${node}.${attempt ?? "*"}`}`;
    const filter = `${this.#link.names.taskPrefix}*.*.${which}`;
    await this.#link.patience.with(
      `withdraw tasks ${which}`,
      () => this.#link.jsm.streams.purge(this.#link.names.tasksStream, { filter }),
    );
  }

  async has(address: TaskAddress, most?: number): Promise<boolean> {
    const { queue, lane } = address;
    await this.#openLane(most === undefined ? { queue, lane } : { queue, lane, most }, KEEP);
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
      return this.#openLane({ queue, lane }, TAKE);
    }));
    const lanes = new Lanes(this.#link.nc, this.#link.clock, this.#link.log, {
      names: this.#link.names,
      queues,
      ahead,
      lookEveryMs: Math.min(LOOK_FOR_LANES_MS, this.#unusedMs),
      listLanes: () => this.#listLanes(queues),
      lookAtLane: (lane) => this.#lookAtLane(lane),
      restoreLane: async (lane) => void await this.#ensureLane(lane, { mayChange: false }),
      inspectLane: (lane) => this.#inspectLane(lane),
      removeLane: ({ queue, lane }) =>
        this.#link.jsm.consumers.delete(this.#names.tasksStream, laneConsumer(queue, lane)),
      onTask,
    });
    await lanes.open();
    return lanes;
  }

  #isOpen({ queue, lane, most }: Lane, { mayChange }: Opening): boolean {
    const open = this.#open.get(laneConsumer(queue, lane));
    if (open === undefined) return false;
    // The lane of a priority is looked at when its messages are looked after.
    if (mayChange && !isLimited(lane)) return true;
    if (mayChange && open.most !== most) return false;
    return this.#link.clock.monotonic() - open.at < LOOK_AGAIN_MS;
  }

  /** Makes the lane's consumer if need be, once, and gives it its limit. */
  #openLane(lane: Lane, how: Opening): Promise<void> {
    if (this.#isOpen(lane, how)) return Promise.resolve();
    const name = laneConsumer(lane.queue, lane.lane);
    const key = `${name} ${how.mayChange ? lane.most ?? "" : "kept"}`;
    let opening = this.#opening.get(key);
    if (opening === undefined) {
      opening = this.#ensureLane(lane, how)
        .catch((error) => {
          // Tasks still flow through it: whoever opens it to queue or to take refuses it, and the doctor tells.
          if (how.mayChange || !(error instanceof ConfigMismatchError)) throw error;
          const { queue, lane: name } = lane;
          this.#link.log("warn", error.message, {
            event: "lane-changed",
            queue,
            lane: name,
            error,
          });
          return { isNews: false, most: lane.most };
        })
        .then(({ isNews, most }) => {
          this.#remember(name, most);
          if (how.tell && isNews) this.#tell(lane);
        })
        .finally(() => this.#opening.delete(key));
      this.#opening.set(key, opening);
    }
    return opening;
  }

  /** Keys come and go: what is too old to be trusted is forgotten. */
  #remember(name: string, most: number | undefined): void {
    const now = this.#link.clock.monotonic();
    this.#open.delete(name);
    this.#open.set(name, { most, at: now });
    for (const [other, { at }] of this.#open) {
      if (now - at < LOOK_AGAIN_MS) break;
      if (isLimited(other)) this.#open.delete(other);
    }
  }

  #tell({ queue, lane }: Lane): void {
    this.#link.nc.publish(`${this.#link.names.eventPrefix}lane.${queue}`, lane);
  }

  /** @returns whether workers may not know of it, or of its limit, and the limit. */
  async #ensureLane(
    lane: Lane,
    { mayChange }: Pick<Opening, "mayChange">,
  ): Promise<{ isNews: boolean; most: number | undefined }> {
    const { jsm, names, log, patience } = this.#link;
    const config = laneConfig(names, lane, this.leaseMs);
    if (!isLimited(lane.lane)) {
      const isKnown = this.#open.has(laneConsumer(lane.queue, lane.lane));
      const isNew = await ensureConsumer(jsm, names.tasksStream, config);
      return { isNews: isNew || !isKnown, most: undefined };
    }
    const { was, is, isUnasked } = await patience.with(
      `open lane ${lane.lane} of queue ${lane.queue}`,
      () => ensureLimitedConsumer(jsm, names.tasksStream, config, { mayChange }),
    );
    if (is !== was) {
      const [from, to] = [was, is].map((most) => most === -1 ? "none" : most);
      const { queue, lane: name } = lane;
      log("info", `the limit of lane ${name} of queue ${queue} is ${to} now; was ${from}`, {
        event: "lane-limit",
        queue,
        lane: name,
        limit: to,
        was: from,
      });
    }
    return { isNews: isUnasked || is !== was, most: is >= 1 ? is : undefined };
  }

  #inspectLane(lane: Lane): Promise<Stall> {
    const { jsm, names } = this.#link;
    const { max_ack_pending, ...config } = laneConfig(names, lane, this.leaseMs);
    // Whoever queues into a limited lane changes its limit.
    const wanted = isLimited(lane.lane) ? config : { ...config, max_ack_pending };
    return lookForStall(jsm, names.tasksStream, wanted);
  }

  async #listLanes(queues: readonly string[]): Promise<Lane[]> {
    const lanes: Lane[] = [];
    for await (const { lane, info } of this.#consumers()) {
      if (!queues.includes(lane.queue) || this.#isUnused(lane, info, this.#unusedMs)) continue;
      lanes.push(withLimit(lane, info.config));
    }
    return lanes;
  }

  async *#consumers(): AsyncGenerator<{ lane: Lane; info: ConsumerInfo }, void, void> {
    for await (const info of this.#link.jsm.consumers.list(this.#names.tasksStream)) {
      const lane = parseLaneConsumer(info.name);
      if (lane !== undefined) yield { lane, info };
    }
  }

  depths(): Promise<LaneDepth[]> {
    return laneDepths(this.#link.jsm, this.#names);
  }

  async tidy(): Promise<void> {
    const { jsm, names: { tasksStream }, log } = this.#link;
    // Workers have closed those long before: what nobody asks for is not handed out while we look.
    const isOver = (lane: Lane, info: ConsumerInfo) =>
      info.num_waiting === 0 && this.#isUnused(lane, info, 3 * this.#unusedMs);
    for await (const { lane, info } of this.#consumers()) {
      if (!isOver(lane, info)) continue;
      if (!isOver(lane, await jsm.consumers.info(tasksStream, info.name))) continue;
      await jsm.consumers.delete(tasksStream, info.name);
      log("debug", `lane ${lane.lane} of queue ${lane.queue} is used no more, and was removed`, {
        event: "lane-removed",
        queue: lane.queue,
        lane: lane.lane,
      });
    }
  }

  /** By the server's own times. Priorities are few, and stay. */
  #isUnused({ lane }: Lane, info: ConsumerInfo, ms: number): boolean {
    const { created, ts, num_pending, num_ack_pending, delivered, ack_floor } = info;
    if (!isLimited(lane) || num_pending + num_ack_pending > 0) return false;
    const times = [created, delivered.last_active, ack_floor.last_active];
    const last = Math.max(...times.map((time) => Date.parse(`${time}`) || 0));
    return Date.parse(`${ts}`) - last > ms;
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
