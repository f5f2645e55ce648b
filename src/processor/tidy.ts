/** Removes views whose time is over: of processes that died without a word, of deduplicated submits, of rates not used any more. */
import { CLAIM_GRACE_MS, DEDUPES, readClaim } from "../core/dedupe.ts";
import { PRESENCE, PROCESSORS, readPresence, WORKERS } from "../core/presence.ts";
import { RATES, readLastStart, START_MATTERS_MS } from "../core/rate.ts";
import type { Ports } from "../ports.ts";

/** What cannot be read is left alone: a newer version may have written it. */
export async function tidy(ports: Ports): Promise<void> {
  const now = ports.clock.now();
  const isGone = (data: Uint8Array) => {
    const presence = readPresence(data);
    return presence !== undefined && now - presence.at > PRESENCE.removeMs;
  };
  await removeWhere(ports, WORKERS, isGone);
  await removeWhere(ports, PROCESSORS, isGone);
  await removeWhere(
    ports,
    DEDUPES,
    (data) => (readClaim(data)?.until ?? Infinity) + CLAIM_GRACE_MS < now,
  );
  await removeWhere(
    ports,
    RATES,
    (data) => (readLastStart(data) ?? Infinity) + START_MATTERS_MS < now,
  );
}

async function removeWhere(
  { views }: Ports,
  prefix: string,
  isOver: (data: Uint8Array) => boolean,
): Promise<void> {
  for await (const { key, data, revision } of views.list(prefix)) {
    // It may have been written anew meanwhile.
    if (isOver(data)) await views.remove(key, revision);
  }
}
