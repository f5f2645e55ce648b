/**
 * What the tasks of a run have logged, from the records that workers write. Records may change until their attempt has
 * ended, and be lost: what is here is for people, and nobody decides from it.
 */
import { type Definition, labelOf } from "../core/definition.ts";
import { InvalidOptionError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import { endsOf, logsIn, parseLogKey } from "../core/keys.ts";
import { isCount } from "../core/limits.ts";
import { refuseUnknown } from "../core/options.ts";
import { unseal } from "../core/sealing.ts";
import {
  LOG_LEVELS,
  type LogLevel,
  type LogLine,
  readLogLines,
  readTaskLog,
} from "../core/task_log.ts";
import type { Cancel, Ports } from "../ports.ts";
import { lastEnd } from "../runs/end.ts";
import { Bell } from "./bell.ts";

/** Which lines. */
export interface LogsOptions<Reference> {
  /** Only of this node: its handle, number, name or label. @default all nodes */
  node?: Reference;
  /** Only of this attempt of each node, from 1. @default all attempts */
  attempt?: number;
  /** Only these and more urgent ones. @default "debug" */
  level?: LogLevel;
  /** Goes on with what is logged meanwhile, until the run has ended. @default false */
  follow?: boolean;
}

/** A line that a task of the run has logged. */
export interface TaskLogLine extends LogLine {
  readonly node: number;
  readonly label: string;
  /** From 1. */
  readonly attempt: number;
  /** The worker that ran it. */
  readonly worker: string;
  /** Its number among the lines of this execution of the attempt, from 1: also those that are not kept count. */
  readonly line: number;
  /** So many earlier lines of this execution are not kept: there were too many, or they were too big. */
  readonly dropped?: number;
}

/** Options, with the node's number. */
export interface CheckedLogsOptions {
  readonly node: number | undefined;
  readonly attempt: number | undefined;
  readonly level: LogLevel;
  readonly follow: boolean;
}

/** Something told may have been missed: after a quiet time all is read again. */
const LOOK_AGAIN_MS = 10_000;
/** Reads under way at once. */
const READ_BATCH = 64;

/** @param numberOf finds the node. @throws {InvalidOptionError} naming the option. */
export function checkLogsOptions<Reference>(
  options: LogsOptions<Reference>,
  numberOf: (node: Reference) => number,
): CheckedLogsOptions {
  refuseUnknown("logs option", options, ["node", "attempt", "level", "follow"]);
  const { node, attempt, level = "debug", follow = false } = options;
  if (attempt !== undefined && (!isCount(attempt) || attempt < 1)) {
    throw new InvalidOptionError(
      "attempt",
      `attempt = ${quote(attempt)} is not a whole number from 1`,
      { hint: "See run.attempts(node) for those that there are." },
    );
  }
  if (!LOG_LEVELS.includes(level)) {
    throw new InvalidOptionError("level", `level = ${quote(level)} is unknown`, {
      hint: `Use one of ${LOG_LEVELS.join(", ")}.`,
    });
  }
  return { node: node === undefined ? undefined : numberOf(node), attempt, level, follow };
}

/**
 * In the order of their moments; what is followed, as it is told.
 * @param stillThere throws when the run is not there any more: who follows it must not wait for ever.
 * @throws {CodecError} when they are sealed and cannot be read
 */
export async function* logs(
  ports: Ports,
  run: string,
  definition: Definition,
  options: CheckedLogsOptions,
  stillThere: () => Promise<void>,
): AsyncGenerator<TaskLogLine, void, void> {
  const reader = new Reader(ports, run, definition, options);
  if (options.follow) yield* follow(ports, run, reader, stillThere);
  else yield* await reader.readAll();
}

async function* follow(
  { hints, facts, clock }: Ports,
  run: string,
  reader: Reader,
  stillThere: () => Promise<void>,
): AsyncGenerator<TaskLogLine, void, void> {
  const told = new Set<string>();
  let mayBeOver = true;
  const bell = new Bell();
  const look = () => {
    mayBeOver = true;
    bell.ring();
  };
  const cancels: Cancel[] = [
    hints.onTold(`${logsIn(run)}>`, (key) => {
      told.add(key);
      bell.ring();
    }),
    hints.onFact(endsOf(run), look),
    hints.onGap(look),
  ];
  try {
    await hints.settled();
    while (true) {
      if (mayBeOver) {
        mayBeOver = false;
        told.clear();
        // First whether it is over, then the records: those of all outcomes before its end are there by then.
        const last = await lastEnd(facts, run);
        if (last === undefined) await stillThere();
        yield* await reader.readAll();
        if (last?.reopened === false) return;
      } else {
        const keys = [...told];
        told.clear();
        yield* await reader.read(keys);
      }
      if (!await bell.wait(clock, LOOK_AGAIN_MS)) mayBeOver = true;
    }
  } finally {
    for (const cancel of cancels) cancel();
  }
}

/** Gives each line once. */
class Reader {
  readonly #ports: Ports;
  readonly #run: string;
  readonly #definition: Definition;
  readonly #options: CheckedLogsOptions;
  /** Of each record, the number of the last line that was given. */
  readonly #given = new Map<string, number>();

  constructor(ports: Ports, run: string, definition: Definition, options: CheckedLogsOptions) {
    this.#ports = ports;
    this.#run = run;
    this.#definition = definition;
    this.#options = options;
  }

  async readAll(): Promise<TaskLogLine[]> {
    const { node, attempt } = this.#options;
    const prefix = node === undefined ? logsIn(this.#run) : logsIn(this.#run, node, attempt);
    return await this.read(await this.#ports.views.keys(prefix));
  }

  async read(keys: readonly string[]): Promise<TaskLogLine[]> {
    const wanted = keys.filter((key) => this.#isWanted(key)).sort();
    const lines: TaskLogLine[] = [];
    for (let i = 0; i < wanted.length; i += READ_BATCH) {
      const batch = wanted.slice(i, i + READ_BATCH);
      for (const read of await Promise.all(batch.map((key) => this.#readOne(key)))) {
        for (const line of read) lines.push(line);
      }
    }
    // Stable: lines of one execution and moment stay in order.
    return lines.sort((a, b) => a.at - b.at);
  }

  #isWanted(key: string): boolean {
    const parsed = parseLogKey(key);
    if (parsed === undefined) return false;
    const { node, attempt } = this.#options;
    return (node === undefined || node === parsed.node) &&
      (attempt === undefined || attempt === parsed.attempt);
  }

  async #readOne(key: string): Promise<TaskLogLine[]> {
    const { views, codec } = this.#ports;
    const { node, attempt } = parseLogKey(key)!;
    const view = await views.get(key);
    const record = view === undefined ? undefined : readTaskLog(view.data);
    if (record === undefined) return [];
    const lines = readLogLines(await unseal(codec, record.lines));
    const given = this.#given.get(key) ?? 0;
    // A copy may lag behind what was read before.
    this.#given.set(key, Math.max(given, record.dropped + lines.length));
    const least = LOG_LEVELS.indexOf(this.#options.level);
    const label = labelOf(this.#definition, node);
    const { worker } = record;
    const shown = lines
      .map((line, i) => ({ node, label, attempt, worker, line: record.dropped + i + 1, ...line }))
      .filter(({ line, level }) => line > given && LOG_LEVELS.indexOf(level) >= least);
    const dropped = record.dropped - given;
    const [first, ...rest] = shown;
    return first !== undefined && dropped > 0 ? [{ ...first, dropped }, ...rest] : shown;
  }
}
