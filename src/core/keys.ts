/** The keys of facts. Node ids on the wire are the nodes' numbers; ids are checked where they come in. */

export type FactKey =
  | { readonly is: "definition"; readonly workflow: string; readonly chunk: string }
  | {
    readonly is: "outcome";
    readonly workflow: string;
    readonly node: number;
    readonly attempt: number;
  }
  | { readonly is: "control"; readonly workflow: string; readonly n: number }
  | { readonly is: "end"; readonly workflow: string; readonly round: number };

export const definitionKey = (workflow: string, chunk = "0"): string => `${workflow}.def.${chunk}`;
export const outcomeKey = (workflow: string, node: number, attempt: number): string =>
  `${workflow}.r.${node}.${attempt}`;
export const controlKey = (workflow: string, n: number): string => `${workflow}.ctl.${n}`;
export const endKey = (workflow: string, round: number): string => `${workflow}.end.${round}`;

/** All outcomes of a workflow. */
export const outcomesOf = (workflow: string): string => `${workflow}.r.>`;
/** All control facts of a workflow. */
export const controlsOf = (workflow: string): string => `${workflow}.ctl.*`;
/** Everything recorded about a workflow. */
export const everythingOf = (workflow: string): string => `${workflow}.>`;
/** The heads of all definitions. */
export const ALL_HEADS = "*.def.0";
/** The terminal records of all workflows. */
export const ALL_ENDS = "*.end.*";

/** @returns undefined for a key of none of these forms. */
export function parseKey(key: string): FactKey | undefined {
  const [workflow, kind, a, b, more] = key.split(".");
  if (workflow === undefined || a === undefined || more !== undefined) return undefined;
  if (kind === "def" && b === undefined) return { is: "definition", workflow, chunk: a };
  const n = wholeNumber(a);
  if (n === undefined) return undefined;
  if (kind === "r") {
    const attempt = wholeNumber(b);
    return attempt === undefined ? undefined : { is: "outcome", workflow, node: n, attempt };
  }
  if (b !== undefined) return undefined;
  if (kind === "ctl") return { is: "control", workflow, n };
  if (kind === "end") return { is: "end", workflow, round: n };
  return undefined;
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}
