/** Commands that look at runs: they change nothing. */
import type { TaskLogLine } from "../../client/logs.ts";
import type { NodeStatus } from "../../client/nodes.ts";
import type { RunStatus } from "../../core/records.ts";
import type { WorkflowState } from "../../core/fact.ts";
import { systemClock } from "../../nats/clock.ts";
import { type Asked, type Command, countOf, needed, nodeOf, textFlag } from "../command.ts";
import { EXIT } from "../exit.ts";
import { dotOf, drawn, mermaidOf } from "../graph.ts";
import { Progress } from "../progress.ts";
import type { LogLevel } from "../../core/task_log.ts";
import { type Output, spanText, timeText } from "../output.ts";
import { whyNot } from "../why.ts";

/** How it ended, as an exit code. */
export function codeOf(state: WorkflowState): number {
  return state === "SUCCESS" ? EXIT.ok : EXIT.failed;
}

function countsText({ counts }: RunStatus): string {
  return Object.entries(counts).filter(([, count]) => count > 0)
    .map(([state, count]) => `${count.toLocaleString("en")} ${state}`).join(", ");
}

function ageText({ submittedAt }: RunStatus): string {
  return `${spanText(systemClock.now() - submittedAt)} ago`;
}

const ls: Command = {
  name: "ls",
  usage: "",
  summary: "runs, the newest first",
  flags: {
    state: { type: "string" },
    name: { type: "string" },
    since: { type: "string" },
    limit: { type: "string", default: "50" },
  },
  help: {
    state: "only in these states, comma-separated: RUNNING,PAUSED,…",
    name: "only of workflows with this name",
    since: "only submitted after this date",
    limit: "at most so many",
  },
  async run(asked) {
    const { output, open } = asked;
    const states = textFlag(asked, "state")?.toUpperCase().split(",") as WorkflowState[];
    const name = textFlag(asked, "name");
    const since = textFlag(asked, "since");
    const limit = countOf("--limit", textFlag(asked, "limit")!);
    const { app } = await open();
    const runs: RunStatus[] = [];
    const wanted = {
      ...(states === undefined ? {} : { state: states }),
      ...(name === undefined ? {} : { name }),
      ...(since === undefined ? {} : { submittedAfter: new Date(since) }),
    };
    for await (const run of app.list(wanted)) runs.push(run);
    runs.sort((a, b) => b.submittedAt - a.submittedAt);
    const shown = runs.slice(0, limit);
    output.list(shown, {
      none: "no runs",
      head: ["ID", "WORKFLOW", "STATE", "NODES", "SUBMITTED"],
      row: (run) => [run.id, run.name, output.state(run.state), countsText(run), ageText(run)],
    });
    if (runs.length > limit && !output.isJson) {
      output.line(output.faint(`… and ${runs.length - limit} more: --limit, --state, --name`));
    }
    return EXIT.ok;
  },
};

const show: Command = {
  name: "show",
  usage: "<id> [node]",
  summary: "a run: its nodes, attempts, errors and times",
  flags: { all: { type: "boolean" } },
  help: { all: "every node; else of many only those that failed, run, or could run" },
  async run(asked) {
    const { output, open, positionals, values } = asked;
    const id = needed(asked, 0, "run");
    const run = (await open()).app.run(id);
    if (positionals[1] !== undefined) {
      const attempts = await run.attempts(nodeOf(positionals[1]));
      output.give(attempts, () =>
        output.table(
          ["ATTEMPT", "STATE", "TOOK", "WORKER", "WHY"],
          attempts.map(({ attempt, state, startedAt, endedAt, worker, failure, run }) => [
            String(attempt),
            output.state(state),
            startedAt === undefined || endedAt === undefined ? "" : spanText(endedAt - startedAt),
            worker ?? "",
            failure?.message ?? (run === undefined ? "" : `run ${run}`),
          ]),
        ));
      return EXIT.ok;
    }
    const [status, nodes] = await Promise.all([run.status(), run.nodes()]);
    if (output.isJson) {
      output.json({ ...status, nodes });
      return EXIT.ok;
    }
    showStatus(asked, status);
    showNodes(asked, nodes, values["all"] === true);
    return EXIT.ok;
  },
};

function showStatus({ output }: Asked, status: RunStatus): void {
  const { id, name, state, round, submittedAt, finishedAt, payload, parent } = status;
  output.line(`${name} ${output.faint(id)}  ${output.state(state)}`);
  output.line(
    `submitted ${timeText(submittedAt)}, ` +
      (finishedAt === undefined
        ? `${spanText(systemClock.now() - submittedAt)} ago`
        : `took ${spanText(finishedAt - submittedAt)}`) +
      (round > 1 ? `, round ${round}` : ""),
  );
  if (parent !== undefined) output.line(`takes the place of node ${parent.node} of ${parent.id}`);
  if (payload !== undefined) output.line(`payload ${JSON.stringify(payload)}`);
  output.line(countsText(status));
}

const MANY = 40;
const ENDED_WELL: readonly NodeStatus["state"][] = ["SUCCESS", "SKIPPED", "PENDING"];

function showNodes({ output }: Asked, nodes: readonly NodeStatus[], all: boolean): void {
  const own = nodes.filter(({ task, event }) => task !== undefined || event !== undefined);
  const shown = all || own.length <= MANY
    ? own
    : own.filter(({ state }) => !ENDED_WELL.includes(state)).slice(0, MANY);
  output.line();
  output.table(
    ["NODE", "LABEL", "STATE", "ATTEMPT", "TOOK", "QUEUE", ""],
    shown.map(({ node, label, state, attempt, startedAt, endedAt, queue, run, event }) => [
      String(node),
      label,
      output.state(state),
      String(attempt),
      startedAt === undefined || endedAt === undefined ? "" : spanText(endedAt - startedAt),
      event === undefined ? queue : "",
      run === undefined ? (event === undefined ? "" : `waits for event ${event}`) : `run ${run}`,
    ]),
  );
  if (shown.length < own.length) {
    output.line(output.faint(`${own.length - shown.length} more nodes: --all`));
  }
}

const watch: Command = {
  name: "watch",
  usage: "<id>",
  summary: "a run as it goes on, to its end",
  async run(asked) {
    const id = needed(asked, 0, "run");
    const run = (await asked.open()).app.run(id);
    return codeOf(await new Progress(asked).follow(run));
  },
};

const events: Command = {
  name: "events",
  usage: "<id>",
  summary: "what happened in a run and happens, a line each, to its end",
  async run(asked) {
    const { output, open } = asked;
    const id = needed(asked, 0, "run");
    const run = (await open()).app.run(id);
    for await (const event of run.watch()) {
      output.give(event, () => {
        if (event.is === "workflow") output.line(`workflow  ${output.state(event.state)}`);
        else if (event.is === "progress") {
          output.line(`${event.label}  ${JSON.stringify(event.value)}`);
        } else {
          const { label, state, attempt, run: child } = event;
          output.line(
            `${label}  ${output.state(state)}${attempt > 1 ? `, attempt ${attempt}` : ""}` +
              (child === undefined ? "" : `, run ${child}`),
          );
        }
      });
    }
    return EXIT.ok;
  },
};

const logs: Command = {
  name: "logs",
  usage: "<id> [node]",
  summary: "what its tasks logged, a line each",
  flags: {
    attempt: { type: "string" },
    level: { type: "string", default: "debug" },
    follow: { type: "boolean", short: "f" },
  },
  help: {
    attempt: "only of this attempt, from 1",
    level: "only these and more urgent ones: debug, info, warn, error",
    follow: "goes on with what is logged meanwhile, to the run's end",
  },
  async run(asked) {
    const { output, open, positionals, values } = asked;
    const id = needed(asked, 0, "run");
    const attempt = textFlag(asked, "attempt");
    const wanted = {
      ...(positionals[1] === undefined ? {} : { node: nodeOf(positionals[1]) }),
      ...(attempt === undefined ? {} : { attempt: countOf("--attempt", attempt) }),
      level: textFlag(asked, "level") as LogLevel,
      follow: values["follow"] === true,
    };
    const run = (await open()).app.run(id);
    for await (const line of run.logs(wanted)) output.give(line, () => showLine(output, line));
    return EXIT.ok;
  },
};

function showLine(output: Output, line: TaskLogLine): void {
  const { at, label, attempt, level, message, fields, dropped, cut } = line;
  const who = attempt > 1 ? `${label}, attempt ${attempt}` : label;
  if (dropped !== undefined) {
    output.line(output.faint(`… ${dropped.toLocaleString("en")} lines of ${who} are not kept`));
  }
  const shown = level === "error"
    ? output.error(level)
    : level === "warn"
    ? output.warning(level)
    : level;
  const more = (fields === undefined ? "" : ` ${JSON.stringify(fields)}`) + (cut ? " …" : "");
  const space = " ".repeat(5 - level.length);
  output.line(
    `${output.faint(timeText(at))}  ${shown}${space}  ${who}  ${message}${output.faint(more)}`,
  );
}

const result: Command = {
  name: "result",
  usage: "<id> [node]",
  summary: "what a run or one of its nodes gave, as JSON; waits for it",
  async run(asked) {
    const { output, open, positionals } = asked;
    const id = needed(asked, 0, "run");
    const run = (await open()).app.run(id);
    const [, node] = positionals;
    const value = await (node === undefined ? run.result() : run.result(nodeOf(node)));
    if (output.isJson) output.json(value);
    else output.line(JSON.stringify(value, undefined, 2) ?? "null");
    return EXIT.ok;
  },
};

const graph: Command = {
  name: "graph",
  usage: "<id>",
  summary: "its nodes and edges, drawn",
  flags: { format: { type: "string", default: "text" } },
  help: { format: "text, mermaid or dot" },
  async run(asked) {
    const { output, open } = asked;
    const id = needed(asked, 0, "run");
    const nodes = await (await open()).app.run(id).nodes();
    if (output.isJson) {
      output.json(nodes);
      return EXIT.ok;
    }
    switch (textFlag(asked, "format")) {
      case "mermaid":
        output.line(mermaidOf(nodes));
        break;
      case "dot":
        output.line(dotOf(nodes));
        break;
      default:
        for (const line of drawn(nodes, output)) output.line(line);
    }
    return EXIT.ok;
  },
};

const why: Command = {
  name: "why",
  usage: "<id> <node>",
  summary: "why a node does not run",
  async run(asked) {
    const { output, open } = asked;
    const id = needed(asked, 0, "run");
    const wanted = nodeOf(needed(asked, 1, "node"));
    const { app } = await open();
    const run = app.run(id);
    const [status, nodes, workers, processors] = await Promise.all([
      run.status(),
      run.nodes(),
      app.workers(),
      app.processors(),
    ]);
    const reasons = whyNot({ status, nodes, workers, processors }, wanted);
    output.give(reasons, () => {
      for (const reason of reasons) output.line(reason);
    });
    return EXIT.ok;
  },
};

export const looking: readonly Command[] = [ls, show, watch, events, logs, result, graph, why];
