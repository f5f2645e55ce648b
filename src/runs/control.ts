/** Writes control facts: what clients, and runs among each other, ask of a run. Each under the next free number. */
import type { Control } from "../core/fact.ts";
import { controlKey, controlsOf } from "../core/keys.ts";
import { readControl, writeControl } from "../core/records.ts";
import type { Ports, Stored } from "../ports.ts";

/**
 * Records `control` and wakes the run's processor.
 * @returns what stands in the log, by this call or an earlier one of the same id; undefined when the run was removed meanwhile.
 */
export async function recordControl(
  ports: Ports,
  workflow: string,
  control: Control,
  id: string,
): Promise<Stored | undefined> {
  const { facts, ticks, clock } = ports;
  const record = writeControl({ id, at: clock.now(), control });
  // Conductors look for the next one after as many as there are.
  let n = (await facts.keys(controlsOf(workflow))).length;
  while (await facts.create(controlKey(workflow, ++n), record) === "exists") {
    // Ours after all, when only the answer was lost.
    const stored = await facts.read(controlKey(workflow, n));
    if (stored !== undefined && readControl(stored.data)?.id === id) break;
  }
  await ticks.wake(workflow);
  return await facts.read(controlKey(workflow, n));
}

/** The same, once for all callers that give this id. */
export async function recordControlOnce(
  ports: Ports,
  workflow: string,
  control: Control,
  id: string,
): Promise<void> {
  const known = await ports.facts.scan(controlsOf(workflow), { bodies: true });
  if (known.some(({ data }) => readControl(data)?.id === id)) return;
  await recordControl(ports, workflow, control, id);
}
