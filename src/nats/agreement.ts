/**
 * What a refused write means. The leader of a replicated stream refuses a message for a taken place also while what takes it
 * is only proposed: if the leader is lost before the others agree, nothing was ever there. So a place is taken when what
 * takes it can be read; until then the write is tried again.
 */
import { UnavailableError } from "../core/errors.ts";
import type { Patience } from "./patience.ts";

/**
 * @param read what has taken the place; undefined: nothing that all agree to.
 * @param write undefined: it was refused again.
 * @throws {UnavailableError} when it stays open for too long.
 */
export function agreed<T>(
  patience: Patience,
  what: string,
  { read, write }: { read: () => Promise<T | undefined>; write: () => Promise<T | undefined> },
): Promise<T> {
  return patience.with(what, async () => {
    const outcome = await read() ?? await write();
    if (outcome !== undefined) return outcome;
    throw new UnavailableError(`Cannot ${what}: the servers have not agreed on it`, {
      hint: "Try again; see whether the stream has a leader that most of its servers follow.",
    });
  });
}
