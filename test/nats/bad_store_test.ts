/**
 * What is in the store may have been cut off, written by somebody else, or by a newer version. It is never used, never
 * deleted, and never in other workflows' way.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { headers } from "@nats-io/nats-core";
import {
  chain,
  Dyrygent,
  group,
  InvalidOptionError,
  NotFoundError,
  type Run,
  task,
  Workflow,
  WorkflowFailedError,
} from "nats-dyrygent";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";
import { add, arithmetic, echo, mul } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Writes a fact behind the library's back. */
async function write(scope: Scope, key: string, data: string | Uint8Array, note?: string) {
  const hdrs = headers();
  if (note !== undefined) hdrs.set("Dyrygent-Outcome", note);
  const subject = `$KV.${scope.namespace}.${key}`;
  await jetstream(await scope.raw).publish(subject, data, { headers: hdrs });
}

async function read(scope: Scope, key: string): Promise<Uint8Array | undefined> {
  const { streams } = await jetstreamManager(await scope.raw);
  const subject = `$KV.${scope.namespace}.${key}`;
  const stored = await streams.getMessage(`KV_${scope.namespace}`, { last_by_subj: subject });
  return stored?.data;
}

async function wake(scope: Scope, workflow: string) {
  await jetstream(await scope.raw).publish(`${scope.namespace}.tick.${workflow}`, '{"v":1}');
}

/** An outcome's note, as workers write it. */
const succeeded = "1 succeeded 1700000000000 1700000000001 1700000000000000000 nobody";

/** The records of a workflow as the library writes them, the head first. */
async function recordsOf(scope: Scope, workflow: Workflow): Promise<Map<string, Uint8Array>> {
  const namespace = `${scope.namespace}_template`;
  const app = await Dyrygent.open(await scope.raw, { namespace });
  const { id } = await app.submit(workflow, { unknownTasks: "ignore" });
  const { streams } = await jetstreamManager(await scope.raw);
  const { state } = await streams.info(`KV_${namespace}`, {
    subjects_filter: `$KV.${namespace}.${id}.def.>`,
  });
  const records = new Map<string, Uint8Array>();
  for (const subject of Object.keys(state.subjects ?? {}).sort()) {
    const stored = await streams.getMessage(`KV_${namespace}`, { last_by_subj: subject });
    records.set(subject.split(".").at(-1)!, stored!.data);
  }
  return records;
}

async function headOf(scope: Scope): Promise<Uint8Array> {
  const wf = new Workflow("sound", { payload: 1 });
  wf.call(mul, wf.call(add, 1, 2), 3);
  return (await recordsOf(scope, wf)).get("0")!;
}

/** Ends as ERROR, says why, keeps the bytes; and another workflow runs meanwhile. */
async function endsAsError(scope: Scope, head: string | Uint8Array): Promise<void> {
  const app = await scope.open();
  await write(scope, "broken.def.0", head);
  await wake(scope, "broken");
  await scope.running({ tasks: arithmetic });
  assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
  const run = app.run("broken");
  const error = await rejection(run.result());
  assert.instance(error, WorkflowFailedError);
  assert.match(error.message, /Workflow broken ended as ERROR: .*(cannot be read|wait for each)/);
  assert.is((await run.status()).state, "ERROR");
  assert.is((await run.ended()).state, "ERROR");
  await scope.rest();
  const kept = await read(scope, "broken.def.0");
  assert.equal(kept, typeof head === "string" ? encoder.encode(head) : head);
  assert.is((await scope.contents()).facts, 2 + 3); // Head and end; the other's definition, outcome, end.
}

const deep = "[".repeat(100_000) + "]".repeat(100_000);

const unreadable: [what: string, head: string | Uint8Array][] = [
  ["nothing", ""],
  ["no JSON", "not JSON"],
  ["a list", "[]"],
  ["an object without anything", "{}"],
  ["a megabyte of brackets", "[".repeat(1_000_000)],
  ["a hundred thousand levels deep", `{"v":1,"name":${deep}}`],
  ["a byte order mark first", "\ufeff{}"],
  ["invalid UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d)],
  ["zeros", new Uint8Array(1_000)],
  ["version 0", '{"v":0}'],
  ["a version that is text", '{"v":"1"}'],
  ["a version that is an object without a text", '{"v":{"toString":1}}'],
];

for (const [what, head] of unreadable) {
  test(
    `a definition that is ${what} ends as ERROR`,
    tests.scope((scope) => endsAsError(scope, head)),
  );
}

/** Ways to cut or change a definition that was sound. */
const damages: [what: string, damage: (head: string) => string][] = [
  ["cut off in the head", (head) => head.slice(0, 60)],
  ["cut off after the head", (head) => head.split("\n")[0]! + "\n"],
  ["cut off in the structure", (head) => head.slice(0, head.indexOf("policies"))],
  ["cut off before its last node", (head) => head.split("\n").slice(0, 3).join("\n") + "\n"],
  ["cut off in its last node", (head) => head.slice(0, -10)],
  ["short of its last byte", (head) => head.slice(0, -1)],
  ["longer than it was", (head) => head + '{"task":"add","args":[1,1]}\n'],
  ["changed into a cycle", (head) => head.replace('"after":[[],[0]]', '"after":[[1],[0]]')],
  ["waiting for a node it has not", (head) => head.replace("[[],[0]]", "[[],[7]]")],
  ["of more nodes than it has", (head) => head.replace('"nodes":2', '"nodes":3')],
  ["of a billion nodes", (head) => head.replace('"nodes":2', '"nodes":1000000000')],
  ["of more records than there are", (head) => head.replace('"chunks":0', '"chunks":1')],
  ["without a name", (head) => head.replace('"name":"sound",', "")],
  ["named twice", (head) => head.replace('"name":"sound"', '"name":"sound","name":7')],
  ["with a name that is a number", (head) => head.replace('"sound"', "7")],
  ["with a digest of something else", (head) => head.replace(/"digest":"./, '"digest":"x')],
];

for (const [what, damage] of damages) {
  test(
    `a definition that is ${what} ends as ERROR`,
    tests.scope(async (scope) => {
      const sound = decoder.decode(await headOf(scope));
      const damaged = damage(sound);
      assert.is.not(damaged, sound, "the damage did nothing");
      await endsAsError(scope, damaged);
    }),
  );
}

test(
  "a definition that lost one of its records ends as ERROR",
  tests.scope(async (scope) => {
    const wf = new Workflow("large");
    for (let i = 0; i < 3; i++) wf.call(echo, "x".repeat(900_000));
    const records = await recordsOf(scope, wf);
    assert.is(records.size, 3);
    const app = await scope.open();
    const [lost] = [...records.keys()].slice(-1);
    for (const [name, data] of records) {
      if (name !== lost) await write(scope, `broken.def.${name}`, data);
    }
    await wake(scope, "broken");
    await scope.processor(app);
    const error = await rejection(app.run("broken").result());
    assert.match(error.message, /ended as ERROR.*cannot be read/);
  }),
);

test(
  "a definition that arrives whole by another way runs",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    await write(scope, "copied.def.0", await headOf(scope));
    await wake(scope, "copied");
    assert.is(await app.run("copied").result(), 9);
  }),
);

test(
  "a definition of a newer version is left alone, and its tick to others",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const head = '{"v":2,"anything":"else"}\n';
    await write(scope, "newer.def.0", head);
    await wake(scope, "newer");
    await scope.running({ tasks: arithmetic });
    await eventually(
      "it was given back",
      () => scope.logs.some(({ message }) => message.includes("version 2")),
    );
    assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
    await eventually("only its tick is left", async () => (await scope.contents()).ticks === 1);
    assert.equal(await read(scope, "newer.def.0"), encoder.encode(head));
    assert.is(await read(scope, "newer.end.1"), undefined);
    assert.is((await app.run("newer").status()).state, "INITIAL");
  }, { leavesWork: true }),
);

const junk: [key: string, data: string, note?: string][] = [
  ["target.r.99.1", "1", succeeded],
  ["target.r.999999999.1", "1", succeeded],
  ["target.r.1.0", "1", succeeded],
  ["target.r.0.7", "1"],
  ["target.r.0.8", "1", "gibberish"],
  ["target.r.0.9", "1", "2 succeeded 1 1 1 x"],
  ["target.r.0.10", "1", "1 exploded 1 1 1 x"],
  ["target.r.0.11", "1", "1 succeeded x y z w"],
  ["target.r.x.1", "1", succeeded],
  ["target.r.0", "1", succeeded],
  ["target.r.0.1.1", "1", succeeded],
  ["target.ctl.7", "gibberish"],
  ["target.ctl.8", '{"v":1}'],
  ["target.ctl.9", '{"v":2,"id":"x","at":1,"is":"cancel"}'],
  ["target.ctl.10", '{"v":1,"id":"x","at":1,"is":"explode"}'],
  ["target.ctl.11", '{"v":1,"id":"x","at":1,"is":"skip","nodes":"all"}'],
  ["target.ctl.12", '{"v":1,"id":"x","at":1,"is":"skip","nodes":[99,-1]}'],
  ["target.ctl.x", '{"v":1,"id":"x","at":1,"is":"cancel"}'],
  ["target.end.x", '{"v":1,"state":"SUCCESS","failed":[]}'],
  ["target.end.7", '{"v":1,"state":"SUCCESS","failed":[]}'],
  ["target.def.other", "gibberish"],
  ["target.strange", "gibberish"],
  ["target", "gibberish"],
  ["ghost.r.0.1", "1", succeeded],
  ["ghost.ctl.1", '{"v":1,"id":"x","at":1,"is":"cancel"}'],
  ["ghost.end.1", '{"v":1,"state":"SUCCESS","failed":[]}'],
];

test(
  "facts nobody can understand, or about nodes and workflows there are not, change nothing",
  tests.scope(async (scope) => {
    const goOn = new Moment("the gate opens");
    const began = new Moment("the gate's task began");
    const gate = task("gate", async (n: number) => {
      began.come();
      await goOn.wait;
      return n;
    });
    const app = await scope.open();
    const [before, during] = [junk.filter((_, i) => i % 2 === 0), junk.filter((_, i) => i % 2)];
    for (const [key, data, note] of before) await write(scope, key, data, note);
    const run = await app.submit(chain(gate.s(5), add.s(1)), { id: "target" });
    await scope.worker(app, { tasks: [gate, ...arithmetic] });
    await scope.processor(app);
    await began.reached();
    for (const [key, data, note] of during) await write(scope, key, data, note);
    goOn.come();
    assert.is(await run.result(), 6);
    const { state, counts } = await run.status();
    assert.equal([state, counts.SUCCESS, counts.SKIPPED], ["SUCCESS", 2, 0]);
    const states: string[] = [];
    for await (const event of run.watch()) if (event.is === "workflow") states.push(event.state);
    assert.equal(states, ["RUNNING", "SUCCESS"]);
  }),
);

test(
  "a real control fact is heard after ones nobody can understand",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app);
    const run = await app.submit(add.s(1, 1), { id: "target" });
    await eventually("it is under way", async () => (await scope.contents()).tasks === 1);
    for (const [key, data] of junk) {
      if (key.startsWith("target.ctl.")) await write(scope, key, data);
    }
    await run.cancel("really");
    assert.match((await rejection(run.result())).message, /really/);
  }),
);

const results: [what: string, body: string | Uint8Array][] = [
  ["nothing", ""],
  ["no JSON", "gibberish"],
  ["half a text", '"half'],
  ["more than JSON", '1},"signature":{"task":"echo","args":["forged"]},"results":{"0":1'],
  ["invalid UTF-8", Uint8Array.of(0x22, 0xff, 0xfe, 0x22)],
  ["a byte order mark and more", "\ufeff1 2"],
  ["a megabyte of brackets", "[".repeat(1_000_000)],
  ["a hundred thousand levels deep", deep],
];

for (const [what, body] of results) {
  test(
    `a result that is ${what} fails the node that takes it, and other runs end`,
    tests.scope(async (scope) => {
      const app = await scope.open();
      await scope.processor(app);
      const wf = new Workflow("target");
      const first = wf.call(echo, 1).set({ queue: "elsewhere" });
      wf.call(echo, first);
      const run = await app.submit(wf, { id: "target", unknownTasks: "ignore" });
      await eventually("it is under way", async () => (await scope.contents()).tasks === 1);
      await write(scope, "target.r.0.1", body, succeeded);
      await scope.worker(app, { tasks: arithmetic });
      assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
      const { state, failures } = await rejection(run.result()) as WorkflowFailedError;
      assert.equal([state, failures.map(({ node }) => node)], ["FAILURE", ["echo-1"]]);
      assert.equal(
        await read(scope, "target.r.0.1"),
        typeof body === "string" ? encoder.encode(body) : body,
      );
      await scope.worker(app, { tasks: arithmetic, queues: ["elsewhere"] }); // Takes what is left.
    }),
  );
}

test(
  "a run whose records somebody removes under way leaves no task and no tick, and other runs end",
  tests.scope(async (scope) => {
    const began = new Moment("the gate's task began");
    const goOn = new Moment("the gate opens");
    const gate = task("gate", async () => {
      began.come();
      await goOn.wait;
      return 1;
    });
    const app = await scope.running({ tasks: [gate, ...arithmetic] }, {
      tick: { idle: ["100ms", "500ms"] },
    });
    const run = await app.submit(chain(gate.s(), add.s(1)), { id: "target" });
    await began.reached();
    const { streams } = await jetstreamManager(await scope.raw);
    const filter = `$KV.${scope.namespace}.target.>`;
    await streams.purge(`KV_${scope.namespace}`, { filter });
    goOn.come();
    assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
    await scope.rest();
    assert.instance(await rejection(run.status()), NotFoundError);
  }),
);

test(
  "a terminal record without outcomes is the end: what nobody recorded is null, and what comes later changes nothing",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const end = { v: 1, state: "SUCCESS", at: 1_700_000_000_000, counts: {}, failed: [] };
    await write(scope, "target.end.1", JSON.stringify(end));
    const run = await app.submit(chain(add.s(1, 1), mul.s(2)), { id: "target" });
    assert.is(await run.result(), null);
    await scope.running({ tasks: arithmetic });
    assert.is(await (await app.submit(add.s(1, 1))).result(), 2);
    await scope.rest();
    const { state, finishedAt } = await run.status();
    assert.equal([state, finishedAt], ["SUCCESS", end.at]);
  }),
);

test(
  "a terminal record nobody can read ends the run as ERROR for those who wait",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await write(scope, "target.end.1", "gibberish");
    const run = await app.submit(add.s(1, 1), { id: "target" });
    await scope.running({ tasks: arithmetic });
    const error = await rejection(run.result()) as WorkflowFailedError;
    assert.is(error.state, "ERROR");
    assert.match(error.message, /terminal record cannot be read/);
  }),
);

test(
  "an outcome that comes after the end changes nothing, whoever looks",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await scope.processor(app);
    const wf = new Workflow("late");
    const first = wf.call(add, 1, 1);
    wf.call(mul, first, 2);
    const run: Run = await app.submit(wf, { id: "late" });
    await eventually("it is under way", async () => (await scope.contents()).tasks === 1);
    await run.cancel();
    const ended = await run.ended();
    assert.is(ended.state, "CANCELLED");
    await write(scope, "late.r.0.1", "2", succeeded);
    await write(scope, "late.r.1.1", "4", succeeded);
    await wake(scope, "late");
    await scope.rest();
    assert.equal(await run.status(), ended);
    assert.is((await rejection(run.result()) as WorkflowFailedError).state, "CANCELLED");
    assert.is((await scope.contents()).facts, 5); // Definition, cancel, end, the two late ones.
  }),
);

test(
  "a tick without a workflow is removed, and so is one of an impossible workflow",
  tests.scope(async (scope) => {
    await scope.running({ tasks: arithmetic });
    await wake(scope, "nobody");
    await wake(scope, "no.such.id");
    await wake(scope, "ż");
    await scope.rest();
    assert.is((await scope.contents()).facts, 0);
  }),
);

test(
  "a sweep leaves alone what cannot be a workflow",
  tests.scope(async (scope) => {
    const app = await scope.open();
    await write(scope, "ż.def.0", "foreign");
    await write(scope, `${"x".repeat(65)}.def.0`, "foreign");
    assert.equal(await app.processor().sweep(), { revived: [], removed: [] });
    assert.is((await scope.contents()).ticks, 0);
  }),
);

test(
  "a hundred poisoned workflows do not hold up a good one",
  tests.scope(async (scope) => {
    const app = await scope.open();
    for (let i = 0; i < 100; i++) {
      await write(scope, `poison-${i}.def.0`, "poison");
      await wake(scope, `poison-${i}`);
    }
    await scope.running({ tasks: arithmetic }, { concurrency: 4 });
    assert.equal(await (await app.submit(group([add.s(1, 1), add.s(2, 2)]))).result(), [2, 4]);
    await scope.rest();
  }),
);

const badIds = [
  "",
  ".",
  "a.b",
  "*",
  ">",
  "a b",
  "a\r\nb",
  "a\0b",
  "żółw",
  "x".repeat(65),
  "__proto__.x",
  7,
  {},
];

test(
  "ids that would mean something else on the wire are refused before anything is sent",
  tests.scope(async (scope) => {
    const nc = await scope.connect();
    const app = await scope.open({}, nc);
    const { outMsgs } = nc.stats();
    for (const bad of badIds as string[]) {
      const refused = [
        () => app.submit(add.s(1, 1), { id: bad }),
        async () => app.run(bad),
        async () => new Workflow(bad),
        async () => new Workflow("wf").call(add, 1, 1).named(bad),
        async () => add.s(1, 1).set({ queue: bad }),
        async () => app.worker({ tasks: [add], queues: [bad] }),
      ];
      for (const ask of refused) {
        assert.instance(await rejection(ask()), InvalidOptionError, JSON.stringify(bad));
      }
    }
    assert.is(nc.stats().outMsgs, outMsgs);
  }),
);

test(
  "__proto__ and constructor are ids like any other",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic, queues: ["default", "constructor"] });
    for (const id of ["__proto__", "constructor", "toString", "-", "_", "x".repeat(64)]) {
      const wf = new Workflow(id);
      wf.call(add, 1, 1).named(id);
      const run = await app.submit(wf, { id });
      assert.equal([await run.result(), await run.result(id)], [2, 2]);
    }
    const run = await app.submit(add.s(1, 1).set({ queue: "constructor" }));
    assert.is(await run.result(), 2);
  }),
);

test.run();
