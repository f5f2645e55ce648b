/**
 * Virtual time and everything that is going to happen: events in the order of their moments, one at a time. Nothing
 * happens outside of it, so what a seed did once it does again. Never waits in real time.
 */
import process from "node:process";
import type { Cancel } from "../src/ports.ts";

interface Event {
  readonly at: number;
  /** Events of the same moment happen in the order in which they were planned. */
  readonly order: number;
  call: (() => void) | undefined;
}

/** A round date, so that stories of different seeds can be compared. */
export const BEGINNING = Date.UTC(2026, 0, 1);

export class VirtualWorld {
  #now = 0;
  #order = 0;
  #planned = 0;
  /** A heap: the next one first. */
  readonly #events: Event[] = [];

  /** Milliseconds since the beginning. */
  get now(): number {
    return this.#now;
  }

  after(ms: number, call: () => void): Cancel {
    const event: Event = { at: this.#now + Math.max(0, ms), order: this.#order++, call };
    this.#planned++;
    this.#push(event);
    return () => {
      if (event.call !== undefined) this.#planned--;
      event.call = undefined;
    };
  }

  /** When the next event happens; undefined when there is none. */
  get nextAt(): number | undefined {
    while (this.#events.length > 0 && this.#events[0]!.call === undefined) this.#pop();
    return this.#events[0]?.at;
  }

  /** Lets the next event happen, and all that follows from it at once. @returns false when there is none. */
  async step(): Promise<boolean> {
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      const { call } = event;
      if (call === undefined) continue;
      event.call = undefined;
      this.#planned--;
      this.#now = event.at;
      call();
      await settled();
      return true;
    }
    return false;
  }

  #push(event: Event): void {
    const events = this.#events;
    let at = events.push(event) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!isEarlier(event, events[above]!)) break;
      events[at] = events[above]!;
      at = above;
    }
    events[at] = event;
  }

  #pop(): Event | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (last === undefined || events.length === 0) return first;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= events.length) break;
      if (below + 1 < events.length && isEarlier(events[below + 1]!, events[below]!)) below++;
      if (!isEarlier(events[below]!, last)) break;
      events[at] = events[below]!;
      at = below;
    }
    events[at] = last;
    return first;
  }
}

/** All promises that can be settled without time are: what waits for the next tick comes after the last of them. */
export function settled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

function isEarlier(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
