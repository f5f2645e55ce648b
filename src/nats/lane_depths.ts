/** How many task messages wait in each lane, and how many are with workers: what the server says of the lanes' consumers. */
import type { JetStreamManager } from "@nats-io/jetstream";
import type { LaneDepth } from "../ports.ts";
import { type Names, parseLaneConsumer } from "./names.ts";

export async function laneDepths(
  jsm: JetStreamManager,
  { tasksStream }: Names,
): Promise<LaneDepth[]> {
  const lanes: LaneDepth[] = [];
  for await (const info of jsm.consumers.list(tasksStream)) {
    const lane = parseLaneConsumer(info.name);
    if (lane === undefined) continue;
    lanes.push({
      ...lane,
      waiting: info.num_pending,
      inHand: info.num_ack_pending,
      asked: info.num_waiting,
    });
  }
  return lanes;
}
