/**
 * The tasks of the default demo: weigh a package (or packages that need each other) with what came in from its
 * dependencies, and make one report of all of them.
 */
import { join } from "node:path";
import { currentTask, task } from "nats-dyrygent";
import { type Measured, measurePackage } from "./measure.ts";

/** One package to weigh. */
export interface PackageOrder {
  readonly number: number;
  readonly location: string;
  readonly name: string;
  readonly version: string;
}

/** Packages that need each other, mostly just one. */
export interface WeighOrder {
  /** The folder that locations count from. */
  readonly root: string;
  readonly packages: readonly PackageOrder[];
}

export interface WeighedPackage extends Measured {
  readonly number: number;
  readonly name: string;
  readonly version: string;
}

export interface Weighed {
  readonly packages: readonly WeighedPackage[];
  /**
   * Own bytes of these and of everything they need, however far away, each once: number, bytes, number, bytes, …
   * A sum would count shared dependencies twice further down. A flat list is the shortest JSON of it.
   */
  readonly weights: readonly number[];
}

/** @param dependencies what was found out about the direct ones. */
export const weigh = task(
  "demo.weigh",
  async ({ root, packages }: WeighOrder, dependencies: readonly Weighed[]): Promise<Weighed> => {
    const weighed = await Promise.all(packages.map((one) => weighOne(root, one)));
    const weights = new Map<number, number>(weighed.map(({ number, bytes }) => [number, bytes]));
    for (const dependency of dependencies) {
      for (const [number, bytes] of pairsOf(dependency.weights)) weights.set(number, bytes);
    }
    return {
      packages: weighed,
      weights: [...weights].sort(([a], [b]) => a - b).flat(),
    };
  },
);

async function weighOne(
  root: string,
  { number, location, name, version }: PackageOrder,
): Promise<WeighedPackage> {
  try {
    const measured = await measurePackage(join(root, location), currentTask().signal);
    return { number, name, version, ...measured };
  } catch (cause) {
    throw new Error(`cannot measure ${location}: ${(cause as Error).message}`, { cause });
  }
}

/** A package in a list of heavy ones. */
export interface HeavyPackage {
  readonly package: string;
  readonly own: number;
  readonly total: number;
  /** How many packages the total is of, itself included. */
  readonly reach: number;
}

export interface PackageReport {
  readonly files: number;
  readonly bytes: number;
  /** SHA-256 of all packages' hashes, in the order of their numbers. */
  readonly sha256: string;
  readonly heaviestWithDependencies: readonly HeavyPackage[];
  readonly heaviestAlone: readonly HeavyPackage[];
  /** Most frequent first. */
  readonly licences: readonly (readonly [licence: string, packages: number])[];
  /** Names that are installed in more than one version. */
  readonly severalVersions: readonly { readonly name: string; readonly versions: string[] }[];
  /** By number: a package's own bytes, and its own with all it needs. */
  readonly own: readonly number[];
  readonly total: readonly number[];
}

const LISTED = 8;

export const report = task(
  "demo.report",
  async (all: readonly Weighed[]): Promise<PackageReport> => {
    const packages = all.flatMap(({ packages, weights }) => {
      const pairs = [...pairsOf(weights)];
      const total = pairs.reduce((sum, [, bytes]) => sum + bytes, 0);
      return packages.map((one) => ({ ...one, total, reach: pairs.length }));
    }).sort((a, b) => a.number - b.number);
    const heaviest = (weight: "total" | "bytes"): HeavyPackage[] =>
      packages.toSorted((a, b) => b[weight] - a[weight]).slice(0, LISTED).map((one) => ({
        package: `${one.name}@${one.version}`,
        own: one.bytes,
        total: one.total,
        reach: one.reach,
      }));
    const licences = new Map<string, number>();
    const versions = new Map<string, Set<string>>();
    for (const { name, version, licence } of packages) {
      licences.set(licence, (licences.get(licence) ?? 0) + 1);
      versions.set(name, (versions.get(name) ?? new Set()).add(version));
    }
    return {
      files: packages.reduce((sum, { files }) => sum + files, 0),
      bytes: packages.reduce((sum, { bytes }) => sum + bytes, 0),
      sha256: await sha256(packages.map((one) => one.sha256).join("\n")),
      heaviestWithDependencies: heaviest("total"),
      heaviestAlone: heaviest("bytes"),
      licences: [...licences].sort(([, a], [, b]) => b - a),
      severalVersions: [...versions]
        .filter(([, versions]) => versions.size > 1)
        .map(([name, versions]) => ({ name, versions: [...versions].sort(byVersion) }))
        .sort((a, b) => b.versions.length - a.versions.length),
      own: packages.map(({ bytes }) => bytes),
      total: packages.map(({ total }) => total),
    };
  },
);

const byVersion = new Intl.Collator("en", { numeric: true }).compare;

function* pairsOf(weights: readonly number[]): Generator<readonly [number, number]> {
  for (let i = 0; i < weights.length; i += 2) yield [weights[i]!, weights[i + 1]!];
}

async function sha256(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
