/** The system's clock. The one place that reads it. */
import type { Clock } from "../ports.ts";

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, call) {
    // Longer ones overflow a 32-bit timer and would fire at once; callers look again after what they asked for anyway.
    const timer: unknown = setTimeout(call, Math.min(ms, 2_000_000_000));
    unref(timer);
    return () => clearTimeout(timer as number);
  },
};

/** Timers must not keep a process alive: open connections do. Node's timers are objects, Deno's and browsers' are numbers. */
function unref(timer: unknown): void {
  if (typeof timer === "object" && timer !== null) (timer as { unref?: () => void }).unref?.();
}
