/**
 * One run of a nats-server as a child process that ends with its parent and never keeps an otherwise finished parent
 * alive. It knows nothing of ports or readiness. Output goes to a file rather than to pipes: pipes would hold the
 * parent's event loop, and a server writing into a pipe that nobody reads any more dies of it.
 */
import { spawn } from "node:child_process";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { type Scratch, sendSignal } from "./scratch.ts";

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

/** @param log the file that the server's output is appended to */
export function spawnServer(
  executable: string,
  args: readonly string[],
  scratch: Scratch,
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
  scratch.setTenant(child.pid);

  let hasEnded = false;
  const ended = new Promise<string>((resolve) => {
    const end = (how: string) => {
      hasEnded = true;
      scratch.setTenant(undefined);
      resolve(how);
    };
    child.once("error", (error) => end(`not started: ${error.message}`));
    child.once("exit", (code, signal) => {
      end(signal === null ? `exit code ${code}` : `signal ${signal}`);
    });
  });

  const kill = async () => {
    if (hasEnded) return;
    child.ref();
    sendSignal(child, "SIGKILL");
    await ended;
  };
  const stop = async (graceMs: number) => {
    if (hasEnded) return;
    sendSignal(child, "SIGTERM");
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
