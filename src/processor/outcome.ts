/** Records outcomes of what no worker does. The first record of an attempt stands, whoever wrote it; none replaces another. */
import type { RecordedFailure } from "../core/errors.ts";
import { type OutcomeNote, writeFailure, writeOutcomeNote } from "../core/records.ts";
import type { Facts } from "../ports.ts";

export type Outcome =
  /** `result` is JSON, or empty where the result is elsewhere. */
  | { readonly is: "succeeded"; readonly result: Uint8Array }
  | { readonly is: "failed"; readonly failure: RecordedFailure };

export async function recordOutcome(
  facts: Facts,
  key: string,
  outcome: Outcome,
  when: Pick<OutcomeNote, "startedAt" | "endedAt" | "elsewhere">,
): Promise<void> {
  const { is } = outcome;
  const data = is === "succeeded" ? outcome.result : writeFailure(outcome.failure);
  const note = writeOutcomeNote({ ...when, is, sentNs: "0", worker: "processor" });
  await facts.create(key, data, note);
}
