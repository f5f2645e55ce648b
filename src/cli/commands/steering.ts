/** Commands that ask something of a run. */
import type { ControlAnswer, Run } from "../../client/run.ts";
import { type Asked, type Command, jsonOf, needed, nodeOf, textFlag } from "../command.ts";
import { EXIT } from "../exit.ts";

function steering(
  name: string,
  usage: string,
  summary: string,
  ask: (run: Run, asked: Asked) => Promise<ControlAnswer>,
  more: Pick<Command, "flags" | "help"> = {},
): Command {
  return {
    name,
    usage,
    summary,
    ...more,
    async run(asked) {
      const id = needed(asked, 0, "run");
      const answer = await ask((await asked.open()).app.run(id), asked);
      return giveAnswer(asked, name, id, answer);
    },
  };
}

/** What came of it. @returns the exit code. */
export function giveAnswer(
  { output }: Asked,
  name: string,
  id: string,
  answer: ControlAnswer,
): number {
  const { applied, state } = answer;
  output.give(answer, () => {
    output.line(
      applied
        ? `${id}: ${name} is recorded`
        : `${id}: nothing to ${name}, it is ${output.state(state)}`,
    );
  });
  return applied ? EXIT.ok : EXIT.failed;
}

const nodesOf = (asked: Asked) => {
  needed(asked, 1, "nodes");
  return asked.positionals.slice(1).map(nodeOf);
};

export const steeringCommands: readonly Command[] = [
  steering(
    "cancel",
    "<id>",
    "stop a run; what cleans up still runs",
    (run, asked) => run.cancel(textFlag(asked, "reason")),
    { flags: { reason: { type: "string" } }, help: { reason: "kept with the run" } },
  ),
  steering("pause", "<id>", "start nothing new of a run", (run) => run.pause()),
  steering("resume", "<id>", "go on with a paused run", (run) => run.resume()),
  steering(
    "retry",
    "<id>",
    "run what failed, and what depends on it, again",
    (run) => run.retryFailed(),
  ),
  steering(
    "rerun",
    "<id> <node>…",
    "run these nodes and what depends on them again, though they succeeded",
    (run, asked) => run.rerun({ from: nodesOf(asked) }),
  ),
  steering(
    "skip",
    "<id> <node>…",
    "do not run these nodes; what depends on them gets null",
    (run, asked) => run.skip(nodesOf(asked)),
  ),
  steering(
    "send",
    "<id> <event> [json]",
    "tell a run that something has happened",
    (run, asked) => {
      const event = needed(asked, 1, "event");
      const [, , data] = asked.positionals;
      return run.send(event, data === undefined ? null : jsonOf("the event's data", data));
    },
  ),
  steering(
    "remove",
    "<id>",
    "remove a run that has ended, with all about it",
    (run) => run.remove(),
  ),
];
