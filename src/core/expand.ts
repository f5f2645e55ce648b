/** `expand`: what a task returns to be replaced by a workflow (Celery's `replace`). */
import { Canvas, type Nothing } from "./canvas.ts";
import type { Definition } from "./definition.ts";
import { InvalidWorkflowError } from "./errors.ts";
import { Expansion } from "./expansion.ts";
import { INPUT_EVENT } from "./fact.ts";
import { quote } from "./ids.ts";
import { exactJson } from "./json.ts";
import { Workflow } from "./workflow.ts";

/**
 * For a task to return: the canvas or workflow runs in its place, as a run of its own, and what that gives is the result
 * of the task's node. A task in it may expand again, 32 deep.
 * @param input for a workflow that has one.
 * @throws {InvalidWorkflowError}, {CycleError} when it cannot be built.
 */
export function expand<Out>(
  target: Workflow<Out> | Canvas<Nothing, Out>,
  input?: unknown,
): Expansion<Out> {
  if (!(target instanceof Workflow || target instanceof Canvas)) {
    throw new InvalidWorkflowError(`expand needs a canvas or a workflow, got ${quote(target)}`, {
      hint: "Use signatures (task.s(…)), canvases of them, or a Workflow.",
      path: "expand",
    });
  }
  const definition = (target instanceof Workflow ? target : Workflow.of(target)).build();
  return new Expansion(withInput(definition, input));
}

/** The definition with what its `input()` gives. @throws {InvalidWorkflowError} when one needs the other. */
export function withInput(
  definition: Definition,
  input: unknown,
): Definition {
  const wants = definition.policies.some((policy) => policy.event === INPUT_EVENT);
  if (wants === (input !== undefined)) {
    return input === undefined ? definition : { ...definition, input: exactJson(input, "input") };
  }
  throw new InvalidWorkflowError(
    wants
      ? `Workflow "${definition.name}" needs an input, and got none`
      : `Workflow "${definition.name}" takes no input, and got ${quote(input)}`,
    {
      hint: wants
        ? "Give it: submit(wf, { input }), wf.run(sub, input) or expand(wf, input)."
        : "Call wf.input() where it is to be used.",
      path: "input",
    },
  );
}
