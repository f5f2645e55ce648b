/** How much of a node's inputs its message carries: nearly all of what nobody else takes, little of what many do. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { group } from "../../src/core/canvas.ts";
import { readTaskMessage } from "../../src/core/records.ts";
import { task } from "../../src/core/task.ts";
import { Workflow } from "../../src/core/workflow.ts";
import type { Ports, TaskAddress } from "../../src/ports.ts";
import { overriding, VirtualEngine } from "../virtual_engine.ts";

const make = task("make", (bytes: number) => "r".repeat(bytes - 2));
const count = task("count", (results: string[]) => results.length);

/** Conducts it. @returns for each message that carried results, how many. */
async function carriedIn(workflow: Workflow): Promise<number[]> {
  const engine = new VirtualEngine();
  const carried = new Map<number, number>();
  const ports: Ports = {
    ...engine.ports,
    tasks: overriding(engine.ports.tasks, {
      publish: (address: TaskAddress, message: Uint8Array, ...rest) => {
        const read = readTaskMessage(message);
        if (read.is !== "message") throw new Error("a message cannot be read");
        carried.set(address.node, Object.keys(read.message.results).length);
        return engine.ports.tasks.publish(address, message, ...rest);
      },
    }),
  };
  await engine.worker([make, count]);
  await engine.processor(ports);
  const run = await engine.submit(workflow);
  await engine.until("it ends", run.result());
  return [...carried.values()].filter((results) => results > 0);
}

/** So many results of so many bytes, and nodes that each take all of them. */
function gathering(results: number, bytes: number, by: number): Workflow {
  const wf = new Workflow("gathering");
  const made = wf.add(group(Array.from({ length: results }, () => make.si(bytes))));
  for (let i = 0; i < by; i++) wf.call(count, made);
  return wf;
}

test("the results that only one node takes travel with its message, up to half a MiB", async () => {
  assert.equal(await carriedIn(gathering(3_000, 100, 1)), [3_000]);
  const [some] = await carriedIn(gathering(6_000, 100, 1));
  assert.is(some, Math.floor(524_288 / 112));
});

test("what many take travels with each of them only up to 16 KiB", async () => {
  const few = Math.floor(16_384 / 112);
  // The last one that is sent is the only one left that takes them.
  assert.equal(await carriedIn(gathering(1_000, 100, 3)), [few, few, 1_000]);
});

test("what is small travels with all of them", async () => {
  assert.equal(await carriedIn(gathering(50, 100, 3)), [50, 50, 50]);
});

test.run();
