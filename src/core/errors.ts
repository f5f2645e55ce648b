/**
 * Every error a caller can meet. One class per decision a caller can take; each has a stable `code`, a message
 * that names the offending values, and a `hint` that says what to do next. Nothing here is thrown by itself.
 */

interface ErrorDetails {
  hint: string;
  cause?: unknown;
}

/** What all errors of this library have in common. */
export abstract class DyrygentError extends Error {
  /** Stable, for programs: `"INVALID_WORKFLOW"`, `"CONFLICT"`, … */
  abstract readonly code: string;
  /** The next step, for people. */
  readonly hint: string;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.hint = details.hint;
    this.name = new.target.name;
  }
}

/** A workflow that cannot be built as written. `path` leads to the offending place, e.g. `nodes[3].args[0].url`. */
export class InvalidWorkflowError extends DyrygentError {
  readonly code: string = "INVALID_WORKFLOW";
  readonly path: string;

  constructor(message: string, details: ErrorDetails & { path?: string }) {
    super(message, details);
    this.path = details.path ?? "";
  }
}

/** Nodes that wait for each other. `cycle` lists them in order, the first one again at the end. */
export class CycleError extends InvalidWorkflowError {
  override readonly code = "CYCLE";
  readonly cycle: readonly string[];

  constructor(workflow: string, cycle: readonly string[]) {
    super(
      `Cannot build workflow "${workflow}": nodes wait for each other: ${aroundText(cycle)}`,
      {
        hint: "Remove one of these edges: a workflow is a directed graph without cycles.",
        path: "edges",
      },
    );
    this.cycle = cycle;
  }
}

/** A long way around is shown by its ends. */
function aroundText(cycle: readonly string[]): string {
  const left = cycle.length - 10;
  const shown = left <= 1 ? cycle : [...cycle.slice(0, 5), `… ${left} more …`, ...cycle.slice(-5)];
  return shown.join(" → ");
}

/** An option with a value it cannot have. Nothing was sent. */
export class InvalidOptionError extends DyrygentError {
  readonly code = "INVALID_OPTION";
  /** The option, with its path: `retry.max`. */
  readonly option: string;

  constructor(option: string, message: string, details: ErrorDetails) {
    super(message, details);
    this.option = option;
  }
}

/** The id is taken by something else. */
export class ConflictError extends DyrygentError {
  readonly code = "CONFLICT";
}

/** There is no such run, node or record. */
export class NotFoundError extends DyrygentError {
  readonly code = "NOT_FOUND";
}

/** A record would be larger than the server, or this library, takes. */
export class PayloadTooLargeError extends DyrygentError {
  readonly code = "PAYLOAD_TOO_LARGE";
  /** Bytes. */
  readonly size: number;
  /** Bytes. */
  readonly limit: number;

  constructor(what: string, size: number, limit: number, hint: string) {
    super(`${what} has ${size} bytes; at most ${limit} fit`, { hint });
    this.size = size;
    this.limit = limit;
  }
}

/** The server lacks what the protocol needs (version, JetStream). */
export class UnsupportedServerError extends DyrygentError {
  readonly code = "UNSUPPORTED_SERVER";
}

/** A stream, bucket or consumer exists with a configuration that would break a promise. */
export class ConfigMismatchError extends DyrygentError {
  readonly code = "CONFIG_MISMATCH";
  /** The stream or consumer. */
  readonly object: string;
  /** The configuration field, as the server calls it. */
  readonly field: string;
  readonly expected: unknown;
  readonly actual: unknown;

  constructor(object: string, field: string, expected: unknown, actual: unknown) {
    super(
      `${object} has ${field} = ${JSON.stringify(actual)}, needs ${JSON.stringify(expected)}`,
      {
        hint:
          `Somebody changed it, or it belongs to something else. Set it back, or open another namespace; ` +
          `with this value the library could lose or repeat tasks.`,
      },
    );
    this.object = object;
    this.field = field;
    this.expected = expected;
    this.actual = actual;
  }
}

/** The server did not do it this time: down, no leader, full, too slow, or not permitted. Trying again may help. */
export class UnavailableError extends DyrygentError {
  readonly code = "UNAVAILABLE";
}

/** The codec at hand cannot read, or write, what somebody sealed: no codec, the wrong one, or a key it does not have. */
export class CodecError extends DyrygentError {
  readonly code = "CODEC";
}

/** A task's failure as it was recorded where it ran. */
export interface RecordedFailure {
  /** The error's name where it was thrown; `"UnknownTaskError"`, `"TimeoutError"`, `"WorkerLostError"` come from the worker itself. */
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** True when the handler (or the worker) said that trying again is pointless. */
  readonly fatal?: boolean;
}

/** A node's failure: what the task threw, wherever it ran. Its `cause`, where a run took the node's place: how that run failed. */
export class TaskError extends DyrygentError {
  readonly code = "TASK_FAILED";
  /** The failed node's label. */
  readonly node: string;
  /** The thrown error's own name, message and stack. */
  readonly remoteName: string;
  readonly remoteMessage: string;
  readonly remoteStack: string | undefined;
  /** The attempt that failed last, from 1. */
  readonly attempt: number;

  constructor(
    node: string,
    attempt: number,
    failure: RecordedFailure,
    cause?: WorkflowFailedError,
  ) {
    super(`Node ${node} failed on attempt ${attempt}: ${failure.name}: ${failure.message}`, {
      cause,
      hint: cause === undefined
        ? "See remoteStack for where it was thrown."
        : "See cause: another run took the node's place, and failed.",
    });
    this.node = node;
    this.attempt = attempt;
    this.remoteName = failure.name;
    this.remoteMessage = failure.message;
    this.remoteStack = failure.stack;
  }
}

/** The workflow did not end in SUCCESS. `failures` has the failed nodes with their causes (the first hundred). */
export class WorkflowFailedError extends DyrygentError {
  readonly code = "WORKFLOW_FAILED";
  readonly workflow: string;
  /** How it ended: FAILURE, ERROR or CANCELLED. */
  readonly state: string;
  readonly failures: readonly TaskError[];

  constructor(workflow: string, state: string, failures: readonly TaskError[], reason?: string) {
    const first = failures[0];
    const why = reason ?? (first === undefined ? "no node failed" : first.message);
    super(`Workflow ${workflow} ended as ${state}: ${why}`, {
      hint: failures.length > 0
        ? "`failures` lists the failed nodes; `run.retryFailed()` runs them and what depends on them again."
        : "`run.status()` shows where it stood.",
      cause: first,
    });
    this.workflow = workflow;
    this.state = state;
    this.failures = failures;
  }
}

/** Throw this from a handler to say: do not try again, whatever the retry policy. */
export class FatalTaskError extends Error {
  readonly code = "FATAL_TASK";

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "FatalTaskError";
  }
}
