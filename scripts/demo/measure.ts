/** Measures one package on disk: its own files, without the packages that are nested in it. Changes nothing. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

export interface Measured {
  readonly files: number;
  readonly bytes: number;
  /** SHA-256 over the files' contents, in the order of their paths. */
  readonly sha256: string;
  readonly licence: string;
}

export async function measurePackage(folder: string, signal: AbortSignal): Promise<Measured> {
  const hash = createHash("sha256");
  const paths = await filesBelow(folder);
  let bytes = 0;
  for (const path of paths) {
    for await (const chunk of createReadStream(join(folder, path), { signal })) {
      bytes += chunk.length;
      hash.update(chunk);
    }
  }
  const licence = await licenceOf(folder, paths);
  return { files: paths.length, bytes, sha256: hash.digest("hex"), licence };
}

/** Relative paths, sorted the same everywhere. Links are left out: what they lead to is counted where it is. */
async function filesBelow(folder: string): Promise<string[]> {
  const files: string[] = [];
  const folders = [""];
  for (let below = folders.pop(); below !== undefined; below = folders.pop()) {
    for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
      const path = below === "" ? entry.name : `${below}/${entry.name}`;
      if (entry.isFile()) files.push(path);
      else if (entry.isDirectory() && entry.name !== "node_modules") folders.push(path);
    }
  }
  return files.sort();
}

/** What the manifest says, in today's form or the old ones. */
async function licenceOf(folder: string, paths: readonly string[]): Promise<string> {
  const { license, licenses } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  const said = [license ?? licenses ?? []].flat()
    .map((licence) => typeof licence === "object" ? licence?.type : licence)
    .filter((licence) => typeof licence === "string" && licence !== "");
  if (said.length > 0) return said.join(" OR ");
  return paths.some((path) => /^licen[cs]e/i.test(path)) ? "see its LICENSE file" : "not stated";
}
