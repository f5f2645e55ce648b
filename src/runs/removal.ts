/** Removes a run that is over, so that nothing of it is left. Whether it is over, the caller decides. */
import { everythingOf, expansionsOf, logsIn, QUARANTINE } from "../core/keys.ts";
import { readExpansion } from "../core/records.ts";
import { isChildOf } from "./children.ts";
import type { Ports } from "../ports.ts";

/**
 * What took the place of its nodes first: after the run itself nobody would know of it. Tasks before facts: nothing of a
 * removed run may be executed. Facts last: while they are there, a sweep finds what is left.
 */
export async function removeRun(ports: Ports, workflow: string): Promise<void> {
  const { facts, tasks, views, blobs } = ports;
  for (const key of await facts.keys(expansionsOf(workflow))) {
    const expansion = readExpansion((await facts.read(key))?.data ?? new Uint8Array());
    if (expansion !== undefined && await isChildOf(facts, expansion.child, workflow)) {
      await removeRun(ports, expansion.child);
    }
  }
  await tasks.withdraw(workflow);
  await Promise.all([
    views.remove(`wf.${workflow}`),
    views.remove(`begun.${workflow}.>`),
    views.remove(`${QUARANTINE}${workflow}.>`),
    views.remove(`${logsIn(workflow)}>`),
    blobs.removeAll(workflow),
  ]);
  await facts.purge(everythingOf(workflow));
}
