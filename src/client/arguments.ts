/** Checks the arguments that are known when a workflow is submitted. Changes nothing: what a schema gives, workers take. */
import { argumentPath, type CallPlace } from "../core/calls.ts";
import { type Definition, labelOf, type SignatureRecord } from "../core/definition.ts";
import { InvalidWorkflowError } from "../core/errors.ts";
import { pathText } from "../core/json.ts";
import {
  checkArguments,
  isPromiseLike,
  issuesText,
  type StandardSchema,
} from "../core/standard_schema.ts";

/**
 * @param schemas of the list of arguments, by node. Nodes that wait for results are left to the workers.
 * @throws {InvalidWorkflowError} with the path of the first argument that does not fit.
 */
export async function checkKnownArguments(
  definition: Definition,
  schemas: ReadonlyMap<number, StandardSchema>,
): Promise<void> {
  for (const [node, schema] of schemas) {
    const signature: SignatureRecord = JSON.parse(definition.signatures.text(node));
    if (signature.inputs !== undefined) continue;
    for (const { args, place } of callsOf(signature)) {
      const outcome = checkArguments(schema, args);
      const checked = isPromiseLike(outcome) ? await outcome : outcome;
      if (checked.is === "valid") continue;
      const name = `nodes[${node}].args`;
      const issues = checked.issues.map((issue) => ({
        ...issue,
        path: argumentPath(place, issue.path),
      }));
      throw new InvalidWorkflowError(
        `Cannot submit workflow "${definition.name}": ${labelOf(definition, node)} (task "${
          signature.task
        }") does not take its arguments: ${issuesText(name, issues)}`,
        {
          hint: "Correct what the path points at, or the task's input schema.",
          path: pathText(name, issues[0]?.path ?? []),
        },
      );
    }
  }
}

function callsOf({ calls = "once", args }: SignatureRecord): { args: unknown; place: CallPlace }[] {
  switch (calls) {
    case "once":
      return [{ args, place: { calls, index: 0 } }];
    case "map":
      return (args[0] as unknown[]).map((item, index) => ({
        args: [item],
        place: { calls, index },
      }));
    case "starmap":
      return (args[0] as unknown[]).map((item, index) => ({ args: item, place: { calls, index } }));
  }
  return calls satisfies never;
}
