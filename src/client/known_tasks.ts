/** Whether somebody serves the tasks of a workflow that is submitted: says so, or refuses. Looks at most every few seconds. */
import { type Definition, MAP_TASK, RUN_TASK, type SignatureRecord } from "../core/definition.ts";
import { definitionFromJson } from "../core/definition_json.ts";
import { InvalidOptionError, NotFoundError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import type { LiveWorker } from "../core/presence.ts";
import type { Ports } from "../ports.ts";
import { liveWorkers } from "./live.ts";

/** What to do when no live worker serves a task in its queue. */
export type UnknownTasks = "warn" | "refuse" | "ignore";

const UNKNOWN_TASKS: readonly unknown[] = ["warn", "refuse", "ignore"] satisfies UnknownTasks[];
/** How old what is known of the live workers may be. */
const LOOK_AGAIN_MS = 5_000;
/** Tasks that a message names. */
const SHOWN = 5;
/** Warnings that are remembered, so that each is said once. */
const MOST_WARNED = 1_000;

/** A task in a queue, and what its live workers say of its schemas. */
interface Served {
  readonly workers: string[];
  readonly schemas: Set<string>;
}

/** By {@link pairKey}. */
type ServedTasks = ReadonlyMap<string, Served>;

/** A task and the queue it is sent to. */
export interface TaskInQueue {
  readonly task: string;
  readonly queue: string;
}

/** How each element of a `wf.map` is called, as far as it matters here. */
interface MappedElement {
  readonly policy: { readonly queue: string };
  readonly signature: { readonly task: string };
}

/** @throws {InvalidOptionError} */
export function checkUnknownTasks(value: unknown): UnknownTasks {
  if (UNKNOWN_TASKS.includes(value)) return value as UnknownTasks;
  throw new InvalidOptionError("unknownTasks", `unknownTasks = ${quote(value)} is unknown`, {
    hint: `Use one of: ${UNKNOWN_TASKS.join(", ")}.`,
  });
}

export class KnownTasks {
  readonly #ports: Ports;
  #look: { at: number; served: Promise<ServedTasks> } | undefined;
  readonly #warned = new Set<string>();

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** @throws {NotFoundError} when a task is unknown and that is to be refused. */
  async check(definition: Definition, unknownTasks: UnknownTasks): Promise<void> {
    if (unknownTasks === "ignore") return;
    const tasks = tasksInQueues(definition);
    try {
      const served = await this.#served(LOOK_AGAIN_MS);
      const missing = tasks.filter((task) => !served.has(pairKey(task)));
      this.#warnOfDisagreement(tasks, served);
      if (missing.length === 0) return;
      if (unknownTasks === "warn") return this.#warnOfMissing(missing);
      // A worker may have come since: nothing is refused for what was seen a while ago.
      const now = await this.#served(0);
      refuse(definition, missing.filter((task) => !now.has(pairKey(task))));
    } catch (error) {
      if (unknownTasks === "refuse") throw error;
      this.#ports.log("debug", "the live workers cannot be read", {
        event: "workers-not-read",
        error,
      });
    }
  }

  #served(ageMs: number): Promise<ServedTasks> {
    const at = this.#ports.clock.monotonic();
    if (this.#look === undefined || at - this.#look.at >= ageMs) {
      this.#look = { at, served: liveWorkers(this.#ports).then(servedBy) };
    }
    return this.#look.served;
  }

  #warnOfMissing(missing: readonly TaskInQueue[]): void {
    const news = missing.filter((task) => this.#isNews(`missing ${pairKey(task)}`));
    if (news.length === 0) return;
    this.#ports.log(
      "warn",
      `no live worker serves ${namesOf(news)}: submitted all the same, it waits for one`,
      { event: "task-unserved", tasks: news.map(({ task, queue }) => ({ task, queue })) },
    );
  }

  #warnOfDisagreement(tasks: readonly TaskInQueue[], served: ServedTasks): void {
    for (const task of tasks) {
      const { workers, schemas } = served.get(pairKey(task)) ?? {};
      if (schemas === undefined) continue;
      this.#warned.delete(`missing ${pairKey(task)}`);
      if (schemas.size < 2) this.#warned.delete(`differ ${pairKey(task)}`);
      else if (this.#isNews(`differ ${pairKey(task)}`)) {
        this.#ports.log(
          "warn",
          `live workers have different schemas for ${namesOf([task])}: ${
            workers!.slice(0, SHOWN).join(", ")
          }`,
          { event: "schemas-differ", queue: task.queue, task: task.task, workers },
        );
      }
    }
  }

  #isNews(warning: string): boolean {
    if (this.#warned.has(warning)) return false;
    if (this.#warned.size >= MOST_WARNED) this.#warned.clear();
    this.#warned.add(warning);
    return true;
  }
}

function refuse({ name }: Definition, missing: readonly TaskInQueue[]): void {
  if (missing.length === 0) return;
  throw new NotFoundError(
    `Cannot submit workflow "${name}": no live worker serves ${namesOf(missing)}`,
    {
      hint:
        'Start a worker with the task and the queue (app.workers() shows who is there), or submit with unknownTasks: "warn".',
    },
  );
}

function namesOf(tasks: readonly TaskInQueue[]): string {
  const shown = tasks.slice(0, SHOWN).map(({ task, queue }) =>
    `task "${task}" of queue "${queue}"`
  );
  if (tasks.length > SHOWN) shown.push(`${tasks.length - SHOWN} more`);
  return shown.join(", ");
}

/** Neither contains a space. */
function pairKey({ task, queue }: TaskInQueue): string {
  return `${queue} ${task}`;
}

function servedBy(workers: readonly LiveWorker[]): ServedTasks {
  const served = new Map<string, Served>();
  for (const { id, queues, tasks } of workers) {
    for (const queue of queues) {
      for (const { name, input = "none", output = "none" } of tasks) {
        const key = pairKey({ task: name, queue });
        const known = served.get(key) ?? { workers: [], schemas: new Set() };
        known.workers.push(id);
        known.schemas.add(`${input} ${output}`);
        served.set(key, known);
      }
    }
  }
  return served;
}

/** The different tasks of a definition, in each queue once. One pass, and next to nothing is parsed: there may be a million nodes. */
export function tasksInQueues(
  { graph: { size }, policies, policyOf, signatures }: Definition,
): TaskInQueue[] {
  const queuesOf = new Map<string, Set<string>>();
  const add = ({ task, queue }: TaskInQueue) => {
    const queues = queuesOf.get(task);
    if (queues === undefined) queuesOf.set(task, new Set([queue]));
    else queues.add(queue);
  };
  for (let node = 0; node < size; node++) {
    const text = signatures.text(node);
    const task = taskIn(text);
    if (task === undefined) continue;
    if (task === MAP_TASK || task === RUN_TASK) {
      for (const inner of tasksInPlaceOf(text)) add(inner);
    } else add({ task, queue: policies[policyOf[node]!]!.queue });
  }
  return [...queuesOf].flatMap(([task, queues]) => [...queues].map((queue) => ({ task, queue })));
}

/** Of a node that a workflow takes the place of. Every worker knows its own task. */
function tasksInPlaceOf(text: string): TaskInQueue[] {
  const { task, args: [first] }: SignatureRecord = JSON.parse(text);
  if (task === RUN_TASK) return tasksInQueues(definitionFromJson(first));
  const { policy: { queue }, signature } = first as MappedElement;
  return [{ task: signature.task, queue }];
}

const TASK_FIRST = '{"task":"';
const TASK_LATER = ',"task":"';

/** The task in the text of a signature; undefined for a node that runs nothing. Only inputs may come before it. */
function taskIn(text: string): string | undefined {
  const at = text.startsWith(TASK_FIRST) ? 0 : text.indexOf(TASK_LATER);
  if (at === -1) return undefined;
  const from = at + TASK_FIRST.length;
  return text.slice(from, text.indexOf('"', from));
}
