/**
 * A low-rate job that one of the processors does: gives a tick to every workflow that should have one and does not
 * (its submitter died in between), and removes what has been finished for long enough.
 */
import { decodeHead } from "../core/definition_codec.ts";
import { isId } from "../core/ids.ts";
import {
  ALL_CONTROLS,
  ALL_ENDS,
  ALL_HEADS,
  controlsOf,
  definitionKey,
  parseKey,
  workflowOf,
} from "../core/keys.ts";
import { failureOf, parseRecord, readEndNote } from "../core/records.ts";
import type { Cancel, Ports, Stored } from "../ports.ts";
import { lastEnd } from "../runs/end.ts";
import { removeRun } from "../runs/removal.ts";
import { removeOrphans } from "./orphans.ts";
import { tidy } from "./tidy.ts";

const encoder = new TextEncoder();
const SWEEP_VIEW = "sweep";
const TIDY_VIEW = "tidy";
/** All views of a kind are read for it, and what was recorded meanwhile. */
const TIDY_MS = 600_000;

/** Runs that are removed at the same time. */
const REMOVE_BATCH = 16;

export interface Swept {
  /** Workflows that got their tick back. */
  readonly revived: readonly string[];
  /** Workflows that were removed. */
  readonly removed: readonly string[];
}

export class Sweeper {
  readonly #ports: Ports;
  readonly #everyMs: number;
  readonly #retentionMs: number;
  #isStarted = false;
  /** Runs that go on after an end, and that got a new tick: with the place of that end in the log. */
  readonly #woken = new Map<string, number>();
  #cancel: Cancel = () => {};

  constructor(ports: Ports, { everyMs, retentionMs }: { everyMs: number; retentionMs: number }) {
    this.#ports = ports;
    this.#everyMs = everyMs;
    this.#retentionMs = retentionMs;
  }

  start(): void {
    this.#isStarted = true;
    this.#arm();
  }

  stop(): void {
    this.#isStarted = false;
    this.#cancel();
    this.#cancel = () => {};
  }

  #arm(): void {
    // Not all at once, though all processors of a deployment start together.
    const delayMs = this.#everyMs * (0.5 + this.#ports.random.chance());
    this.#cancel = this.#ports.clock.after(delayMs, () => void this.#turn());
  }

  /** The next one is not due before this one is done: where there is much to do, two would do it twice. */
  async #turn(): Promise<void> {
    try {
      await this.sweepIfDue();
    } catch (error) {
      this.#ports.log("warn", `a sweep failed: ${failureOf(error).message}`, {
        event: "sweep-failed",
        error,
      });
    }
    if (this.#isStarted) this.#arm();
  }

  /** True for one processor in each interval. Two at once would do no harm. */
  async #isOurTurn(view: string, everyMs: number): Promise<boolean> {
    const { views, clock } = this.#ports;
    const seen = await views.get(view);
    const { at } = seen === undefined ? {} : parseRecord(seen.data) ?? {};
    if (typeof at === "number" && clock.now() - at < everyMs / 2) return false;
    return views.swap(
      view,
      seen?.revision ?? 0,
      encoder.encode(JSON.stringify({ v: 1, at: clock.now() })),
    );
  }

  /** Sweeps unless one of the processors, or a call of `runOnce`, did so within the interval. */
  async sweepIfDue(): Promise<void> {
    if (await this.#isOurTurn(SWEEP_VIEW, this.#everyMs)) await this.sweep();
  }

  async sweep(): Promise<Swept> {
    const { facts, ticks, log } = this.#ports;
    // Ends last: a workflow that ends meanwhile must not look as if it had lost its tick.
    const heads = await facts.keys(ALL_HEADS);
    const ticking = new Set(await ticks.list());
    const ends = lastOfEach(await facts.scan(ALL_ENDS));
    const controls = lastOfEach(await facts.scan(ALL_CONTROLS));
    const revived: string[] = [];
    const over: { workflow: string; end: Stored }[] = [];
    for (const head of heads) {
      const workflow = workflowOf(head);
      if (!isId(workflow)) continue;
      const end = ends.get(workflow);
      if (ticking.has(workflow)) {
        if (end !== undefined) await this.#replaceDeadTick(workflow, end);
        continue;
      }
      this.#woken.delete(workflow);
      const isAsked = (controls.get(workflow)?.seq ?? 0) > (end?.seq ?? 0);
      if (end === undefined || isAsked && await this.#goesOn(workflow, end)) {
        await ticks.ensure(workflow);
        revived.push(workflow);
      } else if (await this.#isOver(workflow, end)) {
        over.push({ workflow, end });
      }
    }
    const removed: string[] = [];
    for (let i = 0; i < over.length; i += REMOVE_BATCH) {
      await Promise.all(
        over.slice(i, i + REMOVE_BATCH).map(async ({ workflow, end }) => {
          // It may have been reopened since.
          if (await this.#goesOn(workflow, end)) return;
          await removeRun(this.#ports, workflow);
          removed.push(workflow);
        }),
      );
    }
    if (revived.length > 0) {
      log("info", `${revived.length} workflows without a tick got one`, {
        event: "ticks-revived",
        count: revived.length,
        revived: revived.slice(0, 10),
      });
    }
    if (await this.#isOurTurn(TIDY_VIEW, TIDY_MS)) {
      await tidy(this.#ports);
      await removeOrphans(this.#ports);
      await this.#ports.tasks.tidy();
    }
    return { revived, removed };
  }

  /**
   * A server that is killed may bring back ticks that had been replaced, and its consumer never
   * delivers them: such a tick would keep its run from being removed, and hide that a next round has
   * none. One that is made anew is delivered, and acknowledged if the run is over.
   */
  async #replaceDeadTick(workflow: string, end: Stored): Promise<void> {
    const { ticks, clock } = this.#ports;
    // A tick whose run has just ended is on its way out.
    if (clock.now() - end.at < 2 * this.#everyMs) return;
    if (await this.#goesOn(workflow, end)) {
      // Once for each end is enough: a run that goes on has its ticks.
      if (this.#woken.get(workflow) === end.seq) return;
      this.#woken.set(workflow, end.seq);
    }
    await ticks.wake(workflow);
  }

  /** A sweep knows terminal records by their notes. Only what could have been reopened is read. */
  async #goesOn(workflow: string, end: Stored): Promise<boolean> {
    const { facts } = this.#ports;
    if (await facts.next(controlsOf(workflow), end.seq + 1) === undefined) return false;
    return await lastEnd(facts, workflow).then((last) => last?.reopened !== false);
  }

  /** Whether it has been kept for as long as it said. */
  async #isOver(workflow: string, end: Stored): Promise<boolean> {
    const keeping = readEndNote(end.note) ?? this.#retentionMs;
    if (keeping === "keep") return false;
    const ageMs = this.#ports.clock.now() - end.at;
    if (keeping !== "parent") return ageMs > keeping;
    return ageMs > this.#retentionMs && await this.#isLeftBehind(workflow);
  }

  /** A run in the place of another run's node is removed with that one: its results may be needed until then. */
  async #isLeftBehind(workflow: string): Promise<boolean> {
    const { facts } = this.#ports;
    const stored = await facts.read(definitionKey(workflow));
    if (stored === undefined) return false;
    const { parent } = decodeHead(stored.data);
    return parent === undefined || await facts.read(definitionKey(parent.workflow)) === undefined;
  }
}

/** The last fact of each workflow. */
function lastOfEach(facts: readonly Stored[]): Map<string, Stored> {
  const last = new Map<string, Stored>();
  for (const stored of facts) {
    const workflow = parseKey(stored.key)?.workflow;
    if (workflow === undefined || (last.get(workflow)?.seq ?? 0) > stored.seq) continue;
    last.set(workflow, stored);
  }
  return last;
}
