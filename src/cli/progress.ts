/** A run as it goes on: on a terminal a line that is drawn anew, elsewhere a line for each change of what matters. */
import process from "node:process";
import type { RunEvent } from "../client/watch.ts";
import type { Run } from "../client/run.ts";
import type { WorkflowState } from "../core/fact.ts";
import { isFinal, type NodeState } from "../core/node_state.ts";
import { systemClock } from "../nats/clock.ts";
import type { Asked } from "./command.ts";
import { spanText } from "./output.ts";

const DRAW_EVERY_MS = 100;
const BAR = 24;
const NAMED = 4;

export class Progress {
  readonly #asked: Asked;
  readonly #states = new Map<number, { readonly label: string; readonly state: NodeState }>();
  #total = 0;
  #drawnAt = 0;

  constructor(asked: Asked) {
    this.#asked = asked;
  }

  /** @returns how it ended. */
  async follow(run: Run): Promise<WorkflowState> {
    const { output } = this.#asked;
    const { counts, submittedAt } = await run.status();
    this.#total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const isLive = process.stdout.isTTY === true && !output.isJson;
    for await (const event of run.watch()) {
      if (output.isJson) output.json(event);
      if (event.is === "node") this.#states.set(event.node, event);
      if (isLive) this.#draw(submittedAt);
      else if (!output.isJson) this.#say(event);
    }
    if (isLive) process.stdout.write("\r\u001b[K");
    const ended = await run.status();
    if (!output.isJson) {
      const took = (ended.finishedAt ?? systemClock.now()) - submittedAt;
      output.line(`${output.state(ended.state)} after ${spanText(took)}`);
    }
    return ended.state;
  }

  #say(event: RunEvent): void {
    const { output } = this.#asked;
    if (event.is === "workflow") output.line(`workflow ${output.state(event.state)}`);
    else if (event.is === "node" && (event.state === "FAILURE" || event.state === "RETRY")) {
      output.line(`${event.label} ${output.state(event.state)}, attempt ${event.attempt}`);
    }
  }

  #draw(submittedAt: number): void {
    const now = systemClock.monotonic();
    if (now - this.#drawnAt < DRAW_EVERY_MS) return;
    this.#drawnAt = now;
    const all = [...this.#states.values()];
    const done = all.filter(({ state }) => isFinal(state)).length;
    const failed = all.filter(({ state }) => state === "FAILURE");
    const running = all.filter(({ state }) => state === "STARTED");
    const total = Math.max(this.#total, done, 1);
    const elapsedMs = systemClock.now() - submittedAt;
    const rate = done / (elapsedMs / 1_000);
    const eta = done === 0 || done === total
      ? ""
      : `, ${spanText((total - done) / rate * 1_000)} left`;
    const filled = Math.round(BAR * done / total);
    const { output } = this.#asked;
    const named = (what: string, some: readonly { label: string }[]) =>
      some.length === 0
        ? ""
        : `  ${what} ${some.slice(0, NAMED).map(({ label }) => label).join(", ")}` +
          (some.length > NAMED ? ` +${some.length - NAMED}` : "");
    process.stdout.write(
      `\r\u001b[K${"█".repeat(filled)}${"░".repeat(BAR - filled)} ${done}/${total}  ` +
        `${rate.toFixed(rate < 10 ? 1 : 0)}/s${eta}` +
        output.error(named("failed", failed)) + output.faint(named("running", running)),
    );
  }
}
