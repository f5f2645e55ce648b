/**
 * Builds what Deno imports by URL into `url/`: the files that JSR gets, with each package named in full where it is
 * imported (`npm:croner@^11.0.1`), because who imports by URL has no import map of ours. Any static host can serve it.
 *
 *     npm run build
 */
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

const out = "url";
const { imports, publish, version } = JSON.parse(readFileSync("deno.json", "utf8")) as {
  imports: Record<string, string>;
  publish: { include: string[] };
  version: string;
};

/** Imports stand at the beginning of a line: the formatter sees to it. @throws {Error} naming a package that deno.json does not. */
function withPackagesInFull(file: string, code: string): string {
  const bare = /^((?:import|export|\}).*? from |import )"(?!node:|\.)([^"]+)"/gm;
  return code.replace(bare, (_, before: string, specifier: string) => {
    const target = imports[specifier];
    if (target?.startsWith("npm:")) return `${before}"${target}"`;
    throw new Error(`${file} imports "${specifier}", which deno.json does not map to a package`);
  });
}

const files = publish.include.flatMap((path) =>
  statSync(path).isDirectory()
    ? readdirSync(path, { recursive: true, encoding: "utf8" }).map((name) => join(path, name))
    : [path]
).filter((path) => statSync(path).isFile() && path !== "deno.json");

rmSync(out, { recursive: true, force: true });
for (const file of files) {
  const target = join(out, file);
  mkdirSync(dirname(target), { recursive: true });
  if (file.endsWith(".ts")) {
    writeFileSync(target, withPackagesInFull(file, readFileSync(file, "utf8")));
  } else cpSync(file, target);
}
console.log(`built version ${version} in ${out}/, for Deno to import by URL`);
