/** The workers and processors that run now, as their views say. */
import {
  type LiveProcessor,
  type LiveWorker,
  PRESENCE,
  PROCESSORS,
  readLiveProcessor,
  readLiveWorker,
  WORKERS,
} from "../core/presence.ts";
import type { Ports } from "../ports.ts";

export function liveWorkers(ports: Ports): Promise<LiveWorker[]> {
  return live(ports, WORKERS, readLiveWorker);
}

export function liveProcessors(ports: Ports): Promise<LiveProcessor[]> {
  return live(ports, PROCESSORS, readLiveProcessor);
}

async function live<T extends { readonly id: string; readonly at: number }>(
  { views, clock }: Ports,
  prefix: string,
  read: (data: Uint8Array) => T | undefined,
): Promise<T[]> {
  const found: T[] = [];
  for await (const { data } of views.list(prefix)) {
    const one = read(data);
    if (one !== undefined && clock.now() - one.at < PRESENCE.staleMs) found.push(one);
  }
  return found.sort((a, b) => a.id < b.id ? -1 : 1);
}
