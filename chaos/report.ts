/** What came of plays, as text: what was found, a table of all, and the faults by kind. */
import { table } from "../scripts/demo/table.ts";
import type { Played } from "./play.ts";

export interface Line {
  readonly scenario: string;
  readonly plays: readonly Played[];
}

const SHOWN_VIOLATIONS = 20;

/** What came of one play: a line, and what was found. */
export function playText(scenario: string, seed: number, played: Played): string[] {
  const { workflows, executions, extras, violations, settledMs, folder } = played;
  const verdict = violations.length === 0 ? "ok" : "BROKEN";
  const more = violations.length - SHOWN_VIOLATIONS;
  return [
    `${verdict}  ${scenario}, seed ${seed}: ${workflows} workflows, ${executions} tasks run, ` +
    `${extras.length} of them again; all ended ${seconds(settledMs)} after the last fault`,
    ...violations.slice(0, SHOWN_VIOLATIONS).map((line) => `  ${line}`),
    ...(more > 0 ? [`  and ${more} more`] : []),
    ...(folder === undefined ? [] : [`  histories and logs: ${folder}`]),
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

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
    seconds(Math.max(0, ...plays.map(({ settledMs }) => settledMs))),
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
