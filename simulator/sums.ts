/** What many schedules come to. */
import type { Fault } from "./faults.ts";
import type { Report } from "./schedule.ts";

export interface Sums {
  schedules: number;
  broken: number;
  steps: number;
  executions: number;
  readonly faults: Partial<Record<Fault, number>>;
}

export function noSums(): Sums {
  return { schedules: 0, broken: 0, steps: 0, executions: 0, faults: {} };
}

export function sumUp({ broken, steps, executions, injected }: Report): Sums {
  const faults: Partial<Record<Fault, number>> = {};
  for (const { fault } of injected) faults[fault] = (faults[fault] ?? 0) + 1;
  return { schedules: 1, broken: broken.length > 0 ? 1 : 0, steps, executions, faults };
}

export function addSums(sums: Sums, more: Sums): void {
  sums.schedules += more.schedules;
  sums.broken += more.broken;
  sums.steps += more.steps;
  sums.executions += more.executions;
  for (const [fault, times] of Object.entries(more.faults) as [Fault, number][]) {
    sums.faults[fault] = (sums.faults[fault] ?? 0) + times;
  }
}

export function tableOf(sums: Sums, seconds: number): string {
  const rows: [string, number][] = [
    ["schedules", sums.schedules],
    ["steps", sums.steps],
    ["tasks run", sums.executions],
    ...(Object.entries(sums.faults) as [string, number][]).sort((a, b) => b[1] - a[1])
      .map(([fault, times]): [string, number] => [`fault: ${fault}`, times]),
    ["broken", sums.broken],
    ["seconds", Math.round(seconds)],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, n]) => `${name.padEnd(width)}  ${n.toLocaleString("en").padStart(12)}`)
    .join("\n");
}
