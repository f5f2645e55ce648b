/** The memory adapter as a whole: all ports in one process, for tests. Nothing outlives it. */
import { laneKind, urgencyOf } from "../core/lanes.ts";
import { TICK } from "../core/records.ts";
import type { Codec } from "../core/sealing.ts";
import type { Clock, LaneDepth, Log, Ports, Random, TaskAddress, Tasks, Ticks } from "../ports.ts";
import type { Telemetry } from "../telemetry.ts";
import { MemoryBlobs } from "./blobs.ts";
import { MemoryFacts } from "./facts.ts";
import { filterOf } from "./filter.ts";
import { MemoryHints } from "./hints.ts";
import { type MemoryLane, MemoryQueue, type Place } from "./queue.ts";
import { MemoryViews } from "./views.ts";

export interface MemoryOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly codec?: Codec;
  readonly telemetry?: Telemetry;
  /** Bytes of the largest record. @default 1 MiB */
  readonly maxRecord?: number;
}

const TICK_LEASE_MS = 10_000;
const TASK_LEASE_MS = 30_000;
/** What a NATS server takes by default. */
const MAX_RECORD = 1_048_576;

export function memoryPorts(
  { clock, random, log, codec, telemetry, maxRecord = MAX_RECORD }: MemoryOptions,
): Ports {
  const hints = new MemoryHints(clock);
  return {
    facts: new MemoryFacts(clock, (stored) => hints.tellFact(stored)),
    tasks: memoryTasks(new MemoryQueue(clock, TASK_LEASE_MS)),
    ticks: memoryTicks(new MemoryQueue(clock, TICK_LEASE_MS)),
    hints,
    views: new MemoryViews(),
    blobs: new MemoryBlobs(),
    inspect: () => Promise.resolve(undefined),
    codec,
    clock,
    random,
    log,
    telemetry,
    maxRecord,
  };
}

const keyOf = ({ queue, lane, workflow, node, attempt }: TaskAddress) =>
  `${queue}.${lane}.${workflow}.${node}.${attempt}`;

function addressOf(key: string): TaskAddress {
  const [queue, lane, workflow, node, attempt] = key.split(".");
  return {
    queue: queue!,
    lane: lane!,
    workflow: workflow!,
    node: Number(node),
    attempt: Number(attempt),
  };
}

function memoryTasks(queue: MemoryQueue): Tasks {
  const lanes = new Map<string, MemoryLane>();
  const placeOf = ({ queue, lane }: TaskAddress, most = Infinity): Place => {
    const urgency = urgencyOf(lane);
    const { is } = laneKind(lane);
    if (is === "priority") return { urgency };
    const name = `${queue}.${lane}`;
    const shared = lanes.get(name) ?? { most, out: 0, isRated: is === "rated" };
    shared.most = most;
    lanes.set(name, shared);
    return { urgency, lane: shared };
  };
  return {
    leaseMs: queue.leaseMs,
    publish: (address, data, most, trace) => {
      const place = { ...placeOf(address, most), ...(trace === undefined ? {} : { trace }) };
      return Promise.resolve(queue.add(keyOf(address), data, place) ? "created" : "exists");
    },
    withdraw: (workflow, node, attempt) =>
      Promise.resolve(
        queue.remove(filterOf(`*.*.${workflow}.${node ?? "*"}.${attempt ?? "*"}`)),
      ),
    has: (address) => Promise.resolve(queue.has(keyOf(address))),
    tidy: () => Promise.resolve(),
    depths: () => Promise.resolve(depthsOf(queue)),
    list: (workflow) =>
      Promise.resolve(
        queue.keys().map(addressOf).filter((address) => address.workflow === workflow),
      ),
    take: ({ queues, ahead }, onTask) =>
      Promise.resolve(
        queue.take(
          (key) => queues.includes(addressOf(key).queue),
          (delivery) =>
            onTask({
              ...delivery,
              subject: delivery.key,
              address: addressOf(delivery.key),
              sentNs: nanoseconds(delivery.queuedAt),
            }),
          ahead,
        ),
      ),
  };
}

const nanoseconds = (ms: number) => `${ms}000000`;

/** Lanes without messages are left out: nothing in here knows of them. */
function depthsOf(queue: MemoryQueue): LaneDepth[] {
  const depths = new Map<string, LaneDepth>();
  for (const key of queue.keys()) {
    const { queue: name, lane } = addressOf(key);
    const at = `${name}.${lane}`;
    const depth = depths.get(at) ?? { queue: name, lane, waiting: 0, inHand: 0, asked: 0 };
    const isOut = queue.isOut(key);
    depths.set(at, {
      ...depth,
      waiting: depth.waiting + (isOut ? 0 : 1),
      inHand: depth.inHand + (isOut ? 1 : 0),
    });
  }
  return [...depths.values()];
}

function memoryTicks(queue: MemoryQueue): Ticks {
  return {
    leaseMs: queue.leaseMs,
    wake: (workflow) => Promise.resolve(queue.replace(workflow, TICK)),
    ensure: (workflow) => {
      queue.add(workflow, TICK);
      return Promise.resolve();
    },
    take: (onTick) =>
      Promise.resolve(
        queue.take(
          () => true,
          (delivery) =>
            onTick({
              ...delivery,
              workflow: delivery.key,
              seq: delivery.order + 1,
              sentNs: nanoseconds(delivery.queuedAt),
            }),
        ),
      ),
    list: () => Promise.resolve(queue.keys()),
  };
}
