/** Lets a run take the place of a node: the run first, then the fact that says so, which is what the parent goes by. */
import type { Definition } from "../core/definition.ts";
import { ConflictError, InvalidWorkflowError } from "../core/errors.ts";
import { childRunId } from "../core/ids.ts";
import { expansionKey } from "../core/keys.ts";
import { LIMITS } from "../core/limits.ts";
import { type TaskContext, writeExpansion } from "../core/records.ts";
import { unseal } from "../core/sealing.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Ports, TaskAddress } from "../ports.ts";
import { submitDefinition } from "./submission.ts";

/**
 * Resolves once both are durable. Safe to repeat; when an earlier execution made another workflow of it, that one stands.
 * @param above the node's own run: how deep it is, and its payload, which the other one gets unless it has its own.
 * @param trace of the attempt that it takes the place of.
 * @throws {InvalidWorkflowError} when it is nested too deep, {PayloadTooLargeError}, {CodecError}, {UnavailableError}
 */
export async function recordExpansion(
  ports: Ports,
  { workflow, node, attempt }: Pick<TaskAddress, "workflow" | "node" | "attempt">,
  { depth, workflowPayload }: Pick<TaskContext, "depth" | "workflowPayload">,
  definition: Definition,
  trace: TraceContext | undefined,
): Promise<void> {
  if (depth >= LIMITS.expansionDepth) {
    throw new InvalidWorkflowError(
      `Cannot expand node ${node} of run "${workflow}": ${LIMITS.expansionDepth} runs are above it already`,
      {
        hint: "A task that expands into itself needs an end.",
        path: "expand",
      },
    );
  }
  const child = childRunId(workflow, node, attempt);
  try {
    const parent = { workflow, node, attempt, depth: depth + 1 };
    // Sealed on its way here, and sealed anew with the definition.
    const inherited = await unseal(ports.codec, workflowPayload);
    const payload = definition.payload ?? payloadOf(inherited);
    await submitDefinition(ports, child, { ...definition, payload, parent }, trace);
  } catch (error) {
    if (!(error instanceof ConflictError)) throw error;
  }
  const record = writeExpansion({ child, at: ports.clock.now() });
  await ports.facts.create(expansionKey(workflow, node, attempt), record, undefined, trace);
}

/** As a definition has it: JSON text. */
function payloadOf(payload: unknown): string | undefined {
  return payload === undefined ? undefined : JSON.stringify(payload);
}
