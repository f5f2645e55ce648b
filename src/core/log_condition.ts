/** What a write may depend on: that nothing of a kind was recorded since its writer has read the log. */
import { NotFoundError } from "./errors.ts";

/** The latest fact whose key matches `filter` is at `seq`; 0: there is none. */
export interface LogCondition {
  readonly filter: string;
  readonly seq: number;
}

/**
 * Whether more was recorded than the condition says.
 * @param last where the latest one is; 0: there is none.
 * @throws {NotFoundError} when what it says is not recorded any more.
 */
export function isBehind({ filter, seq }: LogCondition, last: number): boolean {
  if (last >= seq) return last > seq;
  throw new NotFoundError(`The fact ${seq} of ${filter} was recorded and is not there any more`, {
    hint: "Its run was removed, or the server lost writes: see its sync_interval.",
  });
}
