/**
 * A low-rate job that one of the processors does: gives a tick to every workflow that should have one and does not
 * (its submitter died in between), and removes what has been finished for long enough.
 */
import { isId } from "../core/ids.ts";
import { ALL_ENDS, ALL_HEADS, controlsOf, everythingOf, parseKey } from "../core/keys.ts";
import { failureOf, parseRecord, readControl } from "../core/records.ts";
import type { Cancel, Ports, Stored } from "../ports.ts";

const encoder = new TextEncoder();
const SWEEP_VIEW = "sweep";

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
  #cancel: Cancel = () => {};

  constructor(ports: Ports, { everyMs, retentionMs }: { everyMs: number; retentionMs: number }) {
    this.#ports = ports;
    this.#everyMs = everyMs;
    this.#retentionMs = retentionMs;
  }

  start(): void {
    // Not all at once, though all processors of a deployment start together.
    const delayMs = this.#everyMs * (0.5 + this.#ports.random.chance());
    this.#cancel = this.#ports.clock.after(delayMs, () => void this.#turn());
  }

  stop(): void {
    this.#cancel();
    this.#cancel = () => {};
  }

  async #turn(): Promise<void> {
    this.start();
    try {
      if (await this.#isOurTurn()) await this.sweep();
    } catch (error) {
      this.#ports.log("warn", `a sweep failed: ${failureOf(error).message}`, { error });
    }
  }

  /** True for one processor in each interval. Two at once would do no harm. */
  async #isOurTurn(): Promise<boolean> {
    const { views, clock } = this.#ports;
    const seen = await views.get(SWEEP_VIEW);
    const { at } = seen === undefined ? {} : parseRecord(seen.data) ?? {};
    if (typeof at === "number" && clock.now() - at < this.#everyMs / 2) return false;
    return views.swap(
      SWEEP_VIEW,
      seen?.revision ?? 0,
      encoder.encode(JSON.stringify({ v: 1, at: clock.now() })),
    );
  }

  async sweep(): Promise<Swept> {
    const { facts, ticks, log } = this.#ports;
    // Ends last: a workflow that ends meanwhile must not look as if it had lost its tick.
    const heads = await facts.keys(ALL_HEADS);
    const ticking = new Set(await ticks.list());
    const ends = lastEnds(await facts.scan(ALL_ENDS));
    const revived: string[] = [];
    const removed: string[] = [];
    for (const head of heads) {
      const workflow = parseKey(head)?.workflow;
      if (workflow === undefined || !isId(workflow) || ticking.has(workflow)) continue;
      const end = ends.get(workflow);
      if (end === undefined || await this.#wasRetried(workflow, end)) {
        await ticks.ensure(workflow);
        revived.push(workflow);
      } else if (this.#ports.clock.now() - end.at > this.#retentionMs) {
        await this.#remove(workflow);
        removed.push(workflow);
      }
    }
    if (revived.length > 0) {
      log("info", `${revived.length} workflows without a tick got one`, {
        revived: revived.slice(0, 10),
      });
    }
    return { revived, removed };
  }

  async #wasRetried(workflow: string, end: Stored): Promise<boolean> {
    const { facts } = this.#ports;
    for (let seq = end.seq + 1;;) {
      const control = await facts.next(controlsOf(workflow), seq);
      if (control === undefined) return false;
      if (readControl(control.data)?.control.is === "retry") return true;
      seq = control.seq + 1;
    }
  }

  /** Tasks first: nothing of a removed workflow may run. */
  async #remove(workflow: string): Promise<void> {
    const { facts, tasks, views } = this.#ports;
    await tasks.withdraw(workflow);
    await views.remove(`wf.${workflow}`);
    await facts.purge(everythingOf(workflow));
  }
}

/** The terminal record of the last round of each workflow. */
function lastEnds(stored: readonly Stored[]): Map<string, Stored> {
  const ends = new Map<string, Stored>();
  for (const end of stored) {
    const workflow = parseKey(end.key)?.workflow;
    if (workflow !== undefined && (ends.get(workflow)?.seq ?? 0) < end.seq) ends.set(workflow, end);
  }
  return ends;
}
