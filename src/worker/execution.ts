/** Runs a handler once: arguments in, result or failure out. Never throws and always ends, even if the handler does not. */
import type { Definition, SignatureRecord } from "../core/definition.ts";
import { PayloadTooLargeError, type RecordedFailure } from "../core/errors.ts";
import { Expansion } from "../core/expansion.ts";
import { exactJson } from "../core/json.ts";
import { failureOf } from "../core/records.ts";
import { isPromiseLike, ValidationError } from "../core/standard_schema.ts";
import { fill, type Sources } from "../core/template.ts";
import type { Cancel, Clock } from "../ports.ts";
import type { Ongoing } from "../telemetry.ts";
import type { Attempt } from "./attempt.ts";
import { callHandler } from "./checked_call.ts";
import { runAs } from "./current_task.ts";
import type { Handler } from "./verdict.ts";

export type Executed =
  | { readonly is: "succeeded"; readonly data: Uint8Array }
  /** A workflow takes its place. */
  | { readonly is: "expanded"; readonly definition: Definition }
  | { readonly is: "failed"; readonly failure: RecordedFailure };

export interface Execution {
  readonly handler: Handler;
  readonly signature: SignatureRecord;
  readonly attempt: Attempt;
  /** What the handler begins is part of it. */
  readonly span: Ongoing | undefined;
  readonly sources: Sources;
  readonly clock: Clock;
  /** Bytes of the largest result. */
  readonly maxResult: number;
}

const encoder = new TextEncoder();
const NULL = encoder.encode("null");
const ONCE = { calls: "once", index: 0 } as const;

/** Synchronous handlers cost no turn of the event loop. */
export function execute(execution: Execution): Executed | Promise<Executed> {
  const { signature, attempt, handler, span, sources } = execution;
  try {
    const args = fill(signature.args, signature.inputs ?? [], sources) as unknown[];
    const run = () => call(handler, signature.calls ?? "once", args);
    const returned = span === undefined
      ? runAs(attempt, run)
      : span.within(() => runAs(attempt, run));
    if (!isPromiseLike(returned)) return encodeResult(returned, execution);
    return settle(execution, returned);
  } catch (error) {
    return failed(error);
  }
}

/** What does not fit a schema will not fit it the next time. */
function failed(error: unknown): Executed {
  const failure = failureOf(error);
  return {
    is: "failed",
    failure: error instanceof ValidationError ? { ...failure, fatal: true } : failure,
  };
}

function call(
  handler: Handler,
  calls: NonNullable<SignatureRecord["calls"]>,
  args: unknown[],
): unknown {
  switch (calls) {
    case "once":
      return callHandler(handler, args, ONCE);
    case "map":
      return sequentially(
        args[0],
        (item, index) => callHandler(handler, [item], { calls, index }),
      );
    case "starmap":
      return sequentially(
        args[0],
        (item, index) => callHandler(handler, item as unknown[], { calls, index }),
      );
  }
  return calls satisfies never;
}

async function sequentially(
  items: unknown,
  call: (item: unknown, index: number) => unknown,
): Promise<unknown[]> {
  if (!Array.isArray(items)) {
    throw new TypeError(`map and starmap need a list, got ${typeof items}`);
  }
  const results: unknown[] = [];
  for (const [index, item] of items.entries()) {
    const result = await call(item, index);
    results.push(result === undefined ? null : result);
  }
  return results;
}

/** Whichever comes first: the handler's end, the time-out, or being cut off. */
function settle(
  execution: Execution,
  returned: PromiseLike<unknown>,
): Promise<Executed> {
  const { signature: { timeoutMs, softTimeoutMs }, attempt, clock } = execution;
  return new Promise((resolve) => {
    const cancels: Cancel[] = [];
    const end = (executed: Executed) => {
      for (const cancel of cancels) cancel();
      resolve(executed);
    };
    attempt.onCutOff = (error) => end({ is: "failed", failure: failureOf(error) });
    if (softTimeoutMs !== undefined) {
      const error = timeoutError("softTimeout", softTimeoutMs);
      cancels.push(clock.after(softTimeoutMs, () => attempt.abort(error)));
    }
    if (timeoutMs !== undefined) {
      const error = timeoutError("timeout", timeoutMs);
      cancels.push(clock.after(timeoutMs, () => attempt.cutOff(error)));
    }
    Promise.resolve(returned).then(
      (result) => end(encodeResult(result, execution)),
      (error) => end(failed(error)),
    );
  });
}

function timeoutError(option: string, ms: number): Error {
  const error = new Error(`ran longer than its ${option} of ${ms} ms`);
  error.name = "TimeoutError";
  error.stack = undefined; // It would show this timer, not the handler.
  return error;
}

/** What JSON cannot carry exactly is refused, not bent; nothing becomes null. Trying again would not help. */
function encodeResult(result: unknown, { signature, maxResult }: Execution): Executed {
  if (result instanceof Expansion) return { is: "expanded", definition: result.definition };
  if (signature.ignoreResult === true) return { is: "succeeded", data: NULL };
  try {
    const data = encoder.encode(exactJson(result === undefined ? null : result, "result"));
    if (data.length <= maxResult) return { is: "succeeded", data };
    throw new PayloadTooLargeError(
      "The result",
      data.length,
      maxResult,
      "Store it elsewhere and return a reference, or raise the worker's maxResult.",
    );
  } catch (error) {
    return { is: "failed", failure: { ...failureOf(error), fatal: true } };
  }
}
