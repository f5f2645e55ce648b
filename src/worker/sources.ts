/** Reads what a task takes and its message does not bring: results of other nodes, and how nodes failed. */
import type { NodeFailure, RunSummary } from "../core/canvas.ts";
import type { RecordedFailure } from "../core/errors.ts";
import { outcomeKey } from "../core/keys.ts";
import { failureOf } from "../core/records.ts";
import { unsealFailure } from "../core/sealed_failure.ts";
import type { Sources } from "../core/template.ts";
import type { Ports } from "../ports.ts";
import type { Inputs } from "./inputs.ts";
import type { Verdict } from "./verdict.ts";

/** "failed": it takes more than this worker lets it, or what nobody can read. */
export async function fetchSources(
  { facts, codec }: Ports,
  inputs: Inputs,
  { address, message, missing }: Verdict & { is: "run" },
): Promise<{ is: "sources"; sources: Sources } | { is: "failed"; failure: RecordedFailure }> {
  const failures = new Map<number, NodeFailure>();
  const [fetched] = await Promise.all([
    inputs.fetch(address.workflow, message, missing),
    ...message.failures.map(async ({ node, label, attempt }) => {
      const stored = await facts.readRecorded(outcomeKey(address.workflow, node, attempt));
      const failure = await unsealFailure(codec, stored?.data ?? new Uint8Array());
      failures.set(node, { node: label, attempt, name: failure.name, message: failure.message });
    }),
  ]);
  if (fetched.is === "never") {
    return { is: "failed", failure: { ...failureOf(fetched.error), fatal: true } };
  }
  const { values } = fetched;
  const sources: Sources = {
    resultOf: (node) => values.has(node) ? values.get(node) : message.results[node],
    failureOf: (node) => failures.get(node),
    summary: message.summary && {
      id: address.workflow,
      name: message.workflow.workflowName,
      ...message.summary,
      failures: message.failures.flatMap(({ node }) => failures.get(node) ?? []),
      ...(message.workflow.workflowPayload === undefined
        ? {}
        : { payload: message.workflow.workflowPayload }),
    } satisfies RunSummary,
  };
  return { is: "sources", sources };
}
