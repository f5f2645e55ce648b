/** A run waits for those in the place of its nodes, and is told their end also when they cannot tell it themselves. */
import { Dyrygent, task, type WorkerOptions, Workflow, WorkflowFailedError } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { everythingOf, parseKey } from "../../src/core/keys.ts";
import { readExpansion } from "../../src/core/records.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { systemClock } from "../../src/nats/clock.ts";
import type { Facts, Ports } from "../../src/ports.ts";
import { within } from "../nats/server.ts";

const one = task("one", (_: unknown) => 1);
const list = task("list", (length: number) => Array.from({ length }, () => null));
const tasks = [one, list];

/** Like the library in production, but that it looks again soon. */
async function locally(body: (app: Dyrygent, ports: Ports) => Promise<void>): Promise<void> {
  const ports = memoryPorts({
    clock: systemClock,
    random: new SeededRandom(1),
    log: () => {},
    maxRecord: 4_000,
  });
  const app = new Dyrygent(ports, "local");
  await using worker = app.worker({ tasks } satisfies WorkerOptions);
  await using processor = app.processor({ tick: { idle: ["100ms", "200ms"] } });
  await worker.start();
  await processor.start();
  await body(app, ports);
}

/** Whether a fact belongs to the definition of a run that takes a node's place. */
function isOfChild(key: string, parent: string): boolean {
  const parsed = parseKey(key);
  return parsed?.is === "definition" && parsed.workflow !== parent;
}

/** Writes what `change` makes of facts. Undefined: it gets lost. */
function spoil(facts: Facts, change: (key: string, data: Uint8Array) => Uint8Array | undefined) {
  const create = facts.create.bind(facts);
  facts.create = (key, data, note) => {
    const changed = change(key, data);
    return changed === undefined ? Promise.resolve("created") : create(key, changed, note);
  };
}

async function failureOf(app: Dyrygent, workflow: Workflow): Promise<string> {
  const run = await app.submit(workflow, { id: "parent" });
  const error = await within("its end", run.result().catch((error) => error));
  assert.instance(error, WorkflowFailedError);
  return error.message;
}

test("a run whose child lacks a part of its definition fails, and says why", () =>
  locally(async (app, ports) => {
    const isPart = (key: string) => isOfChild(key, "parent") && !key.endsWith(".def.0");
    spoil(ports.facts, (key, data) => isPart(key) ? undefined : data);
    const wf = new Workflow("parent");
    wf.map(one, wf.call(list, 200));
    assert.match(await failureOf(app, wf), /parent__1_1 ended as ERROR: /);
  }));

test("a run whose child has a definition that nobody can read fails, and says why", () =>
  locally(async (app, ports) => {
    const garbage = new TextEncoder().encode("garbage");
    spoil(ports.facts, (key, data) => isOfChild(key, "parent") ? garbage : data);
    const wf = new Workflow("parent");
    wf.map(one, wf.call(list, 1));
    assert.match(await failureOf(app, wf), /parent__1_1 ended as ERROR: /);
  }));

test("a run whose child was removed before it ended fails, and says why", () =>
  locally(async (app, ports) => {
    const wf = new Workflow("parent");
    const inner = new Workflow("inner");
    inner.waitFor("never");
    wf.run(inner);
    const expanded = new Promise<string>((resolve) => {
      ports.hints.onFact("parent.r.*.*.run", ({ data }) => resolve(readExpansion(data)!.child));
    });
    const failure = failureOf(app, wf);
    await ports.facts.purge(everythingOf(await expanded));
    assert.match(await failure, /parent__0_1 ended as ERROR: it was removed before it had ended/);
  }));

test.run();
