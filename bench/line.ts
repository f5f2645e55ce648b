/** A measured line: values, the reference beside them, and the bar they must reach. Never measures anything. */
import { max, median, min } from "./statistics.ts";

export type Unit = "tasks/s" | "ms/hop" | "ms" | "s" | "MB" | "KB" | "% of a core" | "tasks";

export interface Line {
  readonly bench: string;
  /** Nodes, hops or workflows. */
  readonly n: number;
  readonly unit: Unit;
  /** Of each run. */
  readonly values: readonly number[];
  /** Of each run of the reference, in turns with the others: then the bar is about the ratio of the medians. */
  readonly reference?: readonly number[];
  /** Every single measurement, for a plot. */
  readonly distribution?: {
    readonly values: readonly number[];
    readonly reference: readonly number[];
  };
  /** Absent: a figure only. */
  readonly bar?: { readonly atLeast: number } | { readonly atMost: number };
}

/** What the bar is about. */
export function judged({ values, reference }: Line): number {
  return reference === undefined ? median(values) : median(values) / median(reference);
}

export function isReached(line: Line): boolean {
  const { bar } = line;
  if (bar === undefined) return true;
  const value = judged(line);
  return "atLeast" in bar ? value >= bar.atLeast : value <= bar.atMost;
}

export function asJson(line: Line): string {
  const { bench, n, unit, values, reference, bar } = line;
  return JSON.stringify({
    bench,
    n,
    unit,
    median: short(median(values)),
    min: short(min(values)),
    max: short(max(values)),
    ...(reference === undefined
      ? {}
      : { reference: short(median(reference)), ratio: short(judged(line)) }),
    ...(bar === undefined ? {} : { bar, ok: isReached(line) }),
    values: values.map(short),
    ...(reference === undefined ? {} : { references: reference.map(short) }),
  });
}

export function asText(line: Line): string {
  const { bench, n, unit, values, reference, bar } = line;
  const range = values.length === 1 ? "" : ` (${short(min(values))}–${short(max(values))})`;
  const measured = `${short(median(values))} ${unit}${range}`;
  const ratio = reference === undefined
    ? ""
    : `, reference ${short(median(reference))}: ratio ${judged(line).toFixed(2)}`;
  const verdict = bar === undefined
    ? ""
    : ` (${"atLeast" in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`}) ${
      isReached(line) ? "ok" : "MISSED"
    }`;
  return `${bench.padEnd(22)} ${n.toLocaleString("en").padStart(9)}  ${measured}${ratio}${verdict}`;
}

function short(value: number): number {
  return Number(value.toFixed(Math.abs(value) < 10 ? 3 : Math.abs(value) < 1_000 ? 1 : 0));
}
