/**
 * Schedules as clients see them: made, replaced, paused, removed, listed. Each change is a compare-and-set on the schedule's
 * record, and then told to the processors, which do what is due. Nothing here submits but `runNow`.
 */
import type { Definition } from "../core/definition.ts";
import { definitionToJson } from "../core/definition_json.ts";
import { ConflictError, NotFoundError, PayloadTooLargeError } from "../core/errors.ts";
import { withInput } from "../core/expand.ts";
import { refuseUnknown } from "../core/options.ts";
import { isSameRule, type Recurrence, ruleOf } from "../core/recurrence.ts";
import {
  checkMissed,
  checkPaused,
  checkScheduleId,
  isSameRecord,
  type MissedPolicy,
  readSchedule,
  SCHEDULE_PREFIX,
  SCHEDULE_TOPIC,
  scheduledDefinition,
  scheduleKey,
  type ScheduleRecord,
  type ScheduleStatus,
  statusOfSchedule,
  writeSchedule,
} from "../core/schedule.ts";
import { sealDefinition, unsealDefinition } from "../core/sealed_definition.ts";
import type { Codec } from "../core/sealing.ts";
import { Workflow } from "../core/workflow.ts";
import type { Ports, View } from "../ports.ts";
import { submitAsItIs } from "../runs/submission.ts";
import { sleep } from "../runs/time.ts";
import { checkKnownArguments } from "./arguments.ts";
import { Run } from "./run.ts";
import type { Submittable } from "./submit.ts";

/** How a schedule is kept, and what its runs get. */
export interface ScheduleOptions {
  /**
   * What becomes of occurrences that no processor dealt with within 60 s: none of them runs, only the last one, or all of
   * them (the last 1,000). @default "skip"
   */
  missed?: MissedPolicy;
  /** Whether it is paused from now on. @default as it was; a new one is not */
  paused?: boolean;
  /** What the workflow's `input()` gives, in every run; any JSON. */
  input?: unknown;
}

/** Between two tries to change a record that others change too. */
const AGAIN_MS = 50;
const RUN_ID_LENGTH = 64;
const encoder = new TextEncoder();

/** What is to run. */
type Content = Pick<ScheduleRecord, "workflow" | "input">;

/** @returns a handle, once it is recorded. */
export async function schedule(
  ports: Ports,
  id: string,
  when: Recurrence,
  target: Submittable<unknown>,
  options: ScheduleOptions = {},
): Promise<Schedule> {
  checkScheduleId(id);
  refuseUnknown("schedule option", options, ["missed", "paused", "input"]);
  const { codec, clock } = ports;
  const now = Math.floor(clock.now());
  const { missed = "skip", paused, input } = options;
  const wanted = { rule: ruleOf(when, now), missed: checkMissed(missed) };
  if (paused !== undefined) checkPaused(paused);
  const workflow = target instanceof Workflow ? target : Workflow.of(target);
  const plain = withInput(workflow.build(), input);
  await checkKnownArguments(plain, workflow.inputSchemas());
  const content = contentOf(codec === undefined ? plain : await sealDefinition(codec, plain));
  // What processors could not build shows here.
  scheduledDefinition(content);
  await change(ports, id, async (view) => {
    const old = view === undefined ? undefined : readSchedule(view.data);
    if (old === undefined) {
      return { ...wanted, paused: paused ?? false, createdAt: now, handledTo: now, ...content };
    }
    const { workflow, input, ...rest } = old;
    const kept = await isRecorded(plain, old, codec) ? { workflow, input } : content;
    // A new rule counts from now. Where it stays, what is due stays due.
    const rule = isSameRule(old.rule, wanted.rule) ? { rule: old.rule } : { handledTo: now };
    return withPause({ ...rest, ...wanted, ...rule, ...kept }, paused ?? old.paused, now);
  });
  return new Schedule(ports, id);
}

function contentOf(definition: Definition): Content {
  const { input } = definition;
  return {
    workflow: definitionToJson(definition),
    ...(input === undefined ? {} : { input: JSON.parse(input) }),
  };
}

/**
 * Whether this is what is recorded, sealed if it is to be. A codec may seal the same differently each time: what it hides is
 * compared. What cannot be read is something else.
 */
async function isRecorded(
  plain: Definition,
  record: ScheduleRecord,
  codec: Codec | undefined,
): Promise<boolean> {
  const text = (definition: Definition) => JSON.stringify(contentOf(definition));
  try {
    const recorded = scheduledDefinition(record);
    if (codec === undefined) return text(recorded) === text(plain);
    return text(await unsealDefinition(codec, recorded)) === text(plain) &&
      text(recorded) !== text(plain);
  } catch {
    return false;
  }
}

/** What comes in a pause is not made up for. */
function withPause(record: ScheduleRecord, paused: boolean, now: number): ScheduleRecord {
  if (record.paused === paused) return record;
  return { ...record, paused, ...(paused ? {} : { handledTo: Math.max(now, record.handledTo) }) };
}

/** The schedules there are, in no particular order. What cannot be read is left out. */
export async function* schedules(ports: Ports): AsyncGenerator<ScheduleStatus, void, void> {
  for await (const { key, data } of ports.views.list(SCHEDULE_PREFIX)) {
    const record = readSchedule(data);
    if (record !== undefined) yield statusOfSchedule(key.slice(SCHEDULE_PREFIX.length), record);
  }
}

/** A handle on a schedule. Holds nothing but the id; every method throws a `NotFoundError` when there is no such schedule. */
export class Schedule {
  readonly id: string;
  readonly #ports: Ports;

  /** @throws {InvalidOptionError} */
  constructor(ports: Ports, id: string) {
    this.id = checkScheduleId(id);
    this.#ports = ports;
  }

  async status(): Promise<ScheduleStatus> {
    return statusOfSchedule(this.id, this.#known(await read(this.#ports, this.id)));
  }

  /** From now on nothing becomes due. Runs that were submitted go on. */
  async pause(): Promise<void> {
    await this.#set({ paused: true });
  }

  /** It goes on with the next occurrence: what came in the pause is not made up for. */
  async resume(): Promise<void> {
    await this.#set({ paused: false });
  }

  /** Removes the schedule; its runs stay. */
  async remove(): Promise<void> {
    const { views, hints } = this.#ports;
    if (await read(this.#ports, this.id) === undefined) throw this.#notFound();
    await views.remove(scheduleKey(this.id));
    hints.tell(SCHEDULE_TOPIC, encoder.encode(this.id));
  }

  /** Submits its workflow now, besides what is due: with an id of its own, also while the schedule is paused. */
  async runNow(): Promise<Run> {
    const record = this.#known(await read(this.#ports, this.id));
    // Ids that are drawn one after the other differ at their end.
    const id = `${this.id}-${this.#ports.random.id().slice(this.id.length + 1 - RUN_ID_LENGTH)}`;
    await submitAsItIs(this.#ports, id, scheduledDefinition(record));
    return new Run(this.#ports, id);
  }

  #set({ paused }: { paused: boolean }): Promise<void> {
    const now = Math.floor(this.#ports.clock.now());
    return change(this.#ports, this.id, (view) => withPause(this.#known(view), paused, now));
  }

  #known(view: View | undefined): ScheduleRecord {
    if (view === undefined) throw this.#notFound();
    const record = readSchedule(view.data);
    if (record !== undefined) return record;
    throw new ConflictError(`The record of schedule "${this.id}" cannot be read`, {
      hint:
        "A newer version wrote it, or something else did. Make the schedule anew, or remove it.",
    });
  }

  #notFound(): NotFoundError {
    return new NotFoundError(`There is no schedule "${this.id}"`, {
      hint: "See app.schedules(); app.schedule(…) makes one.",
    });
  }
}

/** Changes the record, unless it stays as it is, and tells processors. Others may change it at the same time. */
async function change(
  ports: Ports,
  id: string,
  decide: (view: View | undefined) => ScheduleRecord | Promise<ScheduleRecord>,
): Promise<void> {
  const { views, hints, clock, maxRecord } = ports;
  for (;;) {
    const view = await read(ports, id);
    const data = writeSchedule(await decide(view));
    if (data.length > maxRecord) {
      throw new PayloadTooLargeError(
        `The record of schedule "${id}"`,
        data.length,
        maxRecord,
        "It has the whole workflow: schedule a small one whose task expands into the big one.",
      );
    }
    if (view !== undefined && isSameRecord(view.data, data)) return;
    if (await views.swap(scheduleKey(id), view?.revision ?? 0, data)) break;
    await sleep(clock, AGAIN_MS);
  }
  hints.tell(SCHEDULE_TOPIC, encoder.encode(id));
}

/** In a cluster, a record that was written this moment may not be everywhere yet. */
async function read(ports: Ports, id: string): Promise<View | undefined> {
  const { views, hints, clock } = ports;
  const view = await views.get(scheduleKey(id));
  if (view !== undefined || !hints.spreads) return view;
  await sleep(clock, AGAIN_MS);
  return views.get(scheduleKey(id));
}
