/**
 * Builds what npm users install into `npm/`: JavaScript and declarations of all that the entry
 * points reach, and a manifest of its own. Then publint and attw judge the result as a tarball.
 * The entry points come from deno.json, the rest of the manifest from package.json.
 *
 *     npm run build [-- --no-lint]
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: { "no-lint": { type: "boolean", default: false } },
});
const out = "npm";
const npm = JSON.parse(readFileSync("package.json", "utf8"));
const { exports: entries } = JSON.parse(readFileSync("deno.json", "utf8")) as {
  exports: Record<string, string>;
};
/** Commands, for when there are any: name → source file. */
const bin: Record<string, string> = npm.bin ?? {};

/** Runs a tool of node_modules; its own words are the error message. */
function runTool(file: string, ...args: string[]): void {
  const { status } = spawnSync(process.execPath, [join("node_modules", file), ...args], {
    stdio: "inherit",
  });
  if (status === 0) return;
  throw new Error(`${file} ${args.join(" ")} failed with status ${status}; see its output above`);
}

function asJavaScript(source: string): string {
  return source.replace(/\.ts$/, ".js");
}

function emit(): void {
  const config = join(out, "tsconfig.json");
  const sources = [...Object.values(entries), ...Object.values(bin)];
  writeFileSync(
    config,
    JSON.stringify({
      extends: "../tsconfig.library.json",
      compilerOptions: {
        noEmit: false,
        rootDir: "..",
        outDir: ".",
        rewriteRelativeImportExtensions: true,
      },
      include: [],
      files: sources.map((path) => join("..", path)),
    }),
  );
  runTool("typescript/bin/tsc", "-p", config);
  rmSync(config);
}

/** tsc rewrites "./x.ts" to "./x.js" in JavaScript, but leaves it in declarations. */
function pointDeclarationsAtJavaScript(): void {
  const relativeImport = /((?:\bfrom|\bimport)\s*\(?\s*["']\.{1,2}\/[^"']*)\.ts(?=["'])/g;
  for (const name of readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (!name.endsWith(".d.ts")) continue;
    const path = join(out, name);
    writeFileSync(path, readFileSync(path, "utf8").replace(relativeImport, "$1.js"));
  }
}

function writeManifest(): void {
  const exports = Object.entries(entries).map(([name, source]) => {
    const js = asJavaScript(source);
    return [name, { types: js.replace(/\.js$/, ".d.ts"), default: js }];
  });
  const commands = Object.entries(bin).map(([name, source]) => [name, asJavaScript(source)]);
  const manifest = {
    name: npm.name,
    version: npm.version,
    description: npm.description,
    keywords: npm.keywords,
    license: npm.license,
    repository: npm.repository,
    type: "module",
    exports: Object.fromEntries(exports),
    bin: commands.length > 0 ? Object.fromEntries(commands) : undefined,
    files: ["**/*.js", "**/*.d.ts", "CHANGELOG.md"],
    sideEffects: false,
    engines: npm.engines,
    dependencies: npm.dependencies,
    peerDependencies: npm.peerDependencies,
    peerDependenciesMeta: npm.peerDependenciesMeta,
  };
  writeFileSync(join(out, "package.json"), JSON.stringify(manifest, undefined, 2) + "\n");
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
emit();
pointDeclarationsAtJavaScript();
writeManifest();
for (const file of ["README.md", "LICENSE", "CHANGELOG.md"]) cpSync(file, join(out, file));
if (!options["no-lint"]) {
  runTool("publint/src/cli.js", "run", out, "--strict");
  runTool("@arethetypeswrong/cli/dist/index.js", "--pack", out, "--profile", "esm-only");
}
console.log(`built ${npm.name} ${npm.version} in ${out}/`);
