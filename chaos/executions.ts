/**
 * Why attempts were executed more often than once, judged from who began them, when, and what was
 * broken meanwhile. Pure. What nothing explains is a broken promise (S10).
 */
import type { Entry, FaultNote } from "./history.ts";

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

/**
 * What may have led to another execution: the fault's kind, whom it befell, and until when it had
 * effects.
 */
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
  // The narrowest explanation comes first.
  const causes = history.flatMap(causeIn)
    .sort((a, b) => Number(a.holder === undefined) - Number(b.holder === undefined));
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

/**
 * Also by what befell the later one: it may have held the message all the while, and lost its lease
 * before it began.
 */
function explains(cause: Cause, earlier: Execution, later: Execution): boolean {
  const { holder } = cause;
  return (holder === undefined || holder === earlier.by || holder === later.by) &&
    cause.from <= later.at && cause.until >= earlier.at;
}

function causeIn(entry: Entry): Cause[] {
  if (entry.is === "stood still") {
    const { from, until, by } = entry;
    return causeOf("stood still", by, "lease", { from, until });
  }
  return entry.is === "fault" ? causeOf(entry.kind, entry.of, reachOf(entry), entry) : [];
}

type Reach =
  /** Executions of all that the server handed out, or was told. */
  | "everything"
  /** What its process held the lease of. */
  | "lease"
  | "nothing";

function causeOf(
  kind: string,
  of: string,
  reach: Reach,
  { from, until }: { readonly from: number; readonly until: number },
): Cause[] {
  switch (reach) {
    case "everything":
      return [{ kind, holder: undefined, from, until: until + SERVER_RECOVERY_MS }];
    case "lease": {
      // A processor that lost the lease of a workflow may ask late for what another one has asked
      // for, and is done.
      const holder = of.startsWith("processor") ? undefined : of;
      return [{ kind, holder, from, until: until + LEASE_MS }];
    }
    case "nothing":
      return [];
  }
  return reach satisfies never;
}

/**
 * A processor that dies repeats nothing, nor does a lost tick: whoever comes next asks only for
 * what is not there.
 */
function reachOf({ kind, of }: FaultNote): Reach {
  const [role] = of.split("-");
  if (role === "client" || kind.startsWith("clock")) return "nothing";
  if (role === "worker") return "lease";
  if (role === "processor") return /^(?:kill|stop) /.test(kind) ? "nothing" : "lease";
  return kind === "purge TICKS" || kind === "delete TICKS consumer" ? "nothing" : "everything";
}
