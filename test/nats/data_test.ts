/**
 * Users' data on a real server: results that are too big for a message, data that is sealed, and what is left of both
 * when a run has been removed.
 */
import { headers } from "@nats-io/nats-core";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";
import {
  type Codec,
  CodecError,
  ConflictError,
  currentTask,
  Dyrygent,
  event,
  expand,
  NotFoundError,
  type RunStatus,
  type RunSummary,
  task,
  Workflow,
  WorkflowFailedError,
} from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { mixing } from "../data/codecs.ts";
import { eventually, Moment, rejection, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

/** Bytes of the largest record, as the library works it out for this server. */
const MAX_RECORD = 1_048_576 - 4_096;

/** A text whose JSON has so many bytes. */
const text = task("text", (bytes: number) => "x".repeat(bytes - 2));
const size = task("size", (value: string) => value.length);
const wrap = task("wrap", (value: unknown) => ({ value }));
const tasks = [text, size, wrap];

async function streamsOf(scope: Scope): Promise<string[]> {
  const names: string[] = [];
  for await (const name of (await jetstreamManager(await scope.raw)).streams.names()) {
    if (name.split("_").includes(scope.namespace)) names.push(name);
  }
  return names.sort();
}

interface Message {
  readonly stream: string;
  readonly subject: string;
  readonly headers: string;
  readonly data: Uint8Array;
}

/** Everything that this namespace has stored. */
async function everything(scope: Scope): Promise<Message[]> {
  const { streams } = await jetstreamManager(await scope.raw);
  const found: Message[] = [];
  for (const stream of await streamsOf(scope)) {
    const { state } = await streams.info(stream);
    for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
      const msg = await streams.getMessage(stream, { seq }).catch(() => null);
      if (msg === null) continue;
      const lines = [...msg.header ?? []].map(([name, values]) => `${name}: ${values.join()}`);
      found.push({ stream, subject: msg.subject, headers: lines.join("\n"), data: msg.data });
    }
  }
  return found;
}

/** The subject of each message, as of one moment: what is replaced meanwhile is there all the time. */
async function subjectsOf(scope: Scope): Promise<string[]> {
  const { streams } = await jetstreamManager(await scope.raw);
  const counts = await Promise.all((await streamsOf(scope)).map(async (stream) => {
    const { state } = await streams.info(stream, { subjects_filter: ">" });
    return Object.entries(state.subjects ?? {});
  }));
  return counts.flat().flatMap(([subject, count]) => Array<string>(count).fill(subject));
}

const bucketOf = (scope: Scope) => `${scope.namespace}_RESULTS`;

test(
  "results around what a record takes reach dependents and clients, and only big ones need a bucket",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks });
    for (const bytes of [MAX_RECORD - 1, MAX_RECORD, MAX_RECORD + 1]) {
      const hasBucket = (await streamsOf(scope)).includes(`OBJ_${bucketOf(scope)}`);
      assert.is(hasBucket, false, `${bytes - 1} bytes needed a bucket`);
      const wf = new Workflow("sizes");
      const big = wf.call(text, bytes);
      const run = await app.submit(wf.output({ big, size: wf.call(size, big) }));
      assert.equal(await run.result(), { big: "x".repeat(bytes - 2), size: bytes - 2 });
      assert.is((await run.result(big)).length, bytes - 2);
    }
    assert.ok((await streamsOf(scope)).includes(`OBJ_${bucketOf(scope)}`));
  }),
);

test(
  "a result of 10 MB is an object that any client of the object store reads",
  tests.scope(async (scope) => {
    // One made by another client, with its own idea of what nobody relies on, will do.
    await new Objm(await scope.raw).create(bucketOf(scope));
    const app = await scope.running({ tasks });
    const run = await app.submit(text.s(10_000_000), { id: "big" });
    assert.is((await run.result()).length, 9_999_998);
    const store = await new Objm(await scope.raw).open(bucketOf(scope));
    const [info, ...more] = await store.list();
    assert.equal([info!.size, more.length], [10_000_000, 0]);
    assert.match(info!.name, /^big\.0\.1\.\w+$/);
    assert.is(
      JSON.parse(new TextDecoder().decode((await store.getBlob(info!.name))!)).length,
      9_999_998,
    );
  }),
);

test(
  "a sealed result may be big, too, and grow when it is sealed",
  tests.scope(async (scope) => {
    const codec = mixing(1);
    await scope.worker(await scope.open({ codec }), { tasks });
    await scope.processor(await scope.open());
    const app = await scope.open({ codec });
    for (const bytes of [700_000, 800_000, MAX_RECORD + 1]) {
      const wf = new Workflow("sizes");
      const big = wf.call(text, bytes);
      const run = await app.submit(wf.output([wf.call(size, big), big]));
      assert.equal(await run.result(), [bytes - 2, "x".repeat(bytes - 2)]);
    }
  }),
);

test(
  "an execution whose outcome is refused takes its blob away, and leaves the other's",
  tests.scope(async (scope) => {
    const begun = new Moment<void>("the task begins");
    const goOn = new Moment<void>("the task may go on");
    const slow = task("slow", async (bytes: number) => {
      begun.come();
      await goOn.wait;
      return "x".repeat(bytes);
    });
    const app = await scope.open();
    await scope.worker(await scope.open(), { tasks: [slow, text] });
    await scope.processor(await scope.open());
    const other = await app.submit(text.s(2_000_000), { id: "other" });
    await other.result();
    const run = await app.submit(slow.s(2_000_000), { id: "late" });
    await begun.reached();
    const hdrs = headers();
    hdrs.set(
      "Dyrygent-Outcome",
      "1 succeeded 1700000000000 1700000000001 1700000000000000000 first",
    );
    await jetstream(await scope.raw).publish(`$KV.${scope.namespace}.late.r.0.1`, '"first"', {
      headers: hdrs,
    });
    goOn.come();
    assert.is(await run.result(), "first");
    await scope.rest();
    const names = async () =>
      (await (await new Objm(await scope.raw).open(bucketOf(scope))).list()).map(({ name }) =>
        name
      );
    await eventually("the refused blob is gone", async () => {
      const left = (await subjectsOf(scope)).filter((subject) => subject.includes(".C.late."));
      return left.length === 0 || left.join();
    });
    assert.is((await names()).length, 1);
    assert.is((await other.result()).length, 1_999_998);
  }),
);

test(
  "a worker whose every answer gets lost keeps one whole object, and removes nothing",
  tests.scope(async (scope) => {
    const nc = await scope.connect();
    const publish = nc.publish.bind(nc);
    // What is sent once more is refused: just what comes of a first answer that did not arrive.
    nc.publish = (subject, payload, options) => {
      if (/^\$(O|KV)\./.test(subject)) publish(subject, payload, { ...options, reply: "nobody" });
      publish(subject, payload, options);
    };
    await scope.worker(await scope.open({}, nc), { tasks });
    await scope.processor(await scope.open());
    const app = await scope.open();
    const run = await app.submit(text.s(3_000_000), { id: "twice" });
    assert.is((await run.result()).length, 2_999_998);
    await nc.flush();
    const chunks = (await subjectsOf(scope)).filter((subject) => subject.includes(".C.twice."));
    assert.is(chunks.length, 3);
    assert.is((await run.result()).length, 2_999_998);
  }),
);

test(
  "a task whose input is gone or damaged waits until it is there again; a client is told",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks });
    const wf = new Workflow("gone");
    const big = wf.call(text, 1_200_000);
    wf.call(size, big).set({ countdown: "400ms" });
    const run = await app.submit(wf, { id: "gone" });
    await run.result(big);
    const js = jetstream(await scope.raw);
    const { streams } = await js.jetstreamManager();
    const stream = `OBJ_${bucketOf(scope)}`;
    const chunks = (await everything(scope)).filter(({ subject }) => subject.includes(".C.gone."));
    const [{ subject }] = chunks as [Message];
    await streams.purge(stream, { filter: subject });
    const gone = await rejection(run.result(big));
    assert.instance(gone, NotFoundError);
    assert.match(
      gone.message,
      /The result gone\.r\.0\.1 is recorded, but its data gone\.0\.1\.\w+ is gone/,
    );
    await eventually(
      "the task is given back",
      () =>
        scope.logs.some(({ message }) =>
          message.includes("could not be prepared and is given back")
        ),
    );
    for (const { data } of chunks) await js.publish(subject, data.map((byte) => byte + 1));
    const damaged = await rejection(run.result(big));
    assert.match(damaged.message, /is damaged/);
    assert.is((await run.status()).state, "RUNNING");
    await streams.purge(stream, { filter: subject });
    for (const { data } of chunks) await js.publish(subject, data);
    assert.is(await run.result(), 1_199_998);
  }),
);

test(
  "where the bucket cannot be made nothing is lost: the outcome waits until it can be kept",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks });
    const js = jetstream(await scope.raw);
    const { streams } = await js.jetstreamManager();
    // In the way of the bucket: a stream of its name that is something else.
    const name = `OBJ_${bucketOf(scope)}`;
    await streams.add({ name, subjects: [`elsewhere.${scope.namespace}`] });
    const run = await app.submit(text.s(1_500_000));
    await eventually(
      "the worker says so",
      () => scope.logs.some(({ message }) => message.includes("cannot be recorded yet")),
    );
    await streams.delete(name);
    assert.is((await run.result()).length, 1_499_998);
  }),
);

/** Whether a subject has this run's id in it, as it is or in an object's name. */
function belongsTo(id: string): (subject: string) => boolean {
  return (subject) => {
    const described = /\.M\.(.+)$/.exec(subject)?.[1];
    const name = described === undefined
      ? subject
      : atob(described.replaceAll("-", "+").replaceAll("_", "/"));
    return name.split(".").includes(id);
  };
}

test(
  "after its retention nothing of a run is stored anywhere, and runs with similar ids are whole",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks });
    const js = jetstream(await scope.raw);
    const ids = ["a", "a_b", "a-1", "a1", "A"];
    for (const id of ids) {
      const wf = new Workflow("kept");
      const big = wf.call(text, 1_200_000);
      const last = wf.call(size, big);
      // Only the first run ends.
      if (id !== "a") wf.call(size, big).set({ countdown: "1h" });
      await (await app.submit(wf, { id })).result(last);
      // What a put leaves that never came to its end, and views that a crash leaves.
      await js.publish(`$O.${bucketOf(scope)}.C.${id}.0.1.orphan`, "half of a result");
      for (const view of ["begun", "quarantine", "log"]) {
        await js.publish(`$KV.${scope.namespace}_STATE.${view}.${id}.0.1`, "1");
      }
    }
    await app.run("a").ended();
    await eventually("the tick of the run that ended is gone", async () => {
      const ticks = (await subjectsOf(scope)).filter((subject) => subject.includes(".tick."));
      return ticks.length === ids.length - 1 || ticks.join();
    });
    await eventually("every run has its view", async () => {
      const views = (await subjectsOf(scope)).filter((subject) => subject.includes("_STATE.wf."));
      return views.length === ids.length || views.join();
    });
    // When somebody looked after the views last is of no run.
    const isTidy = (subject: string) => /_STATE\.(?:tidy|orphans)$/.test(subject);
    const distinct = async () =>
      [...new Set(await subjectsOf(scope))].filter((subject) => !isTidy(subject)).sort();
    const before = await distinct();
    // The definition, two outcomes, the end; four views; chunks, chunks without an end, a description.
    assert.is(before.filter(belongsTo("a")).length, 4 + 4 + 3, before.join("\n"));
    assert.equal((await app.processor({ retention: 0 }).sweep()).removed, ["a"]);
    const after = await distinct();
    assert.equal(after.filter(belongsTo("a")), []);
    assert.equal(after, before.filter((subject) => !belongsTo("a")(subject)));
    assert.is((await app.run("a_b").result(0) as string).length, 1_199_998);
  }, { leavesWork: true }),
);

const MARK = "SECRET-MARK-7f3a";
const hush = task("hush", (value: { secret: string }) => {
  const { progress, payload, workflowPayload, log } = currentTask();
  progress({ at: `${MARK} progress` });
  log.warn(`${MARK} logged`, { secret: MARK });
  return { value, payload, workflowPayload, big: MARK.repeat(80_000) };
});
const burst = task("burst", (value: string): string => {
  throw new RangeError(`${MARK}: ${value}`);
});

const grow = task("grow", (value: string) => expand(wrap.s(`${value} and ${MARK} grown`)));
const tell = task("tell", (summary: RunSummary) => summary.failures.map(({ message }) => message));
const approval = event<string>("approval");
const secretTasks = [hush, burst, grow, tell, wrap];

/** A workflow that has the secret wherever users can put one. */
function secretive(fails: boolean) {
  const wf = new Workflow("secretive", { payload: { secret: `${MARK} workflow payload` } });
  const approved = wf.call(wrap, wf.waitFor(approval));
  const hushed = wf.call(hush, { secret: `${MARK} argument` }).after(approved).set({
    payload: { secret: `${MARK} node payload` },
  });
  const wrapped = wf.call(wrap, hushed);
  const given = wf.call(grow, wf.input<string>());
  const mapped = wf.map(wrap, [`${MARK} element`, `${MARK} element too`]);
  const sub = new Workflow<string>("sub");
  sub.output(sub.call(wrap, `${MARK} in a workflow of its own`) as never);
  const below = wf.run(sub);
  if (fails) wf.call(burst, `${MARK} in an error`).after(wrapped);
  wf.finally(tell.s());
  return wf.output({ wrapped, approved, given, mapped, below, note: `${MARK} output` });
}

/** Submits it, and gives it what it waits for. */
async function submitSecretive(app: Dyrygent, fails: boolean) {
  const run = await app.submit(secretive(fails), { input: `${MARK} input` });
  await run.send(approval, `${MARK} event`);
  return run;
}

test(
  "what is sealed appears nowhere on the server, and everything of it reaches those with the codec",
  tests.scope(async (scope) => {
    const codec = mixing(5);
    const heard: string[] = [];
    const raw = await scope.raw;
    for (const subject of [`${scope.namespace}.>`, `$KV.${scope.namespace}.>`]) {
      raw.subscribe(subject, {
        callback: (_, msg) =>
          void heard.push(`${msg.subject} ${[...msg.headers ?? []].join()} ${msg.string()}`),
      });
    }
    await raw.flush();
    await scope.worker(await scope.open({ codec }), { tasks: secretTasks });
    await scope.processor(await scope.open()); // It has no codec.
    const app = await scope.open({ codec });
    const run = await app.submit(secretive(true), { id: "secretive", input: `${MARK} input` });
    let approved: Promise<unknown> | undefined;
    const progress: unknown[] = [];
    for await (const event of run.watch()) {
      if (event.is === "progress") progress.push(event.value);
      approved ??= run.send(approval, `${MARK} event`); // Only now, when what is told is heard.
    }
    assert.equal(progress, [{ at: `${MARK} progress` }]);
    const error = await rejection(run.result());
    assert.instance(error, WorkflowFailedError);
    const [failure] = (error as WorkflowFailedError).failures;
    assert.is(failure!.remoteName, "RangeError");
    assert.is(failure!.remoteMessage, `${MARK}: ${MARK} in an error`);
    assert.ok(failure!.remoteStack!.includes("data_test"));
    const hushed = await run.result("hush-2") as Awaited<ReturnType<typeof hush>>;
    assert.equal([hushed.value, hushed.payload, hushed.workflowPayload], [
      { secret: `${MARK} argument` },
      { secret: `${MARK} node payload` },
      { secret: `${MARK} workflow payload` },
    ]);
    assert.equal((await run.status()).payload, { secret: `${MARK} workflow payload` });
    for await (const { payload } of app.list({ name: "secretive" })) {
      assert.equal(payload, { secret: `${MARK} workflow payload` });
    }
    assert.equal(await run.result("tell-9"), [`${MARK}: ${MARK} in an error`]);
    const good = await submitSecretive(app, false);
    const { wrapped: _, ...value } = await good.result();
    assert.equal(value, {
      approved: { value: `${MARK} event` },
      given: { value: `${MARK} input and ${MARK} grown` },
      mapped: [{ value: `${MARK} element` }, { value: `${MARK} element too` }],
      below: { value: `${MARK} in a workflow of its own` } as never,
      note: `${MARK} output`,
    });

    await raw.flush();
    const stored = (await everything(scope)).map(({ subject, headers, data }) =>
      `${subject} ${headers} ${new TextDecoder().decode(data)}`
    );
    assert.ok(stored.length > 15 && stored.some((message) => message.startsWith("$O.")));
    assert.ok(heard.some((message) => message.includes(".event.progress.")));
    for (const message of [...stored, ...heard]) {
      assert.ok(!message.includes(MARK), message.slice(0, 300));
      assert.ok(!message.includes(btoa(MARK).slice(0, 18)), message.slice(0, 300));
    }
  }),
);

test(
  "without the codec, states are readable, results are not, and nothing fails by it",
  tests.scope(async (scope) => {
    const codec = mixing(5);
    await scope.worker(await scope.open({ codec }), { tasks: secretTasks });
    const processor = await scope.processor(await scope.open({ codec }));
    const finished: RunStatus[] = [];
    processor.on("finish", (status) => void finished.push(status));
    const { id } = await submitSecretive(await scope.open({ codec }), true);
    for (
      const [blind, why] of [[undefined, /no codec/], [mixing(6), /key 5 is unknown/]] as const
    ) {
      const app = await scope.open(blind === undefined ? {} : { codec: blind });
      const run = app.run(id);
      const { state, payload } = await run.ended();
      assert.is(state, "FAILURE");
      assert.equal(Object.keys(payload as object), ["~sealed"]);
      assert.is((await run.cancel()).applied, false);
      const hidden = await rejection(run.result("hush-2"));
      assert.instance(hidden, CodecError);
      assert.match(hidden.message, why);
      const failed = await rejection(run.result());
      assert.instance(failed, WorkflowFailedError);
      assert.match(failed.message, /RangeError: its message is sealed/);
      for await (const status of app.list({ name: "secretive" })) assert.is(status.id, id);
    }
    const ofRun = () => finished.find((status) => status.id === id);
    await eventually("the hook was called", () => ofRun() !== undefined);
    assert.equal(ofRun()!.payload, { secret: `${MARK} workflow payload` });
  }),
);

test(
  "a worker without the key gives tasks back, and one with it finishes them; old runs stay readable",
  tests.scope(async (scope) => {
    await scope.processor(await scope.open());
    const old = await scope.open({ codec: mixing(1) });
    await scope.worker(old, { tasks: [wrap], queues: ["old"] });
    const first = await old.submit(wrap.s("before").set({ queue: "old" }));
    await first.result();

    const rotated = await scope.open({ codec: mixing(1, 2) });
    assert.equal(await rotated.run(first.id).result(), { value: "before" });
    const blind = [
      await scope.worker(old, { tasks: [wrap] }),
      await scope.worker(await scope.open(), { tasks: [wrap] }),
    ];
    const second = await rotated.submit(wrap.s("after").set({ retry: { max: 3 } }));
    const givenBack = (why: string) =>
      eventually(
        `a worker says "${why}"`,
        () =>
          scope.logs.some(({ message, level }) =>
            level === "warn" && message.includes("given back") && message.includes(why)
          ),
      );
    await givenBack("key 2 is unknown");
    await givenBack("this process has no codec");
    // They would take it again now and then; that it gets through all the same is a matter of time.
    for (const worker of blind) await worker.stop();
    await scope.worker(rotated, { tasks: [wrap] });
    assert.equal(await second.result(), { value: "after" });
    const { counts } = await second.status();
    assert.equal([counts.SUCCESS, counts.FAILURE], [1, 0]);
    const outcomes = (await subjectsOf(scope)).filter((subject) =>
      subject.includes(`${second.id}.r.`)
    );
    assert.equal(
      outcomes,
      [`$KV.${scope.namespace}.${second.id}.r.0.1`],
      "one attempt, no failure",
    );
  }),
);

test(
  "a codec that cannot encode makes the task wait; its outcome is recorded once it can",
  tests.scope(async (scope) => {
    const able = mixing(1);
    let broken = true;
    const flaky: Codec = {
      encode: (data) => {
        if (broken) throw new Error("the key store is away");
        return able.encode(data);
      },
      decode: able.decode,
    };
    await scope.processor(await scope.open());
    await scope.worker(await scope.open({ codec: flaky }), { tasks: [wrap] });
    const run = await (await scope.open({ codec: able })).submit(wrap.s(1));
    await eventually(
      "the worker says so",
      () => scope.logs.some(({ message }) => message.includes("cannot be recorded yet")),
    );
    broken = false;
    assert.equal(await run.result(), { value: 1 });
    const client = await scope.open({ codec: flaky });
    broken = true;
    assert.instance(await rejection(client.submit(wrap.s(2))), CodecError);
  }),
);

test(
  "the same content is the same run although it is sealed differently each time; other content is a conflict",
  tests.scope(async (scope) => {
    const app = await scope.open({ codec: mixing(1, 2) });
    const wf = (value: unknown, payload = "p") => {
      const wf = new Workflow("same", { payload });
      wf.call(wrap, wf.call(wrap, value));
      return wf;
    };
    const bytes = (await app.submit(wf({ a: 1 }), { id: "same" })).id;
    assert.is(bytes, "same");
    const before = await everything(scope);
    await (await scope.open({ codec: mixing(2, 1) })).submit(wf({ a: 1 }), { id: "same" });
    const facts = (messages: Message[]) =>
      messages.filter(({ subject }) => subject.includes(".def."));
    assert.equal(facts(await everything(scope)), facts(before));
    for (const other of [wf({ a: 2 }), wf({ a: 1 }, "q"), wf({ a: 1 }).output(1)]) {
      assert.instance(await rejection(app.submit(other, { id: "same" })), ConflictError);
    }
    // Many records: nothing is uploaded for an id that is taken.
    const large = wf("y".repeat(500_000));
    for (let i = 0; i < 3; i++) large.call(wrap, "z".repeat(500_000));
    await app.submit(large, { id: "large" });
    await app.submit(large, { id: "large" });
    assert.is(facts(await everything(scope)).length, 1 + 4);
    const blind = await scope.open({ codec: mixing(3) });
    assert.instance(await rejection(blind.submit(wf({ a: 1 }), { id: "same" })), CodecError);
    assert.instance(
      await rejection((await scope.open()).submit(wf({ a: 1 }), { id: "same" })),
      ConflictError,
    );
  }, { leavesWork: true }),
);

test(
  "what is no codec is refused",
  tests.scope(async (scope) => {
    for (const codec of [null, 1, {}, { encode: () => {} }, "aes"]) {
      const error = await rejection(
        Dyrygent.open(await scope.raw, { namespace: scope.namespace, codec: codec as never }),
      );
      assert.is(error.name, "InvalidOptionError");
      assert.match(error.message, /codec = .* is not a codec/);
    }
  }),
);

test.run();
