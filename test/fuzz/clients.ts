/** A run whose every record may be wrong, as clients look at it: they get an answer, or an error of the library's own. */
import { list } from "../../src/client/list.ts";
import { liveProcessors, liveWorkers } from "../../src/client/live.ts";
import { Run } from "../../src/client/run.ts";
import { schedules } from "../../src/client/schedules.ts";
import { DyrygentError } from "../../src/core/errors.ts";
import {
  controlKey,
  definitionKey,
  endKey,
  expansionKey,
  outcomeKey,
} from "../../src/core/keys.ts";
import {
  writeControl,
  writeEnd,
  writeEndNote,
  writeExpansion,
  writeFailure,
  writeOutcomeNote,
  writeStatus,
} from "../../src/core/records.ts";
import { writeSchedule } from "../../src/core/schedule.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Ports } from "../../src/ports.ts";
import type { Pieces } from "./mutate.ts";
import type { Reader } from "./readers.ts";
import * as records from "./records.ts";

const { AT, RUN, bytes, codec } = records;
const decoder = new TextDecoder();

async function samples(): Promise<Pieces[]> {
  const head = await records.smallDefinition();
  const [ran, , expanded, big] = records.notes.map((note) => bytes(writeOutcomeNote(note)));
  const failed = bytes(writeOutcomeNote(records.notes[1]!));
  const control = writeControl({ id: "c", at: AT, control: { is: "rerun", nodes: [0] } });
  const view = writeStatus(records.statuses[1]!);
  const schedule = writeSchedule(records.schedules()[0]!);
  const failure = writeFailure({ name: "Error", message: "no" });
  const rest = [
    writeExpansion({ child: RUN, at: AT }),
    view,
    schedule,
    bytes(writeEndNote("keep")),
  ];
  const [success, failedEnd] = records.ends.map(writeEnd);
  return [
    [head, ran!, bytes("5"), success!, control, ...rest],
    [head, expanded!, bytes(""), success!, bytes(""), ...rest],
    [head, big!, bytes('{"blob":"x","size":5}'), success!, bytes(""), ...rest],
    [head, failed, failure, failedEnd!, bytes(""), ...rest],
  ];
}

/** The pieces of a sample, at their places. */
async function write(ports: Ports, pieces: Pieces): Promise<void> {
  const [head, note, body, end, control, expansion, view, schedule, endNote] = pieces;
  const put = async (key: string, data: Uint8Array | undefined, note?: Uint8Array) => {
    if (data === undefined) return;
    await ports.facts.create(key, data, note && decoder.decode(note));
  };
  await put(definitionKey(RUN), head);
  for (const node of [0, 1]) await put(outcomeKey(RUN, node, 1), body, note);
  await put(expansionKey(RUN, 1, 1), expansion);
  await put(endKey(RUN, 1), end, endNote);
  if (control !== undefined && control.length > 0) await put(controlKey(RUN, 1), control);
  const views = [[`wf.${RUN}`, view], ["worker.w", view], ["schedule.s", schedule]] as const;
  for (const [key, data] of views) if (data !== undefined) await ports.views.put(key, data);
}

/** What comes of it: a value, an error that may come, or nothing as yet. */
async function outcome(act: () => Promise<unknown>): Promise<string> {
  let settled: string | undefined;
  act().then(
    (value) => settled = typeof value,
    (error) => {
      settled = error instanceof DyrygentError ? error.name : `untyped ${String(error?.stack)}`;
    },
  );
  for (let turns = 0; settled === undefined && turns < 60; turns++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  if (settled?.startsWith("untyped") === true) throw new Error(settled);
  return settled ?? "waits";
}

async function all(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0;
  for await (const _ of items) count++;
  return count;
}

async function read(pieces: Pieces): Promise<string> {
  const random = new SeededRandom(1);
  const ports = memoryPorts({ clock: new VirtualClock(), random, log: () => {}, codec });
  await write(ports, pieces);
  const run = new Run(ports, RUN);
  const questions: (() => Promise<unknown>)[] = [
    () => run.status(),
    () => run.result(),
    () => run.result(0),
    () => run.result(1),
    () => run.attempts(0),
    () => run.attempts(1),
    () => all(run.watch()),
    () => all(list(ports)),
    () => all(list(ports, { state: "SUCCESS", payload: { team: "storage" } })),
    () => all(schedules(ports)),
    () => liveWorkers(ports),
    () => liveProcessors(ports),
    () => run.cancel(),
    () => run.retryFailed(),
    () => run.remove(),
  ];
  const answers: string[] = [];
  for (const ask of questions) answers.push(await outcome(ask));
  return answers.join(" ");
}

export const readWithClients: Reader = { name: "client", share: 8, samples, read };
