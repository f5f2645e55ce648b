/**
 * A disk of a few megabytes, to be filled: a tmpfs in a user and mount namespace of its own, which
 * needs no root and is gone with the process that holds it. Where the system does not allow that,
 * there is none (`isThere`), and a common folder.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { appendFile, chmod, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findNatsServer } from "../src/nats_server/binary.ts";

const MOUNT = 'mount -t tmpfs -o "size=$1" chaos "$2" && echo mounted && exec cat';
const CHUNK = new Uint8Array(1_000_000);

export class SmallDisk implements AsyncDisposable {
  /** As the server sees it. */
  readonly folder: string;
  /** Runs nats-server where the disk is. */
  readonly serverProgram: string;
  readonly #scratch: string;
  /** It lives as long as the disk; its end takes the disk away. */
  readonly #holder: ChildProcess | undefined;

  private constructor(scratch: string, holder: ChildProcess | undefined, serverProgram: string) {
    this.#scratch = scratch;
    process.once("exit", this.#discard);
    this.folder = join(scratch, "disk");
    this.#holder = holder;
    this.serverProgram = serverProgram;
  }

  static async make(bytes: number): Promise<SmallDisk> {
    const scratch = mkdtempSync(join(tmpdir(), "chaos-disk-"));
    const folder = join(scratch, "disk");
    mkdirSync(folder);
    const { path: binary } = await findNatsServer({ version: process.env["NATS_SERVER_VERSION"] });
    const holder = await hold(bytes, folder);
    if (holder === undefined) return new SmallDisk(scratch, undefined, binary);
    const program = join(scratch, "nats-server");
    const enter = `nsenter -t ${holder.pid} -U -m --preserve-credentials`;
    await writeFile(program, `#!/bin/sh\nexec ${enter} -- '${binary}' "$@"\n`);
    await chmod(program, 0o755);
    return new SmallDisk(scratch, holder, program);
  }

  get isThere(): boolean {
    return this.#holder !== undefined;
  }

  /** Writes until nothing more fits. */
  async fill(): Promise<void> {
    try {
      for (;;) await appendFile(this.#filler, CHUNK);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ENOSPC") throw error;
    }
  }

  async free(): Promise<void> {
    await rm(this.#filler, { force: true });
  }

  /** Seen from outside, through the process that holds it. */
  get #filler(): string {
    return `/proc/${this.#holder!.pid}/root${this.folder}/filler`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#holder !== undefined) {
      this.#holder.ref();
      const ended = once(this.#holder, "exit");
      this.#holder.stdin!.end();
      await ended;
    }
    process.off("exit", this.#discard);
    this.#discard();
  }

  readonly #discard = (): void => rmSync(this.#scratch, { recursive: true, force: true });
}

async function hold(bytes: number, folder: string): Promise<ChildProcess | undefined> {
  const holder = spawn("unshare", ["-Urm", "sh", "-c", MOUNT, "hold", `${bytes}`, folder], {
    stdio: ["pipe", "pipe", "ignore"],
    detached: true,
  });
  const mounted = await new Promise<boolean>((resolve) => {
    holder.stdout!.once("data", () => resolve(true));
    holder.once("error", () => resolve(false));
    holder.once("exit", () => resolve(false));
  });
  if (!mounted) return undefined;
  holder.unref();
  return holder;
}
