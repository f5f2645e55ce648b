/**
 * What clients submit: the workflow with a given number, of a given seed. Any process makes the
 * same one of them, so that a client can go on where another one died, and the checker knows what
 * was meant. Starts nothing.
 */
import type { Workflow } from "nats-dyrygent";
import { type EncodedDefinition, encodeDefinition } from "../src/core/definition_codec.ts";
import { withInput } from "../src/core/expand.ts";
import { anyPlan, type Plan, Rolls } from "../test/mixed/plans.ts";
import { anyProof, expectationOf, type Expected, type ProofOptions, workflowOf } from "./proof.ts";

export type Workload =
  & { readonly id: string; readonly workflow: Workflow<unknown>; readonly input: unknown }
  & (
    /** Its result is known. */
    | { readonly is: "proof"; readonly expected: Expected }
    /** Everything meets everything; what came of it is for the audit to judge. */
    | { readonly is: "mixed"; readonly plan: Plan }
  );

export interface WorkloadOptions extends ProofOptions {
  readonly seed: number;
}

export function workloadOf(index: number, { seed, ...options }: WorkloadOptions): Workload {
  const own = seed * 10_000 + index;
  if (index % 5 < 2) {
    const plan = anyPlan(own);
    const { workflow, input } = plan;
    return { is: "mixed", id: `m${index}`, workflow, input, plan };
  }
  const plan = anyProof(new Rolls(own), `p${index}`, options);
  return {
    is: "proof",
    id: plan.id,
    workflow: workflowOf(plan),
    input: undefined,
    expected: expectationOf(plan),
  };
}

/** Its definition, as it must be recorded. */
export function encodedWorkload(
  { workflow, input }: Workload,
  maxRecord: number,
): Promise<EncodedDefinition> {
  return encodeDefinition(withInput(workflow.build(), input), maxRecord);
}
