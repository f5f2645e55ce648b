/** What the library logs about itself is a contract: names and fields, in the code, in the types and in docs/guide/logs.md. */
import { readdirSync, readFileSync } from "node:fs";
import { type LogEvent, type LogFields, type LogLevel, task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LOG_EVENTS } from "../src/core/log_event.ts";
import { memoryPorts } from "../src/memory/open.ts";
import { SeededRandom } from "../src/memory/random.ts";
import { VirtualClock } from "../src/memory/clock.ts";
import { Worker } from "../src/worker/worker.ts";

const source = readdirSync("src", { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.endsWith("log_event.ts"))
  .map((name) => readFileSync(`src/${name}`, "utf8"))
  .join("\n");

/** `[event, levels]` of each row of the guide's table. */
function rows(): [string, string[]][] {
  const page = readFileSync("docs/guide/logs.md", "utf8");
  const table = /^\| event +\| level +\| fields[^]*?\n\n/m.exec(page)?.[0] ?? "";
  return table.split("\n").slice(2).filter((line) => line !== "").map((line) => {
    const [, event = "", level = ""] = line.split("|");
    return [event.trim().replaceAll("`", ""), level.trim().split(", ")];
  });
}

/** The level that stands before each place where the event is logged. */
function levelsOf(event: string): string[] {
  return [...source.matchAll(new RegExp(`event: "${event}"`, "g"))].map(({ index }) => {
    const before = source.slice(Math.max(0, index - 600), index);
    return [...before.matchAll(/"(debug|info|warn|error)"/g)].at(-1)?.[1] ?? "";
  });
}

test("every event is logged somewhere, under its name", () => {
  for (const event of LOG_EVENTS) assert.ok(levelsOf(event).length > 0, `nothing logs ${event}`);
  assert.is(new Set(LOG_EVENTS).size, LOG_EVENTS.length);
});

test("the guide's table has exactly the events that there are, with their levels", () => {
  assert.equal(rows().map(([event]) => event).toSorted(), [...LOG_EVENTS].toSorted());
  for (const [event, levels] of rows()) {
    for (const level of levelsOf(event)) {
      assert.ok(levels.includes(level), `${event} is logged as ${level}, the guide has ${levels}`);
    }
  }
});

test("a log is told the event and the fields, beside the message", async () => {
  const told: { level: LogLevel; message: string; fields: LogFields }[] = [];
  const clock = new VirtualClock();
  const ports = memoryPorts({
    clock,
    random: new SeededRandom(1),
    log: (level, message, fields) => void told.push({ level, message, fields }),
  });
  const address = { queue: "default", lane: "p5", workflow: "x", node: 3, attempt: 2 };
  await ports.tasks.publish(address, new TextEncoder().encode("junk"));
  const worker = new Worker(ports, { tasks: [], id: "w1" }, { isAnnounced: false });
  await worker.start();
  for (let turns = 0; told.length === 0 && turns < 100; turns++) await Promise.resolve();
  assert.equal(told[0]!.level, "error");
  assert.match(told[0]!.message, /put in quarantine/);
  const { run, node, attempt, queue, worker: by, event } = told[0]!.fields;
  assert.equal({ run, node, attempt, queue, by, event }, {
    run: "x",
    node: 3,
    attempt: 2,
    queue: "default",
    by: "w1",
    event: "task-quarantined",
  });
});

test("names are types: a log can be written that knows them", async () => {
  const counts = new Map<LogEvent, number>();
  const wf = new Workflow("one");
  wf.call(task("one", () => 1));
  const { state } = await runLocally(wf, {
    tasks: [task("one", () => 1)],
    log: (_level, _message, { event }) => void counts.set(event, (counts.get(event) ?? 0) + 1),
  });
  assert.is(state, "SUCCESS");
  assert.is(counts.get("lease-lost"), undefined);
  // @ts-expect-error there is no such event
  counts.get("lease-found");
});

test.run();
