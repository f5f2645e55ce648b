/** What a task returns when a workflow is to take its place. Only says so; whoever records the outcome acts on it. */
import type { Definition } from "./definition.ts";

/** Made by `expand(…)`. `Out` is what the workflow gives: the result of the task's node. */
export class Expansion<Out> {
  declare readonly "~gives": () => Out;
  readonly definition: Definition;

  constructor(definition: Definition) {
    this.definition = definition;
  }
}
