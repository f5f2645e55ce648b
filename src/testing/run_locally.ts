/**
 * Runs a workflow without a server: the same client, processor, worker and scheduler, on the memory adapter, in virtual
 * time. Delays of days pass at once; while a handler is waiting for something real, real time passes.
 */
import type { TaskLogLine } from "../client/logs.ts";
import { Run } from "../client/run.ts";
import { submit, type Submittable } from "../client/submit.ts";
import { type Definition, labelOf } from "../core/definition.ts";
import { definitionToJson } from "../core/definition_json.ts";
import { WorkflowFailedError } from "../core/errors.ts";
import { checkId } from "../core/ids.ts";
import { definitionKey, outcomesOf, parseKey } from "../core/keys.ts";
import { DEFAULT_QUEUE, refuseUnknown } from "../core/options.ts";
import { wholeDefinition } from "../core/recorded.ts";
import type { RunStatus } from "../core/records.ts";
import type { FinalState } from "../core/scheduler.ts";
import type { AnyTask } from "../core/task.ts";
import { VirtualClock } from "../memory/clock.ts";
import { memoryPorts } from "../memory/open.ts";
import { SeededRandom } from "../memory/random.ts";
import { waitingClock } from "../nats/clock.ts";
import type { Log, Ports } from "../ports.ts";
import { Processor } from "../processor/processor.ts";
import { Worker } from "../worker/worker.ts";

/** What a local run calls, and what it is given. */
export interface RunLocallyOptions {
  /** The tasks it may call. */
  tasks: readonly AnyTask[];
  /** Tasks that run at the same time. @default 16 */
  concurrency?: number;
  /** The run's id. @default "local" */
  id?: string;
  /** What the workflow's `input()` gives; any JSON. */
  input?: unknown;
  /** What is sent to it, by the event's name. */
  events?: Readonly<Record<string, unknown>>;
  /** Where to say what people may want to know. @default nowhere */
  log?: Log;
}

/** How a local run ended. */
export interface LocalRun<Out> {
  readonly state: FinalState;
  /** What `run.result()` gives; undefined unless the state is SUCCESS. */
  readonly result: Out;
  /** The nodes that ran, as labels (`"last"`, `"add-3"`), in the order in which their attempts ended. */
  readonly order: readonly string[];
  /** What `run.result()` throws; undefined when the state is SUCCESS. */
  readonly error: WorkflowFailedError | undefined;
  readonly status: RunStatus;
  /** What its tasks logged with `currentTask().log`: what `run.logs()` gives. */
  readonly logs: readonly TaskLogLine[];
}

/**
 * Runs `target` to its end.
 * @throws {InvalidWorkflowError} when it cannot be built, {InvalidOptionError}
 */
export async function runLocally<Out>(
  target: Submittable<Out>,
  options: RunLocallyOptions,
): Promise<LocalRun<Out>> {
  refuseUnknown("option", options, ["tasks", "concurrency", "id", "input", "events", "log"]);
  const id = checkId("workflow id", options.id ?? "local");
  const clock = new VirtualClock();
  const ports = memoryPorts({ clock, random: new SeededRandom(1), log: options.log ?? (() => {}) });
  const running = new Running(options.tasks);
  const { input, events = {} } = options;
  await submit(ports, target, {
    id,
    unknownTasks: "ignore",
    ...(input === undefined ? {} : { input }),
  });
  const run = new Run<Out>(ports, id);
  for (const [name, data] of Object.entries(events)) await run.send<unknown>(name, data);
  const queues = await queuesOf(ports, id, options.tasks);
  const worker = new Worker(ports, {
    tasks: running.tasks,
    queues,
    concurrency: options.concurrency ?? 16,
  }, { isAnnounced: false });
  // Nobody looks, and nothing gets lost in here: presence and safety ticks would only make days of virtual time long.
  const seldom = { tick: { idle: ["30d", "30d"] }, sweep: "30d", schedules: "30d" } as const;
  const processor = new Processor(ports, seldom, { isAnnounced: false });
  // Runs in the place of its nodes finish too.
  const end = new Promise<void>((resolve) =>
    processor.on("finish", (finished) => finished.id === id && resolve())
  );
  await worker.start();
  await processor.start();
  await drive(clock, running, end);
  const error = await failureOf(run);
  return {
    state: (await run.status()).state as FinalState,
    result: (error === undefined ? await run.result() : undefined) as Out,
    order: await orderOf(ports, id),
    error,
    status: await run.status(),
    logs: await logsOf(run),
  };
}

/** Handlers that have not settled. */
class Running {
  readonly tasks: readonly AnyTask[];
  #count = 0;
  #onChange = () => {};

  constructor(tasks: readonly AnyTask[]) {
    this.tasks = tasks.map((task) =>
      Object.assign((...args: unknown[]) => this.#call(task, args), {
        taskName: task.taskName,
        options: task.options,
        input: task.input,
        output: task.output,
      }) as unknown as AnyTask
    );
  }

  get some(): boolean {
    return this.#count > 0;
  }

  /** Resolves when a handler settles. */
  change(): Promise<void> {
    return new Promise((resolve) => this.#onChange = resolve);
  }

  #call(task: AnyTask, args: unknown[]): unknown {
    const returned = task(...args);
    if (!(returned instanceof Promise)) return returned;
    this.#count++;
    return returned.finally(() => {
      this.#count--;
      this.#onChange();
    });
  }
}

/** Moves virtual time on whenever nothing else can happen. */
async function drive(clock: VirtualClock, running: Running, end: Promise<unknown>): Promise<void> {
  let ended = false;
  void end.then(() => ended = true);
  while (!ended) {
    await turn();
    if (ended) return;
    if (running.some) await realTime(clock, running.change());
    else if (!clock.fireNext()) {
      throw new Error(
        "The local run stands still: nothing runs and nothing is due. This is a bug of nats-dyrygent.",
      );
    }
  }
}

/** Lets everything happen that needs no time. */
function turn(): Promise<void> {
  return new Promise((resolve) => waitingClock.after(0, resolve));
}

/** Virtual time passes like real time, until `change` or the next timer. */
async function realTime(clock: VirtualClock, change: Promise<void>): Promise<void> {
  const before = waitingClock.monotonic();
  const next = clock.untilNext ?? Infinity;
  let cancel = () => {};
  await Promise.race([
    change,
    new Promise<void>((resolve) => cancel = waitingClock.after(next, resolve)),
  ]);
  cancel();
  const passed = waitingClock.monotonic() - before;
  if (passed >= next) clock.fireNext();
  else clock.pass(passed);
}

async function failureOf(run: Run<unknown>): Promise<WorkflowFailedError | undefined> {
  try {
    await run.result();
    return undefined;
  } catch (error) {
    if (error instanceof WorkflowFailedError) return error;
    throw error;
  }
}

async function logsOf(run: Run<unknown>): Promise<TaskLogLine[]> {
  const lines: TaskLogLine[] = [];
  for await (const line of run.logs()) lines.push(line);
  return lines;
}

async function definitionIn(ports: Ports, id: string): Promise<Definition> {
  const head = await ports.facts.read(definitionKey(id));
  return wholeDefinition(id, head!.data, (key) => ports.facts.read(key));
}

/** Those of its nodes, of the nodes that may come to take their place, and of the tasks. */
async function queuesOf(ports: Ports, id: string, tasks: readonly AnyTask[]): Promise<string[]> {
  const text = JSON.stringify(definitionToJson(await definitionIn(ports, id)));
  const mentioned = [...text.matchAll(/"queue":"([\w-]{1,64})"/g)].map(([, queue]) => queue!);
  const ofTasks = tasks.flatMap(({ options }) => options.queue ?? []);
  return [...new Set([DEFAULT_QUEUE, ...mentioned, ...ofTasks])];
}

async function orderOf(ports: Ports, id: string): Promise<string[]> {
  const definition = await definitionIn(ports, id);
  return (await ports.facts.scan(outcomesOf(id))).flatMap(({ key }) => {
    const parsed = parseKey(key);
    return parsed?.is === "outcome" ? [labelOf(definition, parsed.node)] : [];
  });
}
