/** Marks: how all processes and the server stood while nothing was under way, as a table; and what is to be said of them. Pure. */
import type { Role, Sample } from "./member.ts";
import type { StoreSample } from "./store.ts";
import { type Allowance, trendOf } from "./trend.ts";

export interface Mark {
  /** So far. */
  readonly workflows: number;
  readonly minutes: number;
  /** What should be gone and is not. */
  readonly leftovers: readonly string[];
  readonly roles: readonly Role[];
  /** In the order of `roles`. */
  readonly samples: readonly Sample[];
  readonly store: StoreSample;
}

export interface Verdict {
  readonly text: string;
  readonly isFine: boolean;
}

/** How much memory may grow: of a process's heap, and of what is resident, which moves in larger steps. */
export interface Patience {
  readonly heap: Allowance;
  readonly resident: Allowance;
}

const MB = 1_048_576;
const SHOWN = 5;
export const FULL: Patience = {
  heap: { share: 0.02, floor: 0.25 * MB },
  resident: { share: 0.05, floor: 8 * MB },
};
/** A run of a minute is nearly all warm-up: only what grows fast shows in its memory. */
export const QUICK: Patience = {
  heap: { share: 0.25, floor: 4 * MB },
  resident: { share: 0.5, floor: 64 * MB },
};
/** The machine's doing: too much else runs on it. */
const STARVED = /this process stood still/;
/** What is counted may move by one. */
const COUNTED: Allowance = { share: 0, floor: 1 };

const WIDTH = 9;

export function titles(roles: readonly Role[]): string[] {
  return [
    "runs",
    "tasks",
    "minutes",
    ...roles.flatMap((role) => [role.slice(0, 7), "rss"]),
    "server",
    "store",
    "subs",
    "consumers",
    "files",
    "timers",
    "left",
  ];
}

/** A row of the table. */
export function line(row: Mark | readonly string[]): string {
  const cells = "samples" in row ? cellsOf(row) : row;
  return cells.map((cell) => cell.padStart(WIDTH)).join("");
}

function cellsOf({ workflows, minutes, samples, store, leftovers }: Mark): string[] {
  const mb = (bytes: number) => (bytes / MB).toFixed(1);
  const sum = (of: (sample: Sample) => number) => samples.reduce((n, each) => n + of(each), 0);
  return [
    `${workflows}`,
    `${sum(({ executed }) => executed)}`,
    minutes.toFixed(1),
    ...samples.flatMap(({ heapBytes, rssBytes }) => [mb(heapBytes), mb(rssBytes)]),
    mb(store.rssBytes),
    mb(store.storeBytes),
    `${store.subscriptions}`,
    `${store.consumers}`,
    `${sum(({ files }) => files) + store.files}`,
    `${sum(({ timers }) => timers)}`,
    `${leftovers.length}`,
  ];
}

/** One line for each thing that is judged; those that failed say so. */
export function judge(marks: readonly Mark[], { heap, resident }: Patience): Verdict[] {
  const { roles, leftovers } = marks.at(-1)!;
  return [
    nothingLeft(leftovers),
    ...roles.flatMap((role, i) => {
      const grows = (what: string, of: (mark: Mark) => number, allowance: Allowance) =>
        growthOf(`${role} ${i}: ${what}`, marks.map(of), allowance);
      return [
        grows("heap", ({ samples }) => samples[i]!.heapBytes, heap),
        grows("rss", ({ samples }) => samples[i]!.rssBytes, resident),
        grows("files", ({ samples }) => samples[i]!.files, COUNTED),
        grows("timers", ({ samples }) => samples[i]!.timers, COUNTED),
        grows("subscriptions", ({ store }) => store.subscriptionsOf[i]!, COUNTED),
      ];
    }),
    growthOf("server: rss", marks.map(({ store }) => store.rssBytes), resident),
    growthOf("server: store", marks.map(({ store }) => store.storeBytes), resident),
    growthOf("server: subscriptions", marks.map(({ store }) => store.subscriptions), COUNTED),
    growthOf("server: consumers", marks.map(({ store }) => store.consumers), COUNTED),
    growthOf("server: files", marks.map(({ store }) => store.files), COUNTED),
    noComplaints(marks.at(-1)!.samples.flatMap(({ complaints }) => complaints)),
  ];
}

function nothingLeft(leftovers: readonly string[]): Verdict {
  if (leftovers.length === 0) return { isFine: true, text: "ok      nothing left at any mark" };
  const some = leftovers.slice(0, SHOWN).join("\n          ");
  return { isFine: false, text: `FAILED  ${leftovers.length} left behind:\n          ${some}` };
}

function growthOf(what: string, series: readonly number[], allowance: Allowance): Verdict {
  const { mean, growth, noise, isLeak } = trendOf(series, allowance);
  const shown = (value: number) =>
    allowance === COUNTED ? value.toFixed(1) : `${(value / MB).toFixed(2)} MB`;
  const text = `${isLeak ? "FAILED" : "ok    "}  ${what.padEnd(26)} ` +
    `about ${shown(mean)}, grew by ${shown(growth)} (noise ${shown(noise)})`;
  return { isFine: !isLeak, text };
}

function noComplaints(complaints: readonly string[]): Verdict {
  if (complaints.length === 0) return { isFine: true, text: "ok      no warnings in the logs" };
  const isFine = complaints.every((complaint) => STARVED.test(complaint));
  const some = complaints.slice(0, SHOWN).join("\n          ");
  return { isFine, text: `${isFine ? "note  " : "FAILED"}  the logs warn:\n          ${some}` };
}
