/** The system's randomness. The one place that draws it. */
import { nuid } from "@nats-io/nats-core";
import type { Random } from "../ports.ts";

export const systemRandom: Random = {
  chance: () => Math.random(),
  id: () => nuid.next(),
};
