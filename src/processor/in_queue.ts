/** Which of a run's task messages are in the queue, waiting or handed out. */
import type { TaskAddress, Tasks } from "../ports.ts";

/** What was sent and has no outcome. */
export interface Waiting {
  readonly address: TaskAddress;
  /** Of its lane, if that is limited. */
  readonly most: number | undefined;
}

/** So many are asked for one by one; of more, whose messages may be large, the names are listed. */
const FEW = 8;

/**
 * Looks for all of them, which are of one run. What is in the queue can be handed out then: a lane that is gone is made again.
 * @returns tells of each whether it was there.
 */
export async function findQueued(
  tasks: Pick<Tasks, "has" | "list">,
  waiting: readonly Waiting[],
): Promise<(address: TaskAddress) => boolean> {
  if (waiting.length <= FEW) return await askForEach(tasks, waiting);
  const inLanes = new Map(waiting.map((one) => [`${one.address.queue} ${one.address.lane}`, one]));
  await askForEach(tasks, [...inLanes.values()]);
  const queued = new Set((await tasks.list(waiting[0]!.address.workflow)).map(attemptOf));
  return (address) => queued.has(attemptOf(address));
}

async function askForEach(
  tasks: Pick<Tasks, "has">,
  waiting: readonly Waiting[],
): Promise<(address: TaskAddress) => boolean> {
  const queued = new Set<string>();
  await Promise.all(waiting.map(async ({ address, most }) => {
    if (await tasks.has(address, most)) queued.add(attemptOf(address));
  }));
  return (address) => queued.has(attemptOf(address));
}

function attemptOf({ node, attempt }: TaskAddress): string {
  return `${node}.${attempt}`;
}
