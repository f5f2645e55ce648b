/** Deduplicated submits as they are recorded: which run a key stands for, and until when. */
import { isId } from "./ids.ts";
import { isCount } from "./limits.ts";
import { parseRecord } from "./records.ts";

export const DEDUPES = "dedupe.";
/** A claim is kept for so long after its time: the clock of whoever removes it may be ahead. */
export const CLAIM_GRACE_MS = 3_600_000;

/** A key's claim: its submits until `until` are this run. */
export interface Claim {
  readonly run: string;
  /** Milliseconds since 1970, by the clock of whoever claimed it. */
  readonly until: number;
  /** Whether the run is known to be durable. Before that its submitter may be on the way, or have died. */
  readonly made: boolean;
}

const encoder = new TextEncoder();
const VERSION = 1;

/** Keys are any text; the view's name has a hash of it: 128 bits, so that no two keys meet. */
export async function dedupeView(key: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(key)));
  const hex = [...digest.subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, "0"));
  return DEDUPES + hex.join("");
}

export function writeClaim({ run, until, made }: Claim): Uint8Array {
  return encoder.encode(JSON.stringify({ v: VERSION, run, until, ...(made ? { made } : {}) }));
}

export function readClaim(data: Uint8Array): Claim | undefined {
  const { v, run, until, made } = parseRecord(data) ?? {};
  return v === VERSION && isId(run) && isCount(until)
    ? { run, until, made: made === true }
    : undefined;
}
