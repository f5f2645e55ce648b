/** How everything is called on the server: streams, consumers, subjects. Written and read here only. */
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
  };
}

/** The lane of a priority. */
export const laneOf = (priority: number): string => `p${priority}`;

/** A lane's consumer. The lane comes first: it has a fixed form, and a queue may contain anything an id may. */
export const laneConsumer = (queue: string, lane: string): string => `${lane}-${queue}`;

export interface Lane {
  readonly queue: string;
  readonly lane: string;
}

export function parseLaneConsumer(name: string): Lane | undefined {
  const match = /^(p\d)-(.+)$/.exec(name);
  return match === null ? undefined : { lane: match[1]!, queue: match[2]! };
}

export function taskSubject(
  names: Names,
  { queue, priority, workflow, node, attempt }: TaskAddress,
): string {
  return `${names.taskPrefix}${queue}.${laneOf(priority)}.${workflow}.${node}.${attempt}`;
}

/** Queue, priority, workflow, node, attempt: what follows the prefix in a task's subject. */
const TASK = /^([\w-]{1,64})\.p(\d)\.([\w-]{1,64})\.(\d{1,9})\.(\d{1,9})$/;

export function parseTaskSubject(names: Names, subject: string): TaskAddress | undefined {
  const match = subject.startsWith(names.taskPrefix)
    ? TASK.exec(subject.slice(names.taskPrefix.length))
    : null;
  if (match === null) return undefined;
  return {
    queue: match[1]!,
    priority: Number(match[2]),
    workflow: match[3]!,
    node: Number(match[4]),
    attempt: Number(match[5]),
  };
}
