/**
 * Removes what came too late: an outcome of a handler that was still running when its run was removed, a view of a
 * processor that had stood still. Sweeps go by definitions, and would never meet it; a run that is submitted again with the
 * id would take it for its own. The head of a definition is written before anything else of a run but the definition's own
 * parts. So what has no head belongs to no run under way, and of a run that is being submitted nothing is touched: neither
 * the parts of its definition, nor what is recorded after the look.
 */
import { isId } from "../core/ids.ts";
import { isCount } from "../core/limits.ts";
import {
  ALL_HEADS,
  controlsOf,
  definitionKey,
  endsOf,
  everythingOf,
  outcomesOf,
  parseKey,
  workflowOf,
} from "../core/keys.ts";
import { blobIn, parseRecord } from "../core/records.ts";
import type { Ports, View } from "../ports.ts";

/** Says up to where the log was looked through. */
const PLACE_VIEW = "orphans";
/** Views of runs, by the run's id. */
const PREFIXES = ["wf.", "begun.", "log."] as const;
/** Questions to the server at once. */
const BATCH = 64;

const encoder = new TextEncoder();

/** Looks through what was recorded since the last time. */
export async function removeOrphans(ports: Ports): Promise<void> {
  const { facts, views, log } = ports;
  const place = await views.get(PLACE_VIEW);
  // Heads last: whatever was seen before and has none now has lost it.
  const shown = (await Promise.all(PREFIXES.map((prefix) => views.keys(prefix)))).flat();
  const { workflows, next } = await facts.recordedFrom(seqIn(place));
  const heads = new Set((await facts.keys(ALL_HEADS)).map(workflowOf));
  const headless = [...workflows].filter((workflow) => isId(workflow) && !heads.has(workflow));
  // Nearly all of them were removed as they should be.
  const left = await inBatches(headless, (workflow) => facts.next(everythingOf(workflow), 0));
  for (const stored of left) {
    if (stored === undefined) continue;
    const workflow = workflowOf(stored.key);
    log("info", `what was recorded of ${workflow} after it was removed is removed too`, {
      event: "late-records-removed",
      run: workflow,
    });
    await removeLate(ports, workflow, next);
  }
  const ownerless = shown.filter((key) => !heads.has(key.split(".")[1]!));
  await inBatches(ownerless, (key) => removeView(ports, key));
  await views.swap(PLACE_VIEW, place?.revision ?? 0, writeSeq(next));
}

/** Facts last: they lead to the blobs. @param before a run that is submitted meanwhile records only what stands later. */
async function removeLate(
  { facts, blobs }: Ports,
  workflow: string,
  before: number,
): Promise<void> {
  for (const { key, seq, note } of await facts.scan(outcomesOf(workflow))) {
    const blob = blobIn(note);
    if (parseKey(key) !== undefined && seq < before && blob !== undefined) await blobs.remove(blob);
  }
  for (const filter of [outcomesOf, controlsOf, endsOf]) {
    await facts.purge(filter(workflow), before);
  }
}

async function removeView({ views, facts }: Ports, key: string): Promise<void> {
  const view = await views.get(key);
  if (view === undefined) return;
  if (await facts.read(definitionKey(key.split(".")[1]!)) !== undefined) return;
  await views.remove(key, view.revision);
}

function seqIn(place: View | undefined): number {
  const { seq } = place === undefined ? {} : parseRecord(place.data) ?? {};
  return isCount(seq) ? seq : 0;
}

function writeSeq(seq: number): Uint8Array {
  return encoder.encode(JSON.stringify({ v: 1, seq }));
}

async function inBatches<T, R>(all: readonly T[], act: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < all.length; i += BATCH) {
    results.push(...await Promise.all(all.slice(i, i + BATCH).map(act)));
  }
  return results;
}
