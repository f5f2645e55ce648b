/**
 * A script: operations on the ports, one after the other, as plain data that follows from a seed. What is not compared is
 * never asked for: each thing that systems may do differently is left out here, with its reason. Never runs anything.
 */
import { Rolls } from "../simulator/rolls.ts";
import type { TaskAddress } from "../src/ports.ts";

/** Which of the two processes does it. */
export type By = 0 | 1;

/** A delivery of a message: the first one goes stale when there is a second one. */
type Which = "first" | "latest";

/** A message, by the text of its address or, for a tick, by its workflow. */
type Answer = { readonly message: string; readonly which: Which };

export type Step =
  | { readonly do: "create"; readonly by: By; readonly key: string; readonly note?: string }
  /** `known`: the fact that is taken for the latest that matches `filter`; absent: there is none. */
  | {
    readonly do: "create if";
    readonly by: By;
    readonly key: string;
    readonly filter: string;
    readonly known?: string;
  }
  | { readonly do: "read" | "readRecorded"; readonly by: By; readonly key: string }
  | {
    readonly do: "next";
    readonly by: By;
    readonly filter: string;
    /** From what was seen of this fact on. */
    readonly from?: string;
    readonly isAfter: boolean;
  }
  | { readonly do: "scan"; readonly by: By; readonly filter: string; readonly bodies: boolean }
  | { readonly do: "last" | "keys" | "purge"; readonly by: By; readonly filter: string }
  | {
    readonly do: "publish";
    readonly by: By;
    readonly address: TaskAddress;
    readonly most?: number;
  }
  | { readonly do: "has"; readonly by: By; readonly address: TaskAddress }
  | {
    readonly do: "withdraw";
    readonly by: By;
    readonly workflow: string;
    readonly node?: number;
    readonly attempt?: number;
  }
  | { readonly do: "list tasks" | "wake" | "ensure"; readonly by: By; readonly workflow: string }
  | { readonly do: "list ticks"; readonly by: By }
  | {
    readonly do: "take tasks";
    readonly by: By;
    readonly queues: readonly string[];
    readonly ahead: number;
  }
  /** `most`: how many at first; absent: always as many as there are. */
  | { readonly do: "take ticks"; readonly by: By; readonly most?: number }
  | { readonly do: "want ticks"; readonly by: By; readonly count: number }
  | { readonly do: "close tasks" | "close ticks"; readonly by: By }
  | { readonly do: "ack" | "extend" | "begin" } & Answer
  | { readonly do: "give back"; readonly delayMs?: number } & Answer
  /** Leases run out, but for these. */
  | { readonly do: "lapse"; readonly held: readonly string[] }
  | { readonly do: "restart" }
  | {
    readonly do: "listen to facts" | "listen to topics";
    readonly by: By;
    readonly filter: string;
  }
  | { readonly do: "tell" | "ask" | "answer asks"; readonly by: By; readonly topic: string }
  | { readonly do: "put" | "get"; readonly by: By; readonly key: string }
  | {
    readonly do: "swap";
    readonly by: By;
    readonly key: string;
    /** "seen": the revision that was seen last; "none": only if it is absent. */
    readonly revision: "seen" | "none";
  }
  | { readonly do: "remove"; readonly by: By; readonly filter: string; readonly seen: boolean }
  | { readonly do: "list keys" | "list views"; readonly by: By; readonly prefix: string }
  | { readonly do: "put blob"; readonly by: By; readonly name: string; readonly bytes: number }
  | { readonly do: "get blob" | "remove blob"; readonly by: By; readonly name: string }
  | { readonly do: "remove blobs"; readonly by: By; readonly workflow: string };

export interface Script {
  readonly seed: number;
  /** "short": some of its steps wait until leases run out. */
  readonly leases: "long" | "short";
  readonly restarts: boolean;
  readonly storage: "file" | "memory";
  readonly steps: readonly Step[];
}

/** Longer than any script takes, on any system. */
export const NEVER_MS = 3_600_000;
/** In real and in virtual time: within a moment. */
const SOON_MS = 30;

export const textOf = ({ queue, lane, workflow, node, attempt }: TaskAddress): string =>
  `${queue}.${lane}.${workflow}.${node}.${attempt}`;

const WORKFLOWS = ["w0", "w1", "w2"];
const QUEUES = ["qa", "qb"];
const FACTS = ["def", "r.0.1", "r.1.1", "r.1.2", "ctl.1", "end"];
const FACT_FILTERS = [">", "*.def", "*.r.>", "w0.>", "w1.r.*.1", "w1.def", "w2.*", "w0.r.1.>"];
const VIEWS = ["run.w0", "run.w1", "run.w10", "claim.k", "here.w.a"];
const VIEW_FILTERS = ["run.*", "run.w1", "claim.>", "here.>"];
const PREFIXES = ["run.", "claim.", "here.w."];
const TOPICS = ["stop.w0", "stop.w1", "state.w0.1"];
/** Nobody listens to them: a server that knows of a listener cannot tell that nobody will answer. */
const QUESTIONS = ["asked.w0", "asked.w1"];
const TOPIC_FILTERS = ["stop.*", "stop.w1", "state.>"];

type Area = "facts" | "tasks" | "ticks" | "hints" | "views" | "blobs";

/** Steps of a script, at most. */
const MOST_STEPS = 26;

export function scriptOf(seed: number): Script {
  const rolls = new Rolls(seed, "conformance");
  const kind = rolls.roll(100);
  const restarts = kind < 4;
  const leases = kind < 12 ? "short" : "long";
  // Files cost a server more than all steps do.
  const storage = restarts || rolls.often(10) ? "file" : "memory";
  return { seed, leases, restarts, storage, steps: new Writer(rolls, leases, restarts).write() };
}

/** Writes one script. Remembers what was made, so that most steps meet something. */
class Writer {
  readonly #rolls: Rolls;
  readonly #hasShortLeases: boolean;
  /** A server that is killed may bring back what was removed just before: nothing is. */
  readonly #restarts: boolean;
  readonly #steps: Step[] = [];
  readonly #messages: string[] = [];
  readonly #addresses: TaskAddress[] = [];
  readonly #takes = new Set<string>();
  readonly #listens = new Set<string>();
  /** Wanted ticks are counted in this script. */
  readonly #countsTicks: boolean;
  #hasLimited = false;
  readonly #limits = new Map<string, number>();
  #hasWithdrawn = false;
  #lapses = 0;
  #blobs = 0;
  readonly #names: string[] = [];

  constructor(rolls: Rolls, leases: Script["leases"], restarts: boolean) {
    this.#rolls = rolls;
    this.#hasShortLeases = leases === "short";
    this.#restarts = restarts;
    this.#countsTicks = !this.#hasShortLeases && rolls.often(30);
  }

  write(): Step[] {
    const count = 4 + this.#rolls.roll(MOST_STEPS - 4);
    const areas = this.#areas();
    const middle = 2 + this.#rolls.roll(count - 2);
    for (let i = 0; i < count; i++) {
      if (this.#restarts && i === middle) this.#steps.push({ do: "restart" });
      this.#write(this.#rolls.pick(areas));
    }
    if (this.#hasShortLeases && this.#lapses === 0) this.#lapse();
    return this.#steps;
  }

  #areas(): Area[] {
    if (this.#hasShortLeases && !this.#restarts) {
      return this.#rolls.pick<Area[]>([["tasks"], ["ticks"], ["tasks", "ticks"]]);
    }
    return this.#rolls.pick<Area[]>([
      ["facts"],
      ["facts", "hints"],
      ["tasks"],
      ["tasks"],
      ["ticks"],
      ["tasks", "tasks", "ticks"],
      ["views"],
      ["blobs", "facts", "views"],
      ["tasks", "ticks", "facts", "hints", "views"],
    ]);
  }

  #write(area: Area): void {
    const by = this.#rolls.roll(2) as By;
    switch (area) {
      case "facts":
        return void this.#steps.push(this.#fact(by));
      case "tasks":
        return this.#task(by);
      case "ticks":
        return this.#tick(by);
      case "hints":
        return this.#rolls.often(20) ? this.#ask(by) : this.#hint(by);
      case "views":
        return void this.#steps.push(this.#view(by));
      case "blobs":
        return void this.#steps.push(this.#blob(by));
      default:
        area satisfies never;
    }
  }

  #fact(by: By): Step {
    const { pick, key, filter } = {
      pick: this.#rolls.roll(100),
      key: `${this.#rolls.pick(WORKFLOWS)}.${this.#rolls.pick(FACTS)}`,
      filter: this.#rolls.pick(FACT_FILTERS),
    };
    if (pick < 45) {
      return { do: "create", by, key, ...(this.#rolls.often(40) ? { note: `ok ${pick} 7` } : {}) };
    }
    if (pick < 51) {
      const workflow = this.#rolls.pick(WORKFLOWS);
      const known = this.#rolls.often(60) ? { known: `${workflow}.ctl.1` } : {};
      return { do: "create if", by, key, filter: `${workflow}.ctl.*`, ...known };
    }
    if (pick < 57) return { do: this.#rolls.often(50) ? "read" : "readRecorded", by, key };
    if (pick < 70) {
      const isAfter = this.#rolls.often(50);
      return this.#rolls.often(60)
        ? { do: "next", by, filter, from: key, isAfter }
        : { do: "next", by, filter, isAfter };
    }
    if (pick < 76) return { do: "last", by, filter };
    if (pick < 86) return { do: "scan", by, filter, bodies: this.#rolls.often(50) };
    return { do: pick < 94 || this.#restarts ? "keys" : "purge", by, filter };
  }

  #task(by: By): void {
    const roll = this.#rolls.roll(100);
    if (!this.#takes.has("tasks") && (roll < 15 || this.#messages.length > 2)) {
      return this.#takeTasks(by);
    }
    if (roll < 40) return this.#publish(by);
    if (roll < 44 && this.#addresses.length > 0) {
      return void this.#steps.push({ do: "has", by, address: this.#rolls.pick(this.#addresses) });
    }
    if (roll < 48) {
      return void this.#steps.push({ do: "list tasks", by, workflow: this.#rolls.pick(WORKFLOWS) });
    }
    if (roll < 53) {
      // A server that is killed brings back what was withdrawn just before. And with 2.15, not with 2.10, what is
      // withdrawn while it is handed out counts against its lane's limit until it is answered or its lease runs out.
      if (this.#restarts || this.#hasLimited) return;
      this.#hasWithdrawn = true;
      return void this.#steps.push({ do: "withdraw", by, ...this.#someTasks() });
    }
    if (roll < 58) return this.#takeTasks(by);
    if (roll < 61) return void this.#steps.push({ do: "close tasks", by });
    this.#answer(() => textOf(this.#rolls.pick(this.#addresses)), this.#addresses.length > 0);
  }

  /** Of a workflow, one of its nodes, or one attempt. */
  #someTasks(): { workflow: string; node?: number; attempt?: number } {
    if (this.#rolls.often(30) && this.#addresses.length > 0) {
      const { workflow, node, attempt } = this.#rolls.pick(this.#addresses);
      return { workflow, node, attempt };
    }
    const workflow = this.#rolls.pick(WORKFLOWS);
    return this.#rolls.often(50) ? { workflow, node: this.#rolls.roll(3) } : { workflow };
  }

  #publish(by: By): void {
    const again = this.#rolls.often(12) && this.#addresses.length > 0;
    const limit = this.#rolls.roll(100);
    // When the model's server starts again, it hands out what was out as if its taker had given it back. A taker of a
    // limited lane that has not done so counts it as its own, and is given no more than the lane's limit.
    const lane = limit < 55 || this.#restarts || this.#hasWithdrawn
      ? this.#rolls.pick(["p5", "p5", "p9", "p1"])
      : limit < 82
      ? "c-x"
      : "r-y";
    const address = again ? this.#rolls.pick(this.#addresses) : {
      queue: lane === "r-y" ? "qa" : this.#rolls.pick(QUEUES),
      lane,
      workflow: this.#rolls.pick(WORKFLOWS),
      node: this.#rolls.roll(3),
      attempt: 1 + this.#rolls.roll(2),
    };
    this.#addresses.push(address);
    this.#messages.push(textOf(address));
    if (address.lane.startsWith("p")) {
      return void this.#steps.push({ do: "publish", by, address });
    }
    this.#hasLimited = true;
    // By one process: another one trusts the limit that it knows for ten seconds (src/nats/tasks.ts). And never a lower
    // one than before: what its takers have asked for already is handed out over it, on a server.
    const most = Math.max(
      this.#rolls.pick([1, 1, 2, 3, Infinity]),
      this.#limits.get(address.lane) ?? 0,
    );
    this.#limits.set(address.lane, most);
    this.#steps.push({ do: "publish", by: 0, address, ...(most === Infinity ? {} : { most }) });
  }

  #takeTasks(by: By): void {
    // Of a rated lane each process has one message that has not begun, and leaves the lane alone for a while when it
    // gives one back: with two of them, which one gets a message would decide what comes next.
    const queues = by === 0 ? this.#rolls.pick([["qa"], ["qa", "qb"]]) : ["qb"];
    this.#takes.add("tasks");
    this.#steps.push({ do: "take tasks", by, queues, ahead: this.#rolls.roll(2) });
  }

  #tick(by: By): void {
    const workflow = this.#rolls.pick(WORKFLOWS);
    const roll = this.#rolls.roll(100);
    if (!this.#takes.has("ticks") && (roll < 15 || this.#messages.length > 2)) {
      return this.#takeTicks(by);
    }
    if (roll < 40) {
      this.#messages.push(workflow);
      // A server that is killed, 2.10 as 2.15, brings replaced messages back that it never hands out again: a tick that was
      // woken and then acknowledged is listed afterwards, keeps `ensure` from making one, and only `wake` gets past it.
      const verb = !this.#restarts && this.#rolls.often(55) ? "wake" : "ensure";
      return void this.#steps.push({ do: verb, by, workflow });
    }
    if (roll < 45) return void this.#steps.push({ do: "list ticks", by });
    if (roll < 50) return this.#takeTicks(by);
    if (roll < 53) return void this.#steps.push({ do: "close ticks", by });
    if (this.#countsTicks && roll < 65) {
      return void this.#steps.push({ do: "want ticks", by: 0, count: 1 + this.#rolls.roll(2) });
    }
    this.#answer(() => workflow, true);
  }

  #takeTicks(by: By): void {
    // Of two takers chance would decide whose demand is used up.
    if (this.#countsTicks && by === 1) return;
    this.#takes.add("ticks");
    const most = this.#countsTicks ? { most: 1 + this.#rolls.roll(3) } : {};
    this.#steps.push({ do: "take ticks", by, ...most });
  }

  #answer(pick: () => string, isThere: boolean): void {
    if (!isThere) return;
    const message = pick();
    const which: Which = this.#rolls.often(75) ? "latest" : "first";
    const roll = this.#rolls.roll(100);
    if (this.#hasShortLeases && roll < 25 && this.#lapses < 2) return this.#lapse();
    if (roll < 45) return void this.#steps.push({ do: "ack", message, which });
    if (roll < 60) return void this.#steps.push({ do: "begin", message, which });
    if (roll < 68) return void this.#steps.push({ do: "extend", message, which });
    this.#giveBack(message, which);
  }

  #giveBack(message: string, which: Which): void {
    const isTick = !message.includes(".");
    // Which of several that come back goes first is nobody's business: where ticks are counted none comes back.
    // A server that is killed may forget a delay that is fresh.
    const delays = isTick && this.#countsTicks
      ? [NEVER_MS]
      : this.#restarts
      ? [undefined, SOON_MS]
      : [undefined, undefined, SOON_MS, NEVER_MS];
    const delayMs = this.#rolls.pick(delays);
    const delay = delayMs === undefined ? {} : { delayMs };
    this.#steps.push({ do: "give back", message, which, ...delay });
  }

  #lapse(): void {
    this.#lapses++;
    const held = [...new Set(this.#messages)].filter(() => this.#rolls.often(30));
    this.#steps.push({ do: "lapse", held });
  }

  #hint(by: By): void {
    const isAboutFacts = this.#rolls.often(60);
    if (this.#rolls.often(35)) {
      const filter = this.#rolls.pick(isAboutFacts ? FACT_FILTERS : TOPIC_FILTERS);
      const verb = isAboutFacts ? "listen to facts" : "listen to topics";
      const name = `${verb} ${by} ${filter}`;
      if (this.#listens.has(name)) return;
      this.#listens.add(name);
      return void this.#steps.push({ do: verb, by, filter });
    }
    this.#steps.push(
      isAboutFacts ? this.#fact(by) : { do: "tell", by, topic: this.#rolls.pick(TOPICS) },
    );
  }

  /** One answers on each topic: which of two is heard first is up to the network. */
  #ask(by: By): void {
    const topic = this.#rolls.pick(QUESTIONS);
    const name = `answer ${topic}`;
    if (this.#rolls.often(60) || this.#listens.has(name)) {
      return void this.#steps.push({ do: "ask", by, topic });
    }
    this.#listens.add(name);
    this.#steps.push({ do: "answer asks", by, topic });
  }

  #view(by: By): Step {
    const key = this.#rolls.pick(VIEWS);
    const roll = this.#rolls.roll(100);
    if (roll < 30) return { do: "put", by, key };
    if (roll < 50) return { do: "get", by, key };
    if (roll < 75) {
      return { do: "swap", by, key, revision: this.#rolls.often(65) ? "seen" : "none" };
    }
    if (roll < 88) {
      if (this.#restarts) return { do: "get", by, key };
      // At a revision a single one: a filter would also remove what is older than that.
      return this.#rolls.often(50)
        ? { do: "remove", by, filter: key, seen: true }
        : { do: "remove", by, filter: this.#rolls.pick(VIEW_FILTERS), seen: false };
    }
    const prefix = this.#rolls.pick(PREFIXES);
    return { do: this.#rolls.often(50) ? "list keys" : "list views", by, prefix };
  }

  #blob(by: By): Step {
    const roll = this.#rolls.roll(100);
    if (roll < 45 || this.#names.length === 0) {
      // A name is used once, and never for nothing: what has no bytes is not too big for a record.
      const name = `${this.#rolls.pick(WORKFLOWS)}.${this.#blobs++}-x`;
      this.#names.push(name);
      const bytes = this.#rolls.pick([1, 1_000, 1_000, 5_000, 1_100_000]);
      return { do: "put blob", by, name, bytes };
    }
    const name = this.#rolls.pick(this.#names);
    if (roll < 80 || this.#restarts) return { do: "get blob", by, name };
    if (roll < 92) return { do: "remove blob", by, name };
    return { do: "remove blobs", by, workflow: this.#rolls.pick(WORKFLOWS) };
  }
}
