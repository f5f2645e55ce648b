/**
 * Why a consumer hands nothing out although it is asked: it is not there, somebody changed or paused it, it has passed over
 * messages, it may hand out no more, or there is nothing. Says so only; what is to be done, its intake decides.
 */
import type { ConsumerConfig, ConsumerInfo, JetStreamManager } from "@nats-io/jetstream";
import type { ConfigMismatchError } from "../core/errors.ts";
import { CODE, hasCode } from "./errors.ts";
import { consumerDifferences, mismatch } from "./setup.ts";

export type Stall =
  /** Nothing waits to be handed out, or as much is out as may be. */
  | { readonly is: "none" }
  | { readonly is: "missing" }
  /** It is not what this library makes. */
  | { readonly is: "changed"; readonly error: ConfigMismatchError }
  | { readonly is: "paused"; readonly forMs: number }
  /** Messages wait, and nothing keeps them. `delivered` grows with each that is handed out to anybody. */
  | { readonly is: "waiting"; readonly messages: number; readonly delivered: number }
  /** Messages are in the stream that it counts neither as handed out nor as to come: it never will hand them out. */
  | { readonly is: "skipping"; readonly messages: number; readonly delivered: number };

const NANOS = 1_000_000;
/** With more than that handed out it is not counted whether that is all: their names would have to be listed. */
const MOST_COUNTED = 10_000;

/** @param wanted a `max_ack_pending` that is not in it is as good as any other. */
export function stallOf(
  info: ConsumerInfo,
  stream: string,
  wanted: Partial<ConsumerConfig>,
): Stall {
  const [difference] = consumerDifferences(stream, wanted, info.config);
  if (difference !== undefined) return { is: "changed", error: mismatch(difference) };
  if (info.paused === true) return { is: "paused", forMs: (info.pause_remaining ?? 0) / NANOS };
  const { max_ack_pending: most = -1 } = info.config;
  const isFull = most > 0 && info.num_ack_pending >= most;
  return info.num_pending === 0 || isFull
    ? { is: "none" }
    : { is: "waiting", messages: info.num_pending, delivered: info.delivered.consumer_seq };
}

/** Asks the server. @throws what asking it throws */
export async function lookForStall(
  jsm: JetStreamManager,
  stream: string,
  wanted: Partial<ConsumerConfig>,
): Promise<Stall> {
  try {
    const info = await jsm.consumers.info(stream, wanted.durable_name!);
    const stall = stallOf(info, stream, wanted);
    return stall.is === "none" ? await passedOver(jsm, stream, info) : stall;
  } catch (error) {
    if (hasCode(error, CODE.consumerNotFound, CODE.streamNotFound)) return { is: "missing" };
    throw error;
  }
}

/** A filter that was changed and set back leaves such messages behind: the consumer has gone past them meanwhile. */
async function passedOver(
  jsm: JetStreamManager,
  stream: string,
  { num_pending, num_ack_pending, delivered, config }: ConsumerInfo,
): Promise<Stall> {
  const known = num_pending + num_ack_pending;
  if (known > MOST_COUNTED) return { is: "none" };
  const all = await jsm.streams.info(stream);
  if (all.state.messages <= known) return { is: "none" };
  // Other consumers have messages there, too.
  const own = await jsm.streams.info(stream, { subjects_filter: config.filter_subject! });
  const messages = Object.keys(own.state.subjects ?? {}).length - known;
  return messages > 0
    ? { is: "skipping", messages, delivered: delivered.consumer_seq }
    : { is: "none" };
}
