/** Where a workflow's task messages go. Pure: it follows from the definition and the limits of whole queues. */
import { type Definition, policyOfNode } from "../core/definition.ts";
import { laneFor, type LanePolicy } from "../core/lanes.ts";
import type { TaskAddress } from "../ports.ts";

export class Routes {
  readonly #workflow: string;
  readonly #definition: Definition;
  readonly #queues: ReadonlyMap<string, LanePolicy>;

  /** @param queues limits of whole queues, for nodes without a limit of their own. */
  constructor(
    workflow: string,
    definition: Definition,
    queues: ReadonlyMap<string, LanePolicy>,
  ) {
    this.#workflow = workflow;
    this.#definition = definition;
    this.#queues = queues;
  }

  limitOf(node: number): LanePolicy | undefined {
    const { limit, queue } = policyOfNode(this.#definition, node);
    return limit ?? this.#queues.get(queue);
  }

  /** @param lane where it is queued already; else where it would be. */
  addressOf(node: number, attempt: number, lane?: string): TaskAddress {
    const { queue, priority } = policyOfNode(this.#definition, node);
    return {
      queue,
      lane: lane ?? laneFor({ priority, limit: this.limitOf(node) }),
      workflow: this.#workflow,
      node,
      attempt,
    };
  }
}
