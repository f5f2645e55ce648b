/** Tasks that nobody serves: which a workflow has, when that is said, and when it is refused. On the memory adapter. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import fc from "fast-check";
import {
  chain,
  type Dyrygent as App,
  group,
  InvalidOptionError,
  NotFoundError,
  starmap,
  task,
  UnavailableError,
  Workflow,
} from "nats-dyrygent";
import { z } from "zod";
import { tasksInQueues } from "../../src/client/known_tasks.ts";
import { Dyrygent } from "../../src/dyrygent.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { anyJson } from "./any_json.ts";

const add = task("add", (a: number, b: number) => a + b);
const sum = task("sum", { queue: "io" }, (xs: number[]) => xs.length);
const echo = task("echo", (value: unknown) => value);

interface World {
  readonly app: App;
  readonly clock: VirtualClock;
  readonly warnings: string[];
  /** How often the live workers were read. */
  reads: number;
  fail: boolean;
}

function world(): World {
  const clock = new VirtualClock();
  const log = (level: string, message: string) => {
    if (level === "warn") found.warnings.push(message);
  };
  const ports = memoryPorts({ clock, random: new SeededRandom(1), log });
  const list = ports.views.list.bind(ports.views);
  ports.views.list = (prefix) => {
    if (prefix === "worker.") found.reads++;
    if (found.fail) throw new UnavailableError("Cannot list: no answer", { hint: "" });
    return list(prefix);
  };
  const found: World = {
    app: new Dyrygent(ports, "memory"),
    clock,
    warnings: [],
    reads: 0,
    fail: false,
  };
  return found;
}

const known = suite("known tasks");

known("each task of a workflow is found once in each of its queues", () => {
  const wf = new Workflow("x");
  const a = wf.call(add, 1, 2);
  wf.call(echo, { deep: [a, ',"task":"no"', { task: "no" }] });
  wf.add(group([chain(starmap(add, [[1, 2]]), sum.s()), add.s(3, 4).set({ queue: "fast" })]));
  wf.finally(sum.si([]));
  const found = tasksInQueues(wf.build()).map(({ task, queue }) => `${task} in ${queue}`).sort();
  assert.equal(found, ["add in default", "add in fast", "echo in default", "sum in io"]);
  assert.equal(tasksInQueues(Workflow.fromJSON(wf.toJSON()).build()).length, 4);
});

known("behind wf.map and wf.run are the tasks that run in their place", () => {
  const inner = new Workflow("inner");
  inner.call(add, 1, 2).set({ queue: "inner" });
  inner.map(echo, [1]).set({ queue: "mapped" });
  const wf = new Workflow("x");
  wf.run(inner).set({ queue: "not-its-own" });
  wf.map(sum, [[1]]);
  wf.waitFor("something");
  const found = tasksInQueues(wf.build()).map(({ task, queue }) => `${task} in ${queue}`).sort();
  assert.equal(found, ["add in inner", "echo in mapped", "sum in io"]);
});

known("no argument and no path into one is taken for a task", () => {
  const nasty = fc.constantFrom('"task":"x"', ',"task":"x"', '{"task":"x"', "task", '\\",');
  const values = fc.oneof(anyJson, nasty, fc.dictionary(nasty, nasty));
  fc.assert(fc.property(values, nasty, (value, key) => {
    const wf = new Workflow("x");
    const first = wf.call(echo, value);
    wf.call(echo, { [key]: { [key]: first }, value });
    assert.equal(tasksInQueues(wf.build()), [{ task: "echo", queue: "default" }]);
  }));
});

known(
  "of a big workflow each task is looked at once for each queue, and arguments are not parsed",
  () => {
    const wf = new Workflow("big");
    const last = wf.call(add, 0, 0);
    for (let i = 0; i < 100_000; i++) wf.call(add, i, last);
    const definition = wf.build();
    const { parse } = JSON;
    JSON.parse = () => assert.unreachable("a signature was parsed");
    try {
      assert.is(tasksInQueues(definition).length, 1);
    } finally {
      JSON.parse = parse;
    }
  },
);

known(
  "a task that nobody serves is said once, with its queue, and again when it is gone again",
  async () => {
    const { app, warnings, clock } = world();
    await app.submit(group([add.s(1, 2), sum.si([])]));
    await app.submit(add.s(1, 2));
    assert.equal(warnings, [
      'no live worker serves task "add" of queue "default", task "sum" of queue "io": ' +
      "submitted all the same, it waits for one",
    ]);
    const worker = app.worker({ tasks: [add, sum] });
    await worker.start();
    clock.pass(5_000);
    await app.submit(group([add.s(1, 2), sum.si([])]));
    assert.is(warnings.length, 1);
    await worker.stop();
    clock.pass(5_000);
    await app.submit(add.s(1, 2));
    assert.is(warnings.length, 2);
    assert.match(warnings[1]!, /serves task "add" of queue "default":/);
  },
);

known("refused: nothing is recorded, and the error names task and queue", async () => {
  const { app, warnings } = world();
  const worker = app.worker({ tasks: [add, sum] });
  await worker.start();
  try {
    await app.submit(group([add.s(1, 2), sum.si([])]), { id: "x", unknownTasks: "refuse" });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, NotFoundError);
    assert.match((error as Error).message, /serves task "sum" of queue "io"$/);
    assert.match((error as NotFoundError).hint, /Start a worker/);
  }
  for await (const { id } of app.list()) assert.unreachable(`${id} was recorded`);
  assert.equal(warnings, []);
  await app.submit(add.s(1, 2), { unknownTasks: "refuse" });
  await worker.stop();
});

known("nothing is refused for what was seen a while ago", async () => {
  const { app } = world();
  await app.submit(add.s(1, 2));
  const worker = app.worker({ tasks: [add] });
  await worker.start();
  await app.submit(add.s(1, 2), { unknownTasks: "refuse" });
  await worker.stop();
});

known(
  "thousands of submits look at the workers once in five seconds; who does not care never looks",
  async () => {
    const seen = world();
    const { app, clock } = seen;
    await app.submit(add.s(1, 2), { unknownTasks: "ignore" });
    assert.is(seen.reads, 0);
    await Promise.all(Array.from({ length: 1_000 }, () => app.submit(add.s(1, 2))));
    assert.is(seen.reads, 1);
    clock.pass(4_999);
    await app.submit(add.s(1, 2));
    assert.is(seen.reads, 1);
    clock.pass(1);
    await app.submit(add.s(1, 2));
    assert.is(seen.reads, 2);
  },
);

known("workers that cannot be read hinder nobody but those who refuse", async () => {
  const seen = world();
  seen.fail = true;
  await seen.app.submit(add.s(1, 2));
  assert.equal(seen.warnings, []);
  try {
    await seen.app.submit(add.s(1, 2), { unknownTasks: "refuse" });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, UnavailableError);
  }
});

known(
  "workers with different schemas for a task are said once; those of other queues do not count",
  async () => {
    const { app, warnings, clock } = world();
    const make = (schema: z.ZodType<[number, number]>) =>
      task("add", { input: schema }, (a, b) => a + b);
    const strict = make(z.tuple([z.int(), z.number()]));
    const lax = make(z.tuple([z.number(), z.number()]));
    const workers = [
      app.worker({ tasks: [strict], id: "one" }),
      app.worker({ tasks: [strict], id: "two" }),
      app.worker({ tasks: [lax], id: "three", queues: ["other"] }),
    ];
    await Promise.all(workers.map((worker) => worker.start()));
    await app.submit(strict.s(1, 2));
    assert.equal(warnings, []);
    const four = app.worker({ tasks: [lax], id: "four" });
    await four.start();
    clock.pass(5_000);
    await app.submit(strict.s(1, 2));
    await app.submit(strict.s(1, 2));
    assert.equal(warnings, [
      'live workers have different schemas for task "add" of queue "default": four, one, two',
    ]);
    await Promise.all([...workers, four].map((worker) => worker.stop()));
  },
);

known("another word for unknownTasks is refused", async () => {
  const { app } = world();
  try {
    await app.submit(add.s(1, 2), { unknownTasks: "no" as never });
    assert.unreachable();
  } catch (error) {
    assert.instance(error, InvalidOptionError);
    assert.is((error as InvalidOptionError).option, "unknownTasks");
  }
});

known.run();
