/** The library on the memory adapter in real time, with records as small as a test wants them. */
import { Dyrygent, type DyrygentOptions, type WorkerOptions } from "nats-dyrygent";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { systemClock } from "../../src/nats/clock.ts";
import type { Ports } from "../../src/ports.ts";

export interface Local {
  readonly app: Dyrygent;
  readonly ports: Ports;
}

/** Runs `body` with a worker and a processor at work; both have stopped when it resolves. */
export async function locally<T>(
  options: Pick<DyrygentOptions, "codec"> & { maxRecord?: number },
  worker: WorkerOptions,
  body: (local: Local) => Promise<T>,
): Promise<T> {
  const ports = memoryPorts({
    clock: systemClock,
    random: new SeededRandom(1),
    log: () => {},
    ...options,
  });
  const app = new Dyrygent(ports, "local");
  await using running = app.worker(worker);
  await using processor = app.processor();
  await running.start();
  await processor.start();
  return await body({ app, ports });
}
