/**
 * Processes of their own: a worker, a processor, or the reference's worker, each at the server that it is told of. They
 * answer what they are asked over their channel, and end with it.
 */
import { type ChildProcess, fork } from "node:child_process";
import process from "node:process";
import { Dyrygent, type ProcessorOptions, type WorkerOptions } from "nats-dyrygent";
import { connectTo, type Place } from "./place.ts";
import { workForReference } from "./reference_worker.ts";
import { tasks } from "./shapes.ts";
import { Parked, type ParkedFigures } from "./parked_processor.ts";

/** Of the engine: slots enough for what the reference has under way. */
export const SLOTS = { concurrency: 500, prefetch: 500 } satisfies Partial<WorkerOptions>;

export type Role =
  | {
    readonly is: "worker";
    readonly namespace: string;
    /** @default {@link SLOTS} */
    readonly slots?: Pick<WorkerOptions, "concurrency" | "prefetch">;
  }
  | { readonly is: "processor"; readonly namespace: string; readonly options?: ProcessorOptions }
  | { readonly is: "parked processor"; readonly namespace: string }
  | { readonly is: "reference worker"; readonly name: string };

export interface Usage {
  /** The most it ever had, bytes. */
  readonly maxRss: number;
  /** In use after a collection, with what is outside the heap, bytes. */
  readonly heap: number;
}

export interface Answers {
  usage: Usage;
  /** Milliseconds of a core, so far. Apart from `usage`, whose collection costs some itself. */
  cpuMs: number;
  /** What its workflows' ticks did since it was asked last. */
  parked: ParkedFigures;
  /** Wakes so many of its workflows, one after the other. @returns how long each took, milliseconds. */
  wake: readonly number[];
}

type Question = keyof Answers;

export class Member implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  /** Whoever waits for its answer. */
  #onAnswer: (answer: unknown) => void = () => {};

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#ended = new Promise((resolve) => child.once("exit", () => resolve()));
    child.on("message", (answer) => this.#onAnswer(answer));
  }

  /** Resolves when it is at work. */
  static async start(place: Place, role: Role): Promise<Member> {
    const order = JSON.stringify({ role, servers: place.urls, replicas: place.replicas });
    const child = fork(process.argv[1]!, ["member", order], {
      execArgv: [...process.execArgv, "--expose-gc"],
    });
    const member = new Member(child);
    await member.#answer(role.is);
    return member;
  }

  /** One question at a time. */
  ask<Q extends Question>(question: Q): Promise<Answers[Q]> {
    this.#child.send(question);
    return this.#answer(question) as Promise<Answers[Q]>;
  }

  #answer(to: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#onAnswer = resolve;
      void this.#ended.then(() => reject(new Error(`it ended without an answer: ${to}`)));
    });
  }

  /** SIGKILL. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }
}

/** What such a process does: `main` calls it when it is started as one. */
export async function beMember(order: string): Promise<void> {
  const { role, servers, replicas } = JSON.parse(order) as {
    role: Role;
    servers: string[];
    replicas: 1 | 3;
  };
  const nc = await connectTo(servers);
  let parked: Parked | undefined;
  switch (role.is) {
    case "reference worker":
      await workForReference(nc, role.name);
      break;
    case "worker": {
      const app = await Dyrygent.open(nc, { namespace: role.namespace, replicas });
      await app.worker({ tasks, ...role.slots ?? SLOTS }).start();
      break;
    }
    case "processor": {
      const app = await Dyrygent.open(nc, { namespace: role.namespace, replicas });
      await app.processor(role.options).start();
      break;
    }
    case "parked processor":
      parked = await Parked.start(nc, role.namespace);
      break;
    default:
      role satisfies never;
  }
  process.on("disconnect", () => process.exit(0));
  process.on("message", async (question: Question) => {
    process.send!(await answers[question]());
  });
  const answers: { [Q in Question]: () => Answers[Q] | Promise<Answers[Q]> } = {
    usage,
    cpuMs,
    parked: () => parked!.figures(),
    wake: () => parked!.wake(),
  };
  process.send!("ready");
}

function usage(): Usage {
  (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return { maxRss: process.resourceUsage().maxRSS * 1_024, heap: heapUsed + external };
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}
