/**
 * Records what became of attempts: an outcome, sealed and put into a blob where it must be, or the run that takes the node's
 * place. Tries until it is recorded. Never acknowledges a message: whoever holds it does, once it is told.
 */
import type { Definition } from "../core/definition.ts";
import { CodecError, UnavailableError } from "../core/errors.ts";
import { outcomeKey } from "../core/keys.ts";
import {
  blobIn,
  blobName,
  failureOf,
  type OutcomeNote,
  writeBlobReference,
  writeFailure,
  writeOutcomeNote,
} from "../core/records.ts";
import { sealFailure } from "../core/sealed_failure.ts";
import { sealJson } from "../core/sealing.ts";
import type { Ports, TaskAddress } from "../ports.ts";
import { recordExpansion } from "../runs/expansion.ts";
import type { Executed } from "./execution.ts";
import type { InHand } from "./in_hand.ts";
import type { Verdict } from "./verdict.ts";

/** What is recorded as an outcome. */
type Ended = Exclude<Executed, { is: "expanded" }>;

/** An outcome, ready to be recorded. */
interface Outcome {
  readonly key: string;
  readonly data: Uint8Array;
  readonly note: string;
}

export interface Holder {
  /** Not after it was given back: whoever gets it next records it. */
  readonly isHeld: (held: InHand) => boolean;
  /** It is durable, by this call or an earlier one. */
  readonly onRecorded: (held: InHand) => void;
}

const encoder = new TextEncoder();
const AGAIN_MS = 1_000;

export class Recorder {
  readonly #ports: Ports;
  readonly #workerId: string;
  readonly #isHeld: Holder["isHeld"];
  readonly #onRecorded: Holder["onRecorded"];
  readonly counts = { succeeded: 0, failed: 0 };

  constructor(ports: Ports, workerId: string, { isHeld, onRecorded }: Holder) {
    this.#ports = ports;
    this.#workerId = workerId;
    this.#isHeld = isHeld;
    this.#onRecorded = onRecorded;
  }

  record(
    held: InHand,
    verdict: Verdict & { is: "run" | "fail" },
    executed: Executed,
    endedAt: number = this.#ports.clock.now(),
  ): void {
    if (executed.is === "expanded") return void this.#expand(held, verdict, executed.definition);
    const { address } = verdict;
    const note: OutcomeNote = {
      is: executed.is,
      startedAt: held.startedAt!,
      endedAt,
      sentNs: held.task.sentNs,
      worker: this.#workerId,
    };
    const { codec, maxRecord } = this.#ports;
    const data = executed.is === "succeeded" ? executed.data : writeFailure(executed.failure);
    this.counts[executed.is]++;
    if (codec !== undefined || data.length > maxRecord) {
      void this.#recordInSteps(held, address, executed, note);
    } else {
      const key = outcomeKey(address.workflow, address.node, address.attempt);
      this.#write(held, { key, data, note: writeOutcomeNote(note) });
    }
  }

  /** Sealed first, then put into a blob if it is too big for a record. */
  async #recordInSteps(
    held: InHand,
    address: TaskAddress,
    executed: Ended,
    note: OutcomeNote,
  ): Promise<void> {
    if (!this.#isHeld(held)) return;
    const { blobs, random, clock, log, maxRecord } = this.#ports;
    const { workflow, node, attempt } = address;
    const key = outcomeKey(workflow, node, attempt);
    try {
      const data = await this.#sealed(executed);
      if (executed.is === "failed" || data.length <= maxRecord) {
        return this.#write(held, { key, data, note: writeOutcomeNote(note) });
      }
      // A name of its own: another execution of this attempt may be doing the same.
      const blob = blobName(workflow, node, attempt, random.id());
      await blobs.put(blob, data);
      this.#write(held, {
        key,
        data: writeBlobReference(blob, data.length),
        note: writeOutcomeNote({ ...note, elsewhere: { is: "blob", blob } }),
      });
    } catch (error) {
      const why = failureOf(error).message;
      log("warn", `the outcome ${key} cannot be recorded yet: ${why}`, {
        event: "outcome-not-recorded",
        run: workflow,
        node,
        attempt,
        error,
      });
      clock.after(
        AGAIN_MS,
        () => void this.#recordInSteps(held, address, executed, note),
      );
    }
  }

  async #sealed(executed: Ended): Promise<Uint8Array> {
    const { codec } = this.#ports;
    switch (executed.is) {
      case "succeeded":
        return codec === undefined
          ? executed.data
          : encoder.encode(await sealJson(codec, executed.data));
      case "failed":
        return codec === undefined
          ? writeFailure(executed.failure)
          : await sealFailure(codec, executed.failure);
    }
    return executed satisfies never;
  }

  async #expand(
    held: InHand,
    verdict: Verdict & { is: "run" | "fail" },
    definition: Definition,
  ): Promise<void> {
    const { clock, log } = this.#ports;
    const above = verdict.is === "run" ? verdict.message.workflow : { depth: 0 };
    try {
      const trace = held.trace ?? held.task.trace;
      await recordExpansion(this.#ports, verdict.address, above, definition, trace);
    } catch (error) {
      if (!(error instanceof UnavailableError || error instanceof CodecError)) {
        const failure = { ...failureOf(error), fatal: true };
        return this.record(held, verdict, { is: "failed", failure });
      }
      const { workflow: run, node, attempt } = verdict.address;
      log("warn", `${held.task.subject} cannot be expanded yet`, {
        event: "expansion-not-recorded",
        run,
        node,
        attempt,
        error,
      });
      clock.after(AGAIN_MS, () => {
        if (this.#isHeld(held)) void this.#expand(held, verdict, definition);
      });
      return;
    }
    this.#onRecorded(held);
  }

  /** Recorded before the ack: a crash in between repeats the task, and the second outcome is refused. */
  #write(held: InHand, outcome: Outcome): void {
    const { key, data, note } = outcome;
    // Given back meanwhile: whoever gets it next records it.
    if (!this.#isHeld(held)) return this.#removeIfRefused(outcome);
    const { facts, clock, log } = this.#ports;
    facts.create(key, data, note, held.trace).then(
      (written) => {
        this.#onRecorded(held);
        if (written === "exists") this.#removeIfRefused(outcome);
      },
      (error) => {
        const { workflow: run, node, attempt } = held.task.address!;
        log("warn", `the outcome ${key} cannot be recorded yet`, {
          event: "outcome-not-recorded",
          run,
          node,
          attempt,
          error,
        });
        clock.after(AGAIN_MS, () => this.#write(held, outcome));
      },
    );
  }

  /** A blob that no record will name: another outcome was first. Not if that is ours after all, and only its answer was lost. */
  #removeIfRefused({ key, note }: Outcome): void {
    const blob = blobIn(note);
    if (blob === undefined) return;
    const { facts, blobs, log } = this.#ports;
    const remove = async () => {
      const stored = await facts.read(key);
      // With no record at all, ours may still be on its way: what it leaves goes with the run.
      if (stored !== undefined && blobIn(stored.note) !== blob) await blobs.remove(blob);
    };
    remove().catch((error) =>
      log("debug", `${blob} is left to retention`, { event: "blob-left-behind", blob, error })
    );
  }
}
