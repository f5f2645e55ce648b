/** Makes a schedule that breaks an invariant smaller, as long as it breaks the same one: fewer faults, then a smaller plan. */
import type { Fault, FaultOptions } from "./faults.ts";
import { type Plan, smaller } from "./plan.ts";
import { type Report, runSchedule, type ScheduleOptions } from "./schedule.ts";

/** The names of the invariants that were broken: "S1", "L1", … */
export function brokenNames({ broken }: Pick<Report, "broken">): Set<string> {
  return new Set(broken.map((line) => line.split(":")[0]!));
}

/**
 * @param run what runs a schedule.
 * @param most schedules that may be run for it.
 */
export async function shrink(
  found: Report,
  run: (options: ScheduleOptions) => Promise<Report> = runSchedule,
  most = 2_000,
): Promise<Report> {
  const wanted = [...brokenNames(found)][0]!;
  let runs = 0;
  let best = found;
  const attempt = async (plan: Plan, faults: FaultOptions): Promise<boolean> => {
    if (runs++ >= most) return false;
    const report = await run({ seed: found.seed, plan, faults });
    if (!brokenNames(report).has(wanted)) return false;
    best = report;
    return true;
  };
  for (let isSmaller = true; isSmaller && runs < most;) {
    isSmaller = await withFewerFaults(best, attempt) || await withSmallerPlan(best, attempt);
  }
  const { seed, plan, injected } = best;
  return await run({ seed, plan, faults: exactly(seed, injected), told: true });
}

type Attempt = (plan: Plan, faults: FaultOptions) => Promise<boolean>;

async function withFewerFaults({ seed, plan, injected }: Report, attempt: Attempt) {
  for (let size = injected.length; size >= 1; size = Math.floor(size / 2)) {
    for (let from = 0; from < injected.length; from += size) {
      const fewer = injected.filter((_, i) => i < from || i >= from + size);
      if (fewer.length < injected.length && await attempt(plan, exactly(seed, fewer))) return true;
    }
  }
  return false;
}

async function withSmallerPlan({ seed, plan, injected }: Report, attempt: Attempt) {
  for (const next of smaller(plan)) if (await attempt(next, exactly(seed, injected))) return true;
  return false;
}

/** These faults, and no others. */
export function exactly(
  seed: number,
  injected: readonly { readonly at: string; readonly fault: Fault }[],
): FaultOptions {
  const only = new Map(injected.map(({ at, fault }) => [at, fault]));
  return { seed, perMille: 0, without: new Set(), most: Infinity, only };
}
