/** What came of all plays, as text: a table, the faults by kind, and what was found. */
import { table } from "../scripts/demo/table.ts";
import type { Played } from "./play.ts";

export interface Line {
  readonly scenario: string;
  readonly plays: readonly Played[];
}

const SHOWN_VIOLATIONS = 20;

export function reportText(lines: readonly Line[]): string[] {
  const head = [
    "scenario",
    "plays",
    "faults",
    "workflows",
    "tasks run",
    "run again",
    "violations",
    "settled within",
  ];
  const rows = [...lines, { scenario: "all", plays: lines.flatMap(({ plays }) => plays) }];
  return [
    ...table(head, rows.map(row)),
    "",
    ...lines.flatMap(kinds),
    ...lines.flatMap(({ plays }) => plays).flatMap(findings),
  ];
}

function row({ scenario, plays }: Line): string[] {
  const sum = (of: (played: Played) => number) =>
    `${plays.reduce((total, played) => total + of(played), 0)}`;
  return [
    scenario,
    `${plays.length}`,
    sum(({ faults }) => [...faults.values()].reduce((a, b) => a + b, 0)),
    sum(({ workflows }) => workflows),
    sum(({ executions }) => executions),
    sum(({ extras }) => extras.length),
    sum(({ violations }) => violations.length),
    `${(Math.max(0, ...plays.map(({ settledMs }) => settledMs)) / 1_000).toFixed(1)} s`,
  ];
}

/** Faults by kind, and what explains the executions that were repeated. */
function kinds({ scenario, plays }: Line): string[] {
  const injected = new Map<string, number>();
  const reasons = new Map<string, number>();
  for (const { faults, extras } of plays) {
    for (const [kind, count] of faults) injected.set(kind, (injected.get(kind) ?? 0) + count);
    for (const { why = "unexplained" } of extras) reasons.set(why, (reasons.get(why) ?? 0) + 1);
  }
  const again = reasons.size === 0 ? [] : [`  run again after: ${counted(reasons)}`];
  const isMissingDisk = plays.some((played) => played.isMissingDisk);
  const left = plays.reduce((total, { leftByServer }) => total + leftByServer, 0);
  return [
    `${scenario}: ${counted(injected)}`,
    ...again,
    ...(isMissingDisk
      ? ["  no disk was full: that needs user namespaces, which this system does not allow"]
      : []),
    ...(left === 0
      ? []
      : [`  acknowledged, but not removed by a server whose disk was full: ${left}`]),
  ];
}

function counted(counts: ReadonlyMap<string, number>): string {
  return [...counts].sort(([, a], [, b]) => b - a).map(([what, n]) => `${what} ${n}`).join(", ");
}

function findings({ violations, folder }: Played): string[] {
  if (violations.length === 0) return [];
  const more = violations.length - SHOWN_VIOLATIONS;
  return [
    "",
    ...violations.slice(0, SHOWN_VIOLATIONS),
    ...(more > 0 ? [`and ${more} more`] : []),
    `histories and logs: ${folder}`,
  ];
}
