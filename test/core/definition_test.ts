/** A definition survives its way to bytes and JSON and back; nothing that is not one is ever taken for one. */
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { chain, chord, group } from "../../src/core/canvas.ts";
import { type Definition, findNode, labelOf } from "../../src/core/definition.ts";
import {
  chunkName,
  decodeDefinition,
  decodeHead,
  type EncodedDefinition,
  encodeDefinition,
  versionOf,
} from "../../src/core/definition_codec.ts";
import { definitionFromJson, definitionToJson } from "../../src/core/definition_json.ts";
import { CycleError, InvalidWorkflowError, PayloadTooLargeError } from "../../src/core/errors.ts";
import { definitionKey } from "../../src/core/keys.ts";
import { wholeDefinition } from "../../src/core/recorded.ts";
import { Scheduler } from "../../src/core/scheduler.ts";
import { task } from "../../src/core/task.ts";
import { fill, inputNodes } from "../../src/core/template.ts";
import { type Node, Workflow } from "../../src/core/workflow.ts";
import { anyJson } from "./any_json.ts";
import {
  anyFaces,
  anySketch,
  definitionOf,
  Dice,
  EMPTY_SKETCH,
  workflowOf,
} from "./random_workflow.ts";

const work = task("work", (...inputs: unknown[]) => inputs.length);
const next = task("next", (input: number) => input);
const ROOMY = 1_000_000;

async function encoded(wf: Workflow, maxBytes = ROOMY): Promise<EncodedDefinition> {
  return encodeDefinition(wf.build(), maxBytes);
}

function decoded({ head, chunks }: EncodedDefinition): Definition {
  return decodeDefinition(decodeHead(head), [head, ...chunks]);
}

/** Everything a definition says, as data. */
function content(definition: Definition): unknown {
  const { graph, policies, policyOf, signatures, names, ...rest } = definition;
  return {
    ...rest,
    up: graph.up,
    down: graph.down,
    nodes: Array.from({ length: graph.size }, (_, node) => ({
      policy: policies[policyOf[node]!],
      signature: signatures.text(node),
      bytes: new TextDecoder().decode(signatures.bytes(node)),
      name: names.get(node),
    })),
  };
}

/** Workflows with everything a definition can hold. */
const anyWorkflow: fc.Arbitrary<Workflow> = fc.record({
  sketch: anySketch,
  payload: fc.option(anyJson, { nil: undefined }),
  args: fc.array(anyJson, { maxLength: 3 }),
  name: fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/),
  errors: fc.array(fc.string({ unit: "grapheme" }), { maxLength: 3 }),
  output: fc.option(anyJson, { nil: undefined }),
}).map(({ sketch, payload, args, name, errors, output }) => {
  const wf = workflowOf(sketch);
  const node = wf.call(work, ...args).named(name).set({
    payload,
    timeout: 1_000,
    retry: { on: errors },
  });
  wf.call(work, node, [node, node], { node });
  if (output !== undefined) wf.output([output, node, { node }]);
  return wf;
});

const test = suite("definitions as bytes");

test("what was encoded is decoded, in one record or in many", async () => {
  await fc.assert(
    fc.asyncProperty(anyWorkflow, fc.integer({ min: 2_500, max: 6_000 }), async (wf, maxBytes) => {
      const before = content(wf.build());
      const whole = await encoded(wf);
      assert.is(whole.chunks.length, 0);
      assert.equal(content(decoded(whole)), before);
      const split = await encoded(wf, maxBytes).catch((error) => {
        assert.instance(error, PayloadTooLargeError);
      });
      if (split !== undefined) assert.equal(content(decoded(split)), before);
    }),
    { numRuns: 100 },
  );
});

test("what is said about a run travels with its definition: start, input, parent", async () => {
  await fc.assert(
    fc.asyncProperty(anySketch, async (sketch) => {
      const parent = { workflow: "above", node: 3, attempt: 2, depth: 1 };
      const definition = { ...definitionOf(sketch), parent };
      const { head, chunks } = await encodeDefinition(definition, ROOMY);
      assert.is(chunks.length, 0);
      assert.equal(content(decodeDefinition(decodeHead(head), [head])), content(definition));
    }),
    { numRuns: 50 },
  );
});

test("no record is larger than it may be", async () => {
  await fc.assert(
    fc.asyncProperty(anyWorkflow, fc.integer({ min: 2_500, max: 6_000 }), async (wf, maxBytes) => {
      const { head, chunks } = await encoded(wf, maxBytes).catch((error) => {
        assert.instance(error, PayloadTooLargeError);
        return { head: new Uint8Array(), chunks: [] };
      });
      for (const { length } of [head, ...chunks]) assert.ok(length <= maxBytes, `${length}`);
    }),
    { numRuns: 100 },
  );
});

test("a workflow of 5,000 nodes with small records comes in many chunks, and whole again", async () => {
  const header = Array.from({ length: 5_000 }, (_, i) => work.si(i, "x".repeat(i % 100)));
  const wf = Workflow.of(chord(header, work.si()));
  const split = await encoded(wf, 8_192);
  assert.ok(split.chunks.length > 20, `${split.chunks.length} chunks`);
  assert.is(decodeHead(split.head).chunks, split.chunks.length);
  assert.equal(content(decoded(split)), content(wf.build()));
});

test("records are measured in bytes, not in characters: names of errors, arguments, payloads", async () => {
  const on = Array.from({ length: 20 }, (_, i) => `${i}${"ж".repeat(30)}`);
  for (const common of [{ retry: { on } }, { payload: "ж".repeat(700) }, {}]) {
    const members = Array.from({ length: 50 }, (_, i) => {
      const options = common.retry === undefined ? common : { retry: { on, max: i } };
      return work.si("ж".repeat(i * 9)).set(options);
    });
    const { head, chunks } = await encoded(Workflow.of(group(members)), 4_096);
    assert.ok(chunks.length > 3);
    for (const { length } of [head, ...chunks]) assert.ok(length <= 4_096, `${length} bytes`);
  }
});

test("a node may wait for the end of 200,000 others", async () => {
  const wf = new Workflow("wide");
  const all = Array.from({ length: 200_000 }, () => wf.call(work));
  wf.call(work).after(all, { on: "done" });
  assert.is(decoded(await encoded(wf)).graph.up.nodes.length, 200_000);
});

test("equal content has an equal digest, however it was built", async () => {
  const build = () => {
    const wf = new Workflow("same", { payload: { a: 1 } });
    wf.call(work, wf.call(work, 1), [2]);
    return wf;
  };
  const one = await encoded(build());
  assert.is((await encoded(build())).digest, one.digest);
  assert.is((await encoded(Workflow.fromJSON(build().toJSON()))).digest, one.digest);
  assert.is(decodeHead(one.head).digest, one.digest);
});

test("any other content has another digest", async () => {
  const variants: (() => Workflow)[] = [
    () => Workflow.of(work.s(1)),
    () => Workflow.of(work.s(2)),
    () => Workflow.of(work.s(1), "named"),
    () => Workflow.of(work.s(1).set({ queue: "other" })),
    () => Workflow.of(work.s(1).set({ timeout: 1 })),
    () => Workflow.of(group([work.s(1)])),
    () => Workflow.of(group([work.s(1), work.s(1)])),
    () => Workflow.of(work.s(1).pipe(next.s())),
    () => Workflow.of(work.s(1).pipe(next.si(1))),
    () => Workflow.of(work.s(1)).finally(work.si()),
    () => Workflow.of(work.s(1)).onError(work.si()),
    () => new Workflow("canvas", { payload: null }),
    () => new Workflow("canvas", { timeout: 1 }),
    () => new Workflow("canvas"),
    () => {
      const wf = new Workflow("canvas");
      wf.call(work, 1).named("a");
      return wf;
    },
    () => {
      const wf = new Workflow("canvas");
      wf.call(work, 1).named("b");
      return wf;
    },
  ];
  const digests = await Promise.all(variants.map(async (build) => (await encoded(build())).digest));
  assert.is(new Set(digests).size, variants.length);
});

test("the digest covers every chunk", async () => {
  const build = (last: number) =>
    Workflow.of(group(Array.from({ length: 500 }, (_, i) => work.s(i === 499 ? last : 0))));
  const [one, other] = await Promise.all([encoded(build(1), 3_000), encoded(build(2), 3_000)]);
  assert.ok(one.chunks.length > 2);
  assert.is.not(one.digest, other.digest);
});

test("a node that fits into no record is refused with its size", async () => {
  const wf = new Workflow("big");
  wf.call(work, 1);
  wf.call(work, "x".repeat(50_000));
  const error = await encoded(wf, 10_000).catch((error) => error);
  assert.instance(error, PayloadTooLargeError);
  assert.is(error.code, "PAYLOAD_TOO_LARGE");
  assert.ok(error.size > 50_000 && error.limit > 8_000 && error.limit < 8_776);
  assert.match(error.message, /Node 1 of workflow "big"/);
});

test("one letter outside of ASCII makes a node no larger than it is", async () => {
  const wf = new Workflow("letter");
  wf.call(work, `é${"x".repeat(8_000)}`);
  assert.is((await encoded(wf, 10_000)).chunks.length, 0);
});

test("an output that is too large to be said in the head is refused", async () => {
  const wf = new Workflow("big").output("x".repeat(20_000));
  assert.instance(await encoded(wf, 10_000).catch((error) => error), PayloadTooLargeError);
});

test("the list of very many sinks is not said: every reader can work it out", async () => {
  const build = () => {
    const wf = new Workflow("sinks");
    for (let i = 0; i < 20_000; i++) wf.call(work).after(i % 2 ? [] : wf.call(work));
    return wf;
  };
  const definition = build().build();
  const whole = await encoded(build());
  assert.equal(decoded(whole).output, definition.output);
});

test.run();

const damaged = suite("bytes that are no definition");

/** @returns the definition when the bytes still are one. */
function readOrRefused(records: readonly Uint8Array[]): Definition | undefined {
  try {
    return decodeDefinition(decodeHead(records[0]!), records);
  } catch (error) {
    assert.instance(error, InvalidWorkflowError);
    assert.ok((error as InvalidWorkflowError).hint.length > 0);
    return undefined;
  }
}

/** What every reader of a definition relies on. */
function assertSound(definition: Definition): void {
  const { graph, names, output, payload } = definition;
  const scheduler = new Scheduler(definition, "run", 0);
  scheduler.begin();
  for (let node = 0; scheduler.finished === undefined; node++) {
    assert.ok(node <= graph.size, "the workflow never ends");
    for (const { node, attempt } of [...scheduler.open()]) {
      const failure = { name: "E", message: "", fatal: true };
      scheduler.apply({ is: "failed", node, attempt, at: 0, failure });
    }
  }
  for (const node of names.keys()) assert.ok(node < graph.size);
  fill(JSON.parse(output.json), output.inputs, { resultOf: () => null });
  for (const node of inputNodes(output.inputs, graph.size)!) assert.ok(node < graph.size);
  if (payload !== undefined) JSON.parse(payload);
  for (let node = 0; node < graph.size; node++) labelOf(definition, node);
}

damaged("a record that is cut off anywhere is refused", async () => {
  const wf = workflowOf(EMPTY_SKETCH);
  wf.call(work, wf.call(work, "ж"), { a: 1 }).named("x");
  const { head } = await encoded(wf.finally(work.si()));
  for (let length = 0; length < head.length; length++) {
    assert.is(readOrRefused([head.subarray(0, length)]), undefined, `${length} bytes`);
  }
});

damaged("a chunk that is cut off, missing, repeated or in another's place is refused", async () => {
  const wide = Workflow.of(group(Array.from({ length: 300 }, (_, i) => work.s(i))));
  const { head, chunks } = await encoded(wide, 3_000);
  assert.ok(chunks.length >= 3);
  const [first, second, ...others] = chunks as [Uint8Array, Uint8Array, ...Uint8Array[]];
  assert.ok(readOrRefused([head, ...chunks]));
  const wrong = [
    [],
    chunks.slice(1),
    chunks.slice(0, -1),
    [...chunks, others.at(-1)!],
    [second, first, ...others],
    [first, first, ...others],
    [first, new Uint8Array(), ...others],
    [first, second.subarray(0, -1), ...others],
    [first, second.subarray(0, second.length >> 1), ...others],
  ];
  for (const [i, records] of wrong.entries()) {
    assert.is(readOrRefused([head, ...records]), undefined, `case ${i}`);
  }
});

damaged("whatever bytes are changed: it is refused, or still a sound definition", async () => {
  await fc.assert(
    fc.asyncProperty(
      anyWorkflow,
      fc.array(fc.record({ at: fc.nat(), byte: fc.nat({ max: 255 }) }), {
        minLength: 1,
        maxLength: 4,
      }),
      async (wf, flips) => {
        const { head, chunks } = await encoded(wf);
        for (const { at, byte } of flips) {
          // Mostly in the head and the structure: signatures are not read here.
          head[at % Math.min(head.length, 600 + at % head.length)] = byte;
        }
        const definition = readOrRefused([head, ...chunks]);
        if (definition !== undefined) assertSound(definition);
      },
    ),
    { numRuns: 400 },
  );
});

/** The head and structure of a definition as data, changed by `forge`, as bytes. */
async function forged(
  wf: Workflow,
  // deno-lint-ignore no-explicit-any
  forge: (head: any, structure: any) => void,
): Promise<Uint8Array[]> {
  const { head, chunks } = await encoded(wf);
  assert.is(chunks.length, 0);
  const [first, second, ...signatures] = new TextDecoder().decode(head).split("\n");
  const [headJson, structure] = [JSON.parse(first!), JSON.parse(second!)];
  forge(headJson, structure);
  const lines = [JSON.stringify(headJson), JSON.stringify(structure), ...signatures];
  return [new TextEncoder().encode(lines.join("\n"))];
}

/** Node 0 is a finally, 1 and 2 are a chain, 3 waits for the end of 2. */
function forgeable(): Workflow {
  const wf = new Workflow("forged", { payload: 1 }).finally(work.si());
  const end = wf.call(work, wf.call(work)).set({ retry: {}, countdown: 5 });
  wf.call(work).after(end, { on: "done" }).named("last");
  return wf;
}

damaged("fields of wrong types, ranges and meanings are refused", async () => {
  // deno-lint-ignore no-explicit-any
  const forgeries: Record<string, (head: any, structure: any) => void> = {
    "version of the future": (head) => head.v = 2,
    "no version": (head) => delete head.v,
    "version as text": (head) => head.v = "1",
    "no name": (head) => delete head.name,
    "name for a subject": (head) => head.name = "a.b>",
    "negative timeout": (head) => head.timeoutMs = -1,
    "timeout that is no number": (head) => head.timeoutMs = "7d",
    "timeout above what numbers carry": (head) => head.timeoutMs = 1e300,
    "more nodes than there are": (head) => head.nodes = 5,
    "fewer nodes than there are": (head) => head.nodes = 3,
    "nodes above the limit": (head) => head.nodes = 3_000_000,
    "half a node": (head) => head.nodes = 3.5,
    "more chunks than nodes": (head) => head.chunks = 1_000_000,
    "no digest": (head) => delete head.digest,
    "digest for a subject": (head) => head.digest = ">".repeat(64),
    "output as text": (head) => head.output = "null",
    "output that is not JSON": (head) => head.output = { json: "{", inputs: [] },
    "output from an unknown node": (head) =>
      head.output = { json: "null", inputs: [{ at: [], node: 4 }] },
    "output without a hole": (head) => head.output = { json: "[]", inputs: [{ at: [0], node: 0 }] },
    "output into a prototype": (head) =>
      head.output = { json: "{}", inputs: [{ at: ["__proto__", "x"], node: 0 }] },
    "output with a null input": (head) => head.output = { json: "null", inputs: [null] },
    "output with an endless list": (head) =>
      head.output = { json: "null", inputs: [{ at: [], nodes: [[0, 1e15, 0]] }] },
    "payload with __proto__": (head) => head.payload = JSON.parse('{"__proto__":1}'),
    "structure of another place": (_, structure) => structure.first = 1,
    "no edges": (_, structure) => delete structure.after,
    "edges as text": (_, structure) => structure.after[1] = "0",
    "edge from an unknown node": (_, structure) => structure.after[1] = [4],
    "edge from half a node": (_, structure) => structure.after[1] = [0.5],
    "edge from before the first": (_, structure) => structure.after[1] = [-2],
    "edge from itself": (_, structure) => structure.after[1] = [1],
    "edges in a circle": (_, structure) => structure.after[1] = [2],
    "an own node that waits for all own nodes": (_, structure) => structure.after[1] = [-1],
    "an own node that waits for finally": (_, structure) => structure.after[1] = [0],
    "an endless run of edges": (_, structure) => structure.after[1] = [[0, 1e15, 0]],
    "a run of no edges": (_, structure) => structure.after[1] = [[0, 0, 1]],
    "a run of half a step": (_, structure) => structure.after[1] = [[0, 4, 0.5]],
    "edges into an unknown node": (_, structure) => structure.afterOther = { 4: { done: [0] } },
    "edges into nothing": (_, structure) => structure.afterOther = { 3: null },
    "other edges from nowhere": (_, structure) => structure.afterOther = { 3: { done: [9] } },
    "no policies": (_, structure) => delete structure.policies,
    "policy index out of range": (_, structure) => structure.policy = [0, 1, 2, 99],
    "policy for too few nodes": (_, structure) => structure.policy = [0],
    "policy that is null": (_, structure) => structure.policies[1] = null,
    "queue for a subject": (_, structure) => structure.policies[1].queue = "a.>",
    "queue that is no text": (_, structure) => structure.policies[1].queue = 5,
    "priority 10": (_, structure) => structure.policies[1].priority = 10,
    "negative countdown": (_, structure) => structure.policies[1].countdownMs = -1,
    "not before a text": (_, structure) => structure.policies[1].notBefore = "now",
    "join: false": (_, structure) => structure.policies[1].join = false,
    "cleanup: 1": (_, structure) => structure.policies[1].cleanup = 1,
    "retry as number": (_, structure) => structure.policies[1].retry = 3,
    "retry null": (_, structure) => structure.policies[1].retry = null,
    "retry without end": (_, structure) => structure.policies[2].retry.max = 1e9,
    "retry max as text": (_, structure) => structure.policies[2].retry.max = "3",
    "retry of an unknown kind": (_, structure) => structure.policies[2].retry.backoff = "never",
    "retry without base": (_, structure) => delete structure.policies[2].retry.baseMs,
    "retry on everything": (_, structure) => structure.policies[2].retry.on = "*",
    "name of an unknown node": (_, structure) => structure.names = { 4: "x" },
    "name of no node": (_, structure) => structure.names = { x: "x" },
    "name that is no name": (_, structure) => structure.names = { 1: "a b" },
    "name that is no text": (_, structure) => structure.names = { 1: 1 },
    "one name twice": (_, structure) => structure.names = { 1: "x", 2: "x" },
  };
  assert.ok(readOrRefused(await forged(forgeable(), () => {})), "the forger spoils it");
  for (const [what, forge] of Object.entries(forgeries)) {
    const records = await forged(forgeable(), forge);
    assert.is(readOrRefused(records), undefined, what);
  }
});

/** Puts junk somewhere into a value. */
// deno-lint-ignore no-explicit-any
function spoil(holder: any, dice: Dice): void {
  const junk = [null, -1, 0, 1, 2, 1e300, 0.5, "", "x", "__proto__", [], {}, true, [[]], [null]];
  let key = dice.pick(Object.keys(holder));
  while (typeof holder[key] === "object" && holder[key] !== null && dice.roll(5) > 0) {
    const keys = Object.keys(holder[key]);
    if (keys.length === 0) break;
    holder = holder[key];
    key = dice.pick(keys);
  }
  holder[key] = dice.pick(junk);
}

damaged("whatever field is forged: it is refused, or still a sound definition", async () => {
  await fc.assert(
    fc.asyncProperty(anySketch, anyFaces, async (sketch, faces) => {
      const dice = new Dice(faces);
      const records = await forged(workflowOf(sketch), (head, structure) => {
        spoil(dice.roll(4) === 0 ? head : structure, dice);
      });
      const definition = readOrRefused(records);
      if (definition !== undefined) assertSound(definition);
    }),
    { numRuns: 300 },
  );
});

damaged("edges in a circle are named", async () => {
  const [record] = await forged(forgeable(), (_, structure) => structure.after[1] = [2]);
  try {
    decodeDefinition(decodeHead(record!), [record!]);
    assert.unreachable();
  } catch (error) {
    assert.instance(error, CycleError);
    assert.equal((error as CycleError).cycle, ["work-1", "work-2", "work-1"]);
  }
});

damaged("few bytes that stand for very many edges are refused", async () => {
  const wide = Workflow.of(group(Array.from({ length: 8_000 }, () => work.s())));
  const records = await forged(wide, (_, structure) => {
    // Each waits for the first node 8,000 times: there is no cycle that could be found instead.
    structure.after = structure.after.map((_: unknown, i: number) =>
      i === 0 ? [] : [[0, 8_000, 0]]
    );
  });
  assert.throws(
    () => decodeDefinition(decodeHead(records[0]!), records),
    /more than 50000000 edges/,
  );
});

damaged("text that is not a definition at all is refused", () => {
  const texts = [
    "",
    "\n",
    "null",
    "[]",
    "1",
    '"text"',
    "{}",
    "{}\n{}",
    "\ufeff{}",
    "[".repeat(1_000_000),
    '{"a":'.repeat(100_000),
    "{".repeat(100_000),
    "[".repeat(100_000) + "]".repeat(100_000),
    `{"v":1,"payload":${"[".repeat(100_000)}${"]".repeat(100_000)}}`,
  ];
  for (const text of texts) {
    assert.is(readOrRefused([new TextEncoder().encode(text)]), undefined, text.slice(0, 40));
  }
  assert.is(readOrRefused([new Uint8Array([0xff, 0xfe, 0x7b, 0x7d])]), undefined);
});

damaged("a payload that is nested too deep is refused", async () => {
  const wf = new Workflow("deep", { payload: 0 });
  const { head } = await encoded(wf);
  const text = new TextDecoder().decode(head);
  const deep = text.replace('"payload":0', `"payload":${"[".repeat(1e5)}${"]".repeat(1e5)}`);
  assert.is(readOrRefused([new TextEncoder().encode(deep)]), undefined);
});

damaged("bytes that are not UTF-8 are refused, not mended", async () => {
  const { head } = await encoded(new Workflow("utf", { payload: "ж" }));
  head[head.indexOf("ж".codePointAt(0)! >> 6 | 0xc0) + 1] = 0x20;
  assert.is(readOrRefused([head]), undefined);
});

damaged("of a newer definition the version can still be told", async () => {
  const [record] = await forged(forgeable(), (head) => head.v = 7);
  assert.is(versionOf(record!), 7);
  assert.throws(() => decodeHead(record!), /version 7/);
  assert.is(versionOf(new TextEncoder().encode("junk")), undefined);
  assert.is(versionOf(new TextEncoder().encode("null")), undefined);
  assert.is(versionOf(new Uint8Array()), undefined);
});

damaged(
  "a definition is read from its records by their keys, and refused while one is missing",
  async () => {
    const wf = Workflow.of(group(Array.from({ length: 300 }, (_, i) => work.s(i))));
    const { head, chunks, digest } = await encoded(wf, 3_000);
    const stored = new Map(
      chunks.map((data, i) => [definitionKey("run", chunkName(digest, i + 1)), data]),
    );
    const read = async (key: string) => {
      const data = stored.get(key);
      return data === undefined ? undefined : { key, data };
    };
    assert.equal(content(await wholeDefinition("run", head, read)), content(wf.build()));
    stored.delete(definitionKey("run", chunkName(digest, 2)));
    const error = await wholeDefinition("run", head, read).catch((error) => error);
    assert.instance(error, InvalidWorkflowError);
  },
);

damaged.run();

const json = suite("definitions as JSON");

json("what toJSON gives fromJSON reads: the same definition", () => {
  fc.assert(
    fc.property(anyWorkflow, (wf) => {
      const definition = wf.build();
      const again = definitionFromJson(definitionToJson(definition));
      assert.equal(content(again), content(definition));
      assert.equal(Workflow.fromJSON(wf.toJSON()).toJSON(), wf.toJSON());
    }),
    { numRuns: 100 },
  );
});

json("it survives being written as text", () => {
  const wf = forgeable();
  assert.equal(Workflow.fromJSON(JSON.stringify(wf)).toJSON(), wf.toJSON());
  assert.equal(content(Workflow.fromJSON(JSON.stringify(wf)).build()), content(wf.build()));
});

json("a workflow from JSON can be read like any other, and not be changed", () => {
  const wf = Workflow.fromJSON(forgeable().toJSON());
  assert.is(wf.name, "forged");
  assert.is(wf.size, 4);
  assert.equal(wf.edges(), [["work-1", "work-2"], ["work-2", "last"]]);
  const changes = [
    () => wf.call(work),
    () => wf.add(work.s()),
    () => wf.onError(work.si()),
    () => wf.finally(work.si()),
    () => wf.output(1),
  ];
  for (const change of changes) assert.throws(change, /was read from JSON and cannot be changed/);
});

json("a hand-written workflow needs only what it uses", () => {
  const wf = Workflow.fromJSON({
    version: 1,
    name: "by-hand",
    timeoutMs: 1_000,
    policies: [{ queue: "default", priority: 5 }],
    nodes: [
      { task: "add", args: [1, 2] },
      { task: "mul", args: [null, 10], inputs: [{ at: [0], node: 0 }], after: [0] },
    ],
    output: { json: "null", inputs: [{ at: [], node: 1 }] },
  });
  assert.equal(wf.edges(), [["add-0", "mul-1"]]);
});

json("an input is an edge, also where nobody wrote it down", () => {
  const wf = Workflow.fromJSON({
    version: 1,
    name: "implied",
    timeoutMs: 1_000,
    policies: [{ queue: "default", priority: 5 }],
    nodes: [
      { task: "add", args: [1, 2] },
      { task: "sum", args: [[null, 1]], inputs: [{ at: [0, 0], node: 0 }] },
      { task: "sum", args: [null], inputs: [{ at: [0], nodes: [0, 1] }], after: [1] },
    ],
    output: { json: "null", inputs: [] },
  });
  assert.equal(wf.edges(), [["add-0", "sum-1"], ["add-0", "sum-2"], ["sum-1", "sum-2"]]);
});

json("inputs through a join need no edges of their own, however many there are", () => {
  const wide = group(Array.from({ length: 200_000 }, () => next.si(1)));
  const total = task("total", (xs: number[]) => xs.length);
  const wf = Workflow.of(chain(wide, group([total.s(), total.s()])));
  const { graph } = Workflow.fromJSON(wf.toJSON()).build();
  assert.is(graph.up.nodes.length, wf.build().graph.up.nodes.length);
});

json("a join has nothing but its edges: whatever else is written there does not count", () => {
  const whole = {
    ...forgeable().toJSON(),
    policies: [{ queue: "default", priority: 5, join: true }],
    nodes: [{ inputs: 5, args: 5, task: 5 }, { inputs: [5] }],
    output: { json: "null", inputs: [] },
  };
  assert.is(Workflow.fromJSON(whole).size, 2);
});

json("each thing that is wrong is named by its path", () => {
  // deno-lint-ignore no-explicit-any
  const cases: [path: string, change: (whole: any) => void][] = [
    ["version", (whole) => whole.version = 2],
    ["version", (whole) => delete whole.version],
    ["name", (whole) => whole.name = "a b"],
    ["name", (whole) => delete whole.name],
    ["timeoutMs", (whole) => whole.timeoutMs = 0],
    ["timeoutMs", (whole) => whole.timeoutMs = 1e300],
    ["timeoutMs", (whole) => whole.timeoutMs = "1h"],
    ["payload.x", (whole) => whole.payload = { x: undefined }],
    ["policies", (whole) => whole.policies = {}],
    ["policies[0]", (whole) => whole.policies[0] = null],
    ["policies[0].queue", (whole) => whole.policies[0].queue = "a.b"],
    ["policies[0].priority", (whole) => whole.policies[0].priority = 10],
    ["policies[2].retry.max", (whole) => whole.policies[2].retry.max = -1],
    ["policies[2].countdownMs", (whole) => whole.policies[2].countdownMs = NaN],
    ["nodes", (whole) => whole.nodes = {}],
    ["nodes[1]", (whole) => whole.nodes[1] = null],
    ["nodes[1].policy", (whole) => whole.nodes[1].policy = 9],
    ["nodes[1].policy", (whole) => whole.nodes[1].policy = "__proto__"],
    ["nodes[1].policy", (whole) => whole.nodes[1].policy = "length"],
    ["nodes[1].name", (whole) => whole.nodes[1].name = "a.b"],
    ["nodes[3].name", (whole) => whole.nodes[1].name = "last"],
    ["nodes[1].task", (whole) => delete whole.nodes[1].task],
    ["nodes[1].task", (whole) => whole.nodes[1].task = "a b"],
    ["nodes[1].args", (whole) => whole.nodes[1].args = {}],
    ["nodes[1].args[0].x", (whole) => whole.nodes[1].args = [{ x: NaN }]],
    ["nodes[2].inputs", (whole) => whole.nodes[2].inputs = {}],
    ["nodes[2].inputs", (whole) => whole.nodes[2].inputs = [5]],
    ["nodes[2].inputs", (whole) => whole.nodes[2].inputs = [{ at: [0], node: 4 }]],
    ["nodes[2].inputs", (whole) => whole.nodes[2].inputs = [{ at: [7], node: 1 }]],
    ["nodes[2].inputs", (whole) => whole.nodes[2].inputs = [{ node: 1 }]],
    ["nodes[2].inputs", (whole) => whole.nodes[2].inputs = [{ at: [0], nodes: [[0, 1e9, 0]] }]],
    ["nodes[1].calls", (whole) => whole.nodes[1].calls = "twice"],
    ["nodes[1].timeoutMs", (whole) => whole.nodes[1].timeoutMs = 0.5],
    ["nodes[1].ignoreResult", (whole) => whole.nodes[1].ignoreResult = "yes"],
    ["nodes[1].payload", (whole) => whole.nodes[1].payload = 5n],
    ["nodes[2].after", (whole) => whole.nodes[2].after = 1],
    ["nodes[2].after[0]", (whole) => whole.nodes[2].after = [4]],
    ["nodes[2].after[0]", (whole) => whole.nodes[2].after = [2]],
    ["nodes[2].after[1]", (whole) => whole.nodes[2].after = [1, "1"]],
    ["nodes[2].after[0].on", (whole) => whole.nodes[2].after = [{ node: 1, on: "never" }]],
    ["nodes[1].after", (whole) => whole.nodes[1].after = [-1]],
    ["nodes[1].after", (whole) => whole.nodes[1].after = [0]],
    ["edges", (whole) => whole.nodes[1].after = [3]],
    ["output", (whole) => whole.output = null],
    ["output", (whole) => whole.output = { json: "{", inputs: [] }],
    ["output", (whole) => whole.output = { json: "null", inputs: [{ at: [], node: 9 }] }],
  ];
  for (const [path, change] of cases) {
    const whole = structuredClone(forgeable().toJSON());
    change(whole);
    try {
      Workflow.fromJSON(whole);
    } catch (error) {
      assert.instance(error, InvalidWorkflowError, `${path}: ${error}`);
      assert.is((error as InvalidWorkflowError).path, path, String(error));
      continue;
    }
    assert.unreachable(`accepted, with ${change}`);
  }
});

json("what is no workflow at all is refused", () => {
  for (const value of [undefined, null, 5, "", "{", "[]", [], "null", '{"version":1}', () => 1]) {
    assert.throws(
      () => Workflow.fromJSON(value),
      (error: unknown) => error instanceof InvalidWorkflowError,
      String(value),
    );
  }
});

json("a payload above 16 KiB is refused here as well", () => {
  for (const place of ["workflow", "node"]) {
    const whole = structuredClone(forgeable().toJSON());
    Object.assign(place === "workflow" ? whole : whole.nodes[1]!, { payload: "x".repeat(16_384) });
    assert.throws(
      () => Workflow.fromJSON(whole),
      (error: unknown) => error instanceof PayloadTooLargeError,
    );
  }
});

json("whatever is changed in the JSON: it is refused, or still a sound definition", () => {
  fc.assert(
    fc.property(anySketch, anyFaces, (sketch, faces) => {
      const whole = structuredClone(workflowOf(sketch).toJSON());
      spoil(whole, new Dice(faces));
      try {
        assertSound(definitionFromJson(whole));
      } catch (error) {
        assert.instance(error, InvalidWorkflowError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

json("more nodes than a workflow may have are refused before they are looked at", () => {
  const whole = { ...forgeable().toJSON(), nodes: new Array(2_000_001) };
  assert.throws(() => Workflow.fromJSON(whole), /nodes .* at most 2000000/);
});

json.run();

const names = suite("how people name nodes");

function named(): { definition: Definition; nodes: Node[] } {
  const wf = new Workflow("names");
  const nodes = [wf.call(work), wf.call(work).named("special"), wf.call(task("a.b-1", () => 1))];
  return { definition: wf.build(), nodes };
}

names("a node is found by number, by name and by label", () => {
  const { definition } = named();
  assert.equal(
    [0, 1, 2, "special", "work-0", "a.b-1-2"].map((name) => findNode(definition, name)),
    [0, 1, 2, 1, 0, 2],
  );
});

names("nothing else finds a node", () => {
  const { definition } = named();
  const wrong = [
    3,
    -1,
    0.5,
    NaN,
    "",
    "work",
    "work-1",
    "work-00",
    "work-9",
    "other-0",
    "-0",
    "__proto__",
  ];
  for (const name of wrong) assert.is(findNode(definition, name), undefined, String(name));
});

names.run();
