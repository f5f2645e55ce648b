/**
 * What is told of one run while it is conducted here, where there is telemetry: the spans in which it is conducted and in
 * which its task messages are queued, with what made each of them ready. Decides nothing; what it knows of traces can be
 * read from the log again.
 */
import { type Definition, policyOfNode } from "../core/definition.ts";
import type { Fact } from "../core/fact.ts";
import type { OutcomeNote } from "../core/records.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Hint, Ports, TaskAddress } from "../ports.ts";
import type { Ongoing, Telemetry } from "../telemetry.ts";
import type { Sent } from "./in_flight.ts";

/** What a message waited for that is named, at most: a node may wait for a million. */
const MOST_CAUSES = 32;

type NodeFact = Exclude<Fact, { is: "control" }>;

export class Instrumentation {
  readonly #telemetry: Telemetry;
  readonly #workflow: string;
  readonly #definition: Definition;
  /** Of the latest record of each node that others wait for, or that failed and may be tried again. */
  #traces = new Map<number, TraceContext>();
  /** What everything of this run is part of. */
  #root: TraceContext | undefined;
  #conduct: Ongoing | undefined;
  /** When the fact was recorded that is being taken in. */
  #freedAt: number | undefined;

  /** Undefined where nobody is told. @param trace the definition's. */
  static of(
    { telemetry }: Ports,
    workflow: string,
    definition: Definition,
    trace: TraceContext | undefined,
  ): Instrumentation | undefined {
    return telemetry && new Instrumentation(telemetry, workflow, definition, trace);
  }

  private constructor(
    telemetry: Telemetry,
    workflow: string,
    definition: Definition,
    trace: TraceContext | undefined,
  ) {
    this.#telemetry = telemetry;
    this.#workflow = workflow;
    this.#definition = definition;
    this.#root = trace;
  }

  /** Something is to be done for it. */
  wake(): void {
    if (this.#conduct !== undefined) return;
    this.#conduct = this.#telemetry.begin({ ...this.#ofRun(), is: "conduct" });
    // Submitted without a trace: what is done from here belongs together all the same.
    this.#root ??= this.#conduct.trace;
  }

  /** It is let go, or has ended. */
  rest(outcome: string): void {
    this.#conduct?.end({ outcome });
    this.#conduct = undefined;
  }

  /** Its log was read. */
  recall(traces: Map<number, TraceContext>): void {
    this.#traces = traces;
  }

  /** Until `taken`, what becomes ready became so by this. */
  take({ trace, at }: Hint, { is, node }: NodeFact): void {
    this.#freedAt = at;
    const { offsets } = this.#definition.graph.down;
    const isAwaited = node < this.#definition.graph.size && offsets[node]! < offsets[node + 1]!;
    if (trace !== undefined && (isAwaited || is === "failed")) this.#traces.set(node, trace);
  }

  /** @param isOpen its node is to run again. */
  taken({ is, node }: NodeFact, isOpen: boolean): void {
    this.#freedAt = undefined;
    if (is !== "failed" || !isOpen) return;
    const { queue } = policyOfNode(this.#definition, node);
    this.#telemetry.measure({ is: "retried", queue, task: this.#taskOf(node) });
  }

  get freedAt(): number | undefined {
    return this.#freedAt;
  }

  /** An outcome came of what was sent. */
  arrived({ freedAt }: Sent, outcome: OutcomeNote | undefined): void {
    const queuedAt = Number(outcome?.sentNs) / 1e6;
    if (freedAt === undefined || !(queuedAt > 0)) return;
    this.#telemetry.measure({ is: "hopped", ms: Math.max(0, queuedAt - freedAt) });
  }

  /** Queues a message, in a span. */
  async dispatch(
    { queue, lane, node, attempt }: TaskAddress,
    publish: (trace: TraceContext | undefined) => Promise<"created" | "exists">,
  ): Promise<void> {
    const span = this.#telemetry.begin({
      ...this.#ofRun(),
      is: "dispatch",
      node,
      attempt,
      queue,
      lane,
      task: this.#taskOf(node),
      causes: this.#causesOf(node, attempt),
    });
    try {
      span.end({ outcome: await publish(span.trace ?? this.#root) });
    } catch (error) {
      span.end({ outcome: "failed", failure: error as Error });
      throw error;
    }
  }

  #ofRun() {
    const { name } = this.#definition;
    return { run: this.#workflow, workflow: name, parent: this.#root ?? "none" } as const;
  }

  #taskOf(node: number): string {
    try {
      const { task } = JSON.parse(this.#definition.signatures.text(node));
      return typeof task === "string" ? task : "unknown";
    } catch {
      return "unknown";
    }
  }

  /** The attempt before this one; of a first one, what the node waited for. */
  #causesOf(node: number, attempt: number): TraceContext[] {
    const own = this.#traces.get(node);
    if (attempt > 1 && own !== undefined) return [own];
    const causes: TraceContext[] = [];
    const { graph: { up, size } } = this.#definition;
    const seen = new Set<number>();
    const look = (of: number) => {
      for (let e = up.offsets[of]!; e < up.offsets[of + 1]!; e++) {
        const upstream = up.nodes[e]!;
        if (seen.size >= MOST_CAUSES || upstream >= size || seen.has(upstream)) continue;
        seen.add(upstream);
        const trace = this.#traces.get(upstream);
        if (trace !== undefined) causes.push(trace);
        // A join runs nothing: what it waited for counts.
        else if (policyOfNode(this.#definition, upstream).join === true) look(upstream);
      }
    };
    look(node);
    return causes;
  }
}
