/**
 * Which calls go wrong, and how. A fault follows from the seed and from the name of the call that it hits, so one can be
 * left out without moving the others: that is what shrinking does. Never does anything itself.
 */
import { chanceOf, Rolls } from "./rolls.ts";

/** What can happen to a question to the server and its answer. */
export const ASKING = [
  /** The process dies, the question was never sent. */
  "crash before",
  /** The process dies, the server has done what was asked. */
  "crash after",
  "pause before",
  "pause after",
  "lose request",
  "lose reply",
  "delay request",
  "delay reply",
  /** The connection breaks: questions, hints and messages of the next seconds are lost. */
  "disconnect",
] as const;

/** What can happen to what is told and not answered: an ack, a hint, a wish for more. */
export const TELLING = ["crash before", "crash after", "pause before", "lose", "delay"] as const;
/** A hint on its way to one listener. */
export const HINTING = ["lose", "delay", "repeat"] as const;
/** A message that is handed out. */
export const DELIVERING = ["lose", "delay"] as const;
/** What happens to the server, or to a process that is asked to stop: looked at once in a while. */
export const SERVING = ["restart", "power cut", "hand over"] as const;
/** What a message asks to be given back for, and what the server makes of it. */
export const NAKING = ["early", "late"] as const;
/** A read that may be of a copy. */
export const COPYING = ["stale"] as const;

export type Fault =
  | (typeof ASKING)[number]
  | (typeof TELLING)[number]
  | (typeof HINTING)[number]
  | (typeof SERVING)[number]
  | (typeof NAKING)[number]
  | (typeof COPYING)[number];

export interface Injected {
  /** The call that it hit. */
  readonly at: string;
  readonly fault: Fault;
}

/** A place where something can go wrong. */
export interface Call {
  readonly at: string;
  readonly kinds: readonly Fault[];
}

export interface FaultOptions {
  readonly seed: number;
  /** Faults in a thousand calls. */
  readonly perMille: number;
  /** Kinds that never happen in this schedule. */
  readonly without: ReadonlySet<Fault>;
  /** At most so many. */
  readonly most: number;
  /** These and no others, when given: by the name of the call. */
  readonly only?: ReadonlyMap<string, Fault>;
}

export class Faults {
  readonly #options: FaultOptions;
  readonly injected: Injected[] = [];
  /** Kept only where the faults are chosen one by one. */
  readonly calls: Call[] = [];
  #healed = false;

  constructor(options: FaultOptions) {
    this.#options = options;
  }

  /** From now on all goes well. */
  heal(): void {
    this.#healed = true;
  }

  get healed(): boolean {
    return this.#healed;
  }

  decide<F extends Fault>(at: string, kinds: readonly F[]): F | undefined {
    const fault = this.#healed ? undefined : this.#draw(at, kinds);
    if (fault !== undefined) this.injected.push({ at, fault });
    return fault;
  }

  #draw<F extends Fault>(at: string, kinds: readonly F[]): F | undefined {
    const { seed, perMille, without, most, only } = this.#options;
    if (only !== undefined) {
      this.calls.push({ at, kinds });
      const fault = only.get(at) as F | undefined;
      return fault !== undefined && kinds.includes(fault) ? fault : undefined;
    }
    if (perMille === 0 || this.injected.length >= most) return undefined;
    const drawn = chanceOf(seed, at) * 1_000;
    if (drawn >= perMille) return undefined;
    const fault = kinds[Math.floor((drawn / perMille) * kinds.length)]!;
    return without.has(fault) ? undefined : fault;
  }
}

export function noFaults(seed: number): FaultOptions {
  return { seed, perMille: 0, without: new Set(), most: 0 };
}

/** A schedule has faults of some kinds only: what always happens together hides what happens alone. */
export function anyFaults(seed: number): Omit<FaultOptions, "only"> {
  const rolls = new Rolls(seed, "faults");
  if (rolls.often(8)) return noFaults(seed);
  const all: readonly Fault[] = [
    ...ASKING,
    ...TELLING,
    ...HINTING,
    ...SERVING,
    ...NAKING,
    ...COPYING,
  ];
  const share = rolls.pick([20, 50, 80]);
  const without = new Set(all.filter(() => rolls.often(share)));
  // What a power cut takes away excuses much: only few schedules have one.
  if (rolls.often(90)) without.add("power cut");
  return { seed, perMille: rolls.pick([4, 15, 40, 100]), without, most: 1 + rolls.roll(12) };
}
