/**
 * What is broken, in which order, and for how long: scenarios, and the faults that follow from a
 * seed. Plans only; nothing here breaks anything. A plan replays; the moments at which it meets the
 * work do not.
 */
import type { Rolls } from "../test/mixed/plans.ts";
import type { Way } from "./line.ts";

export type Role = "worker" | "processor" | "client";

/** A server of the cluster: the one that leads a stream, or any. */
export type Which =
  | { readonly is: "leader"; readonly of: "FACTS" | "TASKS" | "TICKS" }
  | { readonly is: "any"; readonly number: number };

/** Someone of a role; `number` counts around those there are. */
interface Someone {
  readonly role: Role;
  readonly number: number;
}

export type Fault =
  /** SIGKILL, or SIGTERM; another one takes its place after `awayMs`. */
  | Someone & { readonly is: "kill" | "stop"; readonly awayMs: number }
  /** SIGSTOP, then SIGCONT. */
  | Someone & { readonly is: "pause"; readonly forMs: number }
  /** From now on its clock is wrong by so much. */
  | Someone & { readonly is: "jump"; readonly byMs: number }
  | Someone & { readonly is: "cut"; readonly forMs: number }
  /** What is held comes late, or never. */
  | Someone & {
    readonly is: "hold";
    readonly way: Way;
    readonly forMs: number;
    readonly comesLate: boolean;
  }
  | Someone & { readonly is: "slow"; readonly byMs: number; readonly forMs: number }
  | {
    readonly is: "server";
    readonly how: "kill" | "stop" | "pause";
    readonly which: Which;
    readonly forMs: number;
  }
  /** A server is cut off from the other servers, and perhaps from everybody. */
  | {
    readonly is: "isolate";
    readonly how: "cut" | "hold";
    readonly which: Which;
    readonly fromAll: boolean;
    readonly forMs: number;
  }
  | { readonly is: "delete consumer"; readonly of: "TASKS" | "TICKS"; readonly number: number }
  | { readonly is: "purge"; readonly what: "TASKS" | "TICKS" }
  /**
   * The disk is full and the server must be started anew; or JetStream's limit is reached, for a
   * while.
   */
  | { readonly is: "fill"; readonly what: "disk" | "store"; readonly forMs: number };

export interface Step {
  /** After the step before has come to its end. */
  readonly afterMs: number;
  readonly fault: Fault;
}

/** Faults that follow each other; those of other lanes meet them. */
interface Lane {
  readonly everyMs: readonly [least: number, most: number];
  readonly fault: (rolls: Rolls) => Fault;
}

export type StageKind = "single" | "cluster" | "small disk";

export interface Scenario {
  readonly name: string;
  readonly stage: StageKind;
  readonly lanes: readonly Lane[];
}

/** Leases are short, so that more happens; pauses are longer than they are. */
export const TASK_LEASE_MS = 3_000;
export const TICK_LEASE_MS = 2_000;

const between = (rolls: Rolls, least: number, most: number) => least + rolls.roll(most - least + 1);

function someone(rolls: Rolls, roles: readonly Role[]): Someone {
  return { role: rolls.pick(roles), number: rolls.roll(60) };
}

const EVERYONE: readonly Role[] = ["worker", "worker", "processor", "client"];

function death(rolls: Rolls): Fault {
  const is = rolls.often(70) ? "kill" : "stop";
  return { is, ...someone(rolls, EVERYONE), awayMs: rolls.roll(1_000) };
}

function pause(rolls: Rolls): Fault {
  const forMs = between(rolls, 500, 2 * TASK_LEASE_MS);
  return { is: "pause", ...someone(rolls, EVERYONE), forMs };
}

function network(rolls: Rolls): Fault {
  const whose = someone(rolls, EVERYONE);
  const forMs = between(rolls, 200, 5_000);
  switch (rolls.roll(4)) {
    case 0:
      return { is: "cut", ...whose, forMs };
    case 1:
      return { is: "slow", ...whose, byMs: between(rolls, 20, 800), forMs };
    default: {
      const way = rolls.pick(["out", "in", "both"] as const);
      return { is: "hold", ...whose, way, forMs, comesLate: rolls.often(50) };
    }
  }
}

function server(rolls: Rolls, which: Which): Fault {
  const how = rolls.pick(["kill", "kill", "stop", "pause"] as const);
  return { is: "server", how, which, forMs: between(rolls, 100, 5_000) };
}

function anyServer(rolls: Rolls): Which {
  return rolls.often(70)
    ? { is: "leader", of: rolls.pick(["FACTS", "TASKS", "TICKS"] as const) }
    : { is: "any", number: rolls.roll(60) };
}

function isolation(rolls: Rolls): Fault {
  return {
    is: "isolate",
    how: rolls.pick(["cut", "hold"] as const),
    which: anyServer(rolls),
    fromAll: rolls.often(50),
    forMs: between(rolls, 2_000, 8_000),
  };
}

function meddling(rolls: Rolls): Fault {
  const what = rolls.pick(["TASKS", "TICKS"] as const);
  return rolls.often(50)
    ? { is: "delete consumer", of: what, number: rolls.roll(60) }
    : { is: "purge", what };
}

/** By less than what a run may take to end: delays are told between processes as moments. */
function jump(rolls: Rolls): Fault {
  return { is: "jump", ...someone(rolls, EVERYONE), byMs: between(rolls, -10_000, 10_000) };
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "processes",
    stage: "single",
    lanes: [
      { everyMs: [200, 1_500], fault: death },
      { everyMs: [200, 1_500], fault: pause },
    ],
  },
  {
    name: "server",
    stage: "single",
    lanes: [{
      everyMs: [300, 1_500],
      fault: (rolls) => server(rolls, { is: "any", number: 0 }),
    }],
  },
  {
    name: "network",
    stage: "single",
    lanes: [
      { everyMs: [200, 1_500], fault: network },
      { everyMs: [200, 1_500], fault: network },
    ],
  },
  {
    name: "meddling",
    stage: "single",
    lanes: [{ everyMs: [300, 1_500], fault: meddling }],
  },
  {
    name: "clocks",
    stage: "single",
    lanes: [
      { everyMs: [200, 1_000], fault: jump },
      { everyMs: [1_000, 3_000], fault: death },
    ],
  },
  {
    name: "disk",
    stage: "small disk",
    lanes: [{
      everyMs: [1_000, 3_000],
      fault: (rolls) => ({
        is: "fill",
        what: rolls.pick(["disk", "store"] as const),
        forMs: between(rolls, 500, 3_000),
      }),
    }],
  },
  {
    name: "cluster",
    stage: "cluster",
    lanes: [{
      everyMs: [500, 3_000],
      fault: (rolls) => rolls.often(50) ? server(rolls, anyServer(rolls)) : isolation(rolls),
    }],
  },
  {
    name: "everything",
    stage: "cluster",
    lanes: [
      {
        everyMs: [1_000, 5_000],
        fault: (rolls) => rolls.often(50) ? server(rolls, anyServer(rolls)) : isolation(rolls),
      },
      { everyMs: [500, 3_000], fault: (rolls) => rolls.pick([death, pause, network])(rolls) },
      { everyMs: [1_000, 4_000], fault: (rolls) => rolls.pick([meddling, jump])(rolls) },
    ],
  },
];

/** The steps of a lane, without end. */
export function* stepsOf({ everyMs, fault }: Lane, rolls: Rolls): Generator<Step, never> {
  for (;;) yield { afterMs: between(rolls, ...everyMs), fault: fault(rolls) };
}

/** What it is counted as. */
export function kindOf(fault: Fault): string {
  switch (fault.is) {
    case "kill":
    case "stop":
    case "pause":
    case "cut":
    case "hold":
    case "slow":
      return `${fault.is} ${fault.role}`;
    case "jump":
      return `clock of ${fault.role}`;
    case "server":
      return `${fault.how} server`;
    case "isolate":
      return `${fault.how} ${fault.fromAll ? "server" : "routes"}`;
    case "delete consumer":
      return `delete ${fault.of} consumer`;
    case "purge":
      return `purge ${fault.what}`;
    case "fill":
      return `${fault.what} full`;
  }
  return fault satisfies never;
}
