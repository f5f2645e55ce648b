/** How everything is called on the server: streams, consumers, subjects. Written and read here only. */
import { isId } from "../core/ids.ts";
import type { TaskAddress } from "../ports.ts";

export interface Names {
  readonly factsStream: string;
  readonly tasksStream: string;
  readonly ticksStream: string;
  readonly stateBucket: string;
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

export function parseTaskSubject(names: Names, subject: string): TaskAddress | undefined {
  if (!subject.startsWith(names.taskPrefix)) return undefined;
  const [queue, lane, workflow, node, attempt, more] = subject.slice(names.taskPrefix.length).split(
    ".",
  );
  if (attempt === undefined || more !== undefined || !/^p\d$/.test(lane!)) return undefined;
  if (!isId(queue!) || !isId(workflow!) || !/^\d{1,9}$/.test(node!) || !/^\d{1,9}$/.test(attempt)) {
    return undefined;
  }
  return {
    queue: queue!,
    priority: Number(lane!.slice(1)),
    workflow: workflow!,
    node: Number(node),
    attempt: Number(attempt),
  };
}
