/** Tasks: plain functions with a name that workers know them by. */
import { type Nothing, Signature } from "./canvas.ts";
import { InvalidOptionError } from "./errors.ts";
import type { Expansion } from "./expansion.ts";
import { checkTaskName, quote } from "./ids.ts";
import { checkTaskOptions, refuseUnknown, TASK_OPTIONS, type TaskOptions } from "./options.ts";
import { checkSchema, type StandardSchema } from "./standard_schema.ts";

/** What arrives of a handler's return value: promises settle, nothing becomes `null`, what expands gives its own result. */
export type ResultOf<Returned> = [Awaited<Returned>] extends [void] ? null
  : Unexpanded<Awaited<Returned>>;
type Unexpanded<T> = T extends Expansion<infer Out> ? Out : T;

type Tail<Args extends readonly unknown[]> = Args extends readonly [unknown?, ...infer Rest] ? Rest
  : [];

/**
 * A task is still its function: call it in unit tests. With `.s` and `.si` it makes signatures.
 * Where schemas change what they check, signatures take `Given` and their result is `Kept`; else these are the function's.
 */
export interface Task<
  Args extends unknown[],
  Returned,
  Given extends unknown[] = Args,
  Kept = Returned,
> {
  (...args: Args): Returned;
  /** What workers know it by. */
  readonly taskName: string;
  readonly options: TaskOptions;
  /** Of the list of arguments. */
  readonly input: StandardSchema | undefined;
  /** Of the result. */
  readonly output: StandardSchema | undefined;
  /** A signature: this task with all its arguments. */
  s(...args: Given): Signature<Nothing, ResultOf<Kept>>;
  /** A partial signature: the previous result becomes the first argument, these follow. */
  s(...args: Tail<Given>): Signature<Given[0], ResultOf<Kept>>;
  /** An immutable signature: it takes no previous result. */
  si(...args: Given): Signature<unknown, ResultOf<Kept>>;
}

/** A task, whatever it takes and gives. */
// deno-lint-ignore no-explicit-any
export type AnyTask = Task<any, any>;

/** Schemas of a task: workers check with them. The function called directly is not checked. */
export interface TaskSchemas<Input, Fits, Kept> {
  /**
   * Of the list of arguments, e.g. `z.tuple([z.url()])`. The handler gets what it gives (defaults, coercions).
   * Arguments that are known are also checked when a workflow is submitted. @default anything
   */
  input?: Input;
  /** Of the result; what it gives is what is recorded. @default anything */
  output?: StandardSchema<Fits, Kept>;
}

/** What a schema of arguments gives a handler; `Args` where there is none. */
type GivenBySchema<Input, Args extends unknown[]> = Input extends
  StandardSchema<unknown, infer Out extends unknown[]> ? Out : Args;
/** What a schema of arguments takes from a signature; `Args` where there is none. */
type TakenBySchema<Input, Args extends unknown[]> = Input extends
  StandardSchema<infer In extends unknown[], unknown> ? In : Args;

/**
 * Makes a task of a function. Arguments and results travel as JSON.
 * @param name letters, digits, `_`, `-`, dots; what workers know it by: changing it orphans what is queued.
 * @throws {InvalidOptionError} for a bad name or option.
 */
export function task<Args extends unknown[], Returned>(
  name: string,
  handler: (...args: Args) => Returned,
): Task<Args, Returned>;
export function task<
  Args extends unknown[],
  Returned extends Fits | PromiseLike<Fits>,
  Input extends StandardSchema<unknown, unknown[]> | undefined = undefined,
  Fits = unknown,
  Kept = Returned,
>(
  name: string,
  options: TaskOptions & TaskSchemas<Input, Fits, Kept>,
  handler: (...args: GivenBySchema<Input, Args>) => Returned,
): Task<GivenBySchema<Input, Args>, Returned, TakenBySchema<Input, Args>, Kept>;
export function task(
  name: string,
  ...rest: [(...args: unknown[]) => unknown] | [
    TaskOptions & TaskSchemas<unknown, unknown, unknown>,
    (...args: unknown[]) => unknown,
  ]
): AnyTask {
  const [given, handler] = rest.length === 1 ? [{}, rest[0]] : rest;
  const taskName = checkTaskName(name);
  refuseUnknown("task option", given, [...TASK_OPTIONS, "input", "output"]);
  const { input, output, ...others } = given;
  const options = checkTaskOptions(others);
  if (typeof handler !== "function") {
    throw new InvalidOptionError(
      "handler",
      `task "${taskName}" needs a function, got ${quote(handler)}`,
      {
        hint: 'Write task("name", (…args) => result).',
      },
    );
  }
  const callable = (...args: unknown[]) => handler(...args);
  const reference = Object.assign(callable, {
    taskName,
    options,
    input: checkSchema("input", input),
    output: checkSchema("output", output),
  });
  return Object.assign(reference, {
    s: (...args: unknown[]) => new Signature<never, never>(reference, args),
    si: (...args: unknown[]) => new Signature<never, never>(reference, args, { immutable: true }),
  }) as unknown as AnyTask;
}
