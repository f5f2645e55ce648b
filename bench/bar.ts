/** What every bar is. */
import type { Line } from "./line.ts";
import { Member } from "./member.ts";
import { patiently, type Place } from "./place.ts";
import { Reference } from "./reference.ts";
import { workForReference } from "./reference_worker.ts";

export interface Effort {
  /** How often each side is measured, in turns. */
  readonly runs: number;
  /** Of the full sizes. */
  readonly share: number;
}

export interface Bar {
  readonly name: string;
  measure(effort: Effort): Promise<Line[]>;
}

/** What the reference has under way. */
export const WINDOW = 1_000;

/** The reference at a place, warm. */
export async function openReference(
  place: Place,
  worker: "here" | "apart" = "here",
): Promise<{ reference: Reference } & AsyncDisposable> {
  const name = "reference";
  const reference = new Reference(await place.connect(), name);
  await patiently(() => reference.open(place.replicas));
  const member = worker === "apart"
    ? await Member.start(place, { is: "reference worker", name })
    : undefined;
  if (member === undefined) await workForReference(await place.connect(), name);
  return { reference, [Symbol.asyncDispose]: async () => await member?.[Symbol.asyncDispose]() };
}

/** Both sides so often, one after the other: noise hits them alike. */
export async function inTurns<A, B>(
  runs: number,
  reference: () => Promise<A>,
  engine: () => Promise<B>,
): Promise<{ references: A[]; values: B[] }> {
  const references: A[] = [];
  const values: B[] = [];
  for (let run = 0; run < runs; run++) {
    references.push(await reference());
    values.push(await engine());
  }
  return { references, values };
}
