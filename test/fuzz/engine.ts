/**
 * A run whose every record may be wrong, conducted and worked on in virtual time, with a sound one beside it: the sound one
 * succeeds, and the other ends too, or is left to somebody newer. Nobody tries for ever what can never be done.
 */
import { Run } from "../../src/client/run.ts";
import { decodeHead, versionOf } from "../../src/core/definition_codec.ts";
import { controlKey, definitionKey, expansionKey, outcomeKey } from "../../src/core/keys.ts";
import {
  readEnd,
  writeBegun,
  writeControl,
  writeExpansion,
  writeOutcomeNote,
  writeStatus,
} from "../../src/core/records.ts";
import { writeSchedule } from "../../src/core/schedule.ts";
import { task } from "nats-dyrygent";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { Processor } from "../../src/processor/processor.ts";
import type { Ports } from "../../src/ports.ts";
import { Worker } from "../../src/worker/worker.ts";
import type { Pieces } from "./mutate.ts";
import type { Reader } from "./readers.ts";
import * as records from "./records.ts";

const { AT, RUN, bytes } = records;
const decoder = new TextDecoder();
const SOUND = "sound";
/** The time-out of the samples. */
const TIMEOUT_MS = 600_000;
/** And of what cleans up after them, and some more. */
const LIMIT_MS = 3 * TIMEOUT_MS;
/** What has given itself longer is left then. */
const PATIENCE_MS = 120_000;
const MOST_TURNS = 20_000;
/** So often may the same be said. */
const MOST_TIMES = 60;

const tasks = [
  task("add", (a: number, b: number) => a + b),
  task("echo", (...values: unknown[]) => values.length),
  task("work", (spec: { fails?: number } | null) => {
    if ((spec?.fails ?? 0) > 0) throw new Error("as planned");
    return 1;
  }),
  task("list", (length: number) => new Array(Math.min(3, Number(length) || 0)).fill({})),
  task("tell", () => null),
];

const sound = await records.smallDefinition();

async function samples(): Promise<Pieces[]> {
  const heads = (await records.definitions()).filter(({ length }) => length === 1);
  const [message, , summary] = records.taskMessages();
  const note = bytes(writeOutcomeNote(records.notes[0]!));
  const event = { is: "event", name: "approved", data: { by: 1 } } as const;
  const rest = [
    note,
    bytes("5"),
    writeControl({ id: "c", at: AT, control: event }),
    bytes(""),
    bytes(""),
    writeStatus(records.statuses[0]!),
    writeBegun({ at: AT, times: 1 }),
    writeSchedule(records.schedules()[1]!),
  ];
  const expansion = writeExpansion({ child: "x__0_1", at: AT });
  return heads.flatMap(([head]) => [
    [head!, ...rest],
    [head!, ...rest.with(3, message!)],
    [head!, ...rest.with(3, summary!).with(4, expansion)],
  ]);
}

async function write(ports: Ports, pieces: Pieces): Promise<void> {
  const { facts, views, tasks: queue, ticks } = ports;
  const [head, note, body, control, message, expansion, status, begun, schedule] = pieces;
  if (head !== undefined) await facts.create(definitionKey(RUN), head);
  if (body !== undefined) {
    await facts.create(outcomeKey(RUN, 0, 1), body, note && decoder.decode(note));
  }
  if (control !== undefined) await facts.create(controlKey(RUN, 1), control);
  if (expansion !== undefined && expansion.length > 0) {
    await facts.create(expansionKey(RUN, 1, 1), expansion);
  }
  if (message !== undefined && message.length > 0) {
    const address = { queue: "default", lane: "p5", workflow: RUN, node: 1, attempt: 1 };
    await queue.publish(address, message);
  }
  const shown = [[`wf.${RUN}`, status], [`begun.${RUN}.0.1`, begun], [
    "schedule.s",
    schedule,
  ]] as const;
  for (const [key, data] of shown) if (data !== undefined) await views.put(key, data);
  await ticks.wake(RUN);
  await facts.create(definitionKey(SOUND), sound);
  await ticks.wake(SOUND);
}

/** Lets everything happen that needs no time. What is asked of threads (digests) takes some all the same. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

async function conduct(pieces: Pieces): Promise<string> {
  const clock = new VirtualClock();
  const said = new Map<string, number>();
  let why = "";
  const ports = memoryPorts({
    clock,
    random: new SeededRandom(1),
    log: (level, message) => {
      if (level !== "warn" && level !== "error") return;
      why = message.replace(/\d+/g, "0");
      said.set(why, (said.get(why) ?? 0) + 1);
    },
  });
  await write(ports, pieces);
  const seldom = { tick: { idle: ["1m", "10m"] }, sweep: "30d", schedules: "30d" } as const;
  const worker = new Worker(ports, { tasks, concurrency: 4 }, { isAnnounced: false });
  const processor = new Processor(ports, { ...seldom, retention: "30d" }, { isAnnounced: false });
  await worker.start();
  await processor.start();
  const ended = async (run: string) => await ports.facts.read(`${run}.end.1`);
  const limitMs = mustEnd(pieces[0]) ? LIMIT_MS : PATIENCE_MS;
  let soundAt = Infinity;
  let turns = 0;
  while (
    clock.monotonic() < limitMs && turns++ < MOST_TURNS && (said.get(why) ?? 0) <= MOST_TIMES
  ) {
    await turn();
    if (soundAt === Infinity && await ended(SOUND) !== undefined) soundAt = clock.monotonic();
    if (soundAt < Infinity && await ended(RUN) !== undefined) break;
    if (!clock.fireNext()) break;
  }
  const end = await ended(RUN);
  const { state } = await new Run(ports, SOUND).status();
  if (state !== "SUCCESS") throw new Error(`the sound run is ${state}`);
  if (soundAt > 60_000) throw new Error(`the sound run took ${soundAt} ms`);
  // Somebody else may have the key, or bring back what was removed.
  const mayCome = /has no codec|not there any more|is gone/.test(why);
  if (said.get(why)! > MOST_TIMES && !mayCome) throw new Error(`tried again and again: ${why}`);
  if (end === undefined && !mayCome && mustEnd(pieces[0])) {
    throw new Error(`the run has not ended after ${turns} turns, ${clock.monotonic()} ms: ${why}`);
  }
  const stopped = Promise.all([worker.stop({ timeout: 1 }), processor.stop()]);
  let isStopped = false;
  void stopped.then(() => isStopped = true);
  for (let i = 0; !isStopped && i < 1_000; i++) {
    await turn();
    if (!isStopped) clock.fireNext();
  }
  return `${end === undefined ? "left" : readEnd(end.data)?.state} ${why.replace(/".*/, "")}`
    .slice(0, 90);
}

/** Not where it is left to somebody newer, or gives itself longer. */
function mustEnd(head: Uint8Array | undefined): boolean {
  if (head === undefined || (versionOf(head) ?? 0) > 1) return false;
  try {
    const { timeoutMs, start } = decodeHead(head);
    const isLater = Object.values(start ?? {}).some((value) => Number(value) > 1_000) &&
      ((start?.countdownMs ?? 0) > 1_000 || (start?.notBefore ?? 0) > AT);
    return timeoutMs <= TIMEOUT_MS && !isLater;
  } catch {
    return true;
  }
}

export const conductAll: Reader = { name: "engine", share: 3, samples, read: conduct };
