/** Tasks that many tests use. */
import { task } from "nats-dyrygent";

export const add = task("add", (a: number, b: number) => a + b);
export const mul = task("mul", (a: number, b: number) => a * b);
export const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
/** Gives back what it gets, whatever it is. */
export const echo = task("echo", (value: unknown) => value);
/** Throws an error with this message. */
export const fail = task("fail", (message: string): number => {
  throw new Error(message);
});

export const arithmetic = [add, mul, sum, echo, fail];
