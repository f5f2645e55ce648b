/**
 * Checks the invariants of safety after every step, from what the server did and from what tasks say themselves. Keeps a log
 * of its own: what retention removes is still known here. Never changes anything.
 */
import {
  type Definition,
  labelOf,
  policyOfNode,
  type SignatureRecord,
} from "../src/core/definition.ts";
import { controlKey, endKey, expansionKey, outcomeKey, parseKey } from "../src/core/keys.ts";
import { readEnd, readFailure, readOutcomeNote } from "../src/core/records.ts";
import { wholeDefinition } from "../src/core/recorded.ts";
import type { Stored, TaskAddress } from "../src/ports.ts";
import { WatchedLog } from "../test/watched_log.ts";
import type { Fault, Faults, Injected } from "./faults.ts";
import type { Beginning } from "./planned_workflow.ts";
import type { Done, SimulatedServer } from "./simulated_server.ts";

interface Run {
  readonly log: Map<string, Stored>;
  watched: WatchedLog | undefined;
  definition: Definition | undefined;
  /** Its retention was over. */
  removed: boolean;
}

type Seen = Done | ({ readonly is: "began" } & Beginning);

export class Witness {
  readonly broken: string[] = [];
  readonly #server: SimulatedServer;
  readonly #faults: Faults;
  readonly #runs = new Map<string, Run>();
  readonly #times = new Map<string, number>();
  #seen: Seen[] = [];
  /** A power cut took away what was acknowledged: what was decided from it is beyond judgement. */
  #excused = false;
  #repeats = 0;
  #handOverRepeats = 0;
  /** Who was given a run's tick last, and when that was another one than before. */
  readonly #ticked = new Map<string, number>();
  readonly #handedOverAt = new Map<string, number>();

  constructor(server: SimulatedServer, faults: Faults) {
    this.#server = server;
    this.#faults = faults;
  }

  get runs(): string[] {
    return [...this.#runs.keys()];
  }

  get wasCut(): boolean {
    return this.#excused;
  }

  /** L1, L4: runs that are there and have no end. After a power cut that is hard to say. */
  get open(): string[] {
    return this.runs.filter((name) => this.#isOpen(this.#run(name)));
  }

  get hasOpen(): boolean {
    for (const run of this.#runs.values()) if (this.#isOpen(run)) return true;
    return false;
  }

  #isOpen({ watched }: Run): boolean {
    return !this.#excused && watched !== undefined && !watched.audit.hasEnded;
  }

  /** Executions of attempts that had been executed before, and that no hand-over explains. */
  get repeats(): number {
    return this.#repeats;
  }

  /** S10: with faults, or in a cluster, two processors may both send a message while they do not know of each other. */
  get handOverRepeats(): number {
    return this.#handOverRepeats;
  }

  readonly onDone = (done: Done): void => void this.#seen.push(done);

  readonly onBegan = (beginning: Beginning): void =>
    void this.#seen.push({ is: "began", ...beginning });

  /** Something has happened since the last look. */
  get isBehind(): boolean {
    return this.#seen.length > 0;
  }

  /** Takes in what has happened since the last look. */
  async look(): Promise<void> {
    const seen = this.#seen;
    this.#seen = [];
    for (const one of seen) await this.#take(one);
  }

  async #take(seen: Seen): Promise<void> {
    switch (seen.is) {
      case "recorded":
        return await this.#onRecorded(seen.stored);
      case "queued":
        return await this.#onQueued(seen.address);
      case "task acked":
        return this.#onTaskAcked(seen.address);
      case "ticked":
        return this.#onTicked(seen.workflow, seen.to);
      case "tick acked":
        return this.#onTickAcked(seen.workflow);
      case "removed":
        return this.#onRemoved(seen.filter);
      case "power cut":
        this.#excused = true;
        return;
      case "began":
        return this.#onBegan(seen);
    }
    seen satisfies never;
  }

  #run(workflow: string): Run {
    let run = this.#runs.get(workflow);
    if (run === undefined) {
      run = unknown();
      this.#runs.set(workflow, run);
    }
    return run;
  }

  async #onRecorded(stored: Stored): Promise<void> {
    const key = parseKey(stored.key);
    if (key === undefined) return this.#say(`S13: ${stored.key} is no key`);
    const run = this.#run(key.workflow);
    if (this.#excused) return void run.log.set(stored.key, stored);
    if (run.log.has(stored.key)) this.#say(`S2: ${stored.key} is recorded a second time`);
    run.log.set(stored.key, stored);
    if (stored.key === `${key.workflow}.def.0`) {
      run.removed = false;
      const read = (key: string) => Promise.resolve(run.log.get(key));
      run.definition = await wholeDefinition(key.workflow, stored.data, read);
      run.watched = new WatchedLog(key.workflow, run.definition, stored.at);
      run.watched.take(stored);
    } else if (key.is !== "definition") {
      if (run.watched === undefined) {
        // What is written by whoever has not heard of the removal is removed by a sweep.
        if (!run.removed) this.#say(`S11: ${stored.key} is recorded, but no definition`);
        return;
      }
      run.watched.take(stored);
      this.#checkFailure(stored);
      if (key.is === "end") this.#checkKnowledge(key.workflow, stored, run.log);
      const findings = run.watched.audit.findings.splice(0);
      this.#say(...findings.map(({ invariant, message }) => `${invariant}: ${message}`));
    }
  }

  /** S4: that the server was out of reach is no failure of a task. */
  #checkFailure({ key, note, data }: Stored): void {
    if (readOutcomeNote(note)?.is !== "failed") return;
    const { name, message } = readFailure(data);
    if (!PLANNED.includes(name)) this.#say(`S4: ${key} is recorded as failed: ${name}, ${message}`);
  }

  /** S4: a control fact that an end does not know has only just slipped in, unless something held up whoever wrote it. */
  #checkKnowledge(workflow: string, end: Stored, log: ReadonlyMap<string, Stored>): void {
    const isSlow = ({ at, fault }: Injected) => !at.startsWith("client") && SLOW.includes(fault);
    if (this.#faults.injected.some(isSlow)) return;
    const known = readEnd(end.data)?.controls ?? Infinity;
    const unknown = log.get(controlKey(workflow, known + 1));
    if (unknown === undefined || end.at - unknown.at <= JUST_MS) return;
    this.#say(`S4: ${end.key} does not know ${unknown.key}, ${end.at - unknown.at} ms older`);
  }

  /** S1, S8, S12: decided by the log so far, and only once in the queue. */
  async #onQueued(address: TaskAddress): Promise<void> {
    if (this.#excused) return;
    const { workflow, node, attempt } = address;
    const { watched, removed } = this.#run(workflow);
    // A call that was under way for longer than the run was kept: what comes of it is removed by a sweep.
    if (removed && this.#faults.injected.length > 0) return;
    if (watched?.allowed.get(`${node}.${attempt}`)?.is !== "dispatch") {
      this.#say(`S1: ${nameOf(address)} is queued, which its log does not allow`);
    }
    const queued = (await this.#server.tasks.list(workflow)).filter((other) =>
      other.node === node && other.attempt === attempt
    );
    if (queued.length > 1) this.#say(`S8: ${nameOf(address)} is in the queue twice`);
  }

  /** S6 */
  #onTaskAcked(address: TaskAddress): void {
    if (this.#excused) return;
    const { workflow, node, attempt } = address;
    const { log, watched, removed } = this.#run(workflow);
    const isRecorded = log.has(outcomeKey(workflow, node, attempt)) ||
      log.has(expansionKey(workflow, node, attempt));
    if (isRecorded || removed || watched?.audit.scheduler.finished !== undefined) return;
    this.#say(`S6: ${nameOf(address)} is acknowledged without an outcome`);
  }

  #onTicked(workflow: string, to: number): void {
    const before = this.#ticked.get(workflow) ?? to;
    if (before !== to) this.#handedOverAt.set(workflow, this.#server.now);
    this.#ticked.set(workflow, to);
  }

  /** S7 */
  #onTickAcked(workflow: string): void {
    if (this.#excused) return;
    const { watched, removed } = this.#run(workflow);
    if (watched === undefined || removed) return;
    const { round } = watched.audit.scheduler;
    // Whoever opened the next round since wakes it, or a sweep does.
    if (this.#hasEnd(workflow, round)) return;
    this.#say(`S7: the tick of ${workflow} is acknowledged, but round ${round} has no end`);
  }

  /** S5 */
  #onRemoved(filter: string): void {
    const workflow = filter.split(".")[0]!;
    const { watched, definition } = this.#run(workflow);
    // What took a node's place goes with its parent, also when it was given up and has not ended.
    if (!this.#excused && watched !== undefined && definition?.parent === undefined) {
      // A retry in the very moment of the removal came too late, and is not acknowledged.
      const { round } = watched.audit.scheduler;
      if (!this.#hasEnd(workflow, round)) this.#say(`S5: ${workflow} is removed while it runs`);
    }
    // The id is free again.
    for (const name of [...this.#times.keys()]) {
      if (name.startsWith(`${workflow}.`)) this.#times.delete(name);
    }
    this.#runs.set(workflow, { ...unknown(), removed: true });
  }

  /** S1, S10, S11, S12, S14 */
  #onBegan({ workflow, node, attempt, inputs }: Beginning): void {
    const name = `${workflow}.${node}.${attempt}`;
    const times = (this.#times.get(name) ?? 0) + 1;
    this.#times.set(name, times);
    if (times > 1) {
      const handedOverAt = this.#handedOverAt.get(workflow) ?? -Infinity;
      if (this.#server.now - handedOverAt < JUST_MS) this.#handOverRepeats++;
      else this.#repeats++;
    }
    if (this.#excused) return;
    const { watched, definition, removed } = this.#run(workflow);
    if (watched === undefined || definition === undefined) {
      // In the hands of a worker before the run was removed.
      if (removed) return;
      return this.#say(`S11: ${name} runs, but no such workflow was submitted`);
    }
    if (node >= definition.graph.size) return this.#say(`S11: ${name} runs, which does not exist`);
    if (watched.allowed.get(`${node}.${attempt}`)?.is !== "dispatch") {
      return this.#say(`S12: ${name} runs, which its log does not allow`);
    }
    const label = labelOf(definition, node);
    for (const [i, input] of inputs.entries()) {
      if (typeof input === "string" && !this.#isRecorded(input)) {
        this.#say(`S1: ${label} got "${input}", which nobody recorded`);
      }
      const { scheduler } = watched.audit;
      if (input !== null || scheduler.attemptOf(node) !== attempt) continue;
      const from = upstreamOf(definition, node, i);
      if (from === undefined || scheduler.stateOf(from) !== "SUCCESS") continue;
      if (!this.#gave(workflow, from)) continue;
      this.#say(`S1: ${label} got null instead of what ${labelOf(definition, from)} gave`);
    }
  }

  /** Whether a node's result is something. */
  #gave(run: string, node: number): boolean {
    const outcomes = [...this.#run(run).log.values()].filter(({ key, note }) =>
      key.startsWith(`${run}.r.${node}.`) && readOutcomeNote(note)?.is === "succeeded"
    );
    return outcomes.some(({ data }) => decoder.decode(data) !== "null");
  }

  /** Results say whose they are: `<run> <node> …`. */
  #isRecorded(input: string): boolean {
    const [run, node] = input.split(" ");
    for (const { key, note, data } of this.#runs.get(run!)?.log.values() ?? []) {
      const outcome = key.split(".")[2] === node ? readOutcomeNote(note) : undefined;
      if (outcome?.is !== "succeeded") continue;
      if (outcome.elsewhere !== undefined || decoder.decode(data) === JSON.stringify(input)) {
        return true;
      }
    }
    return false;
  }

  /** This round, or the one before it, has its terminal record. */
  #hasEnd(workflow: string, round: number): boolean {
    const { log } = this.#run(workflow);
    return log.has(endKey(workflow, round)) || log.has(endKey(workflow, round - 1));
  }

  #say(...lines: string[]): void {
    this.broken.push(...lines);
  }
}

/** Whose result the task "work" takes as its input `i`; undefined for a node to which one of several edges is enough. */
function upstreamOf(definition: Definition, node: number, i: number): number | undefined {
  if (policyOfNode(definition, node).any === true) return undefined;
  const { inputs = [] } = JSON.parse(definition.signatures.text(node)) as SignatureRecord;
  // Its first argument says what to do.
  const input = inputs.find(({ at }) => at.length === 1 && at[0] === i + 1);
  return input !== undefined && "node" in input ? input.node : undefined;
}

/** How attempts may fail in a plan: also a map, whose list was skipped. */
const PLANNED = ["Error", "FatalTaskError", "TimeoutError", "WorkflowFailedError", "AbortError"];

const JUST_MS = 50;
/** Faults that may keep a call under way for long. */
const SLOW: readonly Fault[] = [
  "pause before",
  "pause after",
  "lose request",
  "lose reply",
  "delay request",
  "delay reply",
  "disconnect",
  "power cut",
];

function unknown(): Run {
  return { log: new Map(), watched: undefined, definition: undefined, removed: false };
}

function nameOf({ workflow, node, attempt }: TaskAddress): string {
  return `${workflow}.${node}.${attempt}`;
}

const decoder = new TextDecoder();
