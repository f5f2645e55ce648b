/**
 * NATS' client for Python, for the example that needs it: the one that is installed, or else one that pip puts into the
 * user's cache, once. Nothing that is installed on the machine is changed.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "../src/nats_server/binary.ts";

const VERSION = "2.15.0";
/** Below the time that a suite may take, so that what pip says is seen. */
const LIMIT_MS = 90_000;

const python = (...args: string[]) => spawnSync("python3", args).status === 0;

/** Where Python finds it, or why this machine has none. */
export type NatsPy =
  /** The folder that Python must look into; undefined: into none but its own. */
  | { readonly is: "found"; readonly folder: string | undefined }
  | { readonly is: "missing"; readonly why: string };

/** A machine without Python, or without a way to pip's packages, is no reason for a test to fail. */
export async function findNatsPy(): Promise<NatsPy> {
  if (!python("--version")) return missing("there is no python3 on this machine");
  if (!python("-c", "import sys; sys.exit(sys.version_info < (3, 11))")) {
    return missing("python3 is older than 3.11 on this machine");
  }
  if (python("-c", "import nats.js.api")) return { is: "found", folder: undefined };
  if (!python("-m", "pip", "--version")) {
    return missing("there is neither nats-py nor pip on this machine");
  }
  try {
    return { is: "found", folder: await installed() };
  } catch (error) {
    return missing(`pip cannot install nats-py ${VERSION}: ${reasonOf(error)}`);
  }
}

const missing = (why: string): NatsPy => ({ is: "missing", why });

async function installed(): Promise<string> {
  const folder = join(cacheFolder(), `nats-py-${VERSION}`);
  if (existsSync(folder)) return folder;
  await mkdir(cacheFolder(), { recursive: true });
  // Staged and renamed: another process may be installing it, and must neither see nor spoil half of it.
  const staging = await mkdtemp(join(cacheFolder(), "staging-"));
  try {
    const patience = ["--retries", "1", "--timeout", "15"];
    const flags = ["--quiet", "--disable-pip-version-check", ...patience, "--target", staging];
    const command = ["-m", "pip", "install", ...flags, `nats-py==${VERSION}`];
    await promisify(execFile)("python3", command, { timeout: LIMIT_MS });
    await rename(staging, folder).catch((error) => {
      if (!existsSync(folder)) throw error;
    });
    return folder;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

/** What pip wrote is in the message. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
