/**
 * Builds what npm users install into `npm/`: JavaScript and declarations of all that the entry
 * points reach, and a manifest of its own. Then publint and attw judge the result as a tarball.
 * The entry points come from deno.json, the rest of the manifest from package.json.
 *
 *     npm run build [-- --no-lint] [-- --out=<folder>]
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({
  options: {
    "no-lint": { type: "boolean", default: false },
    out: { type: "string", default: "npm" },
  },
});
const out = options.out;
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
      extends: resolve("tsconfig.library.json"),
      compilerOptions: {
        noEmit: false,
        rootDir: resolve("."),
        outDir: ".",
        rewriteRelativeImportExtensions: true,
        typeRoots: [resolve("node_modules/@types")],
      },
      include: [],
      files: sources.map((path) => resolve(path)),
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

/** npm's provenance asks for the repository that a release is built in; the workflow that builds it knows its name. */
function repository(): unknown {
  const onGitHub = process.env["GITHUB_REPOSITORY"];
  if (npm.repository !== undefined || onGitHub === undefined) return npm.repository;
  return { type: "git", url: `git+https://github.com/${onGitHub}.git` };
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
    repository: repository(),
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
