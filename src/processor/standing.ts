/**
 * How a run stood when it was let go, of which a processor keeps nothing else at hand: with it, a few small questions tell that
 * it stands so still, where reading it anew takes ten. Only of runs that wait for a few tasks and for nothing else.
 */
import { everythingOf } from "../core/keys.ts";
import type { Ports } from "../ports.ts";
import { findQueued, type Waiting } from "./in_queue.ts";

export interface Standing {
  /** The key of what was recorded last. */
  readonly latest: string;
  /** When something is to be done although nothing is recorded; milliseconds since 1970. */
  readonly dueAt: number;
  /** One or more. */
  readonly waiting: readonly Waiting[];
}

/**
 * Whether nothing was recorded since, and all that it waits for is in the queue. The queue first, then the log: an outcome is
 * recorded before its message leaves the queue.
 */
export async function standsStill(
  { facts, tasks, clock }: Pick<Ports, "facts" | "tasks" | "clock">,
  { latest, dueAt, waiting }: Standing,
): Promise<boolean> {
  if (clock.now() >= dueAt) return false;
  const isQueued = await findQueued(tasks, waiting);
  if (!waiting.every(({ address }) => isQueued(address))) return false;
  const last = await facts.last(everythingOf(waiting[0]!.address.workflow));
  return last?.key === latest;
}
