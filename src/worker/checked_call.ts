/** One call of a handler; with its arguments and its result checked, where the task has schemas for them. */
import { argumentPath, type CallPlace, resultPath } from "../core/calls.ts";
import { Expansion } from "../core/expansion.ts";
import {
  andThen,
  checkArguments,
  type Checked,
  checkValue,
  type Issue,
  issuesText,
  ValidationError,
} from "../core/standard_schema.ts";
import type { Handler } from "./verdict.ts";

/** What is synchronous stays so: without schemas this is the call itself. @throws {ValidationError} */
export function callHandler(handler: Handler, args: unknown[], place: CallPlace): unknown {
  const { input, output } = handler;
  const returned = input === undefined ? handler(...args) : andThen(
    checkArguments(input, args),
    (checked) => handler(...argumentsIn(checked, place)),
  );
  if (output === undefined) return returned;
  return andThen(returned, (result) =>
    // What takes the task's place has tasks of its own to check results.
    result instanceof Expansion
      ? result
      : andThen(checkValue(output, result), (checked) => resultIn(checked, place)));
}

function argumentsIn(checked: Checked, place: CallPlace): unknown[] {
  return valueIn(checked, "args", (issue) => argumentPath(place, issue.path)) as unknown[];
}

function resultIn(checked: Checked, place: CallPlace): unknown {
  return valueIn(checked, "result", (issue) => resultPath(place, issue.path));
}

function valueIn(checked: Checked, name: string, pathOf: (issue: Issue) => Issue["path"]): unknown {
  switch (checked.is) {
    case "valid":
      return checked.value;
    case "invalid": {
      const issues = checked.issues.map((issue) => ({ ...issue, path: pathOf(issue) }));
      throw new ValidationError(issuesText(name, issues));
    }
  }
  return checked satisfies never;
}
