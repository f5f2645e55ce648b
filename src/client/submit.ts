/** Submits a workflow, with what is said about this run of it. Safe to repeat with the same id and content. */
import type { Canvas, Nothing } from "../core/canvas.ts";
import type { Definition, Start } from "../core/definition.ts";
import { type Duration, durationMs } from "../core/duration.ts";
import { withInput } from "../core/expand.ts";
import { checkId } from "../core/ids.ts";
import { expiry, momentMs, refuseUnknown } from "../core/options.ts";
import { Workflow } from "../core/workflow.ts";
import type { Ports } from "../ports.ts";
import { submitDefinition } from "../runs/submission.ts";

export interface SubmitOptions {
  /** The run's id: letters, digits, `_`, `-`. The same id with the same content is the same run. @default a random id */
  id?: string;
  /** Its first nodes do not run before this long after the submit. @default at once */
  countdown?: Duration;
  /** Its first nodes do not run before this moment (a Date, or milliseconds since 1970). @default at once */
  eta?: Date | number;
  /** Its first nodes never run if they have not begun this long after they could, or at this moment. @default never */
  expires?: Duration | Date;
  /** What the workflow's `input()` gives; any JSON. */
  input?: unknown;
}

/** What can be submitted. */
export type Submittable<Out> = Workflow<Out> | Canvas<Nothing, Out>;

/**
 * @returns the run's id, once definition and tick are durable.
 * @throws {InvalidWorkflowError}, {ConflictError} when the id is taken by other content, {PayloadTooLargeError}, {UnavailableError},
 * {CodecError} when the codec cannot seal it, or cannot read what has the id already
 */
export async function submit(
  ports: Ports,
  target: Submittable<unknown>,
  options: SubmitOptions = {},
): Promise<string> {
  refuseUnknown("submit option", options, ["id", "countdown", "eta", "expires", "input"]);
  const id = checkId("workflow id", options.id ?? ports.random.id());
  await submitDefinition(ports, id, definitionOf(target, options));
  return id;
}

function definitionOf(target: Submittable<unknown>, options: SubmitOptions): Definition {
  const definition = (target instanceof Workflow ? target : Workflow.of(target)).build();
  const start = startOf(options);
  return withInput(start === undefined ? definition : { ...definition, start }, options.input);
}

function startOf({ countdown, eta, expires }: SubmitOptions): Start | undefined {
  if (countdown === undefined && eta === undefined && expires === undefined) return undefined;
  return {
    ...(countdown === undefined ? {} : { countdownMs: durationMs("countdown", countdown) }),
    ...(eta === undefined ? {} : { notBefore: momentMs("eta", eta) }),
    ...(expires === undefined ? {} : expiry(expires)),
  };
}
