/** Commands about what waits and what is left. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NodeStatus } from "../../client/nodes.ts";
import { type Duration, durationMs } from "../../core/duration.ts";
import type { RunStatus } from "../../core/records.ts";
import { systemClock } from "../../nats/clock.ts";
import { laneDepths } from "../../nats/lane_depths.ts";
import { namesIn } from "../../nats/names.ts";
import { type Command, countOf, textFlag } from "../command.ts";
import { EXIT } from "../exit.ts";

const queues: Command = {
  name: "queues",
  usage: "",
  summary: "how many tasks wait, and how many are with workers",
  async run({ output, open }) {
    const { app, nc } = await open();
    const lanes = await laneDepths(await jetstreamManager(nc), namesIn(app.namespace));
    lanes.sort((a, b) => `${a.queue} ${a.lane}` < `${b.queue} ${b.lane}` ? -1 : 1);
    output.give(lanes, () =>
      output.table(
        ["QUEUE", "LANE", "WAITING", "WITH WORKERS", "WORKERS ASK"],
        lanes.map(({ queue, lane, waiting, inHand, asked }) => [
          queue,
          laneText(lane),
          String(waiting),
          String(inHand),
          asked > 0 ? "yes" : "no",
        ]),
      ));
    return EXIT.ok;
  },
};

function laneText(lane: string): string {
  if (lane.startsWith("p")) return `priority ${lane.slice(1)}`;
  return `${lane.startsWith("c") ? "limit" : "rate"} ${lane.slice(2)}`;
}

const dead: Command = {
  name: "dead",
  usage: "",
  summary: "runs that failed, with the nodes that did; `retry` runs them again",
  flags: { limit: { type: "string", default: "20" } },
  help: { limit: "at most so many runs, the newest first" },
  async run(asked) {
    const { output, open } = asked;
    const limit = countOf("--limit", textFlag(asked, "limit")!);
    const { app } = await open();
    const runs: RunStatus[] = [];
    for await (const run of app.list({ state: ["FAILURE", "ERROR"] })) runs.push(run);
    runs.sort((a, b) => b.submittedAt - a.submittedAt);
    const rows: (NodeStatus & { of: string; workflow: string; why: string })[] = [];
    for (const run of runs.slice(0, limit)) {
      const failed = (await app.run(run.id).nodes()).filter(({ state }) => state === "FAILURE");
      for (const node of failed) {
        const last = (await app.run(run.id).attempts(node.node)).at(-1);
        const why = last?.failure?.message ?? "";
        rows.push({ ...node, of: run.id, workflow: run.name, why });
      }
    }
    output.list(rows, {
      none: "nothing failed",
      head: ["RUN", "WORKFLOW", "NODE", "ATTEMPTS", "WHY"],
      row: ({ of, workflow, label, attempt, why }) => [of, workflow, label, String(attempt), why],
    });
    return EXIT.ok;
  },
};

const purge: Command = {
  name: "purge",
  usage: "",
  summary: "remove runs that ended long ago; processors do so after the retention",
  flags: { older: { type: "string", default: "1d" }, name: { type: "string" } },
  help: {
    older: "than this since they ended: 30m, 12h, 7d",
    name: "only of workflows with this name",
  },
  async run(asked) {
    const { output, open } = asked;
    const olderMs = durationMs("--older", textFlag(asked, "older") as Duration);
    const name = textFlag(asked, "name");
    const { app } = await open();
    const removed: string[] = [];
    for await (const { id, finishedAt } of app.list(name === undefined ? {} : { name })) {
      if (finishedAt === undefined || systemClock.now() - finishedAt < olderMs) continue;
      if ((await app.run(id).remove()).applied) removed.push(id);
    }
    output.give({ removed }, () => output.line(`${removed.length} runs are removed`));
    return EXIT.ok;
  },
};

export const tidying: readonly Command[] = [queues, dead, purge];
