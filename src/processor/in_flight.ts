/**
 * The task messages of one workflow that were sent and have no outcome yet: at most one of a node. A table and no more: it
 * sends nothing, and what is in it is known only to this process.
 */

/** A message that was sent. */
export interface Sent {
  readonly attempt: number;
  /** Where it is queued: another processor may have had other limits. */
  readonly lane: string;
  /** When, monotonic milliseconds. */
  readonly at: number;
  /** When the server had it; undefined: it may come yet, and is not missing. */
  confirmedAt: number | undefined;
  /** Settled when it is known whether the server has it; absent: it had it before. */
  published?: Promise<unknown>;
  /** It may begin until then; milliseconds since 1970. */
  readonly expiresAt: number | undefined;
  /** Where there is telemetry: when that was recorded which made it ready; milliseconds since 1970. */
  readonly freedAt?: number | undefined;
}

export interface OnItsWay {
  readonly node: number;
  readonly attempt: number;
  readonly published: Promise<unknown>;
}

export class InFlight {
  readonly #sent = new Map<number, Sent>();

  get size(): number {
    return this.#sent.size;
  }

  /** In place of a message of an earlier attempt. */
  add(node: number, sent: Sent): void {
    this.#sent.set(node, sent);
  }

  /** The message of this very attempt. */
  get(node: number, attempt: number): Sent | undefined {
    const sent = this.#sent.get(node);
    return sent?.attempt === attempt ? sent : undefined;
  }

  /** The same, which is in flight no longer. */
  take(node: number, attempt: number): Sent | undefined {
    const sent = this.get(node, attempt);
    if (sent !== undefined) this.#sent.delete(node);
    return sent;
  }

  /** Forgets the others. @returns those of them that are on their way to the server. */
  keep(isCurrent: (node: number, attempt: number) => boolean): OnItsWay[] {
    const onTheirWay: OnItsWay[] = [];
    for (const [node, { attempt, confirmedAt, published }] of this.#sent) {
      if (isCurrent(node, attempt)) continue;
      this.#sent.delete(node);
      if (confirmedAt === undefined && published !== undefined) {
        onTheirWay.push({ node, attempt, published });
      }
    }
    return onTheirWay;
  }

  /** Those that the server had at `at` or before. */
  *confirmedBy(at: number): Generator<Sent & { readonly node: number }> {
    for (const [node, sent] of this.#sent) {
      if (sent.confirmedAt !== undefined && sent.confirmedAt <= at) yield { ...sent, node };
    }
  }
}
