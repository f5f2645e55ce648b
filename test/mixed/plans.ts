/**
 * Random workflows in which everything meets everything: retries, rules, time-outs, expiry, events, links, compensations,
 * nodes that grow, and people who press buttons meanwhile. A plan follows from its seed.
 */
import {
  type AnyTask,
  chain,
  currentTask,
  event,
  expand,
  FatalTaskError,
  group,
  type Node,
  type Run,
  task,
  type TriggerRule,
  Workflow,
} from "nats-dyrygent";

/** What a task is told to do. Milliseconds. */
interface Spec {
  readonly ms: number;
  /** So many attempts fail. */
  readonly fails: number;
  readonly fatal: boolean;
  /** It never settles. */
  readonly hangs: boolean;
}

/** Numbers that follow from a seed. */
export class Rolls {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761) >>> 0;
  }

  /** From 0 to below `sides`. */
  roll(sides: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  }

  /** True in `of` cases of a hundred. */
  often(of: number): boolean {
    return this.roll(100) < of;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.roll(list.length)]!;
  }
}

/** What the tasks of plans stand on. */
export interface Surroundings {
  readonly note: (
    execution: { workflow: string; node: number; attempt: number },
  ) => void | Promise<void>;
  readonly sleep: (ms: number) => Promise<void>;
}

/** The tasks that plans use; each notes that it began. */
export function tasksIn({ note, sleep }: Surroundings): AnyTask[] {
  const began = () => {
    const { workflowId: workflow, node, attempt } = currentTask();
    return note({ workflow, node, attempt });
  };
  return [
    task("work", async (spec: Spec, ..._inputs: unknown[]) => {
      await began();
      if (spec.ms > 0) await sleep(spec.ms);
      if (spec.hangs) await new Promise(() => {});
      if (currentTask().attempt > spec.fails) return spec.ms;
      throw spec.fatal ? new FatalTaskError("as planned") : new Error("as planned");
    }),
    task("list", async (length: number) => {
      await began();
      return Array.from({ length }, (_, i) => ({ ms: i, fails: 0, fatal: false, hangs: false }));
    }),
    task("grow", async (depth: number, seed: number) => {
      await began();
      const rolls = new Rolls(seed);
      const inner = Array.from({ length: rolls.roll(3) }, () => work.si(anySpec(rolls, false)));
      const next = depth > 0 && rolls.often(60) ? [grow.si(depth - 1, rolls.roll(1e6))] : [];
      return expand(chain([group(inner), ...next]));
    }),
    task("tell", async (_about: unknown) => {
      await began();
      return null;
    }),
  ];
}

// For building only their names count.
const work = task("work", (spec: Spec, ..._inputs: unknown[]) => spec.ms);
const list = task("list", (_length: number): Spec[] => []);
const grow = task("grow", (_depth: number, _seed: number): unknown => null);
const tell = task("tell", (_about: unknown) => null);

const RULES: readonly TriggerRule[] = [
  "allSucceeded",
  "allDone",
  "anyFailed",
  "anySucceeded",
  "noneFailed",
];

function anySpec(rolls: Rolls, mayHang: boolean): Spec {
  return {
    ms: rolls.often(50) ? 0 : rolls.roll(200),
    fails: rolls.often(75) ? 0 : rolls.often(50) ? 1 : 99,
    fatal: rolls.often(3),
    hangs: mayHang && rolls.often(30),
  };
}

/** Something that happens to a run from outside. */
export interface Button {
  /** After the submit. */
  readonly ms: number;
  readonly press: (run: Run) => Promise<unknown>;
  readonly what: string;
}

export interface Plan {
  readonly workflow: Workflow;
  readonly input: unknown;
  readonly buttons: readonly Button[];
  /** What is done with the run when it has ended. */
  readonly afterwards: readonly Omit<Button, "ms">[];
}

export function anyPlan(seed: number): Plan {
  const rolls = new Rolls(seed);
  const { workflow, events, hasInput } = anyWorkflow(rolls, 1 + rolls.roll(14), 0);
  const buttons: Button[] = events.map((name) => ({
    ms: rolls.roll(1_500),
    what: `send ${name}`,
    press: (run) => run.send<unknown>(name, { seed }),
  }));
  if (rolls.often(15)) {
    const ms = rolls.roll(400);
    let paused: Promise<unknown> | undefined;
    buttons.push({ ms, what: "pause", press: (run) => paused = run.pause() });
    buttons.push({
      ms: ms + 1 + rolls.roll(2_000),
      what: "resume",
      press: async (run) => {
        // A pause that is recorded after it would have no end.
        await paused;
        return await run.resume();
      },
    });
  }
  if (rolls.often(15)) {
    buttons.push({ ms: rolls.roll(800), what: "cancel", press: (run) => run.cancel("planned") });
  }
  if (rolls.often(15)) {
    const nodes = [rolls.roll(workflow.size), rolls.roll(workflow.size)];
    buttons.push({ ms: rolls.roll(400), what: `skip ${nodes}`, press: (run) => run.skip(nodes) });
  }
  const afterwards: Omit<Button, "ms">[] = [];
  if (rolls.often(25)) afterwards.push({ what: "retry", press: (run) => run.retryFailed() });
  if (rolls.often(15)) {
    const from = rolls.roll(workflow.size);
    afterwards.push({ what: `rerun ${from}`, press: (run) => run.rerun({ from }) });
  }
  return { workflow, input: hasInput ? seed : undefined, buttons, afterwards };
}

/** Sees a submitted run through: presses its buttons, waits for its end, and does what is done afterwards. */
export async function seeThrough(
  run: Run,
  { buttons, afterwards }: Plan,
  sleep: (ms: number) => Promise<void>,
): Promise<void> {
  const pressed = buttons.map(({ ms, press }) => sleep(ms).then(() => press(run)));
  await run.ended();
  // A retry may need what is only sent later, or run into a pause.
  await Promise.all(pressed);
  await run.ended();
  for (const { press } of afterwards) {
    await press(run);
    // What was sent to a run that had ended was not kept.
    for (const { what, press } of buttons) if (what.startsWith("send")) await press(run);
    await run.ended();
  }
}

interface Built {
  readonly workflow: Workflow;
  /** Events that somebody must send: nothing else ends the wait for them. */
  readonly events: string[];
  readonly hasInput: boolean;
}

function anyWorkflow(rolls: Rolls, steps: number, depth: number): Built {
  const wf = new Workflow(`mixed-${depth}`, {
    ...(rolls.often(20) ? { maxParallel: 1 + rolls.roll(4) } : {}),
    ...(rolls.often(8) ? { timeout: 200 + rolls.roll(1_000) } : {}),
    ...(rolls.often(20) ? { payload: { depth } } : {}),
  });
  const nodes: Node[] = [];
  const events: string[] = [];
  let hasInput = false;
  const earlier = (most: number) =>
    Array.from({ length: nodes.length === 0 ? 0 : rolls.roll(most + 1) }, () => rolls.pick(nodes));
  for (let step = 0; step < steps; step++) {
    const kind = rolls.roll(100);
    if (kind < 58) nodes.push(anyCall(rolls, wf, earlier(2)));
    else if (kind < 66) nodes.push(wf.map(work, wf.call(list, rolls.roll(5)), "each"));
    else if (kind < 72 && depth < 2) {
      const sub = anyWorkflow(rolls, 1 + rolls.roll(4), depth + 1);
      // Nobody sends events to runs inside.
      if (sub.events.length > 0) continue;
      nodes.push(wf.run(sub.workflow, sub.hasInput ? earlier(1)[0] ?? 5 : undefined));
    } else if (kind < 80) nodes.push(wf.call(grow, rolls.roll(3), rolls.roll(1e6)));
    else if (kind < 87 && depth === 0) {
      const name = `event${step}`;
      const timed = rolls.often(50);
      const waiting = wf.waitFor(
        event<unknown>(name),
        timed ? { timeout: 1 + rolls.roll(900) } : {},
      );
      nodes.push(waiting.after(earlier(1)));
      if (!timed || rolls.often(50)) events.push(name);
    } else if (kind < 89 && !hasInput) {
      hasInput = true;
      nodes.push(wf.input());
    } else nodes.push(...wf.add(anyCanvas(rolls), { after: earlier(2) }) as Node[]);
    decorate(rolls, nodes.at(-1), earlier);
  }
  if (rolls.often(30)) wf.onError(tell.s());
  if (rolls.often(30)) wf.finally(tell.s());
  if (nodes.length > 0 && rolls.often(8)) wf.skip(rolls.pick(nodes));
  return { workflow: wf, events, hasInput };
}

function anyCall(rolls: Rolls, wf: Workflow, inputs: readonly Node[]): Node {
  const isTimed = rolls.often(15);
  const node = wf.call(work, anySpec(rolls, isTimed), ...inputs);
  return node.set({
    ...(isTimed ? { timeout: 50 + rolls.roll(150), softTimeout: 20 + rolls.roll(50) } : {}),
    ...(rolls.often(30)
      ? { retry: { max: 1 + rolls.roll(3), base: 1 + rolls.roll(100), jitter: rolls.often(50) } }
      : {}),
    ...(rolls.often(12) ? { countdown: rolls.roll(500) } : {}),
    ...(rolls.often(8) ? { expires: 1 + rolls.roll(20_000) } : {}),
    ...(rolls.often(20) ? { priority: rolls.roll(10) } : {}),
    ...(rolls.often(5) ? { ignoreResult: true } : {}),
  });
}

function anyCanvas(rolls: Rolls) {
  const member = () => {
    let signature = work.si(anySpec(rolls, false));
    if (rolls.often(20)) signature = signature.link(tell.s());
    if (rolls.often(20)) signature = signature.onError(tell.s());
    if (rolls.often(20)) signature = signature.compensate(tell.s());
    return signature;
  };
  const side = group(Array.from({ length: rolls.roll(4) }, member));
  const whole = chain([member(), side, member()]);
  return rolls.often(20) ? whole.onError(tell.s()) : whole;
}

function decorate(rolls: Rolls, node: Node | undefined, earlier: (most: number) => Node[]): void {
  if (node === undefined) return;
  const others = earlier(2).filter((other) => other.index < node.index);
  if (rolls.often(15)) node.after(others, { on: rolls.pick(["success", "done", "failure"]) });
  if (rolls.often(25)) node.when(rolls.pick(RULES));
  if (rolls.often(10)) node.optional();
  if (rolls.often(12)) node.compensate(tell.s());
}
