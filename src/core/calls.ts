/** The calls that a signature makes, and where their arguments and results stand in those of its node. */
import type { Calls } from "./canvas.ts";
import type { Path } from "./json.ts";

/** One of the calls that a signature makes. */
export interface CallPlace {
  readonly calls: Calls;
  /** Which call it is, from 0. */
  readonly index: number;
}

/** Where a place in the list of a call's arguments stands in the signature's own list. */
export function argumentPath({ calls, index }: CallPlace, path: Path): Path {
  switch (calls) {
    case "once":
      return path;
    case "starmap":
      return [0, index, ...path];
    case "map": // The item is the call's only argument.
      return [0, index, ...path.slice(1)];
  }
  return calls satisfies never;
}

/** Where a place in a call's result stands in the node's. */
export function resultPath({ calls, index }: CallPlace, path: Path): Path {
  return calls === "once" ? path : [index, ...path];
}
