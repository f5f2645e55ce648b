/** How a run ended, as far as the log says: its last terminal record, and whether something opened the next round after it. */
import { controlsOf, endsOf, parseKey } from "../core/keys.ts";
import { noCounts } from "../core/node_state.ts";
import { type EndRecord, readControl, readEnd } from "../core/records.ts";
import type { Recorded } from "../core/recorded.ts";
import type { Facts } from "../ports.ts";

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
  const last = await facts.last(endsOf(workflow));
  const key = last === undefined ? undefined : parseKey(last.key);
  if (last === undefined || key?.is !== "end") return undefined;
  const { seq, at, data } = last;
  const end = readEnd(data) ?? unreadableEnd(at);
  const reopened = await isReopenedAfter(facts, workflow, seq, end.state);
  return { end, round: key.round, seq, reopened };
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
