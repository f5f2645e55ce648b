/** Whether a run is what an expansion says: made to take the place of another run's node. Both must say so. */
import { decodeHead } from "../core/definition_codec.ts";
import { definitionKey } from "../core/keys.ts";
import type { Facts } from "../ports.ts";

/** False also for a run that is not there, or cannot be read. Nothing is done to others' runs because a record names them. */
export async function isChildOf(facts: Facts, run: string, parent: string): Promise<boolean> {
  const stored = await facts.read(definitionKey(run));
  if (stored === undefined || run === parent) return false;
  try {
    return decodeHead(stored.data).parent?.workflow === parent;
  } catch {
    return false;
  }
}
