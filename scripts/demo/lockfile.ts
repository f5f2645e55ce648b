/**
 * What a `package-lock.json` says is installed, and which package depends on which: resolved the way Node
 * and npm do, by looking for `node_modules/<name>` from a package's own folder upwards. Reads no file.
 */

/** One installed package. Its number is its place in the list. */
export interface InstalledPackage {
  /** Its folder, from the lockfile's folder: `node_modules/a/node_modules/b`. */
  readonly location: string;
  readonly name: string;
  readonly version: string;
  /** Numbers of the packages it needs, each once, in ascending order. */
  readonly dependencies: readonly number[];
}

export interface Installation {
  readonly packages: readonly InstalledPackage[];
  /** In the lockfile, not on disk: mostly optional packages for other platforms. */
  readonly absent: readonly AbsentPackage[];
}

export interface AbsentPackage {
  readonly location: string;
  readonly optional: boolean;
}

/** The lockfile cannot be used; the message says why, and what to do. */
export class LockfileError extends Error {
  override readonly name = "LockfileError";
}

interface Entry {
  readonly name?: string;
  readonly version?: string;
  readonly link?: boolean;
  /** Of a link: the folder it leads to. */
  readonly resolved?: string;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
}

type Entries = ReadonlyMap<string, Entry>;

/**
 * @param text of the lockfile.
 * @param isOnDisk whether there is a package in this folder (from the lockfile's folder).
 * @throws {LockfileError}
 */
export function readLockfile(
  text: string,
  isOnDisk: (location: string) => boolean,
): Installation {
  const entries = entriesOf(text);
  // The project itself (the empty location) is not installed, and a link is another name for a folder.
  const known = [...entries].filter(([location, entry]) => location !== "" && !entry.link);
  const installed = known.filter(([location]) => isOnDisk(location));
  if (installed.length === 0) {
    throw new LockfileError(
      known.length === 0
        ? "The lockfile lists no packages. Try one of a project with dependencies."
        : `None of the lockfile's ${known.length} packages is installed beside it. Run npm ci there.`,
    );
  }
  const numbers = new Map(installed.map(([location], number) => [location, number]));
  return {
    packages: installed.map(([location, entry]) => ({
      location,
      name: entry.name ?? nameAt(location),
      version: entry.version ?? "0.0.0",
      dependencies: dependenciesOf(location, entry, entries, numbers),
    })),
    absent: known
      .filter(([location]) => !numbers.has(location))
      .map(([location, entry]) => ({
        location,
        optional: entry.optional === true || entry.devOptional === true,
      })),
  };
}

function entriesOf(text: string): Entries {
  let lock: { readonly packages?: unknown };
  try {
    lock = JSON.parse(text);
  } catch (error) {
    throw new LockfileError(`The lockfile is not JSON: ${(error as Error).message}`);
  }
  const packages = lock?.packages;
  if (typeof packages !== "object" || packages === null) {
    throw new LockfileError(
      'The lockfile has no "packages": it is none of npm 7 or newer. Run npm install to renew it.',
    );
  }
  return new Map(Object.entries(packages as Record<string, Entry>));
}

/**
 * Dependencies that are not installed (optional ones, for other platforms) are left out, and so are
 * peers that a package declares optional: somebody else brought these.
 */
function dependenciesOf(
  location: string,
  entry: Entry,
  entries: Entries,
  numbers: ReadonlyMap<string, number>,
): number[] {
  const peers = Object.keys(entry.peerDependencies ?? {})
    .filter((name) => entry.peerDependenciesMeta?.[name]?.optional !== true);
  const own = Object.keys({ ...entry.dependencies, ...entry.optionalDependencies });
  const found = new Set<number>();
  for (
    const [name, start] of [
      ...own.map((name) => [name, location] as const),
      // A peer is the one that the package's user has: the package's own folder is not looked into.
      ...peers.map((name) => [name, parentOf(location)] as const),
    ]
  ) {
    const number = numbers.get(resolve(name, start, entries) ?? "");
    if (number !== undefined) found.add(number);
  }
  return [...found].sort((a, b) => a - b);
}

/** The location that code in `start` gets for `name`; undefined when there is none. */
function resolve(name: string, start: string, entries: Entries): string | undefined {
  for (const folder of foldersUp(start)) {
    const location = folder === "" ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    const entry = entries.get(location);
    if (entry !== undefined) return entry.link ? entry.resolved : location;
  }
  return undefined;
}

/** The folder itself and those above, without those called `node_modules`; last the lockfile's own, "". */
function* foldersUp(folder: string): Generator<string> {
  yield folder;
  if (folder !== "") yield* foldersUp(parentOf(folder));
}

function parentOf(folder: string): string {
  const parts = folder.split("/").slice(0, -1);
  while (parts.at(-1) === "node_modules") parts.pop();
  return parts.join("/");
}

function nameAt(location: string): string {
  const [last = "", before = ""] = location.split("/").reverse();
  return before.startsWith("@") ? `${before}/${last}` : last;
}
