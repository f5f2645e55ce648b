/** A list of whole numbers that grows at its end, four bytes each: what a workflow has millions of. */
export class IntList {
  #items = new Int32Array(1_024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: number): void {
    if (this.#length === this.#items.length) {
      const larger = new Int32Array(2 * this.#length);
      larger.set(this.#items);
      this.#items = larger;
    }
    this.#items[this.#length++] = item;
  }

  at(index: number): number {
    return this.#items[index]!;
  }

  /** Those from `from` up to `to`. */
  slice(from: number, to: number): number[] {
    const items: number[] = [];
    for (let i = from; i < to; i++) items.push(this.#items[i]!);
    return items;
  }
}
