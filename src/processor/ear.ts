/**
 * Listens for the facts of one workflow before anybody knows what they mean: what is recorded while its definition and its
 * log are read is heard or read, or both. The server takes what one connection sends in its order: what is asked for after
 * this was made is answered by somebody who tells of everything later.
 */
import { everythingOf } from "../core/keys.ts";
import type { Cancel, Hint, Hints } from "../ports.ts";

export class Ear {
  readonly #cancel: Cancel;
  /** Until somebody listens. */
  #heard: Hint[] | undefined = [];
  #call: (hint: Hint) => void = (hint) => void this.#heard?.push(hint);

  constructor(hints: Hints, workflow: string) {
    this.#cancel = hints.onFact(everythingOf(workflow), (hint) => this.#call(hint));
  }

  /** From now on, and of all that was heard. */
  listen(call: (hint: Hint) => void): void {
    const heard = this.#heard ?? [];
    this.#heard = undefined;
    this.#call = call;
    for (const hint of heard) call(hint);
  }

  close(): void {
    this.#cancel();
  }
}
