/**
 * How a run goes from one processor to another while both are well. Whoever gets its tick asks for it; who conducts it stops,
 * waits until the server has what it was sending, and answers. Only then the queue and the log tell all that was done, and
 * nothing is sent twice. Who does not answer is gone, or as good as gone. Of two that both have a tick, the later tick counts.
 */
import { type Claim, readClaim, writeClaim } from "../core/records.ts";
import type { Cancel, Hints } from "../ports.ts";

export type Answer = "let go" | typeof KEPT;

const KEPT = "kept";

/** Longer than a processor that is well needs. */
const ANSWERED_MS = 1_000;
const ASKED = "asked.";
const HELD = "held.";

/** Of a version to come: it is believed. */
const UNREADABLE: Claim = { by: "", seq: Infinity };

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class HandOver {
  readonly #hints: Hints;
  readonly #by: string;

  /** @param by the processor's id. */
  constructor(hints: Hints, by: string) {
    this.#hints = hints;
    this.#by = by;
  }

  /**
   * Has whoever conducts it let go of it. Not those who answer on this connection only from now on: the server takes what
   * comes over one in its order.
   * @param seq of the tick that is here.
   * @returns "kept" when somebody has a later one.
   */
  async ask(workflow: string, seq: number): Promise<Answer> {
    const claim = writeClaim({ by: this.#by, seq });
    const answer = await this.#hints.ask(ASKED + workflow, claim, ANSWERED_MS);
    return answer !== undefined && decoder.decode(answer) === KEPT ? KEPT : "let go";
  }

  /** For those that conduct nothing of it and only listen for it, and for those that could not be asked. */
  tell(workflow: string, seq: number): void {
    this.#hints.tell(HELD + workflow, writeClaim({ by: this.#by, seq }));
  }

  /** Answers who asks for it. */
  onAsked(workflow: string, answer: (claim: Claim) => Promise<Answer>): Cancel {
    return this.#hints.onAsked(
      ASKED + workflow,
      async (asked) => encoder.encode(await answer(readClaim(asked) ?? UNREADABLE)),
    );
  }

  /** Another processor has it. */
  onHeld(call: (workflow: string, claim: Claim) => void): Cancel {
    return this.#hints.onTold(`${HELD}*`, (topic, told) => {
      const claim = readClaim(told) ?? UNREADABLE;
      if (claim.by !== this.#by) call(topic.slice(HELD.length), claim);
    });
  }
}
