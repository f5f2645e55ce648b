/**
 * When an attempt whose rate is limited may begin: starts are evenly spaced, and the moment of the last one is all that
 * workers need to share. Only decisions are here; who asks, waits and writes is the worker.
 */
import type { Rate } from "./lanes.ts";
import { parseRecord } from "./records.ts";

/**
 * A moment is only claimed when it is this near, milliseconds: a worker that dies costs no start that others could have
 * made, and the slot that waits for the moment is not kept for long.
 */
export const CLAIM_AHEAD_MS = 50;

/** Starts may come so much later than their moments; the moments lie so far apart that it does no harm. */
export function slackMs({ perMs }: Rate): number {
  return Math.min(perMs / 20, 250);
}

/** Between two starts. Any `max + 1` in a row then take longer than `perMs`, even if the first one comes late. */
export function spacingMs(rate: Rate): number {
  return (rate.perMs + slackMs(rate)) / rate.max;
}

export type StartDecision =
  /** The moment `at` is free: once it is recorded as the last start, it is the asker's. */
  | { readonly is: "claim"; readonly at: number }
  /** Ask again in `afterMs`. */
  | { readonly is: "later"; readonly afterMs: number };

/**
 * @param last the last start that was claimed, as recorded; undefined when none is.
 * @param now milliseconds since 1970, like `last`.
 */
export function decideStart(rate: Rate, last: number | undefined, now: number): StartDecision {
  const at = Math.max(now, last === undefined ? now : last + spacingMs(rate));
  return at <= now + CLAIM_AHEAD_MS
    ? { is: "claim", at }
    : { is: "later", afterMs: at - CLAIM_AHEAD_MS - now };
}

/** Whether it is too late to begin at a moment that was claimed: others may begin at theirs. */
export function isMissed(rate: Rate, at: number, now: number): boolean {
  return now > at + slackMs(rate);
}

/** The key of the view. */
export const RATES = "rate.";
/** A start that is so old keeps nobody waiting: the longest span of a rate is a day. An hour more, as clocks differ. */
export const START_MATTERS_MS: number = 25 * 3_600_000;

export function rateKey(queue: string, key: string): string {
  return `${RATES}${queue}.${key}`;
}

export function writeLastStart(at: number): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ v: 1, at }));
}

export function readLastStart(data: Uint8Array): number | undefined {
  const { v, at } = parseRecord(data) ?? {};
  return v === 1 && typeof at === "number" && Number.isFinite(at) ? at : undefined;
}
