/** Tasks: plain functions with a name that workers know them by. */
import { type Nothing, Signature } from "./canvas.ts";
import { InvalidOptionError } from "./errors.ts";
import type { Expansion } from "./expansion.ts";
import { checkTaskName, quote } from "./ids.ts";
import { checkTaskOptions, type TaskOptions } from "./options.ts";

/** What arrives of a handler's return value: promises settle, nothing becomes `null`, what expands gives its own result. */
export type ResultOf<Returned> = [Awaited<Returned>] extends [void] ? null
  : Unexpanded<Awaited<Returned>>;
type Unexpanded<T> = T extends Expansion<infer Out> ? Out : T;

type Tail<Args extends readonly unknown[]> = Args extends readonly [unknown?, ...infer Rest] ? Rest
  : [];

/** A task is still its function: call it in unit tests. With `.s` and `.si` it makes signatures. */
export interface Task<Args extends unknown[], Returned> {
  (...args: Args): Returned;
  /** What workers know it by. */
  readonly taskName: string;
  readonly options: TaskOptions;
  /** A signature: this task with all its arguments. */
  s(...args: Args): Signature<Nothing, ResultOf<Returned>>;
  /** A partial signature: the previous result becomes the first argument, these follow. */
  s(...args: Tail<Args>): Signature<Args[0], ResultOf<Returned>>;
  /** An immutable signature: it takes no previous result. */
  si(...args: Args): Signature<unknown, ResultOf<Returned>>;
}

// deno-lint-ignore no-explicit-any
export type AnyTask = Task<any, any>;

/**
 * Makes a task of a function. Arguments and results travel as JSON.
 * @param name letters, digits, `_`, `-`, dots; what workers know it by: changing it orphans what is queued.
 * @throws {InvalidOptionError} for a bad name or option.
 */
export function task<Args extends unknown[], Returned>(
  name: string,
  handler: (...args: Args) => Returned,
): Task<Args, Returned>;
export function task<Args extends unknown[], Returned>(
  name: string,
  options: TaskOptions,
  handler: (...args: Args) => Returned,
): Task<Args, Returned>;
export function task<Args extends unknown[], Returned>(
  name: string,
  ...rest: [(...args: Args) => Returned] | [TaskOptions, (...args: Args) => Returned]
): Task<Args, Returned> {
  const [given, handler] = rest.length === 1 ? [{}, rest[0]] : rest;
  const taskName = checkTaskName(name);
  const options = checkTaskOptions(given);
  if (typeof handler !== "function") {
    throw new InvalidOptionError(
      "handler",
      `task "${taskName}" needs a function, got ${quote(handler)}`,
      {
        hint: 'Write task("name", (…args) => result).',
      },
    );
  }
  const callable = (...args: Args): Returned => handler(...args);
  const reference = Object.assign(callable, { taskName, options });
  return Object.assign(reference, {
    s: (...args: unknown[]) => new Signature<never, never>(reference, args),
    si: (...args: unknown[]) => new Signature<never, never>(reference, args, { immutable: true }),
  }) as unknown as Task<Args, Returned>;
}
