/** What canvases and workflows mean, rule by rule: Celery's, celery-dyrygent's, and our own where these have none. */
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
import { type Definition, labelOf, policyOfNode } from "../../src/core/definition.ts";
import type { Policy } from "../../src/core/options.ts";
import { task } from "../../src/core/task.ts";
import { type Node, Workflow } from "../../src/core/workflow.ts";
import { drive } from "./drive.ts";

const add = task("add", (a: number, b: number) => a + b);
const mul = task("mul", (a: number, b: number) => a * b);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));
/** Gives what it gets: shows what value arrives. */
const echo = task("echo", (value: unknown) => value);
const pair = task("pair", (first: unknown, second: unknown) => [first, second]);
const handlers = { add, mul, sum, echo, pair };

const empty = (): AnyCanvas => chain();

/** What the canvas gives. */
function valueOf(target: AnyCanvas | Workflow): unknown {
  const { state, result } = drive(target, handlers);
  assert.is(state, "SUCCESS");
  return result;
}

/** For every node (a join is "join-3") the labels of the nodes it waits for. */
function waits(target: AnyCanvas | Workflow): Record<string, string[]> {
  const definition = (target instanceof Workflow ? target : Workflow.of(target)).build();
  const { up, size, main } = definition.graph;
  const all: Record<string, string[]> = {};
  for (let node = 0; node < size; node++) {
    all[labelOf(definition, node)] = [...up.nodes.slice(up.offsets[node], up.offsets[node + 1])]
      .map((upstream) => upstream === main ? "all" : labelOf(definition, upstream));
  }
  return all;
}

/** The policy of each node, joins apart. */
function policies(target: AnyCanvas | Workflow): Policy[] {
  const definition = (target instanceof Workflow ? target : Workflow.of(target)).build();
  return Array.from({ length: definition.graph.size }, (_, node) => policyOfNode(definition, node))
    .filter((policy) => policy.join !== true);
}

function queues(target: AnyCanvas | Workflow): string[] {
  return policies(target).map(({ queue }) => queue);
}

const signatures = suite("signatures");

signatures("a signature gives the result of its task", () => {
  assert.is(valueOf(add.s(2, 2)), 4);
});

signatures("a partial signature gets the previous result before its own arguments", () => {
  assert.equal(valueOf(chain(add.s(2, 2), pair.s("own"))), [4, "own"]);
});

signatures("an immutable signature waits for the one before and takes nothing from it", () => {
  const canvas = chain(add.s(2, 2), pair.si("a", "b"));
  assert.equal(valueOf(canvas), ["a", "b"]);
  assert.equal(waits(canvas), { "add-0": [], "pair-1": ["add-0"] });
});

signatures("a signature can be used many times: every use is a node of its own", () => {
  const same = add.s(1, 2);
  assert.equal(valueOf(group([same, same, chain(same, add.s(1))])), [3, 3, 4]);
  assert.is(Workflow.of(group([same, same])).size, 2);
});

signatures("a task is still its function", () => {
  assert.is(add(1, 2), 3);
  assert.is(add.taskName, "add");
});

signatures("null is a previous result like any other", () => {
  assert.equal(valueOf(chain(echo.s(null), pair.s(1))), [null, 1]);
});

signatures.run();

const chains = suite("chains");

chains("a chain gives its last member's result, and each member waits for the one before", () => {
  const canvas = chain(add.s(2, 2), mul.s(8), add.s(1));
  assert.is(valueOf(canvas), 33);
  assert.equal(waits(canvas), { "add-0": [], "mul-1": ["add-0"], "add-2": ["mul-1"] });
});

chains("a nested chain splices: it makes the same nodes and edges as a flat one", () => {
  const flat = chain(add.s(1, 1), add.s(2), add.s(3), add.s(4));
  const nested = chain(chain(add.s(1, 1), chain(add.s(2))), chain(chain(add.s(3)), add.s(4)));
  assert.equal(waits(nested), waits(flat));
  assert.is(valueOf(nested), valueOf(flat));
});

chains("pipe is a chain", () => {
  assert.equal(waits(add.s(2, 2).pipe(mul.s(8))), waits(chain(add.s(2, 2), mul.s(8))));
  assert.is(valueOf(add.s(2, 2).pipe(mul.s(8)).pipe(add.s(1))), 33);
});

chains("a chain from a list is the same as one from arguments", () => {
  assert.equal(waits(chain([add.si(1, 1), add.si(2, 2)])), waits(chain(add.s(1, 1), add.si(2, 2))));
});

chains("a chain of one is its member", () => {
  assert.is(valueOf(chain(add.s(1, 1))), 2);
});

chains("a chain of chords hands each body's result on", () => {
  const canvas = chain(
    chord([add.s(1, 1), add.s(2, 2)], sum.s()),
    chord([add.s(10), add.s(20)], sum.s()),
  );
  assert.is(valueOf(canvas), 6 + 10 + 6 + 20);
});

chains.run();

const groups = suite("groups");

groups("a group gives the list of its members' values in order", () => {
  assert.equal(valueOf(group([add.s(1, 1), add.s(2, 2), add.s(3, 3)])), [2, 4, 6]);
});

groups("the members of a group wait for nobody among themselves", () => {
  assert.equal(waits(group([add.s(1, 1), add.s(2, 2)])), { "add-0": [], "add-1": [] });
});

groups("a group of one is still a list", () => {
  assert.equal(valueOf(group([add.s(1, 1)])), [2]);
  assert.is(valueOf(chain(group([add.s(1, 1)]), sum.s())), 2);
});

groups("groups nest as lists in lists", () => {
  assert.equal(
    valueOf(group([group([add.s(1, 1), add.s(2, 2)]), add.s(3, 3), group([group([add.s(4, 4)])])])),
    [[2, 4], 6, [[8]]],
  );
});

groups("what comes before a group goes to every member", () => {
  const canvas = chain(add.s(1, 1), group([add.s(10), mul.s(10), chain(add.s(1), mul.s(2))]));
  assert.equal(valueOf(canvas), [12, 20, 6]);
  assert.equal(waits(canvas), {
    "add-0": [],
    "add-1": ["add-0"],
    "mul-2": ["add-0"],
    "add-3": ["add-0"],
    "mul-4": ["add-3"],
  });
});

groups("a task after a group gets the list: it is a chord", () => {
  const canvas = chain(group([add.s(1, 1), add.s(2, 2)]), sum.s());
  assert.is(valueOf(canvas), 6);
  assert.equal(waits(canvas), waits(chord([add.s(1, 1), add.s(2, 2)], sum.s())));
});

groups("a group after a group waits for all of it, and each member gets the whole list", () => {
  const canvas = chain(group([add.s(1, 1), add.s(2, 2)]), group([sum.s(), pair.s("x")]));
  assert.equal(valueOf(canvas), [6, [[2, 4], "x"]]);
  assert.equal(waits(canvas), {
    "add-0": [],
    "add-1": [],
    "sum-2": ["add-0", "add-1"],
    "pair-3": ["add-0", "add-1"],
  });
});

groups("a member's followers inside a chain do not wait for the other members", () => {
  const canvas = group([chain(add.s(1, 1), add.s(2)), add.s(3, 3)]);
  assert.equal(waits(canvas), { "add-0": [], "add-1": ["add-0"], "add-2": [] });
});

groups("between two big groups edges stay a sum, not a product", () => {
  const wide = (size: number) => group(Array.from({ length: size }, (_, i) => add.si(i, 1)));
  const definition = Workflow.of(chain(wide(500), wide(400))).build();
  assert.ok(
    definition.graph.up.nodes.length <= 2 * 500 + 400,
    `${definition.graph.up.nodes.length}`,
  );
  const reached = ancestors(definition);
  const followers = Array.from({ length: definition.graph.size }, (_, node) => node)
    .filter((node) => node >= 500 && policyOfNode(definition, node).join !== true);
  assert.is(followers.length, 400);
  for (const node of followers) assert.is(reached(node).size, 500, `node ${node}`);
});

groups("a join runs nothing and is no result: a big barrier gives what a small one gives", () => {
  const wide = Array.from({ length: 9 }, (_, i) => add.si(i, 0));
  const { result, order } = drive(
    chain(group(wide), group([sum.s(), echo.s(), sum.s()])),
    handlers,
  );
  assert.equal(result, [36, [0, 1, 2, 3, 4, 5, 6, 7, 8], 36]);
  assert.is(order.length, 12);
});

groups.run();

/** For each node the nodes that end before it starts, joins apart. */
function ancestors(definition: Definition): (node: number) => Set<number> {
  const { up } = definition.graph;
  const known = new Map<number, Set<number>>();
  return function of(node: number): Set<number> {
    let all = known.get(node);
    if (all !== undefined) return all;
    all = new Set();
    for (let e = up.offsets[node]!; e < up.offsets[node + 1]!; e++) {
      const upstream = up.nodes[e]!;
      if (policyOfNode(definition, upstream).join !== true) all.add(upstream);
      for (const earlier of of(upstream)) all.add(earlier);
    }
    known.set(node, all);
    return all;
  };
}

const chords = suite("chords");

chords("a chord's body waits for every header node and gets the list of their results", () => {
  const canvas = chord([add.s(1, 1), add.s(2, 2), add.s(3, 3)], sum.s());
  assert.is(valueOf(canvas), 12);
  assert.equal(waits(canvas)["sum-3"], ["add-0", "add-1", "add-2"]);
});

chords("a header of one gives a list of one", () => {
  assert.equal(valueOf(chord([add.s(1, 1)], echo.s())), [2]);
});

chords("a chain in a header counts with its last value", () => {
  const canvas = chord([chain(add.s(1, 1), mul.s(10)), add.s(2, 2)], echo.s());
  assert.equal(valueOf(canvas), [20, 4]);
  assert.equal(waits(canvas)["echo-3"], ["mul-1", "add-2"]);
});

chords("a group in a header is a list in the list", () => {
  assert.equal(valueOf(chord([group([add.s(1, 1), add.s(2, 2)]), add.s(3, 3)], echo.s())), [[
    2,
    4,
  ], 6]);
});

chords("a chord in a header counts with its body's value", () => {
  const canvas = chord([chord([add.s(1, 1), add.s(2, 2)], sum.s()), add.s(3, 3)], sum.s());
  assert.is(valueOf(canvas), 12);
});

chords("an empty header runs the body with an empty list", () => {
  assert.equal(valueOf(chord([], echo.s())), []);
  assert.is(valueOf(chord([], sum.s())), 0);
});

chords("an empty header in a chain: the body still waits for what is before", () => {
  const canvas = chain(add.s(1, 1), chord([], echo.s()));
  assert.equal(valueOf(canvas), []);
  assert.equal(waits(canvas)["echo-1"], ["add-0"]);
});

chords("a body that is a chain, a group or a chord gets the list at its beginning", () => {
  const header = () => [add.s(1, 1), add.s(2, 2)];
  assert.is(valueOf(chord(header(), chain(sum.s(), mul.s(2)))), 12);
  assert.equal(valueOf(chord(header(), group([sum.s(), echo.s()]))), [6, [2, 4]]);
  assert.is(valueOf(chord(header(), chord([sum.s(), sum.s()], sum.s()))), 12);
});

chords("an immutable body waits and takes nothing", () => {
  const canvas = chord([add.s(1, 1), add.s(2, 2)], add.si(9, 9));
  assert.is(valueOf(canvas), 18);
  assert.equal(waits(canvas)["add-2"], ["add-0", "add-1"]);
});

chords("an empty body gives the header's list", () => {
  assert.equal(valueOf(chord([add.s(1, 1), add.s(2, 2)], chain())), [2, 4]);
});

chords("what comes before a chord goes to every header member", () => {
  assert.is(valueOf(chain(add.s(1, 1), chord([add.s(10), add.s(20)], sum.s()))), 34);
});

chords("a chord of 10,000 has one edge for each header node", () => {
  const header = Array.from({ length: 10_000 }, (_, i) => add.si(i, 1));
  const { graph, signatures } = Workflow.of(chord(header, sum.s())).build();
  assert.is(graph.size, 10_001);
  assert.is(graph.up.nodes.length, 10_000);
  assert.equal(JSON.parse(signatures.text(10_000)).inputs, [{
    at: [0],
    nodes: [[0, 10_000, 1]],
  }]);
});

chords.run();

const empties = suite("empty canvases");

empties("an empty chain, group or chunk list alone runs nothing", () => {
  assert.is(valueOf(chain()), null);
  assert.equal(valueOf(group([])), []);
  assert.equal(valueOf(chunks(add, [], 2)), []);
  assert.is(Workflow.of(chain(chain(), group([]))).size, 0);
});

empties("an empty workflow succeeds at once", () => {
  const { state, result, order } = drive(new Workflow("empty"), handlers);
  assert.is(state, "SUCCESS");
  assert.is(result, null);
  assert.equal(order, []);
});

empties("inside a chain an empty group is skipped: the previous value passes through", () => {
  const canvas = chain(add.s(1, 1), group([]), add.s(5));
  assert.is(valueOf(canvas), 7);
  assert.equal(waits(canvas)["add-1"], ["add-0"]);
});

empties("inside a chain an empty chain is skipped: the previous value passes through", () => {
  assert.is(valueOf(chain([add.s(1, 1), empty(), chain(empty(), empty()), add.s(5)])), 7);
});

empties("two empty groups in a row are skipped", () => {
  assert.is(valueOf(chain(add.s(1, 1), group([]), group([]), add.s(5))), 7);
});

empties("an empty group at the beginning of a chain gives no value", () => {
  assert.is(valueOf(chain(group([]), add.s(1, 1))), 2);
});

empties("as a member of a group an empty group counts as an empty list", () => {
  assert.equal(valueOf(group([group([]), add.s(1, 1)])), [[], 2]);
  assert.equal(valueOf(group([group([])])), [[]]);
  assert.equal(valueOf(group([group([group([])]), group([])])), [[[]], []]);
});

empties("as a member of a group or header an empty chain is left out", () => {
  assert.equal(valueOf(group([empty(), add.s(1, 1), chain([empty(), group([])])])), [2]);
  assert.equal(valueOf(chord([empty(), add.s(1, 1)], echo.s())), [2]);
  assert.equal(valueOf(chord([empty()], echo.s())), []);
});

empties("a group of only empty chains is an empty group", () => {
  assert.equal(valueOf(group([empty(), empty()])), []);
  assert.is(valueOf(chain([add.s(1, 1), group([empty(), empty()]), add.s(5)])), 7);
});

empties("an empty group in a header counts as an empty list", () => {
  assert.equal(valueOf(chord([group([]), add.s(1, 1)], echo.s())), [[], 2]);
  assert.equal(valueOf(chord([group([])], echo.s())), [[]]);
});

empties("a group that holds only an empty group is a value: what follows gets it", () => {
  const canvas = chain(add.s(1, 1), group([group([])]), pair.s("x"));
  assert.equal(valueOf(canvas), [[[]], "x"]);
  assert.equal(waits(canvas)["pair-1"], ["add-0"]);
});

empties("wf.add of an empty canvas returns the nodes it should come after", () => {
  const wf = new Workflow("empties");
  const first = wf.call(add, 1, 1);
  const second = wf.call(add, 2, 2);
  for (const canvas of [group([]), chain(), chain(group([]), chain())]) {
    const ends = wf.add(canvas, { after: [first, second] }) as Node[];
    assert.equal(ends.map((node) => node.index), [0, 1]);
  }
  assert.equal(wf.add(group([])), []);
  assert.is(wf.size, 2);
});

empties.run();

const repeated = suite("map, starmap, chunks");

repeated("map is one task that calls its function for every item, in order", () => {
  const canvas = map(sum, [[1, 2], [3]]);
  assert.equal(valueOf(canvas), [3, 3]);
  assert.is(Workflow.of(canvas).size, 1);
});

repeated("starmap is one task that spreads every item over the arguments", () => {
  const canvas = starmap(add, [[1, 2], [3, 4]]);
  assert.equal(valueOf(canvas), [3, 7]);
  assert.is(Workflow.of(canvas).size, 1);
});

repeated("chunks are a group of starmaps with at most so many calls each", () => {
  const canvas = chunks(add, [[1, 1], [2, 2], [3, 3]], 2);
  assert.equal(valueOf(canvas), [[2, 4], [6]]);
  assert.is(Workflow.of(canvas).size, 2);
  assert.equal(valueOf(chunks(add, [[1, 1], [2, 2]], 2)), [[2, 4]]);
  assert.equal(valueOf(chunks(add, [[1, 1]], 100)), [[2]]);
});

repeated("none of them takes the previous result, all of them wait for it", () => {
  const canvas = chain(
    add.s(1, 1),
    group([map(sum, [[1]]), starmap(add, [[1, 2]]), chunks(add, [[3, 4]], 1)]),
  );
  assert.equal(valueOf(canvas), [[1], [3], [[7]]]);
  for (const upstreams of Object.values(waits(canvas)).slice(1)) {
    assert.equal(upstreams, ["add-0"]);
  }
});

repeated("without items map and starmap are still one task, which gives an empty list", () => {
  assert.equal(valueOf(map(sum, [])), []);
  assert.is(Workflow.of(starmap(add, [])).size, 1);
});

repeated("what follows gets the list of results", () => {
  assert.is(valueOf(map(sum, [[1, 2], [3]]).pipe(sum.s())), 6);
  assert.equal(valueOf(chain(chunks(add, [[1, 1], [2, 2], [3, 3]], 2), echo.s())), [[2, 4], [6]]);
});

repeated.run();

const options = suite("options");

options("set makes a new canvas and leaves the old one alone", () => {
  const plain = add.s(1, 1);
  const set = plain.set({ queue: "fast" });
  assert.equal(queues(group([plain, set])), ["default", "fast"]);
});

options("set adds to what was set before, and the later value wins", () => {
  const [policy] = policies(add.s(1, 1).set({ queue: "a", priority: 1 }).set({ queue: "b" }));
  assert.is(policy?.queue, "b");
  assert.is(policy?.priority, 1);
});

options("options of a chain apply to every member", () => {
  assert.equal(queues(chain(add.s(1, 1), chain(add.s(1), add.s(1))).set({ queue: "q" })), [
    "q",
    "q",
    "q",
  ]);
});

options("options of a group apply to every member", () => {
  assert.equal(queues(group([add.s(1, 1), group([add.s(1, 1)])]).set({ queue: "q" })), ["q", "q"]);
});

options("options of a chord apply to header and body", () => {
  assert.equal(queues(chord([add.s(1, 1)], chain(sum.s(), add.s(1))).set({ queue: "q" })), [
    "q",
    "q",
    "q",
  ]);
});

options("options of chunks apply to every chunk, those of map to its task", () => {
  assert.equal(queues(chunks(add, [[1, 1], [2, 2]], 1).set({ queue: "q" })), ["q", "q"]);
  assert.equal(queues(map(sum, [[1]]).set({ queue: "q" })), ["q"]);
});

options(
  "a signature's own options win over its canvas's, an inner canvas's over an outer's",
  () => {
    const canvas = group([
      add.s(1, 1).set({ queue: "own" }),
      chain(add.s(1, 1), add.s(1).set({ queue: "own" })).set({ queue: "inner" }),
      add.s(1, 1),
    ]).set({ queue: "outer", priority: 9 });
    assert.equal(queues(canvas), ["own", "inner", "own", "outer"]);
    assert.equal(policies(canvas).map(({ priority }) => priority), [9, 9, 9, 9]);
  },
);

options("set wins over canvas over task over the workflow's defaults", () => {
  const own = task("own", { queue: "task" }, (x: number) => x);
  const wf = new Workflow("levels", { defaults: { queue: "defaults" } });
  wf.add(add.si(1, 1));
  wf.add(own.si(1));
  wf.add(group([own.si(1)]).set({ queue: "canvas" }));
  wf.add(group([own.si(1).set({ queue: "set" })]).set({ queue: "canvas" }));
  wf.call(own, 1);
  wf.call(own, 1).set({ queue: "set" });
  wf.call(add, 1, 1);
  assert.equal(queues(wf), ["defaults", "task", "canvas", "set", "task", "set", "defaults"]);
});

options("an option left undefined says nothing: the next level counts", () => {
  const own = task("own", { queue: "task", priority: undefined }, (x: number) => x);
  const wf = new Workflow("undefined", { defaults: { priority: 7 } });
  wf.add(group([own.si(1).set({ queue: undefined })]).set({ queue: undefined }));
  wf.call(own, 1).set({ queue: undefined });
  assert.equal(queues(wf), ["task", "task"]);
  assert.equal(policies(wf).map(({ priority }) => priority), [7, 7]);
});

options("without any option: queue default, priority 5, no retries", () => {
  assert.equal(policies(add.s(1, 1)), [{ queue: "default", priority: 5 }]);
});

options("retries are on once any of their options is given", () => {
  const [policy] = policies(add.s(1, 1).set({ retry: {} }));
  assert.equal(policy?.retry, {
    max: 3,
    backoff: "exponential",
    baseMs: 1_000,
    capMs: 60_000,
    jitter: true,
  });
});

options("countdown and eta stand in the policy, timeout and payload in the signature", () => {
  const definition = Workflow.of(
    add.s(1, 1).set({
      countdown: "10s",
      eta: new Date(5_000),
      timeout: "1m",
      payload: { user: 42 },
    }),
  ).build();
  assert.is(policyOfNode(definition, 0).countdownMs, 10_000);
  assert.is(policyOfNode(definition, 0).notBefore, 5_000);
  const { timeoutMs, payload } = JSON.parse(definition.signatures.text(0));
  assert.is(timeoutMs, 60_000);
  assert.equal(payload, { user: 42 });
});

options("equal policies are shared, different ones are not", () => {
  const definition = Workflow.of(
    group([add.s(1, 1), add.s(2, 2).set({ priority: 9 }), add.s(3, 3)]),
  ).build();
  assert.equal([...definition.policyOf], [0, 1, 0]);
  assert.is(definition.policies.length, 2);
});

options("options do not reach what follows the canvas", () => {
  assert.equal(queues(chain(group([add.s(1, 1)]).set({ queue: "q" }), sum.s())), ["q", "default"]);
});

options.run();

const workflows = suite("workflows");

workflows("a handle as an argument is an edge, and its result arrives there", () => {
  const wf = new Workflow("handles");
  const a = wf.call(add, 1, 2);
  const b = wf.call(mul, a, 10);
  wf.call(sum, [a, b, 100]);
  assert.is(valueOf(wf), 133);
  assert.equal(waits(wf), { "add-0": [], "mul-1": ["add-0"], "sum-2": ["add-0", "mul-1"] });
});

workflows("handles may sit anywhere in arrays and plain objects", () => {
  const wf = new Workflow("deep");
  const a = wf.call(add, 1, 2);
  wf.call(echo, { list: [1, [a, { deep: a }], [a, a]], own: a, plain: "x" });
  assert.equal(valueOf(wf), { list: [1, [3, { deep: 3 }], [3, 3]], own: 3, plain: "x" });
});

workflows("a value that looks like a hole or an input is only a value", () => {
  const wf = new Workflow("holes");
  const value = { at: [0], node: 0, list: [null, "null", { nodes: [[0, 1, 1]] }] };
  wf.call(pair, wf.call(echo, value), value);
  assert.equal(valueOf(wf), [value, value]);
});

workflows("a list of many handles is one input", () => {
  const wf = new Workflow("many");
  const nodes = Array.from({ length: 1_000 }, (_, i) => wf.call(add, i, 0));
  wf.call(sum, nodes);
  assert.is(valueOf(wf), 499_500);
  assert.ok(wf.build().signatures.text(1_000).length < 100);
});

workflows("the same edge said twice is one edge", () => {
  const wf = new Workflow("twice");
  const a = wf.call(add, 1, 2);
  wf.call(add, a, a).after(a).after([a, a]);
  assert.equal(waits(wf)["add-1"], ["add-0"]);
  assert.is(valueOf(wf), 6);
});

workflows("after is order only", () => {
  const wf = new Workflow("order");
  const a = wf.call(add, 1, 2);
  const b = wf.call(add, 3, 4);
  const c = wf.call(add, 5, 6).after(a).after([b]);
  assert.equal(waits(wf)["add-2"], ["add-0", "add-1"]);
  assert.is(c.label, "add-2");
  assert.is(valueOf(wf), 11);
});

workflows("after takes the end on which the edge counts", () => {
  const wf = new Workflow("ends");
  const a = wf.call(add, 1, 2);
  wf.call(add, 1, 2).after(a, { on: "failure" });
  wf.call(add, 1, 2).after(a, { on: "done" });
  assert.equal(wf.toJSON().nodes.map(({ after }) => after), [
    undefined,
    [{ node: 0, on: "failure" }],
    [{ node: 0, on: "done" }],
  ]);
});

workflows("a name stands for a node in labels and edges", () => {
  const wf = new Workflow("names");
  const a = wf.call(add, 1, 2).named("first");
  wf.call(mul, a, 2);
  assert.equal(wf.edges(), [["first", "mul-1"]]);
  assert.is(a.label, "first");
  assert.is(a.named("first").named("other").label, "other");
  wf.call(add, 1, 1).named("first");
});

workflows("add puts a canvas after nodes, and returns the nodes to depend on", () => {
  const wf = new Workflow("canvases");
  const a = wf.call(add, 1, 2);
  const [body] = wf.add(chord([add.s(1, 1), add.s(2, 2)], sum.s()), { after: a });
  const ends = wf.add(group([add.si(1, 1), add.si(2, 2)]), { after: [body] });
  wf.call(sum, ends);
  assert.equal(waits(wf), {
    "add-0": [],
    "add-1": ["add-0"],
    "add-2": ["add-0"],
    "sum-3": ["add-1", "add-2"],
    "add-4": ["sum-3"],
    "add-5": ["sum-3"],
    "sum-6": ["add-4", "add-5"],
  });
  assert.is(valueOf(wf), 6);
});

workflows("a canvas that is added after nodes does not get their results", () => {
  const wf = new Workflow("order");
  const a = wf.call(add, 1, 2);
  wf.add(group([add.s(10, 10)]), { after: a });
  assert.is(valueOf(wf), 20);
});

workflows("a canvas added after many nodes shares a join", () => {
  const wf = new Workflow("joined");
  const first = Array.from({ length: 50 }, (_, i) => wf.call(add, i, i));
  wf.add(group(Array.from({ length: 50 }, () => add.si(1, 1))), { after: first });
  assert.ok(wf.build().graph.up.nodes.length <= 150);
});

workflows("the output is the only sink's result, else the list of the sinks'", () => {
  const one = new Workflow("one");
  one.call(mul, one.call(add, 1, 2), 10);
  assert.is(valueOf(one), 30);
  one.call(add, 4, 4);
  assert.equal(valueOf(one), [30, 8]);
});

workflows("output says what the workflow gives: a node's result, or any shape of results", () => {
  const wf = new Workflow("output");
  const a = wf.call(add, 1, 2);
  const b = wf.call(mul, a, 10);
  assert.is(valueOf(wf.output(a)), 3);
  assert.equal(valueOf(wf.output({ a, list: [b, [a]], fixed: "x" })), {
    a: 3,
    list: [30, [3]],
    fixed: "x",
  });
  assert.is(valueOf(wf.output(7)), 7);
});

workflows("nodes of onError and finally are no part of the default output", () => {
  const wf = new Workflow("cleanup").finally(add.si(9, 9)).onError(add.si(0, 0));
  wf.call(add, 1, 2);
  assert.is(valueOf(wf), 3);
});

workflows("finally runs last, after whatever the workflow has", () => {
  const wf = new Workflow("last").finally(chain(add.si(9, 9), group([mul.s(1), mul.s(2)])));
  wf.call(add, 1, 2);
  wf.call(add, 3, 4);
  const { order } = drive(wf, handlers);
  assert.equal(order.slice(2), ["add-0", "mul-1", "mul-2"]);
});

workflows("onError runs only when the workflow failed, and finally after it", () => {
  const build = () => {
    const wf = new Workflow("failing").finally(pair.si(1, 1)).onError(mul.si(0, 0));
    wf.call(task("maybe", () => 0));
    return wf;
  };
  const boom = () => {
    throw new Error("no");
  };
  const failed = drive(build(), { ...handlers, maybe: boom });
  assert.is(failed.state, "FAILURE");
  assert.equal(failed.order, ["maybe-2", "mul-1", "pair-0"]);
  const fine = drive(build(), { ...handlers, maybe: () => 1 });
  assert.is(fine.state, "SUCCESS");
  assert.equal(fine.order, ["maybe-2", "pair-0"]);
  assert.is(fine.scheduler.stateOf(1), "SKIPPED");
});

workflows("several onError and finally canvases all run", () => {
  const wf = new Workflow("several").finally(add.si(1, 1)).finally(add.si(2, 2));
  assert.equal(drive(wf, handlers).order, ["add-0", "add-1"]);
});

workflows("onError and finally may be said before the workflow's own nodes", () => {
  const wf = new Workflow("early").finally(mul.si(1, 1));
  const a = wf.call(add, 1, 1);
  wf.call(add, a, 1);
  assert.equal(drive(wf, handlers).order, ["add-1", "add-2", "mul-0"]);
});

workflows("a workflow can be built again after more was added", () => {
  const wf = new Workflow("growing");
  wf.call(add, 1, 1);
  const before = wf.build();
  wf.call(add, 2, 2);
  assert.is(before.graph.size, 1);
  assert.is(wf.build().graph.size, 2);
});

workflows("the timeout is seven days unless said otherwise", () => {
  assert.is(new Workflow("long").build().timeoutMs, 7 * 24 * 3_600_000);
  assert.is(new Workflow("short", { timeout: "1h" }).build().timeoutMs, 3_600_000);
});

workflows("payloads stand on the workflow and on nodes", () => {
  const wf = new Workflow("payloads", { payload: { team: "storage" } });
  wf.call(add, 1, 1).set({ payload: [1] });
  const json = wf.toJSON();
  assert.equal(json.payload, { team: "storage" });
  assert.equal(json.nodes[0]?.payload, [1]);
});

workflows("a workflow of a canvas gives what the canvas gives, whatever its sinks", () => {
  assert.equal(valueOf(Workflow.of(group([group([add.s(1, 1)])]))), [[2]]);
  assert.is(Workflow.of(add.s(1, 1), "named").name, "named");
});

workflows("a Mermaid chart shows nodes, joins, edges with their kind, and cleanup", () => {
  const wf = new Workflow("chart").finally(add.si(9, 9));
  const a = wf.call(add, 1, 2).named("first");
  wf.call(add, a, 2).after(a, { on: "done" });
  assert.is(
    wf.toMermaid(),
    [
      "flowchart TD",
      '  n0["add-0"]',
      '  n1["first"]',
      '  n2["add-2"]',
      "  n3{{all}}",
      "  n3 -->|done| n0",
      "  n1 --> n2",
      "  n1 -->|done| n2",
      "",
    ].join("\n"),
  );
});

workflows.run();

/** One claim for each row of celery-dyrygent's table that is about building; in brackets what happens there. */
const known = suite("what users of celery-dyrygent know");

known(
  "a workflow takes every canvas: signature, chain, group, chord [map and starmap: KeyError]",
  () => {
    const wf = new Workflow("every");
    const canvases: AnyCanvas[] = [
      add.s(1, 1),
      chain(add.s(1, 1), add.s(1)),
      group([add.s(1, 1), add.s(2, 2)]),
      chord([add.s(1, 1)], sum.s()),
      chunks(add, [[1, 1], [2, 2]], 1),
      map(sum, [[1]]),
      starmap(add, [[1, 1]]),
    ];
    for (const canvas of canvases) wf.add(canvas);
    assert.equal(valueOf(wf), [2, 3, 2, 4, 2, [2], [4], [1], [2]]);
  },
);

known("canvases nest in any depth: a chain of chords of chains of groups", () => {
  const chords = Array.from(
    { length: 3 },
    () => chord([chain(group([add.si(1, 1), add.si(2, 2)]), sum.s()), add.si(3, 3)], sum.s()),
  );
  const canvas = chain(chords[0]!, chord([chords[1]!, chords[2]!], sum.s()));
  assert.is(valueOf(canvas), 24);
});

known("a signature is added with its dependencies, and takes more of them later", () => {
  const wf = new Workflow("dependencies");
  const [a] = wf.add(add.si(1, 1));
  const [b] = wf.add(add.si(2, 2));
  const [c] = wf.add(add.si(3, 3), { after: [a] });
  c.after(b);
  assert.equal(wf.edges(), [["add-0", "add-2"], ["add-1", "add-2"]]);
});

known("an empty group, chord or chain passes its dependencies through", () => {
  const wf = new Workflow("through");
  const a = wf.call(add, 1, 1);
  for (const canvas of [group([]), chain(), chain([group([]), chain()])] as AnyCanvas[]) {
    const after = wf.add(canvas, { after: a }) as Node[];
    wf.add(add.si(2, 2), { after });
  }
  wf.add(chord([], add.si(3, 3)), { after: a });
  assert.equal(Object.values(waits(wf)), [[], ["add-0"], ["add-0"], ["add-0"], ["add-0"]]);
});

known("a group may begin with an empty group [TypeError]", () => {
  assert.equal(valueOf(group([group([]), add.s(1, 1)])), [[], 2]);
});

known("a workflow may have two empty groups [already added]", () => {
  const wf = new Workflow("empties");
  wf.add(chain([group([]), add.si(1, 1), group([]), group([]), add.si(2, 2)]));
  assert.equal(waits(wf), { "add-0": [], "add-1": ["add-0"] });
});

known("group | group: the second waits for all of the first", () => {
  const canvas = group([add.s(1, 1), add.s(2, 2)]).pipe(group([add.si(3, 3), add.si(4, 4)]));
  const { "add-2": third, "add-3": fourth } = waits(canvas);
  assert.equal([third, fourth], [["add-0", "add-1"], ["add-0", "add-1"]]);
});

known("a dependency that is there already is not added again [an error]", () => {
  const wf = new Workflow("twice");
  const a = wf.call(add, 1, 1);
  wf.call(add, 1, 1).after(a).after(a);
  assert.equal(wf.edges(), [["add-0", "add-1"]]);
});

known("a cycle is an error when the workflow is built [it runs into FAILURE]", () => {
  const wf = new Workflow("cycle");
  const a = wf.call(add, 1, 1);
  a.after(wf.call(add, a, 1));
  assert.throws(() => wf.build(), /add-0 → add-1 → add-0/);
});

known("workflow and nodes have a payload of their own", () => {
  const wf = new Workflow("payload", { payload: { of: "workflow" } });
  wf.add(add.s(1, 1).set({ payload: { of: "node" } }));
  const { payload, nodes } = wf.toJSON();
  assert.equal([payload, nodes[0]?.payload], [{ of: "workflow" }, { of: "node" }]);
});

known("the workflow's options are apart from its tasks', whose own win [lost]", () => {
  const wf = new Workflow("apart", { timeout: "1h", defaults: { timeout: "1m", queue: "all" } });
  wf.add(group([add.si(1, 1), add.si(1, 1).set({ timeout: "1s", queue: "own" })]));
  const { timeoutMs, nodes } = wf.toJSON();
  assert.equal([timeoutMs, ...nodes.map((node) => node.timeoutMs)], [3_600_000, 60_000, 1_000]);
  assert.equal(queues(wf), ["all", "own"]);
});

known("options of a chain and of a group are kept [dropped]", () => {
  const retry = { max: 7 };
  const all = policies(chain(group([add.si(1, 1)]), add.si(1, 1)).set({ retry }));
  assert.equal(all.map((policy) => policy.retry?.max), [7, 7]);
});

known("a workflow has a timeout, and can be written and read with its version", () => {
  const wf = new Workflow("written", { timeout: "2h" });
  wf.add(chain(add.s(1, 1), add.s(2)));
  assert.is(wf.toJSON().version, 1);
  assert.is(wf.toJSON().timeoutMs, 7_200_000);
  assert.equal(Workflow.fromJSON(wf.toJSON()).edges(), wf.edges());
});

known("results are passed on [its most wanted feature]", () => {
  assert.is(valueOf(chain(add.s(1, 1), add.s(2), add.s(3))), 7);
});

known.run();
