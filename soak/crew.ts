/** The soak's other processes, as their parent sees them: starts them, asks them, and ends them. */
import { type ChildProcess, fork } from "node:child_process";
import process from "node:process";
import type { Answered, Asked, MemberOptions, Question, Role, Sample } from "./member.ts";

const STOP_MS = 5_000;

/** Those that were started, to be ended together. */
export class Crew implements AsyncDisposable {
  readonly members: Member[] = [];

  async start(options: MemberOptions): Promise<Member> {
    const member = await Member.start(options);
    this.members.push(member);
    return member;
  }

  samples(): Promise<Sample[]> {
    return Promise.all(this.members.map((member) => member.sample()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map((member) => member.end()));
  }
}

export class Member {
  readonly role: Role;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, (answered: Answered) => void>();
  readonly #ended: Promise<void>;
  #asked = 0;

  private constructor(role: Role, child: ChildProcess) {
    this.role = role;
    this.#process = child;
    child.on("message", (answered: Answered) => this.#take(answered));
    this.#ended = new Promise((resolve) =>
      child.once("exit", (code, signal) => {
        resolve();
        const error = `the ${role} ended: ${signal ?? `exit code ${code}`}`;
        for (const n of this.#waiting.keys()) this.#take({ n, error });
      })
    );
  }

  /** Starts this program again, as another process. Resolves when it is ready. */
  static async start(options: MemberOptions): Promise<Member> {
    const child = fork(process.argv[1]!, ["member", JSON.stringify(options)], {
      execArgv: [...process.execArgv, "--expose-gc"],
    });
    const member = new Member(options.role, child);
    await member.#answer(0);
    return member;
  }

  sample(): Promise<Sample> {
    return this.#ask({ is: "sample" }) as Promise<Sample>;
  }

  async submit(count: number): Promise<void> {
    await this.#ask({ is: "submit", count });
  }

  #ask(question: Question): Promise<unknown> {
    const n = ++this.#asked;
    const answer = this.#answer(n);
    this.#process.send({ n, question } satisfies Asked);
    return answer;
  }

  #answer(n: number): Promise<unknown> {
    return new Promise((resolve, reject) =>
      this.#waiting.set(n, ({ answer, error }) => {
        if (error === undefined) resolve(answer);
        else reject(new Error(error));
      })
    );
  }

  #take(answered: Answered): void {
    const take = this.#waiting.get(answered.n);
    this.#waiting.delete(answered.n);
    take?.(answered);
  }

  async end(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    const killing = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS);
    await this.#ended;
    clearTimeout(killing);
  }
}
