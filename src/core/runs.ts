/**
 * Lists of node numbers, short: a run of evenly spaced numbers is written `[first, count, step]`. The body of a chord of
 * 100,000 waits for one such run, which keeps definitions and task messages small.
 */

/** A number, or a run `[first, count, step]`. */
export type Run = number | readonly [first: number, count: number, step: number];

/** Shorter runs are not worth three numbers. */
const SHORTEST_RUN = 4;

/** @returns `numbers` in the same order, with runs folded. */
export function foldRuns(numbers: ArrayLike<number>): Run[] {
  const runs: Run[] = [];
  let i = 0;
  while (i < numbers.length) {
    const first = numbers[i]!;
    const step = i + 1 < numbers.length ? numbers[i + 1]! - first : 0;
    let end = i + 1;
    while (end < numbers.length && numbers[end]! - numbers[end - 1]! === step) end++;
    if (end - i >= SHORTEST_RUN) {
      runs.push([first, end - i, step]);
      i = end;
    } else {
      runs.push(first);
      i++;
    }
  }
  return runs;
}

/** How many numbers `runs` stands for; whether they are runs at all shows when they are unfolded. */
export function countRuns(runs: readonly Run[]): number {
  let count = 0;
  for (const run of runs) count += Array.isArray(run) && run[1] > 0 ? run[1] : 1;
  return count;
}

/** The inverse of {@link foldRuns}. Returns undefined for what is not a list of runs, or has over `limit` numbers. */
export function unfoldRuns(runs: unknown, limit: number): number[] | undefined {
  if (!Array.isArray(runs)) return undefined;
  const numbers: number[] = [];
  for (const run of runs) {
    if (Number.isInteger(run)) {
      numbers.push(run);
    } else {
      const [first, count, step] = Array.isArray(run) && run.length === 3 ? run : [];
      if (
        !Number.isInteger(first) || !Number.isInteger(count) || !Number.isInteger(step) || count < 1
      ) return undefined;
      if (numbers.length + count > limit) return undefined;
      for (let k = 0; k < count; k++) numbers.push(first + k * step);
    }
    if (numbers.length > limit) return undefined;
  }
  return numbers;
}
