/** Results kept at hand while nodes still need them, so that a task message can carry its inputs. Bounded; only a cache. */
import type { Definition } from "../core/definition.ts";

/** A result larger than this is read by the worker. */
export const LARGEST_RESULT = 4_096;
/** All results at hand for one workflow. */
const LARGEST_TOTAL = 4_194_304;

export class Results {
  readonly #data = new Map<number, Uint8Array>();
  /** For each node at hand: dependents that have not been sent. */
  readonly #needed = new Map<number, number>();
  #total = 0;

  /** @param dependents how many nodes may ask for it. */
  keep(node: number, data: Uint8Array, dependents: number): void {
    if (dependents === 0 || this.#total + data.length > LARGEST_TOTAL) return;
    if (this.#data.has(node)) return;
    // A copy: what arrives is part of a buffer with many other messages, which would all stay.
    this.#data.set(node, data.slice());
    this.#needed.set(node, dependents);
    this.#total += data.length;
  }

  get(node: number): Uint8Array | undefined {
    return this.#data.get(node);
  }

  /** Whether more than one dependent has yet to be sent, of a result at hand. */
  isShared(node: number): boolean {
    return (this.#needed.get(node) ?? 0) > 1;
  }

  /** One dependent fewer needs the results of `node`'s upstreams. */
  release({ graph: { up } }: Definition, node: number): void {
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      const upstream = up.nodes[e]!;
      const left = this.#needed.get(upstream);
      if (left === undefined) continue;
      if (left > 1) this.#needed.set(upstream, left - 1);
      else this.#drop(upstream);
    }
  }

  #drop(node: number): void {
    this.#total -= this.#data.get(node)?.length ?? 0;
    this.#data.delete(node);
    this.#needed.delete(node);
  }
}
