/** A map over more elements than anybody would write down, on the memory adapter. `MAP=100000` for as many as that. */
import process from "node:process";
import { task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";
import { test } from "uvu";
import * as assert from "uvu/assert";

const SIZE = Number(process.env["MAP"] ?? 10_000);

test(`a map over ${SIZE} elements calls the task for each, and gives ${SIZE} results in order`, async () => {
  const list = task("list", (length: number) => Array.from({ length }, (_, i) => i));
  let calls = 0;
  const add = task("add", (a: number, b: number) => {
    calls++;
    return a + b;
  });
  const wf = new Workflow("map");
  const whole = wf.output(wf.map(add, wf.call(list, SIZE), 1));
  const { result } = await runLocally(whole, { tasks: [list, add] });
  assert.is(calls, SIZE);
  assert.is(result.length, SIZE);
  assert.ok(result.every((value, i) => value === i + 1));
});

test.run();
