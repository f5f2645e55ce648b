/**
 * What npm users install is the library and nothing else: the tarball holds JavaScript and declarations of each source,
 * four papers, no trace of the machine that built it, and nothing that runs when it is installed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { importsOf } from "./layers.ts";

const PAPERS = ["CHANGELOG.md", "LICENSE", "README.md", "package.json"];
/** Bytes. A library that grows past this has swallowed something. */
const MOST_BYTES = 2_000_000;
/** What no published file may contain. */
const FORBIDDEN: Record<string, RegExp> = {
  "a source map": /sourceMappingURL/,
  "a private key": /-----BEGIN [A-Z ]*PRIVATE KEY/,
  "a token": /\b(?:npm_[A-Za-z0-9]{36}|gh[pousr]_[A-Za-z0-9]{36}|AKIA[A-Z0-9]{16})\b/,
  "eval": /\beval\(|\bnew Function\(/,
};

interface Packed {
  readonly unpackedSize: number;
  readonly files: readonly { readonly path: string }[];
}

interface Context {
  readonly folder: string;
  readonly packed: Packed;
  readonly manifest: Record<string, unknown>;
}

function run(program: string, args: string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    cwd,
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  assert.is(status, 0, `${program} ${args.join(" ")}: ${error?.message ?? stderr}`);
  return stdout;
}

const test = suite<Context>("the package");
const folder = mkdtempSync(join(tmpdir(), "package-"));
test.after(() => rmSync(folder, { recursive: true }));

test.before((context) => {
  const runtime = "Deno" in globalThis ? ["run", "-A"] : ["--import", "tsx"];
  const build = [...runtime, "scripts/build_npm.ts", "--no-lint", `--out=${folder}`];
  run(process.execPath, build, ".");
  const [packed] = JSON.parse(run("npm", ["pack", "--dry-run", "--json"], folder)) as [Packed];
  const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  Object.assign(context, { folder, packed, manifest });
});

const textOf = (path: string) => readFileSync(join(folder, path), "utf8");
const isCode = (path: string) => /\.(?:js|d\.ts)$/.test(path);

test("it holds JavaScript and declarations of each source, the papers, and nothing else", ({ packed }) => {
  const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => `src/${name.replaceAll("\\", "/")}`);
  const { exports } = JSON.parse(readFileSync("package.json", "utf8")) as {
    exports: Record<string, string>;
  };
  const entries = Object.values(exports).map((path) => path.replace("./", ""));
  const expected = [...new Set([...sources, ...entries])]
    .flatMap((path) => [path.replace(/\.ts$/, ".js"), path.replace(/\.ts$/, ".d.ts")]);
  const actual = packed.files.map(({ path }) => path);
  assert.equal(actual.toSorted(), [...expected, ...PAPERS].toSorted());
  assert.ok(packed.unpackedSize < MOST_BYTES, `${packed.unpackedSize} bytes`);
});

test("no file says where it was built, or brings what does not belong to it", ({ packed }) => {
  const places = [process.cwd(), homedir(), tmpdir()].filter((place) => place.length > 1);
  for (const { path } of packed.files) {
    const text = textOf(path);
    for (const place of isCode(path) ? places : [process.cwd()]) {
      assert.not.ok(text.includes(place), `${path} names ${place}`);
    }
    for (const [what, pattern] of Object.entries(FORBIDDEN)) {
      assert.not.match(text, pattern, `${path} contains ${what}`);
    }
  }
});

test("code imports only what is there: files of the package, dependencies, node:", ({ packed, manifest }) => {
  const dependencies = ["dependencies", "peerDependencies"].flatMap((kind) =>
    Object.keys(manifest[kind] as object)
  );
  const files = new Set(packed.files.map(({ path }) => path));
  for (const path of [...files].filter(isCode)) {
    for (const specifier of importsOf(textOf(path))) {
      if (specifier.startsWith("node:") || dependencies.some((name) => specifier === name)) {
        continue;
      }
      assert.ok(specifier.startsWith("."), `${path} imports ${specifier}`);
      const target = join(path, "..", specifier).replaceAll("\\", "/");
      assert.ok(files.has(target), `${path} imports ${specifier}, which is not in the package`);
    }
  }
});

test("the manifest leads to files that are there, and runs nothing when it is installed", ({ packed, manifest }) => {
  const files = new Set(packed.files.map(({ path }) => path));
  const exports = manifest["exports"] as Record<string, Record<string, string>>;
  const targets = [
    ...Object.values(exports).flatMap((conditions) => Object.values(conditions)),
    ...Object.values(manifest["bin"] as Record<string, string>),
  ];
  for (const target of targets) assert.ok(files.has(target.replace(/^\.\//, "")), target);
  for (const field of ["scripts", "private", "devDependencies", "publishConfig"]) {
    assert.is(manifest[field], undefined, field);
  }
  for (const file of Object.values(manifest["bin"] as Record<string, string>)) {
    assert.match(textOf(file), /^#!\/usr\/bin\/env node\n/, `${file} cannot be started`);
  }
});

test("what is forbidden is seen", () => {
  const samples: Record<string, string> = {
    "a source map": "//# sourceMappingURL=../../x.js.map",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a token": `npm_${"a".repeat(36)}`,
    "eval": `eval("1")`,
  };
  for (const [what, pattern] of Object.entries(FORBIDDEN)) assert.match(samples[what]!, pattern);
});

test.run();
