/**
 * When runs that are quiet are looked after again, in case something was recorded that nobody heard of. The more of them a
 * processor has, the less often each: all together cost no more than this allows. Pure: it is told everything.
 */

/** Between two looks, at whatever run. */
export const LOOK_EVERY_MS = 20;
/** The same of those of which nothing is at hand: some must be read anew for it. */
const READ_EVERY_MS = 100;
/** What is looked after this seldom is so together with others of the same second: a turn for all of them costs less. */
const TOGETHER_FROM_MS = 60_000;
const TOGETHER_MS = 1_000;
/** Of the delay, up or down: runs that became quiet together must not all come back together. */
const SPREAD = 0.2;

export interface Quiet {
  /** How long it may be left alone, milliseconds; doubled by its processor as long as nothing comes of the looks. */
  readonly idleMs: number;
  /** How many runs its processor has. */
  readonly held: number;
  /** How many of them it keeps at hand, at most. */
  readonly keep: number;
}

/**
 * The moment of the next look, by the clock that `now` is of.
 * @param chance evenly from 0 to below 1.
 */
export function nextLook(now: number, { idleMs, held, keep }: Quiet, chance: number): number {
  const kept = Math.min(held, keep);
  const roundMs = kept * LOOK_EVERY_MS + (held - kept) * READ_EVERY_MS;
  const delayMs = Math.max(idleMs, roundMs) * (1 - SPREAD + 2 * SPREAD * chance);
  const at = now + delayMs;
  return delayMs < TOGETHER_FROM_MS ? at : Math.ceil(at / TOGETHER_MS) * TOGETHER_MS;
}
