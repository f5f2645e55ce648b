/** A task as its handler is to see it: what came sealed is unsealed. */
import { CodecError } from "../core/errors.ts";
import { type Codec, isSealed, unseal } from "../core/sealing.ts";
import type { Verdict } from "./verdict.ts";

export type Runnable = Verdict & { readonly is: "run" };

/** Whether anything that comes with the message is sealed. */
export function isSealedTask({ signature, message }: Runnable): boolean {
  return isSealed(signature.args) || isSealed(signature.payload) ||
    isSealed(message.workflow.workflowPayload) || Object.values(message.results).some(isSealed);
}

/** @throws {CodecError} */
export async function unsealTask(
  codec: Codec | undefined,
  verdict: Runnable,
): Promise<Runnable> {
  if (!isSealedTask(verdict)) return verdict;
  const { signature, message } = verdict;
  const { workflow } = message;
  const [args, payload, workflowPayload, results] = await Promise.all([
    unseal(codec, signature.args),
    unseal(codec, signature.payload),
    unseal(codec, workflow.workflowPayload),
    Promise.all(
      Object.entries(message.results).map(async ([node, result]) =>
        [node, await unseal(codec, result)] as const
      ),
    ),
  ]);
  if (!Array.isArray(args)) {
    throw new CodecError("Cannot read a task's arguments: what the codec decodes is not a list", {
      hint: "They were sealed with another codec or key.",
    });
  }
  return {
    ...verdict,
    signature: { ...signature, args, payload },
    message: {
      ...message,
      workflow: { ...workflow, workflowPayload },
      results: Object.fromEntries(results),
    },
  };
}
