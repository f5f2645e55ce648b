/** Chance that follows from a seed and a name alone: what one thing draws does not depend on what others have drawn. */

/** Evenly from 0 to below 1. */
export function chanceOf(seed: number, name: string): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 0x1_0000_0000;
}

/** Numbers that follow from a seed, one after the other. */
export class Rolls {
  readonly #seed: number;
  readonly #name: string;
  #drawn = 0;

  constructor(seed: number, name: string) {
    this.#seed = seed;
    this.#name = name;
  }

  /** Evenly from 0 to below 1. */
  chance(): number {
    return chanceOf(this.#seed, `${this.#name} ${this.#drawn++}`);
  }

  /** A whole number from 0 to below `sides`. */
  roll(sides: number): number {
    return Math.floor(this.chance() * sides);
  }

  /** True in `of` cases of a hundred. */
  often(of: number): boolean {
    return this.chance() * 100 < of;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)]!;
  }
}
