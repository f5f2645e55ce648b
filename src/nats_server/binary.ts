/**
 * Finds a nats-server executable for tests, benches and the demo, and fetches one into the user's cache when the
 * machine has none. It never needs root, never changes what is installed on the system, and never runs a download
 * that was not verified (apt's signatures, or SHA256SUMS).
 */
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, chmod, mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { unpackDebianPackage, unpackOfficialRelease } from "./fetch.ts";

export interface NatsServerBinary {
  readonly path: string;
  /** Exact version as the executable reports it, e.g. `"2.15.1"`. */
  readonly version: string;
}

export interface NatsServerRequest {
  /**
   * `"2.10"` (any patch) or `"2.10.27"` (exactly).
   * @default any version from 2.10.0 on; when one must be fetched, the first of {@link knownReleases}
   */
  readonly version?: string | undefined;
}

export interface KnownRelease {
  /** The release fetched from the project's own downloads. */
  readonly version: string;
  /** The Debian suite that packages the same major.minor. */
  readonly debianSuite: string;
}

/** Where each supported version comes from; the first is the default. */
export const knownReleases: readonly [KnownRelease, ...KnownRelease[]] = [
  { version: "2.15.1", debianSuite: "sid" },
  { version: "2.10.27", debianSuite: "trixie" },
];

/** Older servers lack what the protocol relies on. */
const oldestUsable = "2.10.0";

const executableName = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/** No usable nats-server; the message lists every place tried, why each failed, and what to do. */
export class NatsServerNotFoundError extends Error {
  override readonly name = "NatsServerNotFoundError";
}

type Search =
  | { readonly is: "found"; readonly binary: NatsServerBinary }
  | { readonly is: "missing"; readonly why: string };

/**
 * Looks in `$NATS_SERVER_BIN`, on PATH and in the user's cache, then fetches Debian's package and,
 * failing that, the official release. With a `version`, only a matching executable is taken; without
 * one, `$NATS_SERVER_BIN` is taken at its word.
 *
 * @throws {NatsServerNotFoundError} also when `$NATS_SERVER_BIN` is set to something that does not run
 */
export async function findNatsServer(request: NatsServerRequest = {}): Promise<NatsServerBinary> {
  const wanted = request.version;
  if (wanted !== undefined && !/^\d+\.\d+(\.\d+)?$/.test(wanted)) {
    throw new NatsServerNotFoundError(
      `Cannot find nats-server ${JSON.stringify(wanted)}: that is no version. ` +
        `Give major.minor ("2.10") or a full version ("2.10.27").`,
    );
  }
  const tried: string[] = [];
  for (const search of [inEnvironment, onPath, inCache, fromDebian, fromOfficialRelease]) {
    const result = await search(wanted);
    if (result.is === "found") return result.binary;
    tried.push(result.why);
  }
  throw new NatsServerNotFoundError(
    `Cannot find nats-server ${wanted ?? `${oldestUsable} or newer`}. Tried:\n` +
      tried.map((why) => `  - ${why.replaceAll("\n", "\n    ")}\n`).join("") +
      `Install one (https://github.com/nats-io/nats-server/releases) and set NATS_SERVER_BIN to its path.`,
  );
}

async function inEnvironment(wanted: string | undefined): Promise<Search> {
  const path = process.env["NATS_SERVER_BIN"];
  if (path === undefined || path === "") return missing("$NATS_SERVER_BIN: not set");
  let version: string;
  try {
    version = await versionOf(path);
  } catch (error) {
    // Falling through would run another server than the one somebody asked for by name.
    throw new NatsServerNotFoundError(
      `Cannot use NATS_SERVER_BIN=${path}: ${reasonOf(error)}. ` +
        `Set it to a nats-server executable, or unset it to have one found.`,
    );
  }
  return wanted === undefined || matches(version, wanted)
    ? found({ path, version })
    : missing(`$NATS_SERVER_BIN: ${path} is ${version}, not ${wanted}`);
}

async function onPath(wanted: string | undefined): Promise<Search> {
  const rejected: string[] = [];
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(folder, executableName);
    if (!isAbsolute(folder) || !(await isExecutable(path))) continue;
    try {
      const version = await versionOf(path);
      const fits = wanted === undefined
        ? isAtLeast(version, oldestUsable)
        : matches(version, wanted);
      if (fits) return found({ path, version });
      rejected.push(`${path} is ${version}`);
    } catch (error) {
      rejected.push(`${path}: ${reasonOf(error)}`);
    }
  }
  return missing(`PATH: ${rejected.length === 0 ? "no nats-server there" : rejected.join("; ")}`);
}

async function inCache(wanted: string | undefined): Promise<Search> {
  const folders = await readdir(cacheFolder()).catch(() => []);
  const versions = folders
    .map((folder) => /^nats-server-(\d+\.\d+\.\d+)$/.exec(folder)?.[1])
    .filter((version) => version !== undefined)
    // Without a wish, an old version cached for one test must not become everybody's default.
    .filter((version) =>
      wanted === undefined
        ? isAtLeast(version, minorOf(knownReleases[0].version))
        : matches(version, wanted)
    )
    .sort((a, b) => isAtLeast(a, b) ? -1 : 1);
  for (const version of versions) {
    const path = cachedPath(version);
    if (await isExecutable(path)) return found({ path, version });
  }
  return missing(`cache: no such version in ${cacheFolder()}`);
}

async function fromDebian(wanted: string | undefined): Promise<Search> {
  const release = releaseFor(wanted);
  if (release === undefined) {
    const known = knownReleases.map(({ version, debianSuite }) =>
      `${minorOf(version)} in ${debianSuite}`
    );
    return missing(`Debian: no suite is known to package ${wanted} (known: ${known.join(", ")})`);
  }
  const { debianSuite } = release;
  return await fetchOnce(`Debian ${debianSuite}`, wanted, (folder) => {
    return unpackDebianPackage(debianSuite, folder);
  });
}

async function fromOfficialRelease(wanted: string | undefined): Promise<Search> {
  const isExact = wanted !== undefined && wanted !== minorOf(wanted);
  const version = isExact ? wanted : releaseFor(wanted)?.version;
  if (version === undefined) {
    return missing(
      `official release: no patch release of ${wanted} is known; ask for a full version such as ${wanted}.0`,
    );
  }
  return await fetchOnce(`official release ${version}`, wanted, (folder) => {
    return unpackOfficialRelease(version, folder);
  });
}

/** Fetches under way in this process, so that ten servers started at once download one binary. */
const fetching = new Map<string, Promise<Search>>();

function fetchOnce(
  source: string,
  wanted: string | undefined,
  unpack: (folder: string) => Promise<string>,
): Promise<Search> {
  const key = `${source} for ${wanted}`;
  const underWay = fetching.get(key);
  if (underWay !== undefined) return underWay;
  const search = installInCache(wanted, unpack)
    .then(found, (error) => missing(`${source}: ${reasonOf(error)}`))
    .finally(() => fetching.delete(key));
  fetching.set(key, search);
  return search;
}

async function installInCache(
  wanted: string | undefined,
  unpack: (folder: string) => Promise<string>,
): Promise<NatsServerBinary> {
  await mkdir(cacheFolder(), { recursive: true }).catch((error) => {
    throw new Error(
      `no folder to keep it in (${reasonOf(error)}); set XDG_CACHE_HOME to a writable one`,
    );
  });
  // Staged beside its destination, because only a rename within one file system is atomic.
  const staging = await mkdtemp(join(cacheFolder(), "staging-"));
  try {
    const unpacked = await unpack(staging);
    await chmod(unpacked, 0o755);
    const version = await versionOf(unpacked);
    const fits = wanted === undefined ? isAtLeast(version, oldestUsable) : matches(version, wanted);
    if (!fits) throw new Error(`it offers ${version} now`);
    const path = cachedPath(version);
    await mkdir(dirname(path), { recursive: true });
    // Another process may have installed the same version meanwhile: whole files replace each other,
    // and a server already running keeps the file it was started from.
    await rename(unpacked, path);
    return { path, version };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** Where what was fetched once is kept, outside of the repository. */
export function cacheFolder(): string {
  const configured = process.env["XDG_CACHE_HOME"];
  // The XDG specification says to ignore relative values.
  const base = configured !== undefined && isAbsolute(configured)
    ? configured
    : join(homedir(), ".cache");
  return join(base, "nats-dyrygent");
}

function cachedPath(version: string): string {
  return join(cacheFolder(), `nats-server-${version}`, executableName);
}

async function versionOf(path: string): Promise<string> {
  const { stdout } = await promisify(execFile)(path, ["--version"], { timeout: 10_000 });
  const version = /^nats-server: v(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (version === undefined) {
    throw new Error(
      `"${path} --version" says ${JSON.stringify(stdout.slice(0, 80))}, no nats-server version`,
    );
  }
  return version;
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(() => true, () => false);
}

function releaseFor(wanted: string | undefined): KnownRelease | undefined {
  if (wanted === undefined) return knownReleases[0];
  return knownReleases.find(({ version }) => minorOf(version) === minorOf(wanted));
}

function minorOf(version: string): string {
  return version.split(".").slice(0, 2).join(".");
}

function matches(version: string, wanted: string): boolean {
  return version === wanted || minorOf(version) === wanted;
}

function isAtLeast(version: string, floor: string): boolean {
  const parts = version.split(".").map(Number);
  for (const [index, least] of floor.split(".").map(Number).entries()) {
    const part = parts[index] ?? 0;
    if (part !== least) return part > least;
  }
  return true;
}

function found(binary: NatsServerBinary): Search {
  return { is: "found", binary };
}

function missing(why: string): Search {
  return { is: "missing", why };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
