/** Tasks that every worker knows: they only make the workflows that take the place of `wf.map` and `wf.run` nodes. */
import { MAP_TASK, RUN_TASK, type SignatureRecord } from "../core/definition.ts";
import { definitionFromJson } from "../core/definition_json.ts";
import { FatalTaskError } from "../core/errors.ts";
import { withInput } from "../core/expand.ts";
import { Expansion } from "../core/expansion.ts";
import { quote } from "../core/ids.ts";
import { LIMITS } from "../core/limits.ts";
import type { Policy } from "../core/options.ts";

/** A run that takes a node's place has no time limit of its own: it is cancelled with the run it belongs to. */
const NO_LIMIT_MS = 3_650 * 86_400_000;

/** How each element is called: put together when the workflow was built. */
interface Element {
  readonly policy: Policy;
  readonly signature: SignatureRecord;
}

export const BUILTIN_TASKS: ReadonlyMap<string, (...args: never[]) => unknown> = new Map<
  string,
  (...args: never[]) => unknown
>([[MAP_TASK, mapElements], [RUN_TASK, runWorkflow]]);

function mapElements(
  { policy, signature }: Element,
  list: unknown,
  ...rest: unknown[]
): Expansion<unknown> {
  if (!Array.isArray(list)) {
    throw new FatalTaskError(
      `wf.map needs a list to map ${signature.task} over, got ${quote(list)}`,
    );
  }
  if (list.length > LIMITS.nodes) {
    throw new FatalTaskError(
      `wf.map of ${signature.task}: ${list.length} elements, at most ${LIMITS.nodes}`,
    );
  }
  return new Expansion(definitionFromJson({
    version: 1,
    name: `map-${signature.task.replace(/\./g, "-")}`.slice(0, 64),
    timeoutMs: NO_LIMIT_MS,
    policies: [policy],
    nodes: list.map((element) => ({ ...signature, args: [element, ...rest] })),
    output: list.length === 0
      ? { json: "[]", inputs: [] }
      : { json: "null", inputs: [{ at: [], nodes: [[0, list.length, 1]] }] },
  }));
}

function runWorkflow(workflow: unknown, ...input: unknown[]): Expansion<unknown> {
  return new Expansion(withInput(definitionFromJson(workflow), input[0]));
}
