/** Commands about what waits and what is left. */
import { jetstreamManager } from "@nats-io/jetstream";
import type { NodeStatus } from "../../client/nodes.ts";
import { type Duration, durationMs } from "../../core/duration.ts";
import { NotFoundError } from "../../core/errors.ts";
import { quote } from "../../core/ids.ts";
import type { RunStatus } from "../../core/records.ts";
import { systemClock } from "../../nats/clock.ts";
import type { Dyrygent } from "../../dyrygent.ts";
import { laneDepths } from "../../nats/lane_depths.ts";
import { namesIn } from "../../nats/names.ts";
import { type Asked, type Command, countOf, needed, textFlag } from "../command.ts";
import { EXIT, UsageError } from "../exit.ts";
import { giveAnswer } from "./steering.ts";

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

/** A node that failed, and of which run. */
interface FailedNode extends NodeStatus {
  readonly of: string;
  readonly workflow: string;
  readonly why: string;
}

const dead: Command = {
  name: "dead",
  usage: "[show|drop|retry] [key]",
  summary: "what failed, and messages that nobody could read",
  flags: { limit: { type: "string", default: "20" } },
  help: { limit: "at most so many runs, the newest first" },
  async run(asked) {
    const [what] = asked.positionals;
    switch (what) {
      case undefined:
        return await listDead(asked);
      case "show":
        return await showQuarantined(asked, needed(asked, 1, "message: see dead"));
      case "drop":
        return await dropQuarantined(asked, needed(asked, 1, "message: see dead"));
      case "retry":
        return await retryDead(asked, needed(asked, 1, "run: see dead"));
      default:
        throw new UsageError(`dead ${what}: say show, drop or retry, or nothing.`);
    }
  },
};

async function listDead(asked: Asked): Promise<number> {
  const { output } = asked;
  const { app } = await asked.open();
  const failed = await failedNodes(app, countOf("--limit", textFlag(asked, "limit")!));
  const unread = await app.quarantined();
  if (output.isJson) {
    for (const node of failed) output.json(node);
    for (const { key, data } of unread) output.json({ quarantined: key, bytes: data.length });
    return EXIT.ok;
  }
  output.list(failed, {
    none: "nothing failed",
    head: ["RUN", "WORKFLOW", "NODE", "ATTEMPTS", "WHY"],
    row: ({ of, workflow, label, attempt, why }) => [of, workflow, label, String(attempt), why],
  });
  if (unread.length === 0) return EXIT.ok;
  output.line();
  output.table(
    ["MESSAGE THAT NOBODY COULD READ", "BYTES"],
    unread.map(({ key, data }) => [key, String(data.length)]),
  );
  return EXIT.ok;
}

async function failedNodes(app: Dyrygent, limit: number): Promise<FailedNode[]> {
  const runs: RunStatus[] = [];
  for await (const run of app.list({ state: ["FAILURE", "ERROR"] })) runs.push(run);
  runs.sort((a, b) => b.submittedAt - a.submittedAt);
  const rows: FailedNode[] = [];
  for (const run of runs.slice(0, limit)) {
    const failed = (await app.run(run.id).nodes()).filter(({ state }) => state === "FAILURE");
    for (const node of failed) {
      const last = (await app.run(run.id).attempts(node.node)).at(-1);
      const why = last?.failure?.message ?? "";
      rows.push({ ...node, of: run.id, workflow: run.name, why });
    }
  }
  return rows;
}

async function showQuarantined({ output, open }: Asked, key: string): Promise<number> {
  const found = (await (await open()).app.quarantined()).find((one) => one.key === key);
  if (found === undefined) throw notThere(key);
  const text = new TextDecoder().decode(found.data);
  output.give({ quarantined: key, text }, () => output.line(text));
  return EXIT.ok;
}

async function dropQuarantined({ output, open }: Asked, key: string): Promise<number> {
  if (!await (await open()).app.dropQuarantined(key)) throw notThere(key);
  output.give({ dropped: key }, () => output.line(`${key} is dropped`));
  return EXIT.ok;
}

/** The same as the command retry. */
async function retryDead(asked: Asked, id: string): Promise<number> {
  return giveAnswer(asked, "retry", id, await (await asked.open()).app.run(id).retryFailed());
}

function notThere(key: string): NotFoundError {
  return new NotFoundError(`There is no message ${quote(key)} in quarantine`, {
    hint: "See nats-dyrygent dead for those that are.",
  });
}

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
