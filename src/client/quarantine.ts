/** Task messages that no worker could read: their bytes, kept for people. */
import { QUARANTINE } from "../core/keys.ts";
import type { Ports } from "../ports.ts";

/** A message that no worker could read. */
export interface Quarantined {
  /** `<run>.<node>.<attempt>`, or `unknown.<nanoseconds>` of one whose subject is not a task's. */
  readonly key: string;
  readonly data: Uint8Array;
}

/** In the order of their keys. */
export async function quarantined({ views }: Ports): Promise<Quarantined[]> {
  const found: Quarantined[] = [];
  for await (const { key, data } of views.list(QUARANTINE)) {
    found.push({ key: key.slice(QUARANTINE.length), data });
  }
  return found.sort((a, b) => a.key < b.key ? -1 : 1);
}

/** @returns whether there was one. */
export async function dropQuarantined({ views }: Ports, key: string): Promise<boolean> {
  const isThere = (await views.keys(QUARANTINE)).includes(QUARANTINE + key);
  if (isThere) await views.remove(QUARANTINE + key);
  return isThere;
}
