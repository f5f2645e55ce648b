/** The NATS adapter as a whole: all ports on one connection. */
import { ClosedConnectionError, type NatsConnection } from "@nats-io/nats-core";
import { jetstream, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { UnsupportedServerError } from "../core/errors.ts";
import { isSupported, OLDEST_SERVER } from "../core/server_health.ts";
import type { Codec } from "../core/sealing.ts";
import type { Log, Ports } from "../ports.ts";
import type { Telemetry } from "../telemetry.ts";
import { NatsBlobs } from "./blobs.ts";
import { systemClock } from "./clock.ts";
import { translate } from "./errors.ts";
import { NatsFacts } from "./facts.ts";
import { NatsHints } from "./hints.ts";
import { inspect } from "./inspection.ts";
import type { Link } from "./link.ts";
import { namesIn } from "./names.ts";
import { Patience } from "./patience.ts";
import { systemRandom } from "./random.ts";
import { Requests } from "./requests.ts";
import {
  ensureConsumer,
  ensureStream,
  factsConfig,
  type StorageOptions,
  tasksConfig,
  tickConsumerConfig,
  ticksConfig,
} from "./setup.ts";
import { NatsTasks } from "./tasks.ts";
import { NatsTicks } from "./ticks.ts";
import { NatsViews } from "./views.ts";

export interface NatsOptions extends StorageOptions {
  readonly namespace: string;
  readonly tickLeaseMs: number;
  readonly taskLeaseMs: number;
  /** A lane of a key is used no more when nothing has happened in it for so long. @default 600000 */
  readonly unusedLaneMs?: number;
  readonly log: Log;
  readonly codec?: Codec | undefined;
  readonly telemetry?: Telemetry | undefined;
}

const REQUESTS = { timeoutMs: 5_000, patienceMs: 30_000, window: 4_096 };
/** Records stay below the server's limit by what subjects and headers take. */
const RECORD_ROOM = 4_096;
/** Definitions are cut into pieces of at most this, even where the server takes more: they are read one by one. */
const LARGEST_RECORD = 1_048_576;

/** @throws {UnsupportedServerError}, {ConfigMismatchError}, {UnavailableError} */
export async function natsPorts(nc: NatsConnection, options: NatsOptions): Promise<Ports> {
  const { namespace, log, codec, telemetry, tickLeaseMs, taskLeaseMs } = options;
  const { unusedLaneMs = 600_000 } = options;
  if (nc.isClosed()) throw translate(`open "${namespace}"`, new ClosedConnectionError());
  checkVersion(nc.info?.version ?? "unknown");
  const names = namesIn(namespace);
  const jsm = await manager(nc);
  const patience = new Patience(nc, systemClock);
  await Promise.all([
    ensureStream({ jsm, patience }, factsConfig(names, options)),
    ensureStream({ jsm, patience }, tasksConfig(names, options)),
    ensureStream({ jsm, patience }, ticksConfig(names, options)),
  ]);
  await ensureConsumer(jsm, names.ticksStream, tickConsumerConfig(names, tickLeaseMs));
  const link: Link = {
    nc,
    jsm,
    requests: new Requests(nc, systemClock, REQUESTS),
    patience,
    names,
    clock: systemClock,
    log,
  };
  const largest = Math.min(nc.info?.max_payload ?? LARGEST_RECORD, LARGEST_RECORD);
  const maxRecord = largest - RECORD_ROOM;
  return {
    facts: new NatsFacts(link),
    tasks: new NatsTasks(link, taskLeaseMs, unusedLaneMs),
    ticks: new NatsTicks(link, tickLeaseMs),
    hints: new NatsHints(nc, names, { isTraced: telemetry !== undefined }),
    views: await openViews(link, options),
    blobs: new NatsBlobs(link, options, maxRecord),
    inspect: (asked) => inspect(link, options, asked),
    codec,
    clock: systemClock,
    random: systemRandom,
    log,
    telemetry,
    maxRecord,
  };
}

async function manager(nc: NatsConnection): Promise<JetStreamManager> {
  try {
    return await jetstreamManager(nc);
  } catch (error) {
    throw translate("reach JetStream", error);
  }
}

async function openViews(link: Link, { replicas, storage }: StorageOptions): Promise<NatsViews> {
  const bucket = link.names.stateBucket;
  return await link.patience.with(`set up bucket ${bucket}`, async () => {
    const kv = await new Kvm(jetstream(link.nc)).create(bucket, {
      history: 1,
      replicas,
      storage: storage as never,
    });
    const { config } = (await kv.status()).streamInfo;
    return new NatsViews(kv, link, { isDirect: config.allow_direct });
  });
}

function checkVersion(version: string): void {
  if (isSupported(version)) return;
  throw new UnsupportedServerError(
    `nats-server ${version} is too old: ${OLDEST_SERVER.join(".")} or newer is needed`,
    {
      hint:
        "Older servers lose other workflows' tasks in flight when one is purged. Upgrade nats-server.",
    },
  );
}
