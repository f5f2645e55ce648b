/** package.json and deno.json describe one library: what npm and JSR users get must not differ. */
import { readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { importsOf } from "./layers.ts";

interface Manifest {
  version: string;
  license: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
  peerDependenciesMeta: Record<string, { optional: boolean }>;
  packages: Record<string, unknown>;
}

function manifest(path: string): Manifest {
  return JSON.parse(readFileSync(path, "utf8"));
}

const npm = manifest("package.json");
const deno = manifest("deno.json");
const lock = manifest("package-lock.json");
/** What it needs, and what it can do without. */
const used = { ...npm.dependencies, ...npm.peerDependencies };

test("every manifest names the same version and license", () => {
  assert.is(deno.version, npm.version, "deno.json and package.json differ in version");
  assert.is(lock.version, npm.version, "package-lock.json is behind: run npm install");
  assert.is(deno.license, npm.license, "deno.json and package.json differ in license");
});

test("both offer the same entry points", () => {
  assert.equal(deno.exports, npm.exports);
});

test("a dependency has the same range in both", () => {
  const inDeno = Object.entries(deno.imports).filter(([, target]) => target.startsWith("npm:"));
  const fromNpm = Object.entries(used).map((
    [name, range],
  ) => [name, `npm:${name}@${range}`]);
  assert.equal(Object.fromEntries(inDeno), Object.fromEntries(fromNpm));
});

test("what the library imports is what it depends on", () => {
  const inSrc = readdirSync("src", { recursive: true, encoding: "utf8" }).map((f) => `src/${f}`);
  const files = ["mod.ts", "opentelemetry.ts", "processes.ts", "testing.ts", ...inSrc].filter((
    path,
  ) => path.endsWith(".ts"));
  const packages = files
    .flatMap((path) => importsOf(readFileSync(path, "utf8")))
    .filter((specifier) => !/^(?:\.|node:)/.test(specifier))
    .map((specifier) => specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/"));
  const unknown = packages.filter((name) => !(name in used));
  assert.equal([...new Set(unknown)], [], "add to dependencies, and to imports in deno.json");
});

test("what it can do without is optional, and is there for tests", () => {
  for (const name of Object.keys(npm.peerDependencies)) {
    assert.is(npm.peerDependenciesMeta[name]?.optional, true, name);
    assert.ok(`node_modules/${name}` in lock.packages, name);
  }
});

test.run();
