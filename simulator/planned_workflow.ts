/** A plan as a workflow, and the tasks it runs. Each task tells what it began with; what it gives says where it came from. */
import {
  type AnyTask,
  chain,
  currentTask,
  event,
  expand,
  group,
  type Node,
  task,
  type TriggerRule,
  Workflow,
} from "nats-dyrygent";
import type { NodePlan, Plan } from "./plan.ts";

/** What a task knows when it begins. */
export interface Beginning {
  readonly workflow: string;
  readonly node: number;
  readonly attempt: number;
  /** What it was given for each edge that carries a result. */
  readonly inputs: readonly unknown[];
}

/** What the tasks of one worker stand on. */
export interface Hands {
  readonly began: (beginning: Beginning) => void;
  /** In virtual time, and not when its process is dead. */
  readonly sleep: (ms: number) => Promise<void>;
}

interface Spec {
  readonly ms: number;
  readonly fails: number;
  /** Characters of its result. */
  readonly bulk?: number;
}

export function tasksOf({ began, sleep }: Hands): AnyTask[] {
  const begin = (inputs: readonly unknown[]) => {
    const { workflowId: workflow, node, attempt } = currentTask();
    began({ workflow, node, attempt, inputs });
    return { workflow, node, attempt };
  };
  return [
    task("work", ({ ms, fails, bulk = 0 }: Spec, ...inputs: unknown[]) => {
      const { workflow, node, attempt } = begin(inputs);
      const end = () => {
        if (attempt <= fails) throw new Error("as planned");
        const taken = inputs.map((input) => String(input).length).join();
        return `${workflow} ${node} took ${taken}`.padEnd(bulk, ".");
      };
      return ms === 0 ? end() : sleep(ms).then(end);
    }),
    task("list", () => {
      begin([]);
      return [{ ms: 0, fails: 0 }, { ms: 20, fails: 0 }];
    }),
    task("grow", () => {
      begin([]);
      return expand(chain([group([inner(), inner()]), inner()]));
    }),
    task("undo", (_result: unknown) => {
      begin([]);
      return null;
    }),
  ];
}

// For building only their names count.
const work = task("work", (_spec: Spec, ..._inputs: unknown[]) => "");
const list = task("list", (): Spec[] => []);
const grow = task("grow", (): unknown => null);
const undo = task("undo", (_result: unknown) => null);
const inner = () => work.si({ ms: 0, fails: 0 });

export function workflowOf(plan: Plan): Workflow {
  const { timeoutMs, maxParallel } = plan;
  const wf = new Workflow("planned", {
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    ...(maxParallel === undefined ? {} : { maxParallel }),
  });
  const nodes: Node[] = [];
  // A map takes two nodes: handles are found by what the plan calls them.
  for (const [i, node] of plan.nodes.entries()) nodes[i] = addNode(wf, node, i, nodes);
  if (plan.finally) wf.finally(undo.si(null));
  return wf;
}

export const eventOf = (i: number) => event<null>(`event${i}`);

function addNode(wf: Workflow, plan: NodePlan, i: number, nodes: readonly Node[]): Node {
  const node = newNode(wf, plan, i, nodes);
  for (const { from, on } of plan.edges) if (on !== "data") node.after(nodes[from]!, { on });
  if (plan.waits === true) return node;
  node.set({
    ...(plan.retries > 0 ? { retry: { max: plan.retries, base: 200 } } : {}),
    ...(plan.countdownMs === undefined ? {} : { countdown: plan.countdownMs }),
    ...(plan.timeoutMs === undefined ? {} : { timeout: plan.timeoutMs }),
    ...(plan.key === undefined ? {} : { concurrency: { key: plan.key, max: 1 } }),
    ...(plan.priority === undefined ? {} : { priority: plan.priority }),
  });
  if (plan.any === true) node.when("anySucceeded" satisfies TriggerRule);
  if (plan.optional === true) node.optional();
  if (plan.compensated === true) node.compensate(undo.s());
  return node;
}

function newNode(wf: Workflow, plan: NodePlan, i: number, nodes: readonly Node[]): Node {
  if (plan.waits === true) return wf.waitFor(eventOf(i));
  switch (plan.grows) {
    case "map":
      return wf.map(work, wf.call(list));
    case "run": {
      const sub = new Workflow("sub");
      sub.call(work, { ms: 0, fails: 0 }, sub.call(work, { ms: 10, fails: 0 }));
      return wf.run(sub);
    }
    case "expand":
      return wf.call(grow);
    case undefined: {
      const inputs = plan.edges.filter(({ on }) => on === "data").map(({ from }) => nodes[from]!);
      const { ms, fails, bulk } = plan;
      return wf.call(work, { ms, fails, ...(bulk === undefined ? {} : { bulk }) }, ...inputs);
    }
  }
}
