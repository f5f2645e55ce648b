/** A message that a worker holds, and how far it is with it. Data only. */
import type { TraceContext } from "../core/trace_context.ts";
import type { Cancel, TaskDelivery } from "../ports.ts";
import type { Ongoing } from "../telemetry.ts";
import type { Attempt } from "./attempt.ts";

/** A message in hand: waiting for a slot, running, or being recorded. */
export interface InHand {
  readonly task: TaskDelivery;
  heldAt: number;
  startedAt: number | undefined;
  told: boolean;
  attempt: Attempt | undefined;
  isCleanup: boolean;
  /** Its lane is limited: it does not count as one of those wanted before it begins. */
  readonly isLimited: boolean;
  /** Ends what it does while it has no slot: waiting for one, or for its moment. */
  cancelWait: Cancel;
  begun: boolean;
  /** Where it is counted that this attempt was begun again. */
  countedAs: string | undefined;
  /** Whoever had begun it before has no outcome of it. */
  isBegunAgain: boolean;
  /** While its handler runs, where there is telemetry. */
  span: Ongoing | undefined;
  /** Of that, for what is recorded afterwards. */
  trace: TraceContext | undefined;
  /** With a codec: the last of what was told is being sealed. */
  progress: Promise<void> | undefined;
}
