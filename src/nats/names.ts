/** How everything is called on the server: streams, consumers, subjects. Written and read here only. */
import { isLimited, LANE_PATTERN } from "../core/lanes.ts";
import type { TaskAddress } from "../ports.ts";

export interface Names {
  readonly factsStream: string;
  readonly tasksStream: string;
  readonly ticksStream: string;
  readonly stateBucket: string;
  /** A bucket of the object store. */
  readonly resultsBucket: string;
  readonly resultsStream: string;
  readonly tickConsumer: string;
  /** `$KV.NS.`: facts as they are written. */
  readonly factPrefix: string;
  /** `NS.fact.`: facts as they are republished. */
  readonly hintPrefix: string;
  readonly taskPrefix: string;
  readonly tickPrefix: string;
  readonly eventPrefix: string;
  /** `NS.feed.`: what processors tell others, where they are asked to. */
  readonly feedPrefix: string;
}

export function namesIn(namespace: string): Names {
  return {
    factsStream: `KV_${namespace}`,
    tasksStream: `${namespace}_TASKS`,
    ticksStream: `${namespace}_TICKS`,
    stateBucket: `${namespace}_STATE`,
    resultsBucket: `${namespace}_RESULTS`,
    resultsStream: `OBJ_${namespace}_RESULTS`,
    tickConsumer: "processor",
    factPrefix: `$KV.${namespace}.`,
    hintPrefix: `${namespace}.fact.`,
    taskPrefix: `${namespace}.task.`,
    tickPrefix: `${namespace}.tick.`,
    eventPrefix: `${namespace}.event.`,
    feedPrefix: `${namespace}.feed.`,
  };
}

/** A lane's consumer. Keys and queues may contain anything an id may: what stands between them must be something else. */
export const laneConsumer = (queue: string, lane: string): string =>
  isLimited(lane) ? `${lane}=${queue}` : `${lane}-${queue}`;

export interface Lane {
  readonly queue: string;
  readonly lane: string;
  /** How many of its messages may be with workers at once; undefined: any number. */
  readonly most?: number;
}

export function parseLaneConsumer(name: string): Lane | undefined {
  const match = LANE_CONSUMER.exec(name);
  return match === null ? undefined : { lane: match[1]!, queue: match[2]! };
}

const LANE = new RegExp(`^(?:${LANE_PATTERN})$`);
const LANE_CONSUMER = new RegExp(`^(p\\d(?=-)|[cr]-[\\w-]+(?==))[-=]([\\w-]{1,64})$`);

/** Whether `text`, from wherever it comes, is a lane's name. */
export function isLane(text: string): boolean {
  return LANE.test(text);
}

export function taskSubject(
  names: Names,
  { queue, lane, workflow, node, attempt }: TaskAddress,
): string {
  return `${names.taskPrefix}${queue}.${lane}.${workflow}.${node}.${attempt}`;
}

/** Queue, lane, workflow, node, attempt: what follows the prefix in a task's subject. */
const TASK = new RegExp(
  `^([\\w-]{1,64})\\.(${LANE_PATTERN})\\.([\\w-]{1,64})\\.(\\d{1,9})\\.(\\d{1,9})$`,
);

export function parseTaskSubject(names: Names, subject: string): TaskAddress | undefined {
  const match = subject.startsWith(names.taskPrefix)
    ? TASK.exec(subject.slice(names.taskPrefix.length))
    : null;
  if (match === null) return undefined;
  return {
    queue: match[1]!,
    lane: match[2]!,
    workflow: match[3]!,
    node: Number(match[4]),
    attempt: Number(match[5]),
  };
}
