/** Submits a workflow, with what is said about this run of it. Safe to repeat with the same id and content. */
import type { Canvas, Nothing } from "../core/canvas.ts";
import type { Definition, Start } from "../core/definition.ts";
import { type Duration, durationMs } from "../core/duration.ts";
import { ConflictError } from "../core/errors.ts";
import { withInput } from "../core/expand.ts";
import { checkId } from "../core/ids.ts";
import { expiry, momentMs, refuseUnknown } from "../core/options.ts";
import { Workflow } from "../core/workflow.ts";
import type { Ports } from "../ports.ts";
import { checkFree, submitDefinition } from "../runs/submission.ts";
import { checkKnownArguments } from "./arguments.ts";
import { Dedupe, type DedupeOptions } from "./dedupe.ts";
import { checkUnknownTasks, KnownTasks, type UnknownTasks } from "./known_tasks.ts";

/** What holds for one run of a workflow. */
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
  /** What to do when no live worker serves a task in its queue: a line in the log, an error, or nothing. @default "warn" */
  unknownTasks?: UnknownTasks;
  /** The first submit with a key makes the run; later ones within the window are given it, whatever their content. @default none */
  dedupe?: DedupeOptions;
}

/** The run that a submit made, or that its key stood for already. */
export interface Submitted {
  readonly id: string;
  readonly deduplicated: boolean;
}

/** What can be submitted. */
export type Submittable<Out> = Workflow<Out> | Canvas<Nothing, Out>;

/**
 * @returns the run, once definition and tick are durable.
 * @throws {InvalidWorkflowError}, {ConflictError} when the id is taken by other content, {NotFoundError} for tasks that
 * nobody serves, {PayloadTooLargeError}, {UnavailableError}, {CodecError} when the codec cannot seal it, or cannot read
 * what has the id already
 */
export async function submit(
  ports: Ports,
  target: Submittable<unknown>,
  options: SubmitOptions = {},
  knownTasks: KnownTasks = new KnownTasks(ports),
): Promise<Submitted> {
  refuseUnknown("submit option", options, [
    "id",
    "countdown",
    "eta",
    "expires",
    "input",
    "unknownTasks",
    "dedupe",
  ]);
  const unknownTasks = checkUnknownTasks(options.unknownTasks ?? "warn");
  const ownId = checkId("workflow id", options.id ?? ports.random.id());
  const dedupe = options.dedupe === undefined ? undefined : await Dedupe.of(ports, options.dedupe);
  const earlier = await dedupe?.find();
  if (earlier !== undefined) return { id: earlier, deduplicated: true };
  const workflow = target instanceof Workflow ? target : Workflow.of(target);
  const definition = definitionOf(workflow, options);
  await checkKnownArguments(definition, workflow.inputSchemas());
  await knownTasks.check(definition, unknownTasks);
  if (dedupe === undefined) {
    await submitDefinition(ports, ownId, definition, "active");
    return { id: ownId, deduplicated: false };
  }
  // An id of one's own may be taken: that must show before the key stands for it.
  if (options.id !== undefined) await checkFree(ports, ownId, definition);
  const id = await dedupe.claim(ownId);
  const deduplicated = await submitClaimed(ports, id, definition) === "exists";
  await dedupe.made(id);
  return { id, deduplicated };
}

/** Two that found the same claim without a run both submit: the content of the second does not matter. */
async function submitClaimed(
  ports: Ports,
  id: string,
  definition: Definition,
): Promise<"created" | "exists"> {
  try {
    return await submitDefinition(ports, id, definition, "active");
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error;
    await ports.ticks.ensure(id);
    return "exists";
  }
}

function definitionOf(workflow: Workflow, options: SubmitOptions): Definition {
  const definition = workflow.build();
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
