/** Checks the arguments that are known when a workflow is submitted. Changes nothing: what a schema gives, workers take. */
import { argumentPath, type CallPlace } from "../core/calls.ts";
import { type Definition, labelOf, type SignatureRecord } from "../core/definition.ts";
import { InvalidWorkflowError } from "../core/errors.ts";
import { pathText } from "../core/json.ts";
import { failureOf } from "../core/records.ts";
import {
  checkArguments,
  type Checked,
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
      const name = `nodes[${node}].args`;
      const said = saidOf(schema, args, name);
      const checked = isPromiseLike(said) ? await said : said;
      if (checked.is === "valid") continue;
      const issues = checked.issues.map((issue) => ({
        ...issue,
        path: argumentPath(place, issue.path),
      }));
      throw new InvalidWorkflowError(
        `Cannot submit workflow "${definition.name}": ${
          labelOf(definition, node)
        } (task "${signature.task}") does not take its arguments: ${issuesText(name, issues)}`,
        {
          hint: "Correct what the path points at, or the task's input schema.",
          path: pathText(name, issues[0]?.path ?? []),
        },
      );
    }
  }
}

/** A promise only where the schema is asynchronous: a million nodes take no turns of the event loop. */
function saidOf(schema: StandardSchema, args: unknown, name: string): Checked | Promise<Checked> {
  const refuse = (cause: unknown): never => {
    throw new InvalidWorkflowError(
      `The input schema of ${name} threw: ${failureOf(cause).message}`,
      {
        cause,
        hint: "A schema reports issues; one that throws cannot be used.",
        path: name,
      },
    );
  };
  try {
    const checked = checkArguments(schema, args);
    return isPromiseLike(checked) ? Promise.resolve(checked).catch(refuse) : checked;
  } catch (cause) {
    return refuse(cause);
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
