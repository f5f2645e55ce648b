/** The bounds of everything, in one place. Figures are generous for people and finite for machines. */

export const LIMITS = {
  /** Nodes of one workflow. */
  nodes: 2_000_000,
  /** Edges of one workflow. */
  edges: 50_000_000,
  /** Groups in groups, lists in lists: deeper would overflow stacks in JSON readers of any language. */
  depth: 200,
  /** Bytes of one custom payload (workflow or node); it travels with every task message. */
  payloadBytes: 16_384,
  /** Characters of an error message and of a stack that are kept in a record. */
  errorMessage: 4_000,
  errorStack: 8_000,
  /** Failed nodes that a terminal record names. */
  namedFailures: 100,
  /** Runs that take the place of a node of a run that takes the place of a node … */
  expansionDepth: 32,
  /** Lines of one execution of an attempt that are kept, and bytes of them as JSON. */
  logLines: 1_000,
  logBytes: 131_072,
  /** Bytes of one line, as JSON. */
  logLineBytes: 8_192,
  /** Retries after the first attempt. */
  retries: 10_000,
} as const;

/** Whether `value` is a whole number from 0 to `most`. */
export function isCount(value: unknown, most: number = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;
}
