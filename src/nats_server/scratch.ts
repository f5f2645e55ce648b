/**
 * A temporary folder and the one process living in it, neither of which outlives this process, however it ends.
 * Signals are left alone: their handlers belong to the application. It knows nothing of NATS.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

export interface Scratch {
  readonly folder: string;
  /** Names the process that has to go with the folder; undefined once it has ended. */
  setTenant(pid: number | undefined): void;
  /** For a tenant that has ended. */
  remove(): Promise<void>;
}

export async function createScratch(prefix: string): Promise<Scratch> {
  const folder = await mkdtemp(join(tmpdir(), prefix));
  const watchdog = startWatchdog(folder);
  const left: LeftBehind = { folder, tenant: undefined };
  allLeftBehind.add(left);
  return {
    folder,
    setTenant(pid) {
      left.tenant = pid;
      watchdog?.stdin?.write(`${pid ?? ""}\n`);
    },
    async remove() {
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      // Only the first time: later its process id may be somebody else's.
      if (allLeftBehind.delete(left) && watchdog !== undefined) sendSignal(watchdog, "SIGKILL");
    },
  };
}

/**
 * Signals a child that may have ended meanwhile. Not `child.kill`: Deno's sends one signal in a child's
 * life and ignores the SIGKILL after a SIGTERM.
 */
export function sendSignal(child: ChildProcess, signal: "SIGTERM" | "SIGKILL"): void {
  if (child.pid !== undefined) killIfAlive(child.pid, signal);
}

interface LeftBehind {
  readonly folder: string;
  tenant: number | undefined;
}

const allLeftBehind = new Set<LeftBehind>();

// Where there is no shell this is the only cover: for process.exit(), the end of main and, on Node,
// uncaught errors.
process.on("exit", () => {
  for (const { folder, tenant } of allLeftBehind) {
    if (tenant !== undefined) killIfAlive(tenant, "SIGKILL");
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      /* The dying tenant may still have created a file; the watchdog has the last word. */
    }
  }
});

/**
 * A shell that waits for the end of a pipe whose other end only this process holds, and which the
 * kernel closes whatever happens. It reads the tenant's process id from that pipe.
 */
function startWatchdog(folder: string): ChildProcess | undefined {
  if (process.platform === "win32") return undefined;
  // The pause lets the dying tenant finish a write that would bring its folder back.
  const script =
    `while read -r line; do pid=$line; done; [ -z "$pid" ] || kill -KILL "$pid"; sleep 1; rm -rf -- "$1"`;
  const watchdog = spawn("/bin/sh", ["-c", script, "scratch-watchdog", folder], {
    stdio: ["pipe", "ignore", "ignore"],
    // Ctrl-C in a terminal must not end it before its time.
    detached: true,
    env: { PATH: "/usr/bin:/bin" },
  });
  // Without a shell, or when somebody kills it, the exit handler still stands.
  watchdog.on("error", () => {});
  if (watchdog.pid === undefined) return undefined;
  watchdog.unref();
  const pipe = watchdog.stdin as Socket;
  pipe.on("error", () => {});
  pipe.unref();
  return watchdog;
}

function killIfAlive(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ESRCH") throw error;
  }
}
