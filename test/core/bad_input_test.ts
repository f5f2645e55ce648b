/** Whatever is wrong with a workflow is said where it is written: a typed error, where it is, what to do. Nothing is kept. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  type AnyCanvas,
  chain,
  chord,
  chunks,
  group,
  map,
  starmap,
} from "../../src/core/canvas.ts";
import {
  CycleError,
  DyrygentError,
  InvalidOptionError,
  InvalidWorkflowError,
  PayloadTooLargeError,
} from "../../src/core/errors.ts";
import { checkId } from "../../src/core/ids.ts";
import type { SignatureOptions } from "../../src/core/options.ts";
import { task } from "../../src/core/task.ts";
import { type Node, Workflow } from "../../src/core/workflow.ts";

const add = task("add", (a: number, b: number) => a + b);
const take = task("take", (...values: unknown[]) => values.length);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

/** What `act` throws: always one of the library's own, with a hint. */
function refusal(act: () => unknown): DyrygentError {
  try {
    act();
  } catch (error) {
    assert.instance(error, DyrygentError, String(error));
    const { message, hint, name, constructor } = error as DyrygentError;
    assert.ok(message.length > 0 && hint.length > 0);
    assert.ok(message.length < 1_000, `a message of ${message.length} characters`);
    assert.is(name, constructor.name);
    return error as DyrygentError;
  }
  assert.unreachable("nothing was refused");
  throw new Error();
}

/** @returns the path. */
function invalid(act: () => unknown): string {
  const error = refusal(act);
  assert.instance(error, InvalidWorkflowError, String(error));
  assert.is(error.code, "INVALID_WORKFLOW");
  return (error as InvalidWorkflowError).path;
}

/** @returns the option. */
function badOption(act: () => unknown): string {
  const error = refusal(act);
  assert.instance(error, InvalidOptionError, String(error));
  assert.is(error.code, "INVALID_OPTION");
  return (error as InvalidOptionError).option;
}

const shapes = suite("shapes that cannot run");

shapes("nodes that wait for each other are reported with the way around", () => {
  const wf = new Workflow("etl");
  const a = wf.call(add, 1, 1).named("a");
  const b = wf.call(add, a, 1).named("b");
  const c = wf.call(add, b, 1).named("c");
  wf.call(add, c, 1);
  a.after(c);
  const error = refusal(() => wf.build());
  assert.instance(error, CycleError);
  assert.is(error.code, "CYCLE");
  assert.equal((error as CycleError).cycle, ["a", "b", "c", "a"]);
  assert.is(
    error.message,
    'Cannot build workflow "etl": nodes wait for each other: a → b → c → a',
  );
});

shapes("a cycle is found wherever it is, and only its own nodes are named", () => {
  const wf = new Workflow("far");
  let last = wf.call(add, 1, 1);
  for (let i = 0; i < 100; i++) last = wf.call(add, last, 1);
  const other = wf.call(add, last, 1).named("other");
  const one = wf.call(add, other, 1).named("one");
  other.after(one, { on: "failure" });
  wf.call(add, one, 1);
  assert.equal((refusal(() => wf.build()) as CycleError).cycle, ["other", "one", "other"]);
});

shapes("a node that waits for itself is a cycle of one", () => {
  const wf = new Workflow("self");
  const a = wf.call(add, 1, 1).named("a");
  a.after(a);
  assert.equal((refusal(() => wf.build()) as CycleError).cycle, ["a", "a"]);
});

shapes("everything that needs the definition reports the cycle", () => {
  const wf = new Workflow("all");
  const a = wf.call(add, 1, 1);
  a.after(a);
  for (const read of [() => wf.toJSON(), () => wf.toMermaid(), () => wf.edges()]) {
    assert.instance(refusal(read), CycleError);
  }
});

shapes("a huge cycle is reported with a message of readable length", () => {
  const wf = new Workflow("huge");
  const first = wf.call(add, 1, 1);
  let last = first;
  for (let i = 0; i < 20_000; i++) last = wf.call(add, last, 1);
  first.after(last);
  assert.is((refusal(() => wf.build()) as CycleError).cycle.length, 20_002);
});

shapes("a handle of another workflow is refused everywhere, and leaves no edge", () => {
  const wf = new Workflow("here");
  const mine = wf.call(add, 1, 1);
  const foreign = new Workflow("there").call(add, 2, 2).named("foreign");
  assert.is(invalid(() => wf.call(add, 1, foreign)), "add.args[1]");
  assert.is(invalid(() => wf.call(take, { list: [0, foreign] })), "take.args[0].list[1]");
  assert.is(invalid(() => wf.call(sum, [mine, foreign])), "sum.args[0][1]");
  assert.is(invalid(() => mine.after(foreign)), "after");
  assert.is(invalid(() => mine.after([mine, foreign])), "after");
  assert.is(invalid(() => wf.add(add.s(1, 1), { after: [mine, foreign] })), "after[1]");
  assert.is(invalid(() => wf.output([foreign])), "output[0]");
  assert.match(refusal(() => mine.after(foreign)).message, /node foreign of another workflow/);
  assert.is(wf.size, 1);
  assert.equal(wf.edges(), []);
});

shapes("what is not a handle is refused where one is needed", () => {
  const wf = new Workflow("handles");
  const node = wf.call(add, 1, 1);
  for (const wrong of [undefined, null, 0, "add-0", {}, add]) {
    assert.is(invalid(() => node.after(wrong as unknown as Node)), "after");
  }
  assert.is(invalid(() => wf.add(add.s(1, 1), { after: [0 as unknown as Node] })), "after[0]");
});

shapes("a name that is taken is refused, and the node keeps its own", () => {
  const wf = new Workflow("names");
  wf.call(add, 1, 1).named("taken");
  const second = wf.call(add, 1, 1).named("second");
  assert.is(invalid(() => second.named("taken")), "nodes[1].name");
  assert.is(second.label, "second");
});

shapes("an edge of an unknown kind is refused", () => {
  const wf = new Workflow("kinds");
  const node = wf.call(add, 1, 1);
  const next = wf.call(add, 1, 1);
  assert.is(invalid(() => next.after(node, { on: "never" as "done" })), "on");
  assert.is(badOption(() => next.after(node, { onn: "done" } as never)), "onn");
  assert.equal(wf.edges(), []);
});

shapes("what is not a canvas is refused, with its place", () => {
  const wrong = (value: unknown) => value as AnyCanvas;
  assert.is(invalid(() => chain([add.s(1, 1), wrong(add)])), "chain[1]");
  assert.is(invalid(() => group([wrong(5)])), "group[0]");
  assert.is(invalid(() => group(wrong(undefined) as never)), "group");
  assert.is(invalid(() => chord([wrong(null)], sum.s())), "chord header[0]");
  assert.is(invalid(() => chord([], wrong("sum") as never)), "chord body");
  assert.is(invalid(() => add.s(1, 1).pipe(wrong({}) as never)), "pipe");
  assert.is(invalid(() => new Workflow("x").add(wrong({ members: [] }))), "canvas");
  assert.is(invalid(() => new Workflow("x").onError(wrong(add))), "canvas");
  assert.is(invalid(() => new Workflow("x").finally(wrong(undefined))), "canvas");
  assert.is(invalid(() => new Workflow("x").call(wrong(() => 1) as never)), "task");
  assert.is(invalid(() => new Workflow("x").call(undefined as never)), "task");
  assert.match(refusal(() => group([wrong(add)])).hint, /task\.s\(/);
});

shapes("items that are no list and sizes that are no count are refused", () => {
  assert.is(invalid(() => map(sum, 5 as never)), "map.items");
  assert.is(invalid(() => starmap(add, { 0: [1, 1] } as never)), "starmap.items");
  assert.is(invalid(() => chunks(add, undefined as never, 1)), "chunks.items");
  for (const size of [0, -1, 1.5, NaN, Infinity, "2" as unknown as number]) {
    assert.is(invalid(() => chunks(add, [[1, 1]], size)), "chunks.size");
  }
});

shapes("a canvas that cannot be added leaves nothing behind", () => {
  const wf = new Workflow("partial");
  const before = wf.call(add, 1, 1);
  const broken = group([add.si(1, 1), chain(add.s(1, 1), take.si(NaN))]);
  const cleanup = group([add.si(1, 1), take.si(NaN)]);
  assert.is(invalid(() => wf.add(broken, { after: before })), "take.args[0]");
  assert.is(invalid(() => wf.onError(cleanup)), "take.args[0]");
  assert.is(invalid(() => wf.finally(cleanup)), "take.args[0]");
  assert.is(invalid(() => wf.call(take, NaN)), "take.args[0]");
  assert.is(wf.size, 1);
  const own = wf.call(add, 2, 2);
  assert.is(own.index, 1);
  assert.is(wf.build().policies.some((policy) => policy.cleanup), false);
});

shapes.run();

const names = suite("names");

const UNUSABLE = [
  "",
  "a.b",
  "*",
  ">",
  "a b",
  " a",
  "a\n",
  "a\r\nb",
  "a\0",
  "\ta",
  "é",
  "ж",
  "日本",
  "😀",
  "a/b",
  "$KV",
  "x".repeat(65),
  "x".repeat(1_000_000),
  undefined,
  null,
  5,
  {},
  ["a"],
  Symbol("a"),
  { toString: () => "a" },
];

names("ids that would address something else are refused: workflow, node, queue", () => {
  const node = new Workflow("names").call(add, 1, 1);
  for (const id of UNUSABLE as string[]) {
    assert.is(badOption(() => new Workflow(id)), "workflow id");
    assert.is(badOption(() => node.named(id)), "node name");
    assert.is(badOption(() => checkId("namespace", id)), "namespace");
    if (id === undefined) continue;
    assert.is(badOption(() => node.set({ queue: id })), "queue");
    assert.is(badOption(() => task("t", { queue: id }, () => 1)), "queue");
    assert.is(badOption(() => new Workflow("x", { defaults: { queue: id } })), "queue");
  }
  assert.is(node.label, "add-0");
});

names("task names may have dots, and nothing else besides", () => {
  for (const name of UNUSABLE.filter((id) => id !== "a.b") as string[]) {
    if (typeof name === "string" && name.length === 65) continue;
    assert.is(badOption(() => task(name, () => 1)), "task name");
  }
  for (const name of [".a", "x".repeat(129)]) {
    assert.is(badOption(() => task(name, () => 1)), "task name");
  }
  for (const name of ["a.b", "x".repeat(128), "0", "-_"]) {
    assert.is(task(name, () => 1).taskName, name);
  }
});

names("names that objects have by themselves are names like any others", () => {
  const odd = ["__proto__", "constructor", "toString", "hasOwnProperty", "prototype"];
  const wf = new Workflow("__proto__");
  const nodes = odd.map((name) => wf.call(task(name, () => 1)).named(name).set({ queue: name }));
  wf.output(nodes);
  const again = Workflow.fromJSON(JSON.parse(JSON.stringify(wf.toJSON())));
  assert.equal(again.toJSON(), wf.toJSON());
  assert.equal(wf.toJSON().nodes.map(({ name }) => name), odd);
  assert.equal(wf.toJSON().policies.map(({ queue }) => queue), odd);
});

names("a task needs a function", () => {
  for (const handler of [undefined, null, 5, "fn", {}]) {
    assert.is(badOption(() => task("t", {}, handler as never)), "handler");
    assert.is(badOption(() => task("t", handler as never)), "handler");
  }
});

names.run();

const values = suite("values that JSON cannot carry");

class Point {
  x = 1;
}

const circular: { list: unknown[] } = { list: [] };
circular.list.push(circular);

function nested(levels: number): unknown {
  let value: unknown = [];
  for (let i = 1; i < levels; i++) value = [value];
  return value;
}

const getter = {
  get x() {
    throw new Error("no");
  },
};

const { proxy: revoked, revoke } = Proxy.revocable({}, {});
revoke();

const REFUSED: readonly (readonly [what: string, value: unknown])[] = [
  ["undefined", undefined],
  ["function", () => 1],
  ["task", add],
  ["symbol", Symbol("x")],
  ["BigInt", 5n],
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
  ["Date", new Date(0)],
  ["Map", new Map()],
  ["Set", new Set()],
  ["RegExp", /x/],
  ["Error", new Error("x")],
  ["typed array", new Uint8Array(1)],
  ["promise", Promise.resolve(1)],
  ["class instance", new Point()],
  ["boxed string", new String("x")],
  ["lone surrogate", "\ud83d"],
  ["another lone surrogate", "x\udc00y"],
  ["symbol key", { [Symbol("x")]: 1 }],
  ["signature", add.s(1, 1)],
  ["revoked proxy", revoked],
];

values("a value that would arrive as something else is refused, with the path to it", () => {
  const wf = new Workflow("values");
  for (const [what, value] of REFUSED) {
    assert.is(invalid(() => wf.call(take, value)), "take.args[0]", what);
    assert.is(
      invalid(() => wf.call(take, 1, { a: [0, { "b c": value }] })),
      'take.args[1].a[1]["b c"]',
    );
    assert.is(invalid(() => Workflow.of(take.s([value]))), "take.args[0][0]", what);
    assert.is(invalid(() => Workflow.of(map(take, [1, value]))), "take.args[0][1]", what);
    assert.is(invalid(() => wf.output([value])), "output[0]", what);
    if (value === undefined) continue;
    assert.is(invalid(() => new Workflow("x", { payload: value })), "payload", what);
    assert.is(invalid(() => take.s(1).set({ payload: { value } })), "payload.value", what);
  }
  assert.is(wf.size, 0);
});

values("a circular reference is refused where it closes", () => {
  assert.is(invalid(() => Workflow.of(take.s(circular))), "take.args[0].list[0]");
});

values("the same object twice is no circle", () => {
  const shared = { x: 1 };
  assert.is(Workflow.of(take.s([shared, shared], shared)).size, 1);
});

values("a getter that throws is refused, with the path and the cause", () => {
  const error = refusal(() => Workflow.of(take.s([getter])));
  assert.is((error as InvalidWorkflowError).path, "take.args[0][0].x");
  assert.is((error.cause as Error).message, "no");
  const list = Object.defineProperty([0, 0], 1, getterOf(getter));
  assert.is(invalid(() => Workflow.of(take.s(list))), "take.args[0][1]");
});

function getterOf(value: object): PropertyDescriptor {
  return Object.getOwnPropertyDescriptor(value, "x")!;
}

values("a hole in a list is refused", () => {
  // deno-lint-ignore no-sparse-arrays
  assert.is(invalid(() => Workflow.of(take.s([1, , 3]))), "take.args[0][1]");
});

values("the key __proto__ is refused, the key constructor is a key", () => {
  assert.is(
    invalid(() => Workflow.of(take.s(JSON.parse('{"a":{"__proto__":1}}')))),
    "take.args[0].a.__proto__",
  );
  assert.is(Workflow.of(take.s({ constructor: 1, toString: 2 })).size, 1);
});

values("a key that is no Unicode is refused", () => {
  refusal(() => Workflow.of(take.s({ "\ud83d": 1 })));
});

values("200 levels are taken, more are refused, a million too", () => {
  assert.is(Workflow.of(take.s(nested(199))).size, 1);
  assert.match(refusal(() => Workflow.of(take.s(nested(200)))).message, /more than 200 levels/);
  invalid(() => Workflow.of(take.s(nested(1_000_000))));
});

values("what JSON carries exactly is taken", () => {
  const fine = [
    null,
    true,
    0,
    -0,
    1e308,
    5e-324,
    "",
    "😀",
    "\0",
    "\u2028",
    [],
    {},
    Object.create(null),
    { "": 1, "a b": [null] },
  ];
  for (const value of fine) assert.is(Workflow.of(take.s(value)).size, 1);
});

values.run();

const options = suite("options");

/** Everywhere an option of a signature can be said. */
function said(given: object): (() => unknown)[] {
  const given_ = given as SignatureOptions;
  return [
    () => add.s(1, 1).set(given_),
    () => group([]).set(given_),
    () => new Workflow("x").call(add, 1, 1).set(given_),
  ];
}

/** Everywhere an option of a task can be said. */
function saidOfTasks(given: object): (() => unknown)[] {
  return [
    ...said(given),
    () => task("t", given, () => 1),
    () => new Workflow("x", { defaults: given }),
  ];
}

options("unknown options are refused by name, with the known ones as a hint", () => {
  for (const act of saidOfTasks({ queues: "x" })) assert.is(badOption(act), "queues");
  assert.match(refusal(() => add.s(1, 1).set({ queues: "x" } as never)).hint, /queue, priority/);
  assert.is(badOption(() => new Workflow("x", { timeouts: 1 } as never)), "timeouts");
  assert.is(badOption(() => new Workflow("x").add(group([]), { before: [] } as never)), "before");
  assert.is(badOption(() => add.s(1, 1).set({ retry: { times: 3 } as never })), "times");
  for (const key of ["__proto__", "constructor", "toString"]) {
    const given = JSON.parse(`{"${key}":1}`);
    assert.is(badOption(() => add.s(1, 1).set(given)), key);
  }
});

options("options of a signature are not options of a task", () => {
  for (const key of ["countdown", "eta", "expires", "payload"]) {
    assert.is(badOption(() => task("t", { [key]: 1 }, () => 1)), key);
    // A payload for all nodes is welcome.
    if (key === "payload") continue;
    assert.is(badOption(() => new Workflow("x", { defaults: { [key]: 1 } })), key);
  }
});

options("options that are no object are refused", () => {
  for (const wrong of [null, 5, "x", true]) {
    for (const act of saidOfTasks(wrong as unknown as object)) {
      assert.instance(refusal(act), InvalidOptionError);
    }
    refusal(() => add.s(1, 1).set({ retry: wrong as never }));
    refusal(() => new Workflow("x", wrong as never));
    refusal(() => new Workflow("x").add(group([]), wrong as never));
  }
});

const DURATIONS = [
  -1,
  NaN,
  Infinity,
  -Infinity,
  1e300,
  "",
  "5",
  "s",
  "-5s",
  "1e3s",
  "5 s",
  "5sec",
  "5S",
  "NaNs",
  "Infinityd",
  "9999999d",
  null,
  {},
  [5],
  true,
  5n,
];

options("durations that are none are refused, wherever they are said", () => {
  for (const wrong of DURATIONS) {
    for (const act of said({ countdown: wrong })) assert.is(badOption(act), "countdown");
    for (const act of saidOfTasks({ timeout: wrong })) assert.is(badOption(act), "timeout");
    for (const act of saidOfTasks({ retry: { base: wrong } })) {
      assert.is(badOption(act), "retry.base");
    }
    assert.is(badOption(() => add.s(1, 1).set({ retry: { cap: wrong as never } })), "retry.cap");
    assert.is(badOption(() => new Workflow("x", { timeout: wrong as never })), "timeout");
  }
});

options("a timeout of nothing is refused, a countdown of nothing is none", () => {
  assert.is(badOption(() => add.s(1, 1).set({ timeout: 0 })), "timeout");
  assert.is(badOption(() => new Workflow("x", { timeout: "0s" })), "timeout");
  add.s(1, 1).set({ countdown: 0 });
});

options("retries that make no sense are refused by field", () => {
  for (const max of [-1, 1.5, NaN, Infinity, 1e300, 10_001, "3", null]) {
    for (const act of saidOfTasks({ retry: { max } })) assert.is(badOption(act), "retry.max");
  }
  for (const backoff of ["", "Exponential", "toString", null, 5]) {
    assert.is(
      badOption(() => add.s(1, 1).set({ retry: { backoff: backoff as never } })),
      "retry.backoff",
    );
  }
  for (const jitter of ["yes", 1, null]) {
    assert.is(
      badOption(() => add.s(1, 1).set({ retry: { jitter: jitter as never } })),
      "retry.jitter",
    );
  }
  for (const list of ["TimeoutError", 5, null, [5], [TypeError], {}]) {
    assert.is(badOption(() => add.s(1, 1).set({ retry: { on: list as never } })), "retry.on");
    assert.is(badOption(() => add.s(1, 1).set({ retry: { notOn: list as never } })), "retry.notOn");
  }
});

options("priorities are 0 to 9", () => {
  for (const priority of [-1, 10, 0.5, NaN, Infinity, "5", null]) {
    for (const act of saidOfTasks({ priority })) assert.is(badOption(act), "priority");
  }
});

options("an eta is a moment", () => {
  for (
    const eta of [NaN, Infinity, -1, 1e300, new Date(NaN), new Date(-1), "2030-01-01", null, {}]
  ) {
    for (const act of said({ eta })) assert.is(badOption(act), "eta");
  }
});

options("a payload of exactly 16 KiB is taken, one byte more is refused with both sizes", () => {
  const fill = (bytes: number) => "x".repeat(bytes - 2); // and its quotes
  const wide = (bytes: number) => "é".repeat((bytes - 2) / 2);
  for (const fits of [fill(16_383), fill(16_384), wide(16_384)]) {
    assert.is(new Workflow("x", { payload: fits }).build().payload?.length, fits.length + 2);
    add.s(1, 1).set({ payload: fits });
  }
  for (const [size, payload] of [[16_385, fill(16_385)], [16_386, wide(16_386)]] as const) {
    for (const act of [() => new Workflow("x", { payload }), ...said({ payload })]) {
      const error = refusal(act);
      assert.instance(error, PayloadTooLargeError);
      assert.is(error.code, "PAYLOAD_TOO_LARGE");
      assert.is((error as PayloadTooLargeError).size, size);
      assert.is((error as PayloadTooLargeError).limit, 16_384);
    }
  }
});

options("a refused option changes nothing", () => {
  const wf = new Workflow("x");
  const node = wf.call(add, 1, 1).set({ queue: "before" });
  badOption(() => node.set({ queue: "after", priority: 99 }));
  assert.is(wf.build().policies[0]?.queue, "before");
});

options.run();

const sizes = suite("large and deep workflows");

const MANY = 100_000;

sizes("a chain of 100,000 from a list", () => {
  const { graph } = Workflow.of(chain(Array.from({ length: MANY }, () => take.si()))).build();
  assert.is(graph.size, MANY);
  assert.is(graph.up.nodes.length, MANY - 1);
});

sizes("a chain of 100,000 from pipes", () => {
  let canvas: AnyCanvas = take.si();
  for (let i = 1; i < MANY; i++) canvas = canvas.pipe(take.si());
  const { graph } = Workflow.of(canvas).build();
  assert.is(graph.size, MANY);
  assert.is(graph.up.nodes.length, MANY - 1);
});

sizes("a chain of 100,000 that is nested to the right, in chains with options", () => {
  let canvas: AnyCanvas = take.si();
  for (let i = 1; i < MANY; i++) canvas = chain([take.si(), canvas]).set({ priority: i % 10 });
  const { graph } = Workflow.of(canvas).build();
  assert.is(graph.up.nodes.length, MANY - 1);
});

sizes("a chain of 100,000 from calls with results and with order only", () => {
  for (const link of ["result", "order"]) {
    const wf = new Workflow("calls");
    let last = wf.call(take);
    for (let i = 1; i < MANY; i++) {
      last = link === "result" ? wf.call(take, last) : wf.call(take).after(last);
    }
    const { graph } = wf.build();
    assert.is(graph.size, MANY);
    assert.is(graph.up.nodes.length, MANY - 1);
  }
});

sizes("a group of 100,000 between two tasks", () => {
  const wide = group(Array.from({ length: MANY }, () => take.si()));
  const { graph } = Workflow.of(chain(take.si(), wide, take.si())).build();
  assert.is(graph.size, MANY + 2);
  assert.is(graph.up.nodes.length, 2 * MANY);
});

sizes("two groups of 100,000 with a barrier between them", () => {
  const wide = () => group(Array.from({ length: MANY }, () => take.si()));
  const { graph } = Workflow.of(chain([wide(), wide()])).build();
  assert.is(graph.size, 2 * MANY + 1);
  assert.ok(graph.up.nodes.length <= 3 * MANY, `${graph.up.nodes.length} edges`);
});

sizes("a call with 100,000 handles, and an onError of 200,000", () => {
  const wf = new Workflow("wide");
  wf.call(take, Array.from({ length: MANY }, () => wf.call(take)));
  wf.onError(group(Array.from({ length: 2 * MANY }, () => take.si())));
  wf.finally(take.si());
  assert.is(wf.build().graph.size, 3 * MANY + 2);
});

sizes("groups nested 100,000 deep are refused, not a stack that overflows", () => {
  let deep: AnyCanvas = take.si();
  for (let i = 0; i < MANY; i++) deep = group([deep]);
  assert.is(invalid(() => Workflow.of(deep)), "canvas");
  assert.is(invalid(() => new Workflow("deep").add(chain([take.si(), deep]))), "canvas");
});

sizes("bodies, headers and mixed nests 20,000 deep are refused, too, also around nothing", () => {
  const nests: ((inner: AnyCanvas) => AnyCanvas)[] = [
    (inner) => chord([], inner),
    (inner) => chord([inner], take.si()),
    (inner) => group([chain([inner])]),
    (inner) => chain([group([inner])]),
    (inner) => chain([chord([inner], chain())]),
  ];
  for (const nest of nests) {
    for (const innermost of [take.si(), group([]), chain()]) {
      let deep: AnyCanvas = innermost;
      for (let i = 0; i < MANY / 5; i++) deep = nest(deep);
      assert.is(invalid(() => Workflow.of(deep)), "canvas", `${nest} of ${innermost}`);
    }
  }
});

sizes("groups may nest as deep as lists may", () => {
  let deep: AnyCanvas = take.si();
  for (let i = 0; i < 190; i++) deep = group([deep]);
  assert.is(Workflow.of(deep).build().graph.size, 1);
});

sizes.run();
