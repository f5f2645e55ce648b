/** How a script that serves ends: when somebody says so, or whoever started it is gone. */
import process from "node:process";

/** What ends in order when it is told to: a worker, a processor, processes. */
export interface Stoppable {
  stop(): Promise<void>;
}

/** What a child tells whoever started it, once it serves. */
export const READY = "nats-dyrygent: ready";

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

/**
 * Waits for SIGTERM or SIGINT, or the end of the process that `startProcesses` was called in; then stops what serves.
 * A second signal ends the process at once. Call it when all have started, and close the connection after it.
 */
export async function untilStopped(...serving: readonly Stoppable[]): Promise<void> {
  await new Promise<void>((resolve) => {
    for (const signal of SIGNALS) process.once(signal, () => resolve());
    process.once("disconnect", () => resolve());
    // Whoever started it may be gone before it serves: that is told once only, and was told already.
    if (process.connected === false) resolve();
    else process.send?.(READY);
  });
  await Promise.all(serving.map((one) => one.stop()));
  // Or the channel would keep this process alive.
  if (process.connected === true) process.disconnect();
}
