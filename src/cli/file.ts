/** Files that flags name. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { UsageError } from "./exit.ts";

/** @param path `-` is standard input, `~` the home folder. @throws {UsageError} when it cannot be read */
export function fileOf(flag: string, path: string): Uint8Array {
  try {
    return readFileSync(path === "-" ? 0 : path.replace(/^~(?=\/)/, homedir()));
  } catch (error) {
    throw new UsageError(`--${flag} ${path}: ${(error as Error).message}`);
  }
}
