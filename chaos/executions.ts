/**
 * Why attempts were executed more often than once, judged from who began them, when, and what was broken meanwhile. Pure.
 * What nothing explains is a broken promise (S10).
 */
import type { Entry } from "./history.ts";

/** A task that ran. */
export interface Execution {
  readonly run: string;
  readonly node: number;
  readonly attempt: number;
  /** The process. */
  readonly by: string;
  readonly at: number;
  readonly given: string;
  /** The digest of its result; undefined when it did not come to one. */
  readonly gave: string | undefined;
  readonly size: number | undefined;
}

/** What may have led to another execution: the fault's kind, whom it befell, and until when it had effects. */
interface Cause {
  readonly kind: string;
  /** Undefined: everybody's messages. */
  readonly holder: string | undefined;
  readonly from: number;
  readonly until: number;
}

export interface Extra {
  readonly execution: Execution;
  /** The kind of fault; undefined: nothing explains it. */
  readonly why: string | undefined;
}

/** A lease that was lost only shows when it is over. */
const LEASE_MS = 3_000;
/** A cluster, or a server that was away, needs a while until all is delivered again. */
const SERVER_RECOVERY_MS = 15_000;

export function executionsIn(history: readonly Entry[]): Execution[] {
  const ends = new Map<string, Entry & { is: "ended" }>();
  for (const entry of history) {
    if (entry.is === "ended") ends.set(`${entry.by} ${entry.execution}`, entry);
  }
  return history.flatMap((entry) => {
    if (entry.is !== "began") return [];
    const { by, at, execution, run, node, attempt, given } = entry;
    const end = ends.get(`${by} ${execution}`);
    return [{ run, node, attempt, by, at, given, gave: end?.gave, size: end?.size }];
  });
}

/** All executions of an attempt but its first. */
export function extrasIn(history: readonly Entry[]): Extra[] {
  const causes = history.flatMap(causeIn);
  const before = new Map<string, Execution[]>();
  return executionsIn(history).flatMap((execution) => {
    const attempt = `${execution.run}.${execution.node}.${execution.attempt}`;
    const earlier = before.get(attempt) ?? [];
    before.set(attempt, [...earlier, execution]);
    if (earlier.length === 0) return [];
    const cause = causes.find((one) => earlier.some((first) => explains(one, first, execution)));
    return [{ execution, why: cause?.kind }];
  });
}

/** Also by what befell the later one: it may have held the message all the while, and lost its lease before it began. */
function explains(cause: Cause, earlier: Execution, later: Execution): boolean {
  const { holder } = cause;
  return (holder === undefined || holder === earlier.by || holder === later.by) &&
    cause.from <= later.at && cause.until >= earlier.at;
}

function causeIn(entry: Entry): Cause[] {
  if (entry.is === "stood still") {
    const { from, until, by: holder } = entry;
    return [{ kind: "stood still", holder, from, until: until + LEASE_MS }];
  }
  if (entry.is !== "fault") return [];
  const { kind, of, from, until } = entry;
  const reach = reachOf(kind);
  if (reach === "nobody") return [];
  return [{
    kind,
    holder: reach === "holder" ? of : undefined,
    from,
    until: until + (reach === "holder" ? LEASE_MS : SERVER_RECOVERY_MS),
  }];
}

/**
 * Whose executions may be repeated by it. What befalls processors and clients repeats nothing: they only ask for what is not
 * there; but what they asked for may be held on its way, and come when it is done.
 */
function reachOf(kind: string): "holder" | "everybody" | "nobody" {
  if (/worker$/.test(kind)) return kind.startsWith("clock") ? "nobody" : "holder";
  if (/client$/.test(kind) || kind.startsWith("clock")) return "nobody";
  if (/processor$/.test(kind)) return "nobody";
  return kind === "purge TICKS" || kind === "delete TICKS consumer" ? "nobody" : "everybody";
}
