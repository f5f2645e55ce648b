/**
 * Makes the streams, buckets and consumers, and refuses those that exist with another configuration: every field checked
 * here carries a promise. Fields not checked are the operator's (placement, limits that refuse instead of dropping).
 */
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamManager,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import { ConfigMismatchError } from "../core/errors.ts";
import type { Difference } from "../core/server_health.ts";
import { CODE, hasCode, translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { type Lane, laneConsumer, type Names } from "./names.ts";

export interface StorageOptions {
  /** Copies of everything, in a cluster: 1, 3 or 5. @default 1 */
  readonly replicas: number;
  /** @default "file" */
  readonly storage: "file" | "memory";
}

type Wanted<T> = Partial<T>;

/** Of a millisecond. */
export const NANOS = 1_000_000;

function common({ replicas, storage }: StorageOptions): Wanted<StreamConfig> {
  return {
    num_replicas: replicas,
    storage: storage === "memory" ? StorageType.Memory : StorageType.File,
    max_age: 0,
    max_msgs: -1,
    allow_rollup_hdrs: false,
  };
}

/** Write-once: the server itself refuses a second message on a subject, and deleting one. */
export function factsConfig(names: Names, storage: StorageOptions): Wanted<StreamConfig> {
  return {
    ...common(storage),
    name: names.factsStream,
    subjects: [`${names.factPrefix}>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    discard_new_per_subject: true,
    max_msgs_per_subject: 1,
    deny_delete: true,
    deny_purge: false,
    allow_direct: true,
    republish: { src: `${names.factPrefix}>`, dest: `${names.hintPrefix}>` },
  };
}

export function tasksConfig(names: Names, storage: StorageOptions): Wanted<StreamConfig> {
  return {
    ...common(storage),
    name: names.tasksStream,
    subjects: [`${names.taskPrefix}>`],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    discard_new_per_subject: true,
    max_msgs_per_subject: 1,
  };
}

export function ticksConfig(names: Names, storage: StorageOptions): Wanted<StreamConfig> {
  return {
    ...common(storage),
    name: names.ticksStream,
    subjects: [`${names.tickPrefix}>`],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.Old,
    max_msgs_per_subject: 1,
    // With discard-old a limit on bytes would drop ticks: those workflows would stand still until a sweep.
    max_bytes: -1,
  };
}

/** What matters of the bucket of views. The client library makes it, and whatever exists is used: nobody decides from it. */
export function stateConfig(names: Names, storage: StorageOptions): Wanted<StreamConfig> {
  const { allow_rollup_hdrs: _, ...kept } = common(storage);
  return {
    ...kept,
    name: `KV_${names.stateBucket}`,
    subjects: [`$KV.${names.stateBucket}.>`],
    retention: RetentionPolicy.Limits,
    max_msgs_per_subject: 1,
  };
}

/** A bucket of the object store; one that another client of it has made will do. Chunks of a blob share a subject. */
export function resultsConfig(names: Names, storage: StorageOptions): Wanted<StreamConfig> {
  const { resultsStream, resultsBucket } = names;
  const { allow_rollup_hdrs: _, ...kept } = common(storage);
  return {
    ...kept,
    name: resultsStream,
    subjects: [`$O.${resultsBucket}.C.>`, `$O.${resultsBucket}.M.>`],
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    max_msgs_per_subject: -1,
    deny_delete: false,
    deny_purge: false,
    allow_direct: true,
  };
}

/** No delivery limit (it would block subjects), no backoff (it distorts delays), no limit on what is parked. */
function pullConfig(name: string, filter: string, leaseMs: number): Wanted<ConsumerConfig> {
  return {
    durable_name: name,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    replay_policy: ReplayPolicy.Instant,
    filter_subject: filter,
    ack_wait: leaseMs * NANOS,
    max_deliver: -1,
    max_ack_pending: -1,
  };
}

export function tickConsumerConfig(names: Names, leaseMs: number): Wanted<ConsumerConfig> {
  return pullConfig(names.tickConsumer, `${names.tickPrefix}>`, leaseMs);
}

/** @param lane.most how many of its messages may be with workers at once; undefined: any number. */
export function laneConfig(
  names: Names,
  { queue, lane, most }: Lane,
  leaseMs: number,
): Wanted<ConsumerConfig> {
  const filter = `${names.taskPrefix}${queue}.${lane}.>`;
  const config = pullConfig(laneConsumer(queue, lane), filter, leaseMs);
  return most === undefined ? config : { ...config, max_ack_pending: most };
}

/** @throws {ConfigMismatchError} naming the first field that differs. */
export async function ensureStream(
  { jsm, patience }: Pick<Link, "jsm" | "patience">,
  wanted: Wanted<StreamConfig>,
): Promise<void> {
  const name = wanted.name!;
  await patience.with(`set up stream ${name}`, async () => {
    const actual = await existing(() => jsm.streams.info(name), CODE.streamNotFound);
    const { config } = actual ?? await jsm.streams.add(wanted as StreamConfig & { name: string });
    refuse(streamDifferences(wanted, config));
  });
}

/**
 * @returns whether it had to be made.
 * @throws {ConfigMismatchError} naming the first field that differs.
 */
export async function ensureConsumer(
  jsm: JetStreamManager,
  stream: string,
  wanted: Wanted<ConsumerConfig>,
): Promise<boolean> {
  const name = wanted.durable_name!;
  try {
    const actual = await existing(() => jsm.consumers.info(stream, name), CODE.consumerNotFound);
    const { config } = actual ?? await jsm.consumers.add(stream, wanted);
    refuse(consumerDifferences(stream, wanted, config));
    return actual === undefined;
  } catch (error) {
    throw translate(`set up consumer ${name}`, error);
  }
}

/**
 * The consumer of a limited lane. One that exists with another limit is as good: whoever queues into the lane changes it.
 * @returns the limits it had and has, as the server has them, and whether no worker asks for its messages.
 * @throws {ConfigMismatchError} naming the first other field that differs.
 */
export async function ensureLimitedConsumer(
  jsm: JetStreamManager,
  stream: string,
  wanted: Wanted<ConsumerConfig>,
  { mayChange }: { mayChange: boolean },
): Promise<{ was: number; is: number; isUnasked: boolean }> {
  const name = wanted.durable_name!;
  try {
    const actual = await existing(() => jsm.consumers.info(stream, name), CODE.consumerNotFound);
    const { config, num_waiting } = actual ?? await addOrGet(jsm, stream, wanted);
    const was = config.max_ack_pending ?? -1;
    refuse(consumerDifferences(stream, { ...wanted, max_ack_pending: was }, config));
    const is = mayChange ? wanted.max_ack_pending! : was;
    if (is !== was) await jsm.consumers.update(stream, name, { max_ack_pending: is });
    return { was, is, isUnasked: num_waiting === 0 };
  } catch (error) {
    throw translate(`set up consumer ${name}`, error);
  }
}

/** Somebody may make it at the same moment, with another limit: the server then refuses this one. */
async function addOrGet(
  jsm: JetStreamManager,
  stream: string,
  wanted: Wanted<ConsumerConfig>,
): Promise<ConsumerInfo> {
  try {
    return await jsm.consumers.add(stream, wanted);
  } catch (error) {
    if (hasCode(error, CODE.consumerExists)) {
      return jsm.consumers.info(stream, wanted.durable_name!);
    }
    throw error;
  }
}

export function streamDifferences(
  wanted: Wanted<StreamConfig>,
  actual: StreamConfig,
): Difference[] {
  return differences(`Stream ${wanted.name}`, wanted, actual);
}

export function consumerDifferences(
  stream: string,
  wanted: Wanted<ConsumerConfig>,
  actual: ConsumerConfig,
): Difference[] {
  return differences(`Consumer ${wanted.durable_name} of ${stream}`, {
    ...wanted,
    backoff: undefined,
    inactive_threshold: 0,
    headers_only: false,
  }, actual);
}

/** Undefined where the server answers with one of these codes. */
export async function existing<T>(
  ask: () => Promise<T>,
  ...notFound: readonly number[]
): Promise<T | undefined> {
  try {
    return await ask();
  } catch (error) {
    if (notFound.some((code) => hasCode(error, code))) return undefined;
    throw error;
  }
}

function refuse([first]: readonly Difference[]): void {
  if (first !== undefined) throw mismatch(first);
}

export function mismatch({ object, field, expected, actual }: Difference): ConfigMismatchError {
  return new ConfigMismatchError(object, field, expected, actual);
}

/** Servers leave out fields that are zero, false or empty. */
function differences(object: string, wanted: object, actual: object): Difference[] {
  return Object.entries(wanted).flatMap(([field, expected]) => {
    const found = (actual as Record<string, unknown>)[field];
    const isSame = canonical(found) === canonical(expected);
    return isSame ? [] : [{ object, field, expected, actual: found }];
  });
}

function canonical(value: unknown): string {
  if (value === undefined || value === null || value === 0 || value === false) return "absent";
  if (typeof value !== "object" || Array.isArray(value)) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, v]) => canonical(v) !== "absent");
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
