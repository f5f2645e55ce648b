/** Spans of time as users write them: milliseconds, or `"30s"`, `"1.5h"`. */
import { InvalidOptionError } from "./errors.ts";
import { quote } from "./ids.ts";

/** Milliseconds, or a number with a unit: `"250ms"`, `"30s"`, `"5m"`, `"2h"`, `"7d"`. */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const TEXT = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
/** Ten years: longer is a mistake, and stays exact when added to any date. */
const LONGEST = 3_650 * UNITS.d;

/**
 * @returns whole milliseconds, 0 to ten years.
 * @throws {InvalidOptionError} naming `option` for anything else (negative, NaN, `1e300`, unknown unit).
 */
export function durationMs(
  option: string,
  value: Duration,
  { least = 0 }: { least?: number } = {},
): number {
  const ms = typeof value === "number" ? value : parse(value);
  if (Number.isFinite(ms) && ms >= least && ms <= LONGEST) return Math.round(ms);
  throw new InvalidOptionError(
    option,
    `${option} = ${quote(value)} is not a duration from ${least} ms to ten years`,
    {
      hint: `Give milliseconds (30000) or a number with a unit: "250ms", "30s", "5m", "2h", "7d".`,
    },
  );
}

function parse(text: unknown): number {
  const match = typeof text === "string" ? TEXT.exec(text) : null;
  if (match === null) return NaN;
  return Number(match[1]) * UNITS[match[2] as keyof typeof UNITS];
}
