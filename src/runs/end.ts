/** How a run ended, as far as the log says: its last terminal record, and whether something opened the next round after it. */
import { controlsOf, endKey } from "../core/keys.ts";
import { noCounts } from "../core/node_state.ts";
import { type EndRecord, readControl, readEnd } from "../core/records.ts";
import type { Facts, Stored } from "../ports.ts";

export interface LastEnd {
  readonly end: EndRecord;
  readonly round: number;
  /** Its place in the log. */
  readonly seq: number;
  /** A retry or a rerun was recorded after it: the run goes on. */
  readonly reopened: boolean;
}

/** The latest round's end; undefined while the first one is under way. */
export async function lastEnd(facts: Facts, workflow: string): Promise<LastEnd | undefined> {
  let last = await facts.read(endKey(workflow, 1));
  for (let round = 1; last !== undefined; round++) {
    const { seq, at, data }: Stored = last;
    const end = readEnd(data) ?? unreadableEnd(at);
    const [next, reopened] = await Promise.all([
      facts.read(endKey(workflow, round + 1)),
      isReopenedAfter(facts, workflow, seq, end.state),
    ]);
    if (next === undefined) return { end, round, seq, reopened };
    last = next;
  }
  return undefined;
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
