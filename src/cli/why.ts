/** Why a node does not run: decided from how its run, its nodes and those who serve it stand. */
import type { NodeStatus } from "../client/nodes.ts";
import { NotFoundError } from "../core/errors.ts";
import { isFinal } from "../core/node_state.ts";
import type { LiveProcessor, LiveWorker } from "../core/presence.ts";
import type { RunStatus } from "../core/records.ts";
import { systemClock } from "../nats/clock.ts";
import { timeText } from "./output.ts";

export interface Standing {
  readonly status: RunStatus;
  readonly nodes: readonly NodeStatus[];
  readonly workers: readonly LiveWorker[];
  readonly processors: readonly LiveProcessor[];
}

/** @throws {NotFoundError} */
export function whyNot(standing: Standing, wanted: string | number): string[] {
  const { status, nodes } = standing;
  const node = nodes.find(({ node, label }) => node === wanted || label === wanted);
  if (node === undefined) {
    throw new NotFoundError(`Run "${status.id}" has no node "${wanted}"`, {
      hint: `See nats-dyrygent show ${status.id}.`,
    });
  }
  switch (node.state) {
    case "SUCCESS":
    case "FAILURE":
    case "SKIPPED":
    case "CANCELLED":
    case "UPSTREAM_FAILED":
      return [ended(node, nodes)];
    case "STARTED":
      return [`${node.label} runs, as run ${node.run}`];
    case "PENDING":
      return [...ofTheRun(standing), ...pending(node, nodes)];
    case "SCHEDULED":
    case "RETRY":
      return [...ofTheRun(standing), ...scheduled(node, standing)];
  }
  return node.state satisfies never;
}

function ended({ label, state, attempt, after }: NodeStatus, nodes: readonly NodeStatus[]): string {
  if (state !== "UPSTREAM_FAILED") return `${label} has ended: ${state}, attempt ${attempt}`;
  const guilty = after.map(({ node }) => nodes[node]!)
    .filter(({ state }) => state !== "SUCCESS" && state !== "SKIPPED")
    .map(({ label, state }) => `${label} (${state})`);
  return `${label} will not run: it needs ${guilty.join(", ")}`;
}

function ofTheRun({ status: { state }, processors }: Standing): string[] {
  const reasons: string[] = [];
  if (state === "PAUSED") reasons.push("the run is paused: resume it");
  if (processors.length === 0) reasons.push("no processor is alive: start one");
  return reasons;
}

function pending({ label, after, event }: NodeStatus, nodes: readonly NodeStatus[]): string[] {
  const open = after.map(({ node, on }) => ({ ...nodes[node]!, on }))
    .filter(({ state }) => !isFinal(state));
  if (open.length > 0) {
    const shown = open.slice(0, 10).map(({ label, state, on }) =>
      `${label} (${state}${on === "success" ? "" : `, on ${on}`})`
    );
    const more = open.length > 10 ? `, and ${open.length - 10} more` : "";
    return [`${label} waits for ${shown.join(", ")}${more}`];
  }
  return [event === undefined ? `${label} is about to run` : `${label} waits for event "${event}"`];
}

function scheduled(node: NodeStatus, { workers }: Standing): string[] {
  const { label, task, queue, event, limit, notBefore, attempt } = node;
  if (event !== undefined) return [`${label} waits for event "${event}"`];
  const reasons: string[] = [];
  if (notBefore !== undefined && notBefore > systemClock.now()) {
    const what = attempt > 1 ? `attempt ${attempt} is made` : "it runs";
    reasons.push(`${what} not before ${timeText(notBefore)}`);
  }
  const serving = workers.filter(({ queues }) => queues.includes(queue));
  if (serving.length === 0) reasons.push(`no live worker serves queue "${queue}"`);
  else if (!serving.some(({ tasks }) => tasks.some(({ name }) => name === task))) {
    reasons.push(`no live worker of queue "${queue}" has task "${task}"`);
  } else if (serving.every(({ running, concurrency }) => running >= concurrency)) {
    const slots = serving.reduce((sum, { concurrency }) => sum + concurrency, 0);
    reasons.push(`all ${slots} slots of queue "${queue}" are busy`);
  }
  if (limit !== undefined) reasons.push(`it shares the limit "${limit}" with other tasks`);
  return reasons.length > 0 ? reasons : [`${label} is queued, and may be running now`];
}
