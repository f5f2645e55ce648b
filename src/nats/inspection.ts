/**
 * Looks at the server for the doctor: what streams, consumers and the account are like, what is in the queue of tasks,
 * and, where somebody gives the address of its monitoring, what it does not tell clients. Judges nothing, changes nothing.
 * What may not be looked at, or does not answer, is said and does not keep the rest from being seen.
 */
import type { ConsumerInfo, JetStreamAccountStats, StreamConfig } from "@nats-io/jetstream";
import { failureOf, parseRecord } from "../core/records.ts";
import { isLimited } from "../core/lanes.ts";
import type {
  AccountFacts,
  ConsumerFacts,
  MonitoringFacts,
  QueuedFacts,
  ServerFacts,
  StreamFacts,
} from "../core/server_health.ts";
import type { Clock } from "../ports.ts";
import { CODE, hasCode, isTransient, translate } from "./errors.ts";
import type { Link } from "./link.ts";
import { laneConsumer, parseLaneConsumer, parseTaskSubject } from "./names.ts";
import {
  consumerDifferences,
  factsConfig,
  laneConfig,
  resultsConfig,
  stateConfig,
  type StorageOptions,
  streamDifferences,
  tasksConfig,
  tickConsumerConfig,
  ticksConfig,
} from "./setup.ts";

export interface InspectionOptions extends StorageOptions {
  readonly tickLeaseMs: number;
  readonly taskLeaseMs: number;
}

type Wanted = Partial<StreamConfig> & { readonly name?: string };

const MONITORING_MS = 5_000;
/** A replica that is not heard of for so long, and is behind, is taken for offline. */
const SILENT_MS = 5_000;
/** Task messages whose subjects are looked at; more would be a list of many megabytes. */
const MOST_QUEUED = 500_000;
/** Subjects of a kind that are shown. */
const SHOWN = 10;

/** Looks at one thing after the other: what cannot be seen is noted, and undefined. */
class Looks {
  readonly unseen: string[] = [];
  readonly unanswered: string[] = [];
  readonly errors: Error[] = [];

  async at<T>(what: string, look: () => Promise<T>): Promise<T | undefined> {
    try {
      return await look();
    } catch (error) {
      const told = translate(`look at ${what}`, error);
      this.errors.push(told);
      (isTransient(error) ? this.unanswered : this.unseen).push(told.message);
      return undefined;
    }
  }
}

/** @throws {UnavailableError} when nothing at all can be seen. */
export async function inspect(
  link: Link,
  options: InspectionOptions,
  { monitoringUrl }: { readonly monitoringUrl?: string },
): Promise<ServerFacts> {
  const { nc, jsm, names } = link;
  const looks = new Looks();
  const lookAtStream = (wanted: Wanted, isOptional: boolean) =>
    looks.at(`stream ${wanted.name}`, () => streamFacts(link, wanted, isOptional));
  const [account, monitoring, ...seen] = await Promise.all([
    looks.at("the account", async () => accountFacts(await jsm.getAccountInfo(), options)),
    monitoringUrl === undefined ? undefined : monitoringFacts(link.clock, monitoringUrl),
    lookAtStream(factsConfig(names, options), false),
    lookAtStream(tasksConfig(names, options), false),
    lookAtStream(ticksConfig(names, options), false),
    lookAtStream(stateConfig(names, options), true),
    lookAtStream(resultsConfig(names, options), false),
  ]);
  if (seen.every((one) => one === undefined)) throw looks.errors[0];
  const streams = seen.flatMap((one) => one === undefined || "missing" in one ? [] : [one]);
  const missingStreams = seen.flatMap((one) =>
    // Blobs have one when the first big result has come.
    one === undefined || !("missing" in one) || one.missing === names.resultsStream
      ? []
      : [one.missing]
  );
  const hasTasks = streams.some(({ name }) => name === names.tasksStream);
  // Before the consumers: a lane is there before its first message.
  const queued = !hasTasks
    ? undefined
    : await looks.at("the queue of tasks", () => queuedFacts(link));
  const [ofTicks, ofLanes] = await Promise.all([
    looks.at("the consumer of ticks", () => tickConsumerFacts(link, options)),
    !hasTasks ? undefined : looks.at("the lanes", () => laneConsumerFacts(link, options)),
  ]);
  const isMissing = ofTicks !== undefined && "missing" in ofTicks;
  return {
    version: nc.info?.version ?? "unknown",
    isClustered: (nc.info as { cluster?: string } | undefined)?.cluster !== undefined,
    now: streams.find(({ now }) => now !== undefined)?.now,
    replicas: options.replicas,
    storage: options.storage,
    account,
    streams,
    missing: { streams: missingStreams, consumers: isMissing ? [ofTicks.missing] : [] },
    consumers: [...isMissing ? [] : ofTicks ?? [], ...ofLanes ?? []],
    // Without the lanes nothing can be said of messages that no lane has.
    queued: ofLanes === undefined ? undefined : queued,
    monitoring,
    unseen: looks.unseen,
    unanswered: looks.unanswered,
  };
}

type SeenStream = StreamFacts & { readonly now: number | undefined };

async function streamFacts(
  { jsm }: Link,
  wanted: Wanted,
  isOptional: boolean,
): Promise<SeenStream | { readonly missing: string }> {
  const name = wanted.name!;
  try {
    const { config, state, cluster, ts } = await jsm.streams.info(name);
    return {
      name,
      isOptional,
      differences: streamDifferences(wanted, config),
      bytes: state.bytes,
      maxBytes: config.max_bytes,
      consumers: state.consumer_count,
      maxConsumers: config.max_consumers,
      isAsync: config.persist_mode === "async",
      leader: cluster?.leader,
      followers: (cluster?.replicas ?? []).map(({ name, current, offline, lag, active }) => ({
        name,
        isCurrent: current,
        // Servers leave out what is false or zero. It takes them minutes to say "offline", while heartbeats come every second.
        isOffline: offline === true || !current && active > SILENT_MS * 1e6,
        lag: lag ?? 0,
      })),
      now: ts === undefined ? undefined : Date.parse(ts),
    };
  } catch (error) {
    if (hasCode(error, CODE.streamNotFound)) return { missing: name };
    throw error;
  }
}

/** Where the account has a limit for each number of replicas, the one for ours. */
function accountFacts(
  stats: JetStreamAccountStats,
  { replicas, storage }: StorageOptions,
): AccountFacts {
  const { memory, storage: file, limits } = stats.tiers?.[`R${replicas}`] ?? stats;
  const isMemory = storage === "memory";
  return {
    bytes: isMemory ? memory : file,
    maxBytes: isMemory ? limits.max_memory : limits.max_storage,
    consumers: stats.consumers,
    maxConsumers: limits.max_consumers,
    maxAckPending: limits.max_ack_pending,
  };
}

async function queuedFacts({ jsm, names }: Link): Promise<QueuedFacts> {
  const { tasksStream, taskPrefix } = names;
  const { state: { messages } } = await jsm.streams.info(tasksStream);
  if (messages > MOST_QUEUED) throw new Error(`there are ${messages} tasks`);
  const { state } = await jsm.streams.info(tasksStream, { subjects_filter: `${taskPrefix}>` });
  const lanes = new Map<string, number>();
  const runs = new Map<string, number>();
  const foreign: string[] = [];
  for (const subject of Object.keys(state.subjects ?? {})) {
    const address = parseTaskSubject(names, subject);
    if (address === undefined) {
      if (foreign.length < SHOWN) foreign.push(subject);
      continue;
    }
    const { queue, lane, workflow } = address;
    count(lanes, laneConsumer(queue, lane));
    count(runs, workflow);
  }
  return { lanes, runs, foreign };
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

async function tickConsumerFacts(
  { jsm, names }: Link,
  { tickLeaseMs }: InspectionOptions,
): Promise<ConsumerFacts[] | { readonly missing: string }> {
  const { ticksStream, tickConsumer } = names;
  try {
    const info = await jsm.consumers.info(ticksStream, tickConsumer);
    const wanted = tickConsumerConfig(names, tickLeaseMs);
    const differences = consumerDifferences(ticksStream, wanted, info.config);
    return [{ ...countsOf(info), isForeign: false, differences }];
  } catch (error) {
    if (hasCode(error, CODE.streamNotFound)) return [];
    if (hasCode(error, CODE.consumerNotFound)) {
      return { missing: `consumer ${tickConsumer} of ${ticksStream}` };
    }
    throw error;
  }
}

async function laneConsumerFacts(
  { jsm, names }: Link,
  { taskLeaseMs }: InspectionOptions,
): Promise<ConsumerFacts[]> {
  const { tasksStream } = names;
  const found: ConsumerFacts[] = [];
  for await (const info of jsm.consumers.list(tasksStream)) {
    const lane = parseLaneConsumer(info.name);
    if (lane === undefined) {
      found.push({ ...countsOf(info), isForeign: true, differences: [] });
      continue;
    }
    const { max_ack_pending } = info.config;
    const config = laneConfig(names, lane, taskLeaseMs);
    // Whoever queues into a limited lane sets its limit.
    const wanted = isLimited(lane.lane) ? { ...config, max_ack_pending } : config;
    const differences = consumerDifferences(tasksStream, wanted, info.config);
    found.push({ ...countsOf(info), queue: lane.queue, isForeign: false, differences });
  }
  return found;
}

function countsOf({ name, num_pending, num_ack_pending, num_waiting }: ConsumerInfo) {
  return { name, pending: num_pending, inHand: num_ack_pending, isPulled: num_waiting > 0 };
}

interface Jsz {
  readonly config?: {
    readonly sync_always?: boolean;
    readonly sync_interval?: number;
    readonly max_storage?: number;
  };
  readonly storage?: number;
  readonly limits?: { readonly default_max_consumers?: number };
}

async function monitoringFacts(
  clock: Clock,
  monitoringUrl: string,
): Promise<MonitoringFacts | { unreachable: string }> {
  const abort = new AbortController();
  const cancel = clock.after(MONITORING_MS, () => abort.abort());
  const where = `${monitoringUrl.replace(/\/+$/, "")}/jsz`;
  try {
    const answer = await fetch(where, { signal: abort.signal });
    const { config, storage, limits }: Jsz =
      parseRecord(new Uint8Array(await answer.arrayBuffer())) ?? {};
    if (typeof config?.sync_interval !== "number") {
      return { unreachable: `${where} answers ${answer.status}, and not as nats-server does` };
    }
    return {
      isSyncedAlways: config.sync_always === true,
      syncIntervalMs: config.sync_interval / 1e6,
      bytes: storage ?? 0,
      maxBytes: config.max_storage ?? -1,
      maxConsumers: limits?.default_max_consumers ?? -1,
    };
  } catch (error) {
    return { unreachable: `${where} does not answer: ${failureOf(error).message}` };
  } finally {
    cancel();
  }
}
