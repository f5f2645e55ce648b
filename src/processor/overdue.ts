/**
 * What a processor does about attempts whose worker does not: one that stands still (a handler that blocks its process, a
 * machine that is gone with nobody to take over) cannot record that time is up. Decides only.
 */
import type { Definition } from "../core/definition.ts";
import type { RecordedFailure } from "../core/errors.ts";
import { expiredFailure } from "../core/fact.ts";
import { isCount } from "../core/limits.ts";
import { parseRecord } from "../core/records.ts";

/** Workers are given so long to say it themselves. */
const GRACE_MS = 5_000;

/** An attempt whose message is in the queue, waiting or handed out. Milliseconds since 1970. */
export interface InQueue {
  readonly now: number;
  /** When a worker began it, as far as it said so. */
  readonly begunAt: number | undefined;
  readonly timeoutMs: number | undefined;
  readonly expiresAt: number | undefined;
  /** A worker that died is replaced after this. */
  readonly leaseMs: number;
}

/** How the attempt has failed; undefined: it has not. */
export function overdueFailure(
  { now, begunAt, timeoutMs, expiresAt, leaseMs }: InQueue,
): RecordedFailure | undefined {
  if (begunAt === undefined) {
    return expiresAt !== undefined && now > expiresAt + GRACE_MS
      ? expiredFailure(expiresAt)
      : undefined;
  }
  // A worker that died is replaced first: who takes over begins anew.
  if (timeoutMs === undefined || now <= begunAt + timeoutMs + leaseMs + GRACE_MS) return undefined;
  return {
    name: "TimeoutError",
    message:
      `ran longer than its timeout of ${timeoutMs} ms, and its worker did not say so: it stood still, or was lost`,
  };
}

/** When it is worth looking at an attempt that expires. */
export function lookAt(expiresAt: number): number {
  return expiresAt + GRACE_MS + 1;
}

/** How long an attempt of the node may run. Only a signature that may say so is looked into. */
export function timeoutOf({ signatures }: Definition, node: number): number | undefined {
  if (!signatures.text(node).includes('"timeoutMs":')) return undefined;
  const { timeoutMs } = parseRecord(signatures.bytes(node)) ?? {};
  return isCount(timeoutMs) ? timeoutMs : undefined;
}
