/** The tasks of this folder's programs. Whoever submits needs their names and types; workers, elsewhere, run them. */
import { chord, task } from "nats-dyrygent";

export const price = task("price", (item: string) => 10 * item.length);
export const total = task("total", (prices: number[]) => prices.reduce((a, b) => a + b, 0));

/** A workflow: the price of each item, then what they cost together. */
export const order = (items: readonly string[]) =>
  chord(items.map((item) => price.s(item)), total.s());
