/**
 * Runs a definition to its end in plain memory: the scheduler says what may run, the handlers run at once, their ends
 * go back as facts. No server, no worker, no time: the moment of a fact is a counter that leaps over every delay.
 */
import { type Definition, labelOf, type SignatureRecord } from "../../src/core/definition.ts";
import { exactJson } from "../../src/core/json.ts";
import { failureOf } from "../../src/core/records.ts";
import { type Effect, type FinalState, Scheduler } from "../../src/core/scheduler.ts";
import { fill } from "../../src/core/template.ts";
import { Workflow } from "../../src/core/workflow.ts";
import type { AnyCanvas } from "../../src/core/canvas.ts";

export type Handlers = Readonly<Record<string, (...args: never[]) => unknown>>;
export type Dispatch = Effect & { is: "dispatch" };

export interface Driven {
  readonly state: FinalState;
  /** What the workflow returns; undefined unless it succeeded. */
  readonly result: unknown;
  /** Labels of the nodes, in the order they ran. */
  readonly order: readonly string[];
  readonly scheduler: Scheduler;
}

/** @param pick chooses which of so many open nodes runs next. */
export function drive(
  target: Workflow | AnyCanvas,
  handlers: Handlers,
  pick: (open: number) => number = () => 0,
): Driven {
  const definition = (target instanceof Workflow ? target : Workflow.of(target)).build();
  const scheduler = new Scheduler(definition, "driven", 0);
  const results = new Map<number, unknown>();
  const order: string[] = [];
  const open: Dispatch[] = [];
  let at = 0;
  const take = (effects: readonly Effect[]): void => {
    for (const effect of effects) if (effect.is === "dispatch") open.push(effect);
  };
  take(scheduler.begin());
  while (scheduler.finished === undefined) {
    const [next] = open.splice(pick(open.length), 1);
    if (next === undefined) throw new Error("the workflow is stuck: nothing may run");
    const { node, attempt, notBefore } = next;
    order.push(labelOf(definition, node));
    at = Math.max(at + 1, notBefore);
    try {
      results.set(node, run(definition, node, handlers, results));
      take(scheduler.apply({ is: "succeeded", node, attempt, at }));
    } catch (thrown) {
      take(scheduler.apply({ is: "failed", node, attempt, at, failure: failureOf(thrown) }));
    }
  }
  const { json, inputs } = definition.output;
  const result = scheduler.finished === "SUCCESS"
    ? fill(JSON.parse(json), inputs, { resultOf: (node) => resultOf(results, node) })
    : undefined;
  return { state: scheduler.finished, result, order, scheduler };
}

function run(
  definition: Definition,
  node: number,
  handlers: Handlers,
  results: ReadonlyMap<number, unknown>,
): unknown {
  const { task, args, inputs = [], calls = "once" } = JSON.parse(
    definition.signatures.text(node),
  ) as SignatureRecord;
  const handler = handlers[task] as ((...args: unknown[]) => unknown) | undefined;
  if (handler === undefined) throw new Error(`there is no handler for ${task}`);
  const filled = fill(args, inputs, {
    resultOf: (upstream) => resultOf(results, upstream),
  }) as unknown[];
  const result = calls === "once"
    ? handler(...filled)
    : (filled[0] as unknown[]).map((item) =>
      calls === "map" ? handler(item) : handler(...(item as unknown[]))
    );
  // As it would travel: nobody can share an object with anybody else.
  return JSON.parse(exactJson(result === undefined ? null : result, "result"));
}

function resultOf(results: ReadonlyMap<number, unknown>, node: number): unknown {
  if (!results.has(node)) throw new Error(`node ${node} has no result yet`);
  return structuredClone(results.get(node));
}
