/** The keys of facts. Node ids on the wire are the nodes' numbers; ids are checked where they come in. */

export type FactKey =
  | { readonly is: "definition"; readonly workflow: string; readonly chunk: string }
  | {
    readonly is: "outcome";
    readonly workflow: string;
    readonly node: number;
    readonly attempt: number;
  }
  | {
    readonly is: "expansion";
    readonly workflow: string;
    readonly node: number;
    readonly attempt: number;
  }
  | { readonly is: "control"; readonly workflow: string; readonly n: number }
  | { readonly is: "end"; readonly workflow: string; readonly round: number };

export const definitionKey = (workflow: string, chunk = "0"): string => `${workflow}.def.${chunk}`;
export const outcomeKey = (workflow: string, node: number, attempt: number): string =>
  `${workflow}.r.${node}.${attempt}`;
/** Says which run takes the node's place. Stands among the outcomes, so that whoever reads them meets it. */
export const expansionKey = (workflow: string, node: number, attempt: number): string =>
  `${workflow}.r.${node}.${attempt}.run`;
export const controlKey = (workflow: string, n: number): string => `${workflow}.ctl.${n}`;
export const endKey = (workflow: string, round: number): string => `${workflow}.end.${round}`;

/** All outcomes and expansions of a workflow. */
export const outcomesOf = (workflow: string): string => `${workflow}.r.>`;
/** The expansions alone. */
export const expansionsOf = (workflow: string): string => `${workflow}.r.*.*.run`;
/** All outcomes and expansions of one node. */
export const outcomesOfNode = (workflow: string, node: number): string => `${workflow}.r.${node}.>`;
/** The terminal records of a workflow. */
export const endsOf = (workflow: string): string => `${workflow}.end.*`;
/** All control facts of a workflow. */
export const controlsOf = (workflow: string): string => `${workflow}.ctl.*`;
/** The control facts of all workflows. */
export const ALL_CONTROLS = "*.ctl.*";
/** Everything recorded about a workflow. */
export const everythingOf = (workflow: string): string => `${workflow}.>`;
/** The heads of all definitions. */
export const ALL_HEADS = "*.def.0";
/** The terminal records of all workflows. */
export const ALL_ENDS = "*.end.*";

/** The workflow of a key, whatever its form. */
export function workflowOf(key: string): string {
  return key.slice(0, key.indexOf("."));
}

/** @returns undefined for a key of none of these forms. */
export function parseKey(key: string): FactKey | undefined {
  const [workflow, kind, a, b, c, more] = key.split(".");
  if (workflow === undefined || a === undefined || more !== undefined) return undefined;
  if (c !== undefined && !(kind === "r" && c === "run")) return undefined;
  if (kind === "def" && b === undefined) return { is: "definition", workflow, chunk: a };
  const n = wholeNumber(a);
  if (n === undefined) return undefined;
  if (kind === "r") {
    const attempt = wholeNumber(b);
    if (attempt === undefined) return undefined;
    return { is: c === undefined ? "outcome" : "expansion", workflow, node: n, attempt };
  }
  if (b !== undefined) return undefined;
  if (kind === "ctl") return { is: "control", workflow, n };
  if (kind === "end") return { is: "end", workflow, round: n };
  return undefined;
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

/** The view that says since when an attempt runs, and how often it was begun. */
export const begunKey = (workflow: string, node: number, attempt: number): string =>
  `begun.${workflow}.${node}.${attempt}`;

/** The views that keep task messages which nobody could read: `<workflow>.<node>.<attempt>`, or `unknown.<nanoseconds>`. */
export const QUARANTINE = "quarantine.";
/** The view that has what one execution of an attempt logged. */
export const logKey = (
  workflow: string,
  node: number,
  attempt: number,
  execution: string,
): string => `log.${workflow}.${node}.${attempt}.${execution}`;
/** What the views of a workflow's logs, or of those of a node or attempt, start with. */
export const logsIn = (workflow: string, node?: number, attempt?: number): string =>
  `log.${workflow}.` +
  (node === undefined ? "" : `${node}.` + (attempt === undefined ? "" : `${attempt}.`));

/** @returns undefined for a key of another form. */
export function parseLogKey(
  key: string,
): { readonly workflow: string; readonly node: number; readonly attempt: number } | undefined {
  const [kind, workflow, a, b, execution, more] = key.split(".");
  const node = wholeNumber(a);
  const attempt = wholeNumber(b);
  return kind !== "log" || workflow === undefined || node === undefined || attempt === undefined ||
      execution === undefined || more !== undefined
    ? undefined
    : { workflow, node, attempt };
}
