/**
 * Makes a run: its definition becomes durable, then its tick. Safe to repeat with the same id and content. For clients, for
 * workers whose task expands, and for processors.
 */
import {
  chunkName,
  decodeHead,
  type EncodedDefinition,
  encodeDefinition,
} from "../core/definition_codec.ts";
import type { Definition } from "../core/definition.ts";
import { ConflictError } from "../core/errors.ts";
import { definitionKey } from "../core/keys.ts";
import { type RunStatus, writeStatus } from "../core/records.ts";
import { Scheduler } from "../core/scheduler.ts";
import type { Ports } from "../ports.ts";

/** Chunks of a definition under way at once. */
const UPLOAD_WINDOW = 16;

/**
 * Resolves once definition and tick are durable: "exists" when somebody (perhaps this caller before) had submitted it.
 * @throws {ConflictError} when the id is taken by other content, {PayloadTooLargeError}, {UnavailableError}
 */
export async function submitDefinition(
  ports: Ports,
  id: string,
  definition: Definition,
): Promise<"created" | "exists"> {
  const encoded = await encodeDefinition(definition, ports.maxRecord);
  // Chunks before the head: the head makes it a workflow. Nothing is uploaded for an id that is taken.
  if (encoded.chunks.length > 0) {
    await refuseOther(ports, id, encoded);
    await upload(ports, id, encoded);
  }
  const written = await ports.facts.create(definitionKey(id), encoded.head);
  if (written === "exists") await refuseOther(ports, id, encoded);
  await Promise.all([
    ports.ticks.ensure(id),
    written === "created" ? showNew(ports, id, definition) : undefined,
  ]);
  return written;
}

/** @throws {ConflictError} when the id is taken by other content. */
export async function checkFree(ports: Ports, id: string, definition: Definition): Promise<void> {
  await refuseOther(ports, id, await encodeDefinition(definition, ports.maxRecord));
}

async function refuseOther(
  { facts }: Ports,
  id: string,
  { digest }: EncodedDefinition,
): Promise<void> {
  const stored = await facts.read(definitionKey(id));
  if (stored === undefined || decodeHead(stored.data).digest === digest) return;
  throw new ConflictError(
    `Cannot submit workflow "${id}": the id is taken by a workflow with other content`,
    {
      hint: "Choose another id, or submit exactly the same workflow to get its run.",
    },
  );
}

async function upload(
  { facts }: Ports,
  id: string,
  { chunks, digest }: EncodedDefinition,
): Promise<void> {
  for (let i = 0; i < chunks.length; i += UPLOAD_WINDOW) {
    await Promise.all(
      chunks.slice(i, i + UPLOAD_WINDOW).map((chunk, k) =>
        facts.create(definitionKey(id, chunkName(digest, i + k + 1)), chunk)
      ),
    );
  }
}

/** So that it can be listed before a processor has seen it. A view: failing to write it fails nothing. */
async function showNew(
  { views, clock, log }: Ports,
  id: string,
  definition: Definition,
): Promise<void> {
  const scheduler = new Scheduler(definition, id, clock.now());
  scheduler.begin();
  const status = statusOf(id, definition, clock.now(), {
    state: "INITIAL",
    counts: scheduler.counts(),
    round: 1,
  });
  await views.swap(`wf.${id}`, 0, writeStatus(status)).catch((error) =>
    log("debug", `the view of ${id} was not written`, { error })
  );
}

/** A run's status, put together from what never changes and what does. */
export function statusOf(
  id: string,
  { name, payload, parent }: Definition,
  submittedAt: number,
  now: Pick<RunStatus, "state" | "counts" | "round" | "finishedAt">,
): RunStatus {
  const { finishedAt, ...rest } = now;
  return {
    id,
    name,
    ...rest,
    submittedAt,
    ...(finishedAt === undefined ? {} : { finishedAt }),
    ...(payload === undefined ? {} : { payload: JSON.parse(payload) }),
    ...(parent === undefined ? {} : { parent: { id: parent.workflow, node: parent.node } }),
  };
}
