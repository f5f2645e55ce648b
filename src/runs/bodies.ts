/** Bodies of what a scan found: it brings none, and few records say more in theirs than in their keys and notes. */
import { saysMoreInBody } from "../core/recorded.ts";
import type { Facts, Stored } from "../ports.ts";

export async function withBody(facts: Facts, stored: Stored): Promise<Stored> {
  return saysMoreInBody(stored) ? await facts.readRecorded(stored.key) ?? stored : stored;
}
