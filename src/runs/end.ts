/** How a run ended, as far as the log says: its last terminal record, and whether something opened the next round after it. */
import { controlsOf, endKey, endsOf, parseKey } from "../core/keys.ts";
import { noCounts } from "../core/node_state.ts";
import { type EndRecord, readControl, readEnd } from "../core/records.ts";
import type { Recorded } from "../core/recorded.ts";
import type { Facts, Stored } from "../ports.ts";

export interface RoundEnd {
  readonly end: EndRecord;
  readonly round: number;
}

export interface LastEnd extends RoundEnd {
  /** Its place in the log. */
  readonly seq: number;
  /** A retry or a rerun was recorded after it: the run goes on. */
  readonly reopened: boolean;
}

/** The latest round's end; undefined while the first one is under way. */
export async function lastEnd(facts: Facts, workflow: string): Promise<LastEnd | undefined> {
  const last = await lastRecord(facts, workflow);
  if (last === undefined) return undefined;
  const { round, stored: { seq, at, data } } = last;
  const end = readEnd(data) ?? unreadableEnd(at);
  const reopened = await isReopenedAfter(facts, workflow, seq, end.state);
  return { end, round, seq, reopened };
}

interface RoundRecord {
  readonly round: number;
  readonly stored: Stored;
}

async function lastRecord(facts: Facts, workflow: string): Promise<RoundRecord | undefined> {
  const stored = await facts.last(endsOf(workflow));
  if (stored === undefined) return undefined;
  const key = parseKey(stored.key);
  if (key?.is === "end" && key.round === 1) return { round: 1, stored };
  // Rounds follow each other: a number that somebody else made up is the end of none.
  let last: RoundRecord | undefined;
  for (let round = 1;; round++) {
    const next = await facts.read(endKey(workflow, round));
    if (next === undefined) return last;
    last = { round, stored: next };
  }
}

/** What a terminal record says; undefined when it is none, or cannot be read. */
export function roundEndIn({ key, data }: Recorded): RoundEnd | undefined {
  const parsed = parseKey(key);
  if (parsed?.is !== "end") return undefined;
  const end = readEnd(data);
  return end === undefined ? undefined : { end, round: parsed.round };
}

/** Whether the first control fact after `seq` that matters opens another round of a run that ended as `state`. */
export async function isReopenedAfter(
  facts: Facts,
  workflow: string,
  seq: number,
  state: string | undefined,
): Promise<boolean> {
  for (let from = seq + 1;;) {
    const control = await facts.next(controlsOf(workflow), from);
    if (control === undefined) return false;
    const is = readControl(control.data)?.control.is;
    if (is === "rerun" || (is === "retry" && state !== "SUCCESS")) return true;
    from = control.seq + 1;
  }
}

/** What stands for a terminal record that cannot be read: it is there, and cannot be replaced. */
function unreadableEnd(at: number): EndRecord {
  const reason = "its terminal record cannot be read";
  return { state: "ERROR", at, counts: noCounts(), failed: [], reason };
}
