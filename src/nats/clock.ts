/** The system's clock. The one place that reads it. */
import type { Clock } from "../ports.ts";

/** Longer ones overflow a 32-bit timer and would fire at once; callers look again after what they asked for anyway. */
const LONGEST_TIMER_MS = 2_000_000_000;

function clock(onTimer: (timer: unknown) => void): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    after(ms, call) {
      const timer = setTimeout(call, Math.min(ms, LONGEST_TIMER_MS));
      onTimer(timer);
      return () => clearTimeout(timer);
    },
  };
}

/** Its timers do not keep a process alive: open connections do. Node's timers are objects, Deno's and browsers' are numbers. */
export const systemClock: Clock = clock((timer) => {
  if (typeof timer === "object" && timer !== null) (timer as { unref?: () => void }).unref?.();
});

/** The same for those who wait without a connection. */
export const waitingClock: Clock = clock(() => {});
