/** How a round ends: its terminal record, and what is said of it. The first record of a round stands, whoever wrote it. */
import { type Definition, labelOf } from "../core/definition.ts";
import type { FinalState } from "../core/fact.ts";
import { controlsOf, endKey } from "../core/keys.ts";
import { LIMITS } from "../core/limits.ts";
import { type EndRecord, type Keeping, readEnd, writeEnd, writeEndNote } from "../core/records.ts";
import type { Scheduler } from "../core/scheduler.ts";
import type { Ports } from "../ports.ts";

export interface Decided {
  readonly state: FinalState;
  /** So many control facts were taken into account. */
  readonly controls: number;
  /** The place in the log of the last of them; 0: there was none. */
  readonly controlledTo: number;
}

/** @returns the record that counts, once it is durable; "behind": a control fact came before it. */
export async function recordEnd(
  { facts, clock }: Pick<Ports, "facts" | "clock">,
  workflow: string,
  definition: Definition,
  scheduler: Scheduler,
  decided: Decided,
): Promise<EndRecord | "behind"> {
  const key = endKey(workflow, scheduler.round);
  const end = endOf(scheduler, decided, clock.now());
  const known = { filter: controlsOf(workflow), seq: decided.controlledTo };
  const written = await facts.createIf(key, writeEnd(end), known, noteOf(definition));
  if (written === "behind") return written;
  if (written === "created") return end;
  const first = await facts.read(key);
  return (first === undefined ? undefined : readEnd(first.data)) ?? end;
}

function endOf(scheduler: Scheduler, { state, controls }: Decided, at: number): EndRecord {
  const { reason } = scheduler;
  return {
    state,
    at,
    counts: scheduler.counts(),
    failed: scheduler.failures(LIMITS.namedFailures).map((node) => ({
      node,
      attempt: scheduler.attemptOf(node),
    })),
    ...(reason === undefined ? {} : { reason }),
    controls,
  };
}

function noteOf({ parent, retentionMs }: Definition): string | undefined {
  const keeping: Keeping | undefined = parent === undefined ? retentionMs : "parent";
  return keeping === undefined ? undefined : writeEndNote(keeping);
}

/** Why it ended as it did, in a few words. */
export function whyEnded(definition: Definition, { reason, failed }: EndRecord): string {
  return reason ?? failed.map(({ node }) => labelOf(definition, node)).join(", ");
}
