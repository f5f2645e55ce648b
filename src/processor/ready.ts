/** What is to be sent as soon as the window allows, in the order it became so. Taking the first costs the same whatever waits. */
export class Ready<T> {
  #items: T[] = [];
  #from = 0;

  get isEmpty(): boolean {
    return this.#from === this.#items.length;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    if (this.isEmpty) return undefined;
    const item = this.#items[this.#from++];
    if (this.isEmpty) this.clear();
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#from = 0;
  }
}
