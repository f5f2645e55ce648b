/**
 * Lists what a production install of the package brings, as CycloneDX, for the artefacts of a release. npm makes the whole
 * list; here it is cut down to what the manifest's dependencies lead to (npm's own `--omit dev` loses packages that a
 * development dependency needs, too), compared with the lock file, and given the package's name instead of the folder's.
 *
 *     npm run sbom              writes nats-dyrygent-<version>.cdx.json
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import process from "node:process";

interface Component {
  "bom-ref": string;
  name: string;
  readonly licenses?: readonly unknown[];
  properties?: unknown;
}

interface Bom {
  readonly metadata: { readonly component: Component };
  components: Component[];
  dependencies: { ref: string; dependsOn: string[] }[];
}

interface Locked {
  readonly version: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

function read<T>(path: string): T {
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

const { name, version, dependencies } = read<{
  name: string;
  version: string;
  dependencies: Record<string, string>;
}>("package.json");
const lock = read<{ packages: Record<string, Locked> }>("package-lock.json").packages;

/** `"croner@11.0.1"`, as the lock file has them. */
const locked = Object.entries(lock)
  .filter(([path, { dev, devOptional }]) => path !== "" && !dev && !devOptional)
  .map(([path, { version }]) => `${path.split("node_modules/").at(-1)}@${version}`)
  .sort();

function wholeBom(): Bom {
  const args = ["sbom", "--sbom-format", "cyclonedx", "--sbom-type", "library"];
  const { status, stdout, stderr } = spawnSync("npm", args, {
    encoding: "utf8",
    maxBuffer: 64 << 20,
    shell: process.platform === "win32",
  });
  if (status === 0) return JSON.parse(stdout) as Bom;
  throw new Error(`npm ${args.join(" ")} failed with status ${status}:\n${stderr}`);
}

const bom = wholeBom();
const root = bom.metadata.component["bom-ref"];
const needs = new Map(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
const direct = needs.get(root)!.filter((ref) => ref.slice(0, ref.lastIndexOf("@")) in dependencies);
const kept = new Set([root, ...direct]);
for (const ref of kept) { // It grows while it is read.
  if (ref !== root) { for (const next of needs.get(ref) ?? []) kept.add(next); }
}

bom.metadata.component.name = name;
delete bom.metadata.component.properties; // Only the working copy is private.
bom.components = bom.components.filter((component) => kept.has(component["bom-ref"]));
bom.dependencies = bom.dependencies
  .filter(({ ref }) => kept.has(ref))
  .map((node) => node.ref === root ? { ref: root, dependsOn: direct } : node);

const listed = bom.components.map((component) => component["bom-ref"]).sort();
if (listed.join() !== locked.join()) {
  throw new Error(`The list is not the lock file's: ${listed}; locked for production: ${locked}`);
}
for (const component of bom.components) {
  if (!component.licenses?.length) throw new Error(`${component["bom-ref"]} names no license`);
}
const file = `${name}-${version}.cdx.json`;
writeFileSync(file, JSON.stringify(bom, undefined, 2) + "\n");
console.log(`${file}: ${listed.length} packages: ${listed.join(", ")}`);
