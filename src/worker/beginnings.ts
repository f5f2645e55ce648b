/**
 * What is known of earlier beginnings of an attempt: whether one has its outcome, and how many had none, because the workers
 * that ran them died. Kept in views, by all workers together.
 */
import type { RecordedFailure } from "../core/errors.ts";
import { expiredFailure } from "../core/fact.ts";
import { begunKey, expansionKey, outcomeKey } from "../core/keys.ts";
import { readBegun, writeBegun } from "../core/records.ts";
import type { Ports } from "../ports.ts";
import type { InHand } from "./in_hand.ts";
import type { Verdict } from "./verdict.ts";

export class Beginnings {
  readonly #ports: Ports;
  readonly #maxCrashes: number;

  constructor(ports: Ports, maxCrashes: number) {
    this.#ports = ports;
    this.#maxCrashes = maxCrashes;
  }

  async isRecorded({ address }: Verdict & { is: "run" | "fail" }): Promise<boolean> {
    const { workflow, node, attempt } = address;
    const [outcome, expansion] = await Promise.all([
      this.#ports.facts.read(outcomeKey(workflow, node, attempt)),
      this.#ports.facts.read(expansionKey(workflow, node, attempt)),
    ]);
    return (outcome ?? expansion) !== undefined;
  }

  /** An attempt that may have been begun before, or whose time is limited, is only begun when that is known to all. */
  async whyNotBegin(
    held: InHand,
    verdict: Verdict & { is: "run" },
  ): Promise<RecordedFailure | undefined> {
    const { expiresAt } = verdict.message;
    if (held.task.deliveries === 1 && !verdict.isTimed) return undefined;
    const now = this.#ports.clock.now();
    const times = await this.#countBegin(held, verdict, now);
    if (expiresAt !== undefined && now > expiresAt && times === 1) return expiredFailure(expiresAt);
    const crashes = held.task.deliveries === 1 ? times - 1 : times;
    return crashes > this.#maxCrashes ? workerLost(this.#maxCrashes) : undefined;
  }

  /** Counted outside of the message: the server's count of deliveries includes those that were given back unbegun. */
  async #countBegin(
    held: InHand,
    { address }: Verdict & { is: "run" },
    now: number,
  ): Promise<number> {
    const { views } = this.#ports;
    const key = begunKey(address.workflow, address.node, address.attempt);
    const seen = held.task.deliveries === 1 ? undefined : await views.get(key);
    const times = 1 + (seen === undefined ? 0 : readBegun(seen.data)?.times ?? 0);
    await views.put(key, writeBegun({ at: now, times }));
    held.countedAs = key;
    held.isBegunAgain = times > 1;
    if (times > 1) this.#ports.telemetry?.measure({ is: "leaseLost", lease: "task" });
    return times;
  }

  /** Its outcome is recorded. */
  forget({ countedAs: key }: InHand): void {
    if (key === undefined) return;
    this.#ports.views.remove(key).catch((error) =>
      this.#ports.log("debug", `${key} cannot be removed`, {
        event: "view-not-removed",
        key,
        error,
      })
    );
  }
}

function workerLost(maxCrashes: number): RecordedFailure {
  return {
    name: "WorkerLostError",
    message:
      `begun again ${maxCrashes} times without an outcome: the workers that ran it died, or lost their connection`,
    fatal: true,
  };
}
