/** Counts this process's timers, also those that do not keep it alive. Replaces the globals: to be begun before they are used. */

type Start = (call: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => unknown;
type Stop = (timer: unknown) => void;

/** @returns what says how many are running. */
export function countTimers(): () => number {
  const globals = globalThis as unknown as Record<string, Start & Stop>;
  const running = new Set<unknown>();
  const { setTimeout: once, setInterval: always } = globals as Record<string, Start>;
  globals["setTimeout"] = ((call, ms, ...args) => {
    const timer = once!(() => {
      running.delete(timer);
      call(...args);
    }, ms);
    running.add(timer);
    return timer;
  }) as Start & Stop;
  globals["setInterval"] = ((call, ms, ...args) => {
    const timer = always!(call, ms, ...args);
    running.add(timer);
    return timer;
  }) as Start & Stop;
  for (const name of ["clearTimeout", "clearInterval"]) {
    const stop: Stop = globals[name]!;
    globals[name] = ((timer) => {
      running.delete(timer);
      stop(timer);
    }) as Start & Stop;
  }
  return () => running.size;
}
