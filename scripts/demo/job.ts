/** What the demo orchestrates: a workflow, what it knows of it beforehand, and how to judge the result. */
import type { Workflow } from "nats-dyrygent";

/** From a node to one that waits for it, both by number. */
export type Edge = readonly [upstream: number, dependent: number];

export interface Job {
  readonly title: string;
  readonly workflow: Workflow<unknown>;
  /** As they were drawn when the workflow was built: the proof must not ask the engine. */
  readonly edges: readonly Edge[];
  /** What a node works on, for people. */
  describe(node: number): string;
  conclude(result: unknown): Conclusion;
}

export interface Conclusion {
  /** For people. */
  readonly lines: readonly string[];
  /** For programs. */
  readonly json: Readonly<Record<string, unknown>>;
  /** What was compared with a direct computation, in a few words. */
  readonly checked: string;
  /** Where the result differs from the direct computation. */
  readonly problems: readonly string[];
}
