/** Names of things that happen outside: a node waits for one, `run.send` tells of one. */
import { InvalidOptionError } from "./errors.ts";
import { INPUT_EVENT } from "./fact.ts";
import { checkId, quote } from "./ids.ts";

/** An event and the type of what comes with it. */
export interface EventName<Data> {
  readonly name: string;
  readonly "~data"?: () => Data;
}

/**
 * The event of this name: `event<{ by: string }>("approved")`.
 * @param name letters, digits, `_`, `-`.
 * @throws {InvalidOptionError}
 */
export function event<Data = null>(name: string): EventName<Data> {
  if (name !== INPUT_EVENT) return { name: checkId("event", name) };
  throw new InvalidOptionError("event", `an event cannot be called ${quote(name)}`, {
    hint: "That is a workflow's own input: use wf.input(), and give it when you submit.",
  });
}
