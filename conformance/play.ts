/**
 * Plays a script on a system and notes what comes of each step: what a call answers, which messages have been handed out
 * when everything has come that will, which hints were heard. Not noted: how long it took, and the order between lanes.
 *
 * What is answered to a message, or takes it away, waits until all is handed out that can be: else it would be chance
 * whether it was out. On a real server that is when all has come that came in memory; what comes besides is noted later.
 */
import { NotFoundError } from "../src/core/errors.ts";
import type { TraceContext } from "../src/core/trace_context.ts";
import type {
  Cancel,
  Intake,
  Ports,
  Stored,
  TaskDelivery,
  TickDelivery,
  View,
} from "../src/ports.ts";
import { type By, type Script, type Step, textOf } from "./script.ts";

/** Whoever answers has done so by then, on any system. */
const ANSWERED_MS = 10_000;

export interface System {
  readonly name: string;
  /** Of two processes. */
  readonly ports: readonly [Ports, Ports];
  /** A call, until it is answered. */
  answer<T>(call: Promise<T>): Promise<T>;
  /** What a process has told reaches the server; `isCollected`: it is sent with others of its kind, in a moment. */
  arrive(by: By, isCollected?: boolean): Promise<void>;
  /** Reads when nothing changes any more, or, if it is known what is expected, when it is there. */
  observe(expected: string | undefined, read: () => Promise<string>): Promise<string>;
  /** Until nothing would have come any more. */
  quiet(): Promise<void>;
  /** Calls now and then, as long as somebody wants its leases extended. */
  beat(extend: () => void): Cancel;
  /** As long as leases last and a bit, and until `isOver` if it is known what is expected. */
  lapse(extend: () => void, isOver: () => boolean): Promise<void>;
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** What came of a step, as text. */
export interface Note {
  readonly step: string;
  readonly outcome: string;
}

/** Wanted of each intake at a time: more than any script has messages. */
const MANY = 40;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

type Handle = { readonly by: By; readonly delivery: TaskDelivery | TickDelivery };

/** @param expected what came of it on another system. */
export async function play(
  script: Script,
  system: System,
  expected?: readonly Note[],
): Promise<readonly Note[]> {
  return await new Player(script, system, expected).play();
}

class Player {
  readonly #script: Script;
  readonly #system: System;
  readonly #expected: readonly Note[] | undefined;
  readonly #notes: Note[] = [];
  readonly #intakes = new Map<string, Intake>();
  readonly #open = new Set<string>();
  readonly #handles = new Map<string, Handle[]>();
  /** Handed out, and neither answered nor taken away since. */
  readonly #inHand = new Set<string>();
  /** Those of them whose leases may run out. */
  #letGo = new Set<string>();
  /** Handed out since this was last noted. */
  #arrived: string[] = [];
  #heard: string[] = [];
  /** Whether something may have been handed out since. */
  #isMoving = false;
  /** What was last seen of each fact and each view. */
  readonly #facts = new Map<string, { readonly seq: number; readonly at: number }>();
  readonly #revisions = new Map<string, number>();
  readonly #blobs = new Set<string>();
  readonly #cancels: Cancel[] = [];
  #restarted = false;
  #written = 0;

  constructor(script: Script, system: System, expected: readonly Note[] | undefined) {
    this.#script = script;
    this.#system = system;
    this.#expected = expected;
  }

  async play(): Promise<readonly Note[]> {
    if (this.#script.leases === "short") {
      this.#cancels.push(this.#system.beat(() => this.#extend()));
    }
    try {
      for (const step of this.#script.steps) await this.#play(step);
      await this.#end();
    } catch (error) {
      this.#note("error", String(error));
    } finally {
      for (const cancel of this.#cancels) cancel();
    }
    return this.#notes;
  }

  #note(step: string, outcome: string): void {
    this.#notes.push({ step, outcome });
  }

  async #play(step: Step): Promise<void> {
    if (mustSettle(step)) await this.#settle();
    this.#note(JSON.stringify(step), await this.#do(step));
    if (mayMove(step)) this.#isMoving = this.#open.size > 0;
  }

  /** The last that comes of a step, as it is expected. */
  get #next(): string | undefined {
    return this.#expected?.[this.#notes.length]?.outcome;
  }

  async #settle(): Promise<void> {
    if (!this.#isMoving && this.#cancels.length === 0) return;
    this.#isMoving = false;
    const read = () =>
      Promise.resolve(
        JSON.stringify({ arrived: [...this.#arrived].sort(), heard: [...this.#heard].sort() }),
      );
    const seen = await this.#system.observe(this.#next, read);
    this.#arrived = [];
    this.#heard = [];
    this.#note("settled", seen);
  }

  /** A message behind all others shows that nothing is left before it. */
  async #end(): Promise<void> {
    await this.#settle();
    const [ports] = this.#system.ports;
    if (this.#open.has("ticks 0") || this.#open.has("ticks 1")) {
      await this.#system.answer(ports.ticks.wake("fence"));
      this.#isMoving = true;
    }
    for (const by of [0, 1]) {
      if (!this.#open.has(`tasks ${by}`)) continue;
      const address = {
        queue: by === 0 ? "qa" : "qb",
        lane: "p1",
        workflow: "fence",
        node: by,
        attempt: 1,
      };
      await this.#system.answer(ports.tasks.publish(address, this.#text()));
      this.#isMoving = true;
    }
    await this.#settle();
    await this.#system.quiet();
    const late = { arrived: this.#arrived, heard: this.#heard };
    this.#note("late", JSON.stringify(late));
    for (const intake of this.#intakes.values()) await this.#system.answer(intake.close());
    this.#note("contents", JSON.stringify(await this.#contents()));
  }

  async #contents() {
    const [{ facts, tasks, ticks, views, blobs }] = this.#system.ports;
    const ask = <T>(call: Promise<T>) => this.#system.answer(call);
    return {
      facts: (await ask(facts.scan(">", { bodies: true }))).map((stored) => this.#fact(stored)),
      tasks: (await Promise.all(
        ["w0", "w1", "w2"].map((workflow) => ask(tasks.list(workflow))),
      )).map((list) => list.map(textOf).sort()),
      ticks: (await ask(ticks.list())).sort(),
      views: await this.#views(views.list("run.")),
      blobs: await Promise.all(
        [...this.#blobs].map(async (name) => sizeOf(await ask(blobs.get(name)))),
      ),
    };
  }

  /** Of every other one. */
  #trace(): TraceContext | undefined {
    if (this.#written % 2 === 0) return undefined;
    const traceparent = `00-${`${this.#written}`.padStart(32, "a")}-00f067aa0ba902b7-01`;
    return this.#written % 3 === 0
      ? { traceparent }
      : { traceparent, tracestate: `vendor=${this.#written}` };
  }

  #text(): Uint8Array {
    return encoder.encode(`d${++this.#written}`);
  }

  async #do(step: Step): Promise<string> {
    const by = "by" in step ? step.by : 0;
    const { facts, tasks, ticks, hints, views, blobs } = this.#system.ports[by];
    const ask = <T>(call: Promise<T>) => this.#system.answer(call);
    switch (step.do) {
      case "create": {
        const answer = await ask(facts.create(step.key, this.#text(), step.note, this.#trace()));
        if (answer === "created") this.#facts.delete(step.key);
        return answer;
      }
      case "create if": {
        const seq = step.known === undefined ? 0 : this.#facts.get(step.known)?.seq ?? 0;
        const condition = { filter: step.filter, seq };
        const answer = await ask(facts.createIf(step.key, this.#text(), condition, "5"))
          .catch((error) => error instanceof NotFoundError ? "gone" : Promise.reject(error));
        if (answer === "created") this.#facts.delete(step.key);
        return answer;
      }
      case "read":
      case "readRecorded":
        return this.#fact(await ask(facts[step.do](step.key)));
      case "next": {
        const from = step.from === undefined ? undefined : this.#facts.get(step.from);
        const seq = from === undefined ? 0 : from.seq + (step.isAfter ? 1 : 0);
        return this.#fact(await ask(facts.next(step.filter, seq)));
      }
      case "last":
        return this.#fact(await ask(facts.last(step.filter)));
      case "scan": {
        const found = await ask(facts.scan(step.filter, { bodies: step.bodies }));
        const isInOrder = found.every(({ seq }, i) => i === 0 || seq > found[i - 1]!.seq);
        return JSON.stringify([isInOrder, ...found.map((stored) => this.#fact(stored))]);
      }
      case "keys":
        return JSON.stringify((await ask(facts.keys(step.filter))).sort());
      case "purge":
        await ask(facts.purge(step.filter));
        return "done";
      case "publish": {
        return await ask(
          tasks.publish(step.address, this.#text(), step.most, this.#trace()),
        );
      }
      case "has":
        return String(await ask(tasks.has(step.address)));
      case "withdraw":
        await ask(tasks.withdraw(step.workflow, step.node, step.attempt));
        this.#forget(step);
        return "done";
      case "list tasks":
        return JSON.stringify((await ask(tasks.list(step.workflow))).map(textOf).sort());
      case "wake":
        this.#inHand.delete(step.workflow);
        await ask(ticks.wake(step.workflow));
        return "done";
      case "ensure":
        await ask(ticks.ensure(step.workflow));
        return "done";
      case "list ticks":
        return JSON.stringify((await ask(ticks.list())).sort());
      case "take tasks":
        return await this.#take(`tasks ${by}`, MANY, () => {
          const { queues, ahead } = step;
          return tasks.take({ queues, ahead }, (task) => this.#onTask(by, task));
        });
      case "take ticks": {
        const { most } = step;
        return await this.#take(`ticks ${by}`, most ?? MANY, () =>
          ticks.take((tick) => {
            this.#onDelivery(tick.workflow, by, tick);
            if (most === undefined) this.#intakes.get(`ticks ${by}`)?.want(1);
          }));
      }
      case "want ticks":
        this.#intakes.get(`ticks ${by}`)?.want(step.count);
        await this.#system.arrive(by);
        return "done";
      case "close tasks":
      case "close ticks": {
        const name = `${step.do.slice(6)} ${by}`;
        this.#open.delete(name);
        const intake = this.#intakes.get(name);
        if (intake !== undefined) await ask(intake.close());
        return "done";
      }
      case "ack":
      case "extend":
      case "begin":
      case "give back":
        return await this.#answer(step);
      case "lapse":
        return await this.#lapse(step.held);
      case "restart":
        this.#restarted = true;
        await this.#system.restart();
        return await this.#lapse([]);
      case "listen to facts":
        this.#cancels.push(hints.onFact(step.filter, ({ key, note, trace, data }) => {
          const form = { key, note, trace, data: decoder.decode(data) };
          this.#heard.push(`${by} ${step.filter}: ${JSON.stringify(form)}`);
        }));
        await ask(hints.settled());
        return "done";
      case "listen to topics":
        this.#cancels.push(hints.onTold(step.filter, (topic, data) => {
          this.#heard.push(`${by} ${step.filter}: ${topic} ${decoder.decode(data)}`);
        }));
        await ask(hints.settled());
        return "done";
      case "tell":
        hints.tell(step.topic, this.#text());
        await this.#system.arrive(by);
        return "done";
      case "answer asks":
        this.#cancels.push(hints.onAsked(step.topic, (asked) => {
          const said = `${by} was asked ${decoder.decode(asked)}`;
          return Promise.resolve(encoder.encode(said));
        }));
        await ask(hints.settled());
        return "done";
      case "ask": {
        const answer = await ask(hints.ask(step.topic, this.#text(), ANSWERED_MS));
        return answer === undefined ? "nobody" : decoder.decode(answer);
      }
      case "put":
        await ask(views.put(step.key, this.#text()));
        return "done";
      case "get":
        return this.#view(step.key, await ask(views.get(step.key)));
      case "swap": {
        const revision = step.revision === "none" ? 0 : this.#revisions.get(step.key) ?? 0;
        return String(await ask(views.swap(step.key, revision, this.#text())));
      }
      case "remove": {
        const revision = this.#revisions.get(step.filter);
        // Nothing is ever at revision 0; a server takes it for "whatever there is".
        if (step.seen && revision === undefined) return "it was not seen";
        await ask(views.remove(step.filter, step.seen ? revision : undefined));
        return "done";
      }
      case "list keys":
        return JSON.stringify((await ask(views.keys(step.prefix))).sort());
      case "list views":
        return JSON.stringify(await this.#views(views.list(step.prefix)));
      case "put blob":
        this.#blobs.add(step.name);
        await ask(blobs.put(step.name, bytesOf(step.name, step.bytes)));
        return "done";
      case "get blob":
        return sizeOf(await ask(blobs.get(step.name)));
      case "remove blob":
        await ask(blobs.remove(step.name));
        return "done";
      case "remove blobs":
        await ask(blobs.removeAll(step.workflow));
        return "done";
      default:
        return step satisfies never;
    }
  }

  /** Its place and its moment are the same as when it was last seen. */
  #fact(stored: Stored | undefined): string {
    if (stored === undefined) return "none";
    const { key, seq, at, note, trace, data } = stored;
    const known = this.#facts.get(key);
    this.#facts.set(key, { seq, at });
    const isSame = known === undefined || (known.seq === seq && known.at === at);
    return JSON.stringify({ key, note, trace, data: decoder.decode(data), isSame });
  }

  #view(key: string, view: View | undefined): string {
    const known = this.#revisions.get(key);
    if (view === undefined) return "none";
    const { revision, data } = view;
    this.#revisions.set(key, revision);
    const age = known === undefined ? "first" : Math.sign(revision - known);
    return JSON.stringify({ data: decoder.decode(data), age });
  }

  async #views(list: AsyncIterable<View & { readonly key: string }>): Promise<string[]> {
    const found: (View & { readonly key: string })[] = [];
    await this.#system.answer((async () => {
      for await (const view of list) found.push(view);
    })());
    found.sort((a, b) => (a.key < b.key ? -1 : 1));
    return found.map((view) => `${view.key} ${this.#view(view.key, view)}`);
  }

  async #take(name: string, count: number, open: () => Promise<Intake>): Promise<string> {
    if (this.#open.has(name)) return "it takes already";
    const intake = await this.#system.answer(open());
    this.#open.add(name);
    this.#intakes.set(name, intake);
    intake.want(count);
    await this.#system.arrive(Number(name.slice(6)) as By);
    return "done";
  }

  /** Asks for another one in its place, as workers do when a task ends; a limited one counts when it begins. */
  #onTask(by: By, task: TaskDelivery): void {
    const text = task.address === undefined ? task.subject : textOf(task.address);
    this.#onDelivery(text, by, task);
    if (task.address?.lane.startsWith("p")) this.#intakes.get(`tasks ${by}`)?.want(1);
  }

  #onDelivery(message: string, by: By, delivery: TaskDelivery | TickDelivery): void {
    const handles = this.#handles.get(message) ?? [];
    handles.push({ by, delivery });
    this.#handles.set(message, handles);
    this.#inHand.add(message);
    this.#letGo.delete(message);
    // A server that starts again may count anew.
    const count = this.#restarted ? "" : ` (${delivery.deliveries})`;
    const trace = "trace" in delivery ? JSON.stringify(delivery.trace) : "";
    const data = "subject" in delivery ? decoder.decode(delivery.data) : "";
    this.#arrived.push(`${message}: ${data}${count}${trace ?? ""}`);
  }

  async #answer(
    step: Step & { readonly do: "ack" | "extend" | "begin" | "give back" },
  ): Promise<string> {
    const { message, which } = step;
    const handles = this.#handles.get(message) ?? [];
    const handle = which === "first" ? handles[0] : handles.at(-1);
    if (handle === undefined) return "it was not handed out";
    const { by, delivery } = handle;
    if (step.do === "ack" || step.do === "give back") {
      // The ports promise nothing about a second time. An earlier delivery of the same message may still be settled.
      if (this.#settled.has(delivery)) return "it was settled";
      this.#settled.add(delivery);
    }
    switch (step.do) {
      case "ack":
        delivery.ack();
        this.#inHand.delete(message);
        await this.#system.arrive(by);
        return await this.#system.observe(this.#next, async () => String(await this.#has(message)));
      case "extend":
        delivery.extend();
        break;
      case "begin":
        if ("begin" in delivery && !this.#begun.has(delivery)) {
          this.#begun.add(delivery);
          delivery.begin();
          if (!delivery.address?.lane.startsWith("p")) this.#intakes.get(`tasks ${by}`)?.want(1);
        }
        break;
      case "give back":
        delivery.giveBack(step.delayMs);
        this.#inHand.delete(message);
        break;
      default:
        step satisfies never;
    }
    await this.#system.arrive(by, step.do === "give back");
    return "done";
  }

  readonly #begun = new Set<TaskDelivery>();
  readonly #settled = new Set<TaskDelivery | TickDelivery>();

  #has(message: string): Promise<boolean> {
    const [{ tasks, ticks }] = this.#system.ports;
    const parts = message.split(".");
    if (parts.length === 1) {
      return this.#system.answer(ticks.list()).then((list) => list.includes(message));
    }
    const [queue, lane, workflow, node, attempt] = parts as [
      string,
      string,
      string,
      string,
      string,
    ];
    return this.#system.answer(
      tasks.has({ queue, lane, workflow, node: Number(node), attempt: Number(attempt) }),
    );
  }

  #forget({ workflow, node, attempt }: Step & { do: "withdraw" }): void {
    for (const message of this.#inHand) {
      const parts = message.split(".").slice(2);
      const isIts = [workflow, node, attempt].every((wanted, i) =>
        wanted === undefined || parts[i] === String(wanted)
      );
      if (isIts) this.#inHand.delete(message);
    }
  }

  async #lapse(held: readonly string[]): Promise<string> {
    this.#letGo = new Set([...this.#inHand].filter((message) => !held.includes(message)));
    const { length } = this.#arrived;
    const wanted = this.#next === undefined ? undefined : JSON.parse(this.#next) as string[];
    const came = () => this.#arrived.slice(length).sort();
    await this.#system.lapse(
      () => this.#extend(),
      () => wanted === undefined || came().length >= wanted.length,
    );
    const all = came();
    this.#arrived.length = length;
    this.#letGo.clear();
    return JSON.stringify(all);
  }

  #extend(): void {
    for (const message of this.#inHand) {
      if (!this.#letGo.has(message)) this.#handles.get(message)?.at(-1)?.delivery.extend();
    }
  }
}

/** What answers to a message or takes it away. */
function mustSettle(step: Step): boolean {
  switch (step.do) {
    case "withdraw":
    case "wake":
    case "close tasks":
    case "close ticks":
    case "ack":
    case "extend":
    case "begin":
    case "give back":
    case "lapse":
    case "restart":
      return true;
    default:
      return false;
  }
}

/** What may make something be handed out. */
function mayMove(step: Step): boolean {
  switch (step.do) {
    case "publish":
    case "withdraw":
    case "wake":
    case "ensure":
    case "take tasks":
    case "take ticks":
    case "want ticks":
    case "ack":
    case "begin":
    case "give back":
    case "lapse":
    case "restart":
      return true;
    default:
      return false;
  }
}

function bytesOf(name: string, bytes: number): Uint8Array {
  return new Uint8Array(bytes).fill(name.length + bytes);
}

function sizeOf(blob: Uint8Array | "gone" | "damaged"): string {
  if (typeof blob === "string") return blob;
  return `${blob.length} bytes of ${blob[0]}, ${blob.every((byte) => byte === blob[0])}`;
}
