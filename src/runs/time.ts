/** Letting time pass, by the clock port. Decides nothing, and starts nothing but timers that it ends. */
import type { Cancel, Clock } from "../ports.ts";

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}

/** Waits until `work` is done, but not longer than `ms`: a server that does not answer must not hold its caller up. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  let cancel: Cancel = () => {};
  const late = new Promise<void>((resolve) => cancel = clock.after(ms, resolve));
  try {
    await Promise.race([work, late]);
  } finally {
    cancel();
  }
}
