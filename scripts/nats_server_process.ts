// One run of a nats-server as a child process that cannot outlive its parent, however the parent
// ends, and that never keeps an otherwise finished parent alive. It knows nothing of ports or
// readiness. Output goes to a file rather than to pipes: pipes would hold the parent's event loop,
// and a server writing into a pipe nobody reads any more dies of it.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";

export interface ServerProcess {
  /** Undefined when the executable could not be started at all. */
  readonly pid: number | undefined;
  /** Resolves to how it ended, e.g. `"exit code 1"` or `"signal SIGKILL"`; never rejects. */
  readonly ended: Promise<string>;
  readonly hasEnded: boolean;
  /** Sends SIGTERM and waits; after `graceMs` SIGKILL. */
  stop(graceMs: number): Promise<void>;
  /** Sends SIGKILL and waits. */
  kill(): Promise<void>;
  /** The last 64 KB this run has written to its log. */
  output(): string;
}

const running = new Set<ChildProcess>();
const scratchFolders = new Set<string>();

// Covers a return from main, process.exit() and uncaught errors, on every platform. Signals are left
// alone: they belong to the application, and what a handler would cover the watchdog covers.
process.on("exit", () => {
  for (const child of running) signal(child, "SIGKILL");
  for (const folder of scratchFolders) {
    // A server that is just dying may still create a file; the watchdog has the last word.
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    } catch { /* Nobody is left to tell. */ }
  }
});

/** A temporary folder that is also deleted when this process exits first. */
export async function createScratchFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "nats-server-"));
  scratchFolders.add(folder);
  return folder;
}

export async function removeScratchFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  scratchFolders.delete(folder);
}

/**
 * @param scratch deleted, too, should the parent die without stopping the server
 * @param log the file that the server's output is appended to
 */
export function spawnServer(
  executable: string,
  args: readonly string[],
  scratch: string,
  log: string,
): ServerProcess {
  const logFile = openSync(log, "a");
  const outputStart = fstatSync(logFile).size;
  const child = spawn(executable, [...args], {
    stdio: ["ignore", logFile, logFile],
    // A session of its own: Ctrl-C in a terminal is for the parent, which may need the server while it
    // shuts down in order.
    detached: process.platform !== "win32",
  });
  closeSync(logFile);
  // Deno throws when a child that could not be started is let go.
  if (child.pid !== undefined) child.unref();
  running.add(child);
  const watchdog = startWatchdog(child.pid, scratch);

  let hasEnded = false;
  const ended = new Promise<string>((resolve) => {
    const end = (how: string) => {
      hasEnded = true;
      running.delete(child);
      // Killed before its pipe closes, or it would do its work on a process id that is free again.
      if (watchdog !== undefined) signal(watchdog, "SIGKILL");
      resolve(how);
    };
    child.once("error", (error) => end(`not started: ${error.message}`));
    child.once("exit", (code, cause) => {
      end(cause === null ? `exit code ${code}` : `signal ${cause}`);
    });
  });

  const kill = async () => {
    if (hasEnded) return;
    child.ref();
    signal(child, "SIGKILL");
    await ended;
  };
  const stop = async (graceMs: number) => {
    if (hasEnded) return;
    signal(child, "SIGTERM");
    const grace = new AbortController();
    const graceIsOver = delay(graceMs, undefined, { signal: grace.signal });
    await Promise.race([ended, graceIsOver.catch(() => {})]);
    grace.abort();
    await kill();
  };
  return {
    pid: child.pid,
    ended,
    get hasEnded() {
      return hasEnded;
    },
    stop,
    kill,
    output: () => tailOf(log, outputStart),
  };
}

/** Not `child.kill`: Deno's sends one signal per child and ignores the SIGKILL after a SIGTERM. */
function signal(child: ChildProcess, name: "SIGTERM" | "SIGKILL"): void {
  if (child.pid === undefined) return;
  try {
    process.kill(child.pid, name);
  } catch (error) {
    // It may have ended already, with the event still to come.
    if ((error as { code?: unknown }).code !== "ESRCH") throw error;
  }
}

/** The last 64 KB of a file, none from before byte `start`. */
export function tailOf(path: string, start = 0): string {
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const from = Math.max(start, size - 64 * 1024);
    const bytes = new Uint8Array(size - from);
    const length = readSync(file, bytes, 0, bytes.length, from);
    return new TextDecoder().decode(bytes.subarray(0, length));
  } finally {
    closeSync(file);
  }
}

/**
 * Covers a parent that gets no chance to clean up (SIGKILL, a signal without a handler, a crash of the
 * runtime): a shell that waits for the end of a pipe whose other end only the parent holds.
 */
function startWatchdog(pid: number | undefined, scratch: string): ChildProcess | undefined {
  if (pid === undefined || process.platform === "win32") return undefined;
  // The pause lets the dying server finish a write that would bring its folder back.
  const script = `read -r _; kill -KILL "$1"; sleep 1; rm -rf -- "$2"`;
  const watchdog = spawn("/bin/sh", ["-c", script, "nats-server-watchdog", String(pid), scratch], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
    env: { PATH: "/usr/bin:/bin" },
  });
  watchdog.on("error", () => {}); // No shell, no watchdog: the exit handler still stands.
  if (watchdog.pid !== undefined) watchdog.unref();
  (watchdog.stdin as Socket | null)?.unref();
  return watchdog;
}
