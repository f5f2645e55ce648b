/**
 * The processes that are broken, and those that take their places. None outlives this process,
 * however it ends, not even one that was stopped by SIGSTOP. A member that ends although nobody
 * ended it is a finding.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import type { MemberOptions, Order } from "./member.ts";
import type { Role } from "./plan.ts";

/** What members of a fleet have in common. */
export type FleetOptions = Omit<MemberOptions, "role" | "name" | "servers"> & {
  /** Where somebody of that name finds the servers. */
  readonly serversFor: (place: string) => Promise<readonly string[]>;
};

/** A process, in a place that others have after it. */
export interface Member {
  readonly role: Role;
  /** `worker-2` */
  readonly place: string;
  /** `worker-2-5`: the fifth in that place. */
  readonly name: string;
  tell(order: Order): void;
  signal(name: "SIGSTOP" | "SIGCONT"): void;
  /** SIGKILL, or SIGTERM and after a while SIGKILL; waits for its end. */
  end(how: "SIGKILL" | "SIGTERM"): Promise<void>;
}

const READY_MS = 60_000;
const STOP_MS = 6_000;

export class Fleet implements AsyncDisposable {
  readonly #options: FleetOptions;
  readonly #members = new Map<string, LocalMember>();
  readonly #started = new Map<string, number>();
  readonly #watchdog = new Watchdog();
  /** What was not to happen. */
  readonly findings: string[] = [];
  /** A client has seen a workload through. */
  onDone: (index: number) => void = () => {};
  /** A client is gone, with what it followed. */
  onGone: (member: Member) => void = () => {};

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Starts somebody in a place; resolves when it is at work. */
  async start(role: Role, place: string): Promise<void> {
    const times = (this.#started.get(place) ?? 0) + 1;
    this.#started.set(place, times);
    const name = `${place}-${times}`;
    const { serversFor, ...common } = this.#options;
    const options: MemberOptions = { ...common, role, name, servers: await serversFor(place) };
    const member = new LocalMember(options, place, this.#watchdog, {
      onDone: (index) => this.onDone(index),
      onEnd: (how) => {
        if (this.#members.get(place) === member) this.#members.delete(place);
        if (how !== undefined) this.findings.push(`${name} ended by itself: ${how}`);
        this.onGone(member);
      },
    });
    this.#members.set(place, member);
    await member.ready;
  }

  /** Those of a role that are there. */
  of(role: Role): Member[] {
    return [...this.#members.values()].filter((member) => member.role === role);
  }

  /** Lets all end in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#members.values()].map((member) => member.end("SIGTERM")));
    this.#watchdog.close();
  }
}

interface MemberEvents {
  readonly onDone: (index: number) => void;
  /** @param how undefined when somebody here ended it. */
  readonly onEnd: (how: string | undefined) => void;
}

class LocalMember implements Member {
  readonly role: Role;
  readonly place: string;
  readonly name: string;
  readonly ready: Promise<void>;
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  #isToEnd = false;

  constructor(
    options: MemberOptions,
    place: string,
    watchdog: Watchdog,
    { onDone, onEnd }: MemberEvents,
  ) {
    this.role = options.role;
    this.place = place;
    this.name = options.name;
    // Into a file: it may write when nobody reads any more.
    const log = openSync(join(options.folder, `${options.name}.log`), "a");
    const program = [...process.execArgv, process.argv[1]!, "member", JSON.stringify(options)];
    const child = spawn(process.execPath, program, {
      stdio: ["pipe", "pipe", log],
      detached: process.platform !== "win32",
    });
    closeSync(log);
    this.#process = child;
    watchdog.add(child.pid!);
    child.stdin!.on("error", () => {}); // It has ended.
    this.#ended = new Promise((resolve) => {
      child.once("close", (code, signal) => {
        watchdog.remove(child.pid!);
        onEnd(this.#isToEnd ? undefined : signal ?? `exit code ${code}`);
        resolve();
      });
    });
    this.ready = new Promise((resolve) => {
      const late = setTimeout(() => void this.end("SIGKILL"), READY_MS);
      const settle = () => {
        clearTimeout(late);
        resolve();
      };
      void this.#ended.then(settle);
      createInterface({ input: child.stdout! }).on("line", (line) => {
        if (line === "ready") settle();
        const done = /^done (\d+)$/.exec(line)?.[1];
        if (done !== undefined) onDone(Number(done));
      });
    });
  }

  tell(order: Order): void {
    this.#process.stdin!.write(`${JSON.stringify(order)}\n`);
  }

  signal(name: "SIGSTOP" | "SIGCONT" | "SIGKILL" | "SIGTERM"): void {
    try {
      process.kill(this.#process.pid!, name);
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ESRCH") throw error;
    }
  }

  async end(how: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#isToEnd = true;
    this.signal(how);
    const late = setTimeout(() => this.signal("SIGKILL"), STOP_MS);
    await this.#ended;
    clearTimeout(late);
  }
}

/**
 * A shell that kills what is left when this process is gone: it reads process ids from a pipe that
 * then closes.
 */
class Watchdog {
  readonly #shell: ChildProcess;
  readonly #pids = new Set<number>();
  readonly #killAll = () => {
    for (const pid of this.#pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch { /* It has ended already. */ }
    }
  };

  constructor() {
    const script = 'while read -r line; do pids=$line; done; [ -z "$pids" ] || kill -KILL $pids';
    this.#shell = spawn("/bin/sh", ["-c", script], {
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    this.#shell.unref();
    this.#shell.stdin!.on("error", () => {});
    process.on("exit", this.#killAll);
  }

  add(pid: number): void {
    this.#pids.add(pid);
    this.#tell();
  }

  remove(pid: number): void {
    this.#pids.delete(pid);
    this.#tell();
  }

  close(): void {
    process.off("exit", this.#killAll);
    this.#shell.stdin!.end();
  }

  #tell(): void {
    this.#shell.stdin!.write(`${[...this.#pids].join(" ")}\n`);
  }
}
