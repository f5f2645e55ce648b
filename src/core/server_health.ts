/**
 * How the server fares, judged from what was seen of it: its version and clock, the account's limits, streams, consumers
 * and their replicas. Sees nothing itself; what is found is returned as data.
 */
import { type DoctorFinding, found } from "./doctor_finding.ts";

/** A field of a stream or consumer that is not as it must be. */
export interface Difference {
  readonly object: string;
  readonly field: string;
  readonly expected: unknown;
  readonly actual: unknown;
}

/** A copy of a stream on another server than its leader. */
export interface FollowerFacts {
  readonly name: string;
  readonly isCurrent: boolean;
  readonly isOffline: boolean;
  /** Operations it is behind. */
  readonly lag: number;
}

export interface StreamFacts {
  readonly name: string;
  /** Nobody decides from it, and opening the namespace does not check it. */
  readonly isOptional: boolean;
  readonly differences: readonly Difference[];
  readonly bytes: number;
  /** -1: no limit. */
  readonly maxBytes: number;
  readonly consumers: number;
  /** -1: no limit of its own. */
  readonly maxConsumers: number;
  /** It acknowledges before it has written. */
  readonly isAsync: boolean;
  /** Undefined: nobody knows of one. */
  readonly leader: string | undefined;
  readonly followers: readonly FollowerFacts[];
}

export interface ConsumerFacts {
  readonly name: string;
  /** The queue of a lane; undefined: of ticks, or not made by this library. */
  readonly queue?: string;
  /** Not made by this library. */
  readonly isForeign: boolean;
  readonly differences: readonly Difference[];
  /** Messages not handed out yet. */
  readonly pending: number;
  /** Messages handed out and not acknowledged. */
  readonly inHand: number;
  /** Somebody waits for its next message. */
  readonly isPulled: boolean;
}

/** What the account may use; -1: no limit. Bytes are those of the kind of storage that is used. */
export interface AccountFacts {
  readonly bytes: number;
  readonly maxBytes: number;
  readonly consumers: number;
  readonly maxConsumers: number;
  readonly maxAckPending: number;
}

/** What only the server's monitoring tells. */
export interface MonitoringFacts {
  readonly isSyncedAlways: boolean;
  readonly syncIntervalMs: number;
  /** Bytes on its disk that JetStream uses, and may use. */
  readonly bytes: number;
  readonly maxBytes: number;
  /** Consumers a stream without a limit of its own may have; -1: any number. */
  readonly maxConsumers: number;
}

/** What is in the queue of tasks. */
export interface QueuedFacts {
  /** By the lane's consumer. */
  readonly lanes: ReadonlyMap<string, number>;
  readonly runs: ReadonlyMap<string, number>;
  /** Subjects that are not a task's. */
  readonly foreign: readonly string[];
}

/** What was seen of a server. */
export interface ServerFacts {
  readonly version: string;
  readonly isClustered: boolean;
  /** By its clock, milliseconds since 1970; undefined: it did not say. */
  readonly now: number | undefined;
  readonly replicas: number;
  readonly storage: "file" | "memory";
  readonly account: AccountFacts | undefined;
  readonly streams: readonly StreamFacts[];
  /** Streams and consumers that are not there. */
  readonly missing: { readonly streams: readonly string[]; readonly consumers: readonly string[] };
  readonly consumers: readonly ConsumerFacts[];
  readonly queued: QueuedFacts | undefined;
  /** Undefined: nobody gave its address. */
  readonly monitoring: MonitoringFacts | { readonly unreachable: string } | undefined;
  /** What could not be looked at, and why. */
  readonly unseen: readonly string[];
  /** The same, because nobody answered. */
  readonly unanswered: readonly string[];
}

/** The oldest server that has what the protocol needs, and those that the tests run on. */
export const OLDEST_SERVER: readonly [major: number, minor: number] = [2, 10];
const TESTED = { oldest: [2, 10, 27], newest: [2, 15] } as const;

const SKEW_MS = { warning: 1_000, error: 30_000 } as const;
/** Shares of a limit. */
const FILLING = 0.8;
const FULL = 0.95;
/** A follower may be a little behind at any moment. */
const LAG = 1_000;

/** @param asked when the server was asked, and when it had answered, by the clock here */
export function serverFindings(
  server: ServerFacts,
  asked: { readonly from: number; readonly to: number },
): DoctorFinding[] {
  return [
    ...versionFindings(server.version),
    ...clockFindings("the server", server.now, asked),
    ...server.unseen.map((what) => found("not-seen", what)),
    ...server.unanswered.map((what) => found("not-seen", what, "error")),
    ...server.missing.streams.map((name) => found("stream-missing", `stream ${name} is missing`)),
    ...server.missing.consumers.map((name) => found("consumer-missing", `${name} is missing`)),
    ...server.streams.flatMap(streamFindings),
    ...server.consumers.flatMap(consumerFindings),
    ...laneFindings(server),
    ...durabilityFindings(server),
    ...roomFindings(server),
    ...limitFindings(server),
  ];
}

/** Whether a server of this version has what the protocol needs. */
export function isSupported(version: string): boolean {
  return compareVersions(numbersOf(version), OLDEST_SERVER) >= 0;
}

/** Whether a server of this version can make a write depend on the last message of other subjects. */
export function hasSubjectConditions(version: string): boolean {
  return compareVersions(numbersOf(version), [2, 12]) >= 0;
}

function versionFindings(version: string): DoctorFinding[] {
  const numbers = numbersOf(version);
  if (!isSupported(version)) {
    const oldest = OLDEST_SERVER.join(".");
    return [
      found("server-too-old", `nats-server ${version} is too old: ${oldest} or newer is needed`),
    ];
  }
  if (compareVersions(numbers, TESTED.oldest) < 0) {
    const oldest = TESTED.oldest.join(".");
    return [found("server-untested", `nats-server ${version} is older than ${oldest}`)];
  }
  if (compareVersions(numbers.slice(0, 2), TESTED.newest) <= 0) return [];
  const newest = TESTED.newest.join(".");
  return [found("server-untested", `nats-server ${version} is newer than ${newest}`, "info")];
}

function numbersOf(version: string): number[] {
  return version.split(".").map((part) => Number.parseInt(part, 10) || 0);
}

/** As far as `b` goes. */
function compareVersions(a: readonly number[], b: readonly number[]): number {
  const at = b.findIndex((part, i) => (a[i] ?? 0) !== part);
  return at === -1 ? 0 : (a[at] ?? 0) - b[at]!;
}

/** `at` was read between two moments of the clock here: how far it lies outside is what its clock is off at least. */
export function clockFindings(
  whose: string,
  at: number | undefined,
  { from, to }: { readonly from: number; readonly to: number },
): DoctorFinding[] {
  if (at === undefined) return [];
  const offMs = Math.max(from - at, at - to);
  if (offMs < SKEW_MS.warning) return [];
  const message = `the clock of ${whose} is ${(offMs / 1_000).toFixed(1)} s ` +
    `${at > to ? "ahead of" : "behind"} the one here`;
  return [found("clock-skew", message, offMs < SKEW_MS.error ? "warning" : "error")];
}

function differenceFindings(
  differences: readonly Difference[],
  severity: "error" | "warning",
): DoctorFinding[] {
  return differences.map(({ object, field, expected, actual }) => {
    const [is, needed] = [actual, expected].map((value) => JSON.stringify(value) ?? "nothing");
    return found("config-drift", `${object} has ${field} = ${is}, needs ${needed}`, severity);
  });
}

function streamFindings(stream: StreamFacts): DoctorFinding[] {
  const { name, isOptional, differences, leader, followers, isAsync } = stream;
  const offline = followers.filter(({ isOffline }) => isOffline);
  // The leader is there.
  const hasQuorum = offline.length <= followers.length / 2;
  const severity = hasQuorum ? "warning" : "error";
  const lagging = followers.filter(({ isOffline, isCurrent, lag }) =>
    !isOffline && (!isCurrent || lag > LAG)
  );
  return [
    ...differenceFindings(differences, isOptional ? "warning" : "error"),
    ...(leader === undefined ? [found("no-leader", `stream ${name} has no leader`)] : []),
    ...offline.map((one) =>
      found("replica-offline", `the replica of ${name} on ${one.name} is offline`, severity)
    ),
    ...lagging.map((one) =>
      found(
        "replica-lagging",
        `the replica of ${name} on ${one.name} is not current: ${one.lag} behind`,
      )
    ),
    ...(isAsync ? [found("writes-async", `stream ${name} acknowledges before it writes`)] : []),
    ...fillFindings(`stream ${name}`, stream.bytes, stream.maxBytes),
  ];
}

function consumerFindings({ name, isForeign, differences }: ConsumerFacts): DoctorFinding[] {
  return isForeign
    ? [found("foreign-consumer", `consumer ${name} of the queue of tasks is not the library's`)]
    : differenceFindings(differences, "error");
}

/** Lanes whose consumer somebody deleted: their messages reach nobody. */
function laneFindings({ consumers, queued }: ServerFacts): DoctorFinding[] {
  if (queued === undefined) return [];
  const known = new Set(consumers.map(({ name }) => name));
  return [
    ...[...queued.lanes].filter(([lane]) => !known.has(lane)).map(([lane, count]) =>
      found("consumer-missing", `consumer ${lane} is missing, and ${count} tasks wait for it`)
    ),
    ...queued.foreign.map((subject) =>
      found("foreign-message", `a message in the queue of tasks has the subject ${subject}`)
    ),
  ];
}

/** What a power cut costs. Of a process that is killed nothing gets lost. */
function durabilityFindings(server: ServerFacts): DoctorFinding[] {
  const { storage, replicas, isClustered, monitoring } = server;
  if (storage === "memory") {
    const where = replicas === 1 ? "one server" : `${replicas} servers`;
    return [found("memory-storage", `all is kept in the memory of ${where}`)];
  }
  const findings = isClustered && replicas === 1
    ? [found("one-copy", "there is one copy of all streams, in a cluster")]
    : [];
  if (monitoring === undefined) {
    const message = "whether the server syncs every write, and how much room its disk has, " +
      "clients are not told";
    return [...findings, found("sync-unknown", message)];
  }
  if ("unreachable" in monitoring) {
    return [...findings, found("monitoring-unreachable", monitoring.unreachable)];
  }
  const { isSyncedAlways, syncIntervalMs } = monitoring;
  if (isSyncedAlways || replicas > 1) return findings;
  const seconds = syncIntervalMs / 1_000;
  const message = `the one server that has all syncs its disk every ${seconds} s: ` +
    `a power cut loses what was acknowledged since`;
  return [...findings, found("sync-lazy", message)];
}

function roomFindings({ account, monitoring }: ServerFacts): DoctorFinding[] {
  const server = seenOf(monitoring);
  return [
    ...fillFindings("JetStream of the account", account?.bytes ?? 0, account?.maxBytes ?? -1),
    ...fillFindings("JetStream of the server", server?.bytes ?? 0, server?.maxBytes ?? -1),
  ];
}

function seenOf(monitoring: ServerFacts["monitoring"]): MonitoringFacts | undefined {
  return monitoring === undefined || "unreachable" in monitoring ? undefined : monitoring;
}

function fillFindings(what: string, bytes: number, maxBytes: number): DoctorFinding[] {
  const share = maxBytes > 0 ? bytes / maxBytes : 0;
  if (share < FILLING) return [];
  const message = `${what} is ${Math.floor(100 * share)} % full: ${bytes} of ${maxBytes} bytes`;
  return [found("storage-filling", message, share < FULL ? "warning" : "error")];
}

function limitFindings({ account, streams, monitoring }: ServerFacts): DoctorFinding[] {
  const ofServer = seenOf(monitoring)?.maxConsumers ?? -1;
  const findings = streams.flatMap(({ name, consumers, maxConsumers }) =>
    consumerCountFindings(`stream ${name}`, consumers, maxConsumers > 0 ? maxConsumers : ofServer)
  );
  if (account === undefined) return findings;
  findings.push(...consumerCountFindings("the account", account.consumers, account.maxConsumers));
  if (account.maxAckPending <= 0) return findings;
  const message = `the account allows a consumer ${account.maxAckPending} messages that are ` +
    `not acknowledged: so many runs under way, so many tasks of a lane`;
  return [...findings, found("account-limited", message)];
}

function consumerCountFindings(what: string, used: number, most: number): DoctorFinding[] {
  if (most <= 0 || used < FILLING * most) return [];
  const message = `${what} has ${used} of ${most} consumers`;
  return [found("account-limited", message, used < most ? "warning" : "error")];
}
