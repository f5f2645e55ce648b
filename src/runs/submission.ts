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
import { wholeDefinition } from "../core/recorded.ts";
import { type RunStatus, writeStatus } from "../core/records.ts";
import { Scheduler } from "../core/scheduler.ts";
import { sealDefinition, unsealDefinition } from "../core/sealed_definition.ts";
import type { Codec } from "../core/sealing.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Ports } from "../ports.ts";
import type { Cause } from "../telemetry.ts";

/** Chunks of a definition under way at once. */
const UPLOAD_WINDOW = 16;

/**
 * Resolves once definition and tick are durable: "exists" when somebody (perhaps this caller before) had submitted it.
 * @param cause what it is submitted in: all that the run does is part of that.
 * @throws {ConflictError} when the id is taken by other content, {PayloadTooLargeError}, {UnavailableError}, {CodecError} when
 * the codec cannot seal it, or cannot read what has the id already
 */
export async function submitDefinition(
  ports: Ports,
  id: string,
  definition: Definition,
  cause: Cause = "none",
): Promise<"created" | "exists"> {
  const { telemetry } = ports;
  const trace = typeof cause === "string" ? undefined : cause;
  if (telemetry === undefined) return await makeRun(ports, id, definition, trace);
  const { name, graph } = definition;
  const span = telemetry.begin({
    is: "submit",
    run: id,
    workflow: name,
    nodes: graph.size,
    parent: cause,
  });
  try {
    const outcome = await makeRun(ports, id, definition, span.trace ?? trace);
    if (outcome === "created") telemetry.measure({ is: "submitted", workflow: name });
    span.end({ outcome });
    return outcome;
  } catch (error) {
    // To some callers it is as good as a run of their own: they know.
    const isTaken = error instanceof ConflictError;
    span.end(isTaken ? { outcome: "conflict" } : { outcome: "failed", failure: error as Error });
    throw error;
  }
}

async function makeRun(
  ports: Ports,
  id: string,
  definition: Definition,
  trace: TraceContext | undefined,
): Promise<"created" | "exists"> {
  const { stored, encoded } = await prepare(ports, definition);
  // Chunks before the head: the head makes it a workflow. Nothing is uploaded for an id that is taken.
  const isKnown = encoded.chunks.length > 0 && await isSubmitted(ports, id, encoded, definition);
  const isNew = !isKnown && await write(ports, id, encoded, trace);
  if (!isKnown && !isNew) await isSubmitted(ports, id, encoded, definition);
  await Promise.all([
    ports.ticks.ensure(id),
    isNew ? showNew(ports, id, stored) : undefined,
  ]);
  return isNew ? "created" : "exists";
}

/** The same, of a definition that is stored as it is: what was to be sealed is sealed already. */
export function submitAsItIs(
  ports: Ports,
  id: string,
  definition: Definition,
): Promise<"created" | "exists"> {
  return submitDefinition({ ...ports, codec: undefined }, id, definition);
}

/** @throws {ConflictError} when the id is taken by other content. */
export async function checkFree(ports: Ports, id: string, definition: Definition): Promise<void> {
  await isSubmitted(ports, id, (await prepare(ports, definition)).encoded, definition);
}

async function prepare(
  { codec, maxRecord }: Ports,
  definition: Definition,
): Promise<{ stored: Definition; encoded: EncodedDefinition }> {
  const stored = codec === undefined ? definition : await sealDefinition(codec, definition);
  return { stored, encoded: await encodeDefinition(stored, maxRecord) };
}

/** Whether this very workflow has the id already. @throws {ConflictError} when another one has it */
async function isSubmitted(
  ports: Ports,
  id: string,
  { digest }: EncodedDefinition,
  plain: Definition,
): Promise<boolean> {
  const stored = await ports.facts.read(definitionKey(id));
  if (stored === undefined) return false;
  if (decodeHead(stored.data).digest === digest) return true;
  if (ports.codec !== undefined && await isSame(ports, ports.codec, id, stored.data, plain)) {
    return true;
  }
  throw new ConflictError(
    `Cannot submit workflow "${id}": the id is taken by a workflow with other content`,
    {
      hint: "Choose another id, or submit exactly the same workflow to get its run.",
    },
  );
}

/** A codec may seal the same content differently each time, and no digest of what it hides is published: it is read and compared. */
async function isSame(
  { facts, maxRecord }: Ports,
  codec: Codec,
  id: string,
  head: Uint8Array,
  plain: Definition,
): Promise<boolean> {
  const sealed = await wholeDefinition(id, head, (key) => facts.readRecorded(key));
  const [theirs, ours] = await Promise.all([
    unsealDefinition(codec, sealed).then((definition) => encodeDefinition(definition, maxRecord)),
    encodeDefinition(plain, maxRecord),
  ]);
  return theirs.digest === ours.digest;
}

/** Whether the id was free. */
async function write(
  { facts }: Ports,
  id: string,
  { head, chunks, digest }: EncodedDefinition,
  trace: TraceContext | undefined,
): Promise<boolean> {
  for (let i = 0; i < chunks.length; i += UPLOAD_WINDOW) {
    await Promise.all(
      chunks.slice(i, i + UPLOAD_WINDOW).map((chunk, k) =>
        facts.create(definitionKey(id, chunkName(digest, i + k + 1)), chunk)
      ),
    );
  }
  return await facts.create(definitionKey(id), head, undefined, trace) === "created";
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
    log("debug", `the view of ${id} was not written`, { event: "status-not-shown", run: id, error })
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
