/**
 * What the compiler knows. The claims about types are checked by `tsc` and `deno check`: an `@ts-expect-error` above a
 * line that compiles is an error. That the samples also run is checked here.
 */
import { type } from "arktype";
import { expectTypeOf } from "expect-type";
import {
  type AnyCanvas,
  type Canvas,
  type Chain,
  chain,
  type Chord,
  chord,
  chunks,
  currentTask,
  type Duration,
  type Dyrygent,
  type Group,
  group,
  map,
  Node,
  type Nothing,
  type Run,
  type Signature,
  starmap,
  type Task,
  task,
  Workflow,
} from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import * as v from "valibot";
import { z } from "zod";

const add = task("add", (a: number, b: number) => a + b);
const mul = task("mul", (a: number, b: number) => a * b);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
const upper = task("upper", async (text: string) => text.toUpperCase());
const log = task("log", (_text: string): void => {});
const now = task("now", () => 5);
const pick = task(
  "pick",
  (from: { readonly list: readonly number[] }, index: number) => from.list[index]!,
);
const page = task(
  "pages.fetch",
  {
    queue: "io",
    timeout: "30s",
    retry: { max: 3, backoff: "exponential", base: "1s", cap: "1m", jitter: true },
  },
  async (url: string) => {
    const { attempt } = currentTask();
    return { url, bytes: url.length, attempt };
  },
);

/** Code that must (or must not) compile; what it does when it runs is not the point. */
function compiles(_code: () => unknown): void {}

const tasks = suite("types of tasks");

tasks("a task is its function, with the same arguments and result", () => {
  expectTypeOf(add).toBeCallableWith(1, 2);
  expectTypeOf(add).parameters.toEqualTypeOf<[a: number, b: number]>();
  expectTypeOf(add).returns.toEqualTypeOf<number>();
  expectTypeOf(upper).returns.toEqualTypeOf<Promise<string>>();
  expectTypeOf(add).toExtend<Task<[number, number], number>>();
  assert.is(add(1, 2), 3);
});

tasks("all arguments make a complete signature, all but the first a partial one", () => {
  expectTypeOf(add.s(1, 2)).toEqualTypeOf<Signature<Nothing, number>>();
  expectTypeOf(mul.s(8)).toEqualTypeOf<Signature<number, number>>();
  expectTypeOf(sum.s()).toEqualTypeOf<Signature<number[], number>>();
  expectTypeOf(now.s()).toEqualTypeOf<Signature<Nothing, number>>();
  expectTypeOf(add.si(1, 2)).toEqualTypeOf<Signature<unknown, number>>();
});

tasks("what a handler promises is settled, and nothing becomes null", () => {
  expectTypeOf(upper.s("x")).toEqualTypeOf<Signature<Nothing, string>>();
  expectTypeOf(log.s("x")).toEqualTypeOf<Signature<Nothing, null>>();
  expectTypeOf(page.s("x")).toEqualTypeOf<
    Signature<Nothing, { url: string; bytes: number; attempt: number }>
  >();
});

tasks("arguments that do not fit are refused", () => {
  compiles(() => {
    // @ts-expect-error too many
    add.s(1, 2, 3);
    // @ts-expect-error a text is no number
    add.s("1", 2);
    // @ts-expect-error a text is no number, for a partial one too
    add.s("1");
    // @ts-expect-error two are missing
    add.s();
    // @ts-expect-error an immutable signature needs them all
    add.si(1);
    // @ts-expect-error a result is no argument of a signature: use a chain
    add.s(1, new Workflow("x").call(add, 1, 1));
    // @ts-expect-error unknown option
    add.s(1, 2).set({ queues: "x" });
    // @ts-expect-error unknown option of a task
    task("x", { countdown: 5 }, () => 1);
    // @ts-expect-error unknown backoff
    task("x", { retry: { backoff: "never" } }, () => 1);
  });
});

tasks("a schema gives a handler's parameters their types; signatures take what it takes", () => {
  const day = task(
    "day",
    {
      queue: "x",
      input: z.tuple([z.string().transform((text) => new Date(text)), z.number().default(0)]),
      output: z.object({ day: z.number().default(1) }),
    },
    (date, shift) => {
      expectTypeOf(date).toEqualTypeOf<Date>();
      expectTypeOf(shift).toEqualTypeOf<number>();
      return { day: date.getDate() + shift };
    },
  );
  expectTypeOf(day).parameters.toEqualTypeOf<[Date, number]>();
  expectTypeOf(day.si("2026-11-22")).toEqualTypeOf<Signature<unknown, { day: number }>>();
  expectTypeOf(map(day, ["2026-11-22"])).toEqualTypeOf<Signature<unknown, { day: number }[]>>();
  expectTypeOf(new Workflow("x").call(day, "2026-11-22", 1)).toEqualTypeOf<
    Node<{ day: number }>
  >();
  expectTypeOf(new Workflow("x").map(day, ["2026-11-22"], 1)).toEqualTypeOf<
    Node<{ day: number }[]>
  >();
  const lengths = task("lengths", { input: v.array(v.string()) }, (...texts) => texts.length);
  expectTypeOf(lengths.si("a", "b")).toEqualTypeOf<Signature<unknown, number>>();
  const one = task("one", { input: type(["string"]), output: type("number") }, async () => 1);
  expectTypeOf(one.si("a")).toEqualTypeOf<Signature<unknown, number>>();
  compiles(() => {
    // @ts-expect-error the schema takes a text
    day.si(new Date(0));
    // @ts-expect-error the schema takes a text
    new Workflow("x").call(day, new Date(0));
    // @ts-expect-error the schema takes a text
    map(day, [5]);
    // @ts-expect-error the handler does not take what the schema gives
    task("x", { input: z.tuple([z.string()]) }, (n: number) => n);
    // @ts-expect-error a schema of arguments gives a list
    task("x", { input: z.object({}) }, () => 1);
    // @ts-expect-error the result does not fit its schema
    task("x", { output: z.number() }, () => "1");
    // @ts-expect-error nor does one that comes later
    task("x", { output: z.number() }, async () => "1");
    // @ts-expect-error a schema is a task's, not a signature's
    day.si("2026-11-22").set({ input: z.tuple([]) });
  });
});

tasks("durations are numbers, or texts with a unit", () => {
  expectTypeOf<"30s">().toExtend<Duration>();
  expectTypeOf<"1.5h">().toExtend<Duration>();
  expectTypeOf<5>().toExtend<Duration>();
  expectTypeOf<"30">().not.toExtend<Duration>();
  expectTypeOf<"5w">().not.toExtend<Duration>();
  expectTypeOf<string>().not.toExtend<Duration>();
});

tasks("set keeps the type", () => {
  expectTypeOf(add.s(1, 2).set({ queue: "x" })).toEqualTypeOf<Signature<Nothing, number>>();
  expectTypeOf(group([add.s(1, 2)]).set({ priority: 9 })).toExtend<AnyCanvas>();
});

tasks.run();

const canvases = suite("types of canvases");

canvases("a chain gives what its last member gives, and takes what its first takes", () => {
  expectTypeOf(chain(add.s(2, 2), mul.s(8))).toEqualTypeOf<Chain<Nothing, number>>();
  expectTypeOf(chain(mul.s(8), add.s(1))).toEqualTypeOf<Chain<number, number>>();
  expectTypeOf(chain(page.s("x"), pickBytes.s())).toEqualTypeOf<Chain<Nothing, number>>();
  expectTypeOf(chain(add.si(1, 1), mul.s(8))).toEqualTypeOf<Chain<unknown, number>>();
  expectTypeOf(add.s(2, 2).pipe(mul.s(8))).toEqualTypeOf<Chain<Nothing, number>>();
});

const pickBytes = task("bytes", (from: { bytes: number }) => from.bytes);

canvases("a chain whose links do not fit does not compile, and says which", () => {
  compiles(() => {
    // @ts-expect-error number is not number[]
    chain(add.s(1, 2), sum.s());
    // @ts-expect-error the second link, too
    chain(add.s(1, 2), mul.s(2), upper.s());
    // @ts-expect-error a complete signature takes no previous result
    chain(add.s(1, 2), add.s(3, 4));
    // @ts-expect-error in a pipe as well
    add.s(1, 2).pipe(sum.s());
    // @ts-expect-error in a pipe as well
    add.s(1, 2).pipe(add.s(3, 4));
    // @ts-expect-error a task is no signature
    chain(add);
    // @ts-expect-error a chain inside gives its last value
    chain(chain(add.s(1, 2), mul.s(2)), upper.s());
    // @ts-expect-error a group gives a list
    chain(group([add.s(1, 2)]), mul.s(2));
    // @ts-expect-error every member of the group gets the text
    chain(upper.s("x"), group([upper.s(), mul.s(2)]));
  });
});

canvases("an immutable signature fits everywhere", () => {
  expectTypeOf(chain(upper.s("x"), add.si(1, 2))).toEqualTypeOf<Chain<Nothing, number>>();
  expectTypeOf(chain(add.si(1, 2), upper.si("x"))).toEqualTypeOf<Chain<unknown, string>>();
});

canvases("a chain from a list gives what its members give", () => {
  const links = [mul.s(1), mul.s(2)];
  expectTypeOf(chain(links)).toEqualTypeOf<Chain<number, number>>();
});

canvases("an empty group inside a chain passes the value on", () => {
  expectTypeOf(chain(add.s(1, 2), group([]), mul.s(2))).toEqualTypeOf<Chain<Nothing, number>>();
  expectTypeOf(chain()).toEqualTypeOf<Chain<unknown, null>>();
});

canvases("a group gives the tuple of its members' values", () => {
  const both = group([add.s(1, 1), upper.s("x")]);
  expectTypeOf(both).toEqualTypeOf<Group<Nothing, [number, string]>>();
  expectTypeOf(group([add.s(1, 1)])).toEqualTypeOf<Group<Nothing, [number]>>();
  expectTypeOf(group([])).toEqualTypeOf<Group<unknown, []>>();
  expectTypeOf(group([group([add.s(1, 1)]), upper.s("x")]))
    .toEqualTypeOf<Group<Nothing, [[number], string]>>();
});

canvases("a group of a list of signatures gives a list", () => {
  const many = Array.from({ length: 3 }, (_, i) => add.s(i, i));
  expectTypeOf(group(many)).toEqualTypeOf<Group<Nothing, number[]>>();
  expectTypeOf(chain(group(many), sum.s())).toEqualTypeOf<Chain<Nothing, number>>();
});

canvases("a group takes what fits all its members", () => {
  expectTypeOf(group([add.s(1), mul.s(2)])).toEqualTypeOf<Group<number, [number, number]>>();
  expectTypeOf(group([add.s(1), mul.si(2, 2)])).toEqualTypeOf<Group<number, [number, number]>>();
});

canvases("a chord gives what its body gives", () => {
  expectTypeOf(chord([add.s(1, 1), add.s(2, 2)], sum.s())).toEqualTypeOf<Chord<Nothing, number>>();
  expectTypeOf(chord([add.s(1)], sum.s())).toEqualTypeOf<Chord<number, number>>();
  expectTypeOf(chord([], sum.s())).toEqualTypeOf<Chord<unknown, number>>();
  expectTypeOf(chord([upper.s("x")], add.si(1, 1))).toEqualTypeOf<Chord<Nothing, number>>();
  const two = task("two", ([n, text]: [number, string]) => `${n}${text}`);
  expectTypeOf(chord([add.s(1, 1), upper.s("x")], two.s())).toEqualTypeOf<Chord<Nothing, string>>();
});

canvases("a body that does not take the list of the header's results does not compile", () => {
  compiles(() => {
    // @ts-expect-error takes one number
    chord([add.s(1, 1)], mul.s(2));
    // @ts-expect-error takes numbers, gets texts
    chord([upper.s("x")], sum.s());
    // @ts-expect-error a complete signature takes no list
    chord([add.s(1, 1)], add.s(1, 2));
    // @ts-expect-error nested groups are lists in the list
    chord([group([add.s(1, 1)])], sum.s());
  });
});

canvases("map, starmap and chunks know their items from the task", () => {
  expectTypeOf(map(sum, [[1, 2], [3]])).toEqualTypeOf<Signature<unknown, number[]>>();
  expectTypeOf(starmap(add, [[1, 2], [3, 4]])).toEqualTypeOf<Signature<unknown, number[]>>();
  expectTypeOf(chunks(add, [[1, 1], [2, 2], [3, 3]], 2)).toEqualTypeOf<
    Group<unknown, number[][]>
  >();
  expectTypeOf(map(upper, ["x"])).toEqualTypeOf<Signature<unknown, string[]>>();
  expectTypeOf(chain(map(sum, [[1]]), sum.s())).toEqualTypeOf<Chain<unknown, number>>();
});

canvases("items that do not fit the task do not compile", () => {
  compiles(() => {
    // @ts-expect-error a number is no list of numbers
    map(sum, [1, 2]);
    // @ts-expect-error a text is no number
    starmap(add, [[1, "2"]]);
    // @ts-expect-error one argument is missing
    starmap(add, [[1]]);
    // @ts-expect-error one argument is missing
    chunks(add, [[1]], 2);
    // @ts-expect-error the size is missing
    chunks(add, [[1, 1]]);
    // @ts-expect-error a signature is no task
    map(sum.s(), [[1]]);
  });
});

canvases("canvases nest", () => {
  const nested = chain(
    chord([chain(add.s(1, 1), mul.s(2)), add.s(2, 2)], sum.s()),
    group([mul.s(1), chain(mul.s(2), mul.s(3))]),
    sum.s(),
  );
  expectTypeOf(nested).toEqualTypeOf<Chain<Nothing, number>>();
  assert.is(Workflow.of(nested).size, 8);
});

canvases("what gives more fits where less is taken, not the other way round", () => {
  expectTypeOf<Canvas<unknown, number>>().toExtend<Canvas<number, number>>();
  expectTypeOf<Canvas<unknown, number>>().toExtend<Canvas<Nothing, unknown>>();
  expectTypeOf<Canvas<number, number>>().not.toExtend<Canvas<Nothing, number>>();
  expectTypeOf<Canvas<Nothing, number>>().not.toExtend<Canvas<number, number>>();
  expectTypeOf<Canvas<Nothing, number>>().not.toExtend<Canvas<Nothing, string>>();
});

canvases.run();

const workflows = suite("types of workflows");

workflows("call gives a handle of the task's result", () => {
  const wf = new Workflow("types");
  expectTypeOf(wf.call(add, 1, 2)).toEqualTypeOf<Node<number>>();
  expectTypeOf(wf.call(upper, "x")).toEqualTypeOf<Node<string>>();
  expectTypeOf(wf.call(log, "x")).toEqualTypeOf<Node<null>>();
  expectTypeOf(wf.call(add, 1, 2).after([]).named("x").set({})).toEqualTypeOf<Node<number>>();
  assert.is(wf.size, 4);
});

workflows("a handle stands for its result, also inside lists and objects", () => {
  const wf = new Workflow("types");
  const a = wf.call(add, 1, 2);
  const b = wf.call(mul, a, 10);
  wf.call(sum, [a, b]);
  wf.call(sum, [1, a]);
  wf.call(sum, wf.call(task("list", () => [1, 2])));
  wf.call(pick, { list: [a, 2] }, b);
  wf.call(pick, wf.call(task("object", () => ({ list: [1] }))), 0);
  assert.is(wf.size, 9);
});

workflows("a handle of another result does not compile", () => {
  const wf = new Workflow("types");
  const a = wf.call(add, 1, 2);
  const text = wf.call(upper, "x");
  compiles(() => {
    // @ts-expect-error Node<number> is not number[]
    wf.call(sum, a);
    // @ts-expect-error Node<string> is not number
    wf.call(add, text, 1);
    // @ts-expect-error also inside a list
    wf.call(sum, [a, text]);
    // @ts-expect-error also inside an object
    wf.call(pick, { list: [text] }, 0);
    // @ts-expect-error one argument is missing
    wf.call(add, a);
    // @ts-expect-error one argument too many
    wf.call(upper, text, text);
    // @ts-expect-error a function is no task
    wf.call((x: number) => x, 1);
    // @ts-expect-error an edge of an unknown kind
    a.after(text, { on: "never" });
  });
});

workflows("add takes what needs nothing from before, and returns typed handles", () => {
  const wf = new Workflow("types");
  const d = wf.call(add, 0, 0);
  expectTypeOf(wf.add(chord([add.s(1, 1)], sum.s()), { after: [d] }))
    .toEqualTypeOf<[Node<number>]>();
  expectTypeOf(wf.add(add.s(1, 1), { after: d })).toEqualTypeOf<[Node<number>]>();
  expectTypeOf(wf.add(group([add.s(1, 1), upper.s("x")])))
    .toEqualTypeOf<[Node<number>, Node<string>]>();
  const [one, text] = wf.add(group([add.s(1, 1), upper.s("x")]));
  wf.call(add, one, 1);
  wf.call(upper, text);
  compiles(() => {
    // @ts-expect-error a partial signature lacks its first argument
    wf.add(mul.s(2));
    // @ts-expect-error for onError too
    wf.onError(mul.s(2));
    // @ts-expect-error for finally too
    wf.finally(chain(mul.s(2), mul.s(3)));
    // @ts-expect-error a workflow of a canvas is complete
    Workflow.of(mul.s(2));
  });
});

workflows("output says what the workflow gives", () => {
  const wf = new Workflow("types");
  const a = wf.call(add, 1, 2);
  const text = wf.call(upper, "x");
  expectTypeOf(wf.output(a)).toEqualTypeOf<Workflow<number>>();
  expectTypeOf(wf.output({ a, list: [text, a], fixed: 1 })).toEqualTypeOf<
    Workflow<{ a: number; list: [string, number]; fixed: 1 }>
  >();
  expectTypeOf(Workflow.of(chain(add.s(1, 1), mul.s(2)))).toEqualTypeOf<Workflow<number>>();
  expectTypeOf(Workflow.of(group([add.s(1, 1), upper.s("x")])))
    .toEqualTypeOf<Workflow<[number, string]>>();
  assert.instance(a, Node);
});

workflows.run();

const runs = suite("types of runs");

runs("submit knows the result of what is submitted", () => {
  compiles(async () => {
    const app = {} as Dyrygent;
    const wf = new Workflow("types");
    const a = wf.call(add, 1, 2);
    expectTypeOf(await app.submit(add.s(1, 2))).toEqualTypeOf<Run<number>>();
    expectTypeOf(await app.submit(chain(add.s(1, 2), mul.s(2)))).toEqualTypeOf<Run<number>>();
    expectTypeOf(await app.submit(group([add.s(1, 2)]), { id: "x" })).toEqualTypeOf<
      Run<[number]>
    >();
    expectTypeOf(await app.submit(wf.output({ a }))).toEqualTypeOf<Run<{ a: number }>>();
    // @ts-expect-error it lacks its first argument
    await app.submit(mul.s(2));
    // @ts-expect-error a task is no signature
    await app.submit(add);
  });
});

runs("result is typed: the run's, and any node's by its handle", () => {
  compiles(async () => {
    const run = {} as Run<{ a: number }>;
    const wf = new Workflow("types");
    const text: Node<string> = wf.call(upper, "x");
    expectTypeOf(await run.result()).toEqualTypeOf<{ a: number }>();
    expectTypeOf(await run.result(text)).toEqualTypeOf<string>();
    expectTypeOf(await run.result(wf.call(add, 1, 1))).toEqualTypeOf<number>();
    expectTypeOf(await run.result("by-name")).toEqualTypeOf<unknown>();
    const value: number = await (await ({} as Dyrygent).submit(wf)).result();
    return value;
  });
});

runs.run();
