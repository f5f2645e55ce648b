/** What is written can be read; what cannot be read is known not to be. */
import fc from "fast-check";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { FatalTaskError } from "../../src/core/errors.ts";
import { outcomeKey } from "../../src/core/keys.ts";
import { factOf } from "../../src/core/recorded.ts";
import {
  blobName,
  type ControlRecord,
  type EndRecord,
  failureOf,
  type OutcomeNote,
  readClaim,
  readControl,
  readEnd,
  readFailure,
  readOutcomeNote,
  readStatus,
  readTaskMessage,
  type RunStatus,
  TICK,
  writeClaim,
  writeControl,
  writeEnd,
  writeFailure,
  writeOutcomeNote,
  writeStatus,
  writeTaskContext,
  writeTaskMessage,
} from "../../src/core/records.ts";
import { type Control, noCounts } from "../../src/core/scheduler.ts";
import { anyJson } from "./any_json.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);

/** Bytes that are no record of any kind. */
const JUNK: readonly Uint8Array[] = [
  new Uint8Array(),
  new Uint8Array([0xff, 0xfe]),
  new Uint8Array([0x7b, 0x22, 0xc3, 0x28, 0x22, 0x3a, 0x31, 0x7d]), // {"\xc3(":1}
  ...[
    "null",
    "5",
    '"x"',
    "[]",
    "{",
    "{}",
    '{"v":2}',
    '{"v":"1"}',
    '{"v":1}',
    "[".repeat(100_000),
    "[".repeat(1_000_000),
  ].map(bytes),
];

/** Objects as JSON.parse makes them. */
const PLAIN = { noNullPrototype: true } as const;

const outcomes = suite("outcomes");

const anyId = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
const anyMoment = fc.nat({ max: 8_000_000_000_000 });

outcomes("a note is read as it was written", () => {
  const note: fc.Arbitrary<OutcomeNote> = fc.record({
    is: fc.constantFrom("succeeded", "failed"),
    startedAt: anyMoment,
    endedAt: anyMoment,
    sentNs: fc.bigInt({ min: 0n, max: 2n ** 63n }).map(String),
    worker: anyId,
    elsewhere: fc.oneof(
      fc.record({ is: fc.constant("run" as const), run: anyId }, PLAIN),
      fc.tuple(anyId, fc.nat({ max: 999_999_999 }), fc.nat({ max: 999_999_999 }), anyId).map(
        ([workflow, node, attempt, id]) => ({
          is: "blob" as const,
          blob: blobName(workflow, node, attempt, id),
        }),
      ),
    ),
  }, { ...PLAIN, requiredKeys: ["is", "startedAt", "endedAt", "sentNs", "worker"] });
  fc.assert(
    fc.property(note, (note) => assert.equal(readOutcomeNote(writeOutcomeNote(note)), note)),
  );
});

outcomes("a note that cannot be understood is none", () => {
  const junk = [
    undefined,
    "",
    "1",
    "2 succeeded 1 2 3 w",
    "1 done 1 2 3 w",
    "1 succeeded 1 2 3",
    "1 succeeded x 2 3 w",
    "1 succeeded 1 NaN 3 w",
    "1 failed 1 Infinity 3 w",
    "01 succeeded 1 2 3 w",
    "1 succeeded 1 2 3 w ",
    "1 succeeded 1 2 3 w run:a.b",
    "1 succeeded 1 2 3 w run:a:b",
    ...["", "a", "a.0.1", "a.0.1.*", "a.0.1.>", "a.0.1.x.y", "a.x.1.id", "$KV.0.1.id", "a.0.1.x:"]
      .map((blob) => `1 succeeded 1 2 3 w blob:${blob}`),
  ];
  for (const note of junk) assert.is(readOutcomeNote(note), undefined, note);
});

outcomes("a failure keeps name, message and stack of what was thrown", () => {
  const error = new RangeError("too far");
  const failure = failureOf(error);
  assert.is(failure.name, "RangeError");
  assert.is(failure.message, "too far");
  assert.match(failure.stack ?? "", /RangeError: too far/);
  assert.is(failure.fatal, undefined);
  assert.is(failureOf(new FatalTaskError("stop")).fatal, true);
});

outcomes("whatever is thrown amounts to a failure that can be written and read", () => {
  const circular = new Error("circular");
  circular.cause = circular;
  const evil = new Proxy({}, {
    getPrototypeOf: () => {
      throw new Error("no");
    },
    get: () => {
      throw new Error("no");
    },
  });
  const nameless = Object.assign(new Error("x"), { name: Symbol("x"), stack: 5 });
  const unreadable = Object.defineProperty(new Error(), "message", {
    get() {
      throw new Error("no");
    },
  });
  const thrown = [
    null,
    undefined,
    "text",
    "",
    5,
    5n,
    Symbol("x"),
    () => 1,
    {},
    { message: "not an error" },
    circular,
    evil,
    nameless,
    unreadable,
    new Error("\ud83d lone"),
    new Error("x".repeat(10_000_000)),
  ];
  for (const value of thrown) {
    const failure = failureOf(value);
    const written = writeFailure(failure);
    assert.ok(written.length < 100_000, `${written.length} bytes`);
    assert.equal(readFailure(written), failure);
  }
  fc.assert(fc.property(fc.anything(), (value) => {
    const failure = failureOf(value);
    assert.equal(readFailure(writeFailure(failure)), failure);
  }));
});

outcomes("a failure that cannot be read is still a failure", () => {
  for (const data of JUNK) {
    const { name, message } = readFailure(data);
    assert.is(name, "UnreadableFailure");
    assert.ok(message.length > 0);
  }
  assert.equal(readFailure(bytes('{"name":5,"message":[],"stack":{},"fatal":"yes"}')), {
    name: "UnreadableFailure",
    message: "the failure's record cannot be read",
  });
});

outcomes("a recorded outcome is a fact: success by its note alone, failure with its body", () => {
  const note = (is: "succeeded" | "failed") =>
    writeOutcomeNote({ is, startedAt: 1, endedAt: 2, sentNs: "3", worker: "w" });
  const key = outcomeKey("run", 4, 5);
  assert.equal(factOf({ key, note: note("succeeded"), data: new Uint8Array() }), {
    is: "succeeded",
    node: 4,
    attempt: 5,
    at: 2,
  });
  const failure = { name: "E", message: "no" };
  assert.equal(factOf({ key, note: note("failed"), data: writeFailure(failure) }), {
    is: "failed",
    node: 4,
    attempt: 5,
    at: 2,
    failure,
  });
});

outcomes("a record of another kind, or one that cannot be understood, is no fact", () => {
  const data = bytes("{}");
  assert.is(factOf({ key: "run.r.4.5", data }), undefined);
  assert.is(factOf({ key: "run.r.4.5", note: "2 succeeded 1 2 3 w", data }), undefined);
  assert.is(factOf({ key: "run.ctl.1", data }), undefined);
  assert.is(factOf({ key: "run.end.1", data }), undefined);
  assert.is(factOf({ key: "run.def.0", data }), undefined);
  assert.is(factOf({ key: "junk", data }), undefined);
});

outcomes.run();

const controls = suite("control facts");

const anyControl: fc.Arbitrary<Control> = fc.oneof(
  fc.record({ is: fc.constantFrom("timeout", "pause", "resume", "retry") }, PLAIN),
  fc.record({ is: fc.constantFrom("pause", "resume"), following: fc.nat() }, PLAIN),
  fc.record({ is: fc.constant("cancel" as const) }, PLAIN),
  fc.record({ is: fc.constant("cancel" as const), reason: fc.string({ unit: "grapheme" }) }, PLAIN),
  fc.record({ is: fc.constant("skip" as const), nodes: fc.array(fc.nat()) }, PLAIN),
);

controls("a control fact is read as it was written", () => {
  fc.assert(fc.property(anyId, anyMoment, anyControl, (id, at, control) => {
    const record: ControlRecord = { id, at, control };
    assert.equal(readControl(writeControl(record)), record);
    assert.equal(factOf({ key: "run.ctl.1", data: writeControl(record) }), {
      is: "control",
      ...record,
    });
  }));
});

controls("what is no control fact is not taken for one", () => {
  const junk = [
    '{"v":1,"id":"a","at":1}',
    '{"v":1,"id":"a","at":1,"is":"explode"}',
    '{"v":1,"id":"a","at":1,"is":"__proto__"}',
    '{"v":1,"id":5,"at":1,"is":"cancel"}',
    '{"v":1,"id":"a","at":"1","is":"cancel"}',
    '{"v":1,"id":"a","at":1e999,"is":"cancel"}',
    '{"v":2,"id":"a","at":1,"is":"cancel"}',
    '{"v":1,"id":"a","at":1,"is":"skip"}',
    '{"v":1,"id":"a","at":1,"is":"skip","nodes":[0.5]}',
    '{"v":1,"id":"a","at":1,"is":"skip","nodes":"01"}',
  ];
  for (const data of [...JUNK, ...junk.map(bytes)]) {
    assert.is(readControl(data), undefined, text(data).slice(0, 60));
  }
});

controls("bytes that are not UTF-8 are no record: they are not mended", () => {
  const data = writeControl({ id: "a", at: 1, control: { is: "cancel", reason: "?" } });
  data[data.indexOf("?".charCodeAt(0))] = 0xff;
  assert.is(readControl(data), undefined);
});

controls("a reason that is no text is left out", () => {
  const data = bytes('{"v":1,"id":"a","at":1,"is":"cancel","reason":{"x":1}}');
  assert.equal(readControl(data)?.control, { is: "cancel" });
});

controls.run();

const ends = suite("ends and views");

const end: EndRecord = {
  state: "FAILURE",
  at: 5,
  counts: { ...noCounts(), FAILURE: 1 },
  failed: [{ node: 0, attempt: 2 }],
  reason: "why",
};

ends("an end is read as it was written", () => {
  assert.equal(readEnd(writeEnd(end)), end);
  const { reason: _, ...without } = end;
  assert.equal(readEnd(writeEnd(without)), without);
});

ends("what is no end is not taken for one", () => {
  const wrong: Record<string, unknown>[] = [
    { state: "RUNNING" },
    { state: 5 },
    { at: null },
    { counts: null },
    { failed: {} },
    { failed: [null] },
    { failed: [{ node: "0", attempt: 1 }] },
  ];
  const altered = wrong.map((change) => bytes(JSON.stringify({ v: 1, ...end, ...change })));
  for (const data of [...JUNK, ...altered]) {
    assert.is(readEnd(data), undefined, text(data).slice(0, 80));
  }
});

ends("a status is read as it was written, and junk is none", () => {
  const status: RunStatus = {
    id: "run",
    name: "wf",
    state: "RUNNING",
    counts: noCounts(),
    round: 1,
    submittedAt: 3,
    payload: { a: 1 },
  };
  assert.equal(readStatus(writeStatus(status)), status);
  const wrong = [{ id: 5 }, { state: null }, { name: [] }, { counts: 0 }, { submittedAt: "x" }];
  const altered = wrong.map((change) => bytes(JSON.stringify({ v: 1, ...status, ...change })));
  for (const data of [...JUNK, ...altered]) assert.is(readStatus(data), undefined);
});

ends.run();

const messages = suite("task messages");

messages("a task message is read as it was put together", () => {
  fc.assert(
    fc.property(
      anyId,
      fc.option(anyJson, { nil: undefined }),
      fc.array(anyJson),
      fc.boolean(),
      (name, payload, values, cleanup) => {
        const signature = { task: "t", args: values };
        const results = values.map((value, node) => ({ node, data: bytes(JSON.stringify(value)) }));
        const attempts = values.map((_, i): [number, number] => [i, i + 2]);
        const read = readTaskMessage(
          writeTaskMessage(
            bytes(JSON.stringify(signature)),
            writeTaskContext(name, payload === undefined ? undefined : JSON.stringify(payload), {
              depth: 0,
              cleanup,
            }),
            results,
            attempts,
          ),
        );
        if (read.is !== "message") return assert.unreachable(read.is);
        const { message } = read;
        assert.equal(message.signature, JSON.parse(JSON.stringify(signature)));
        assert.is(message.workflow.workflowName, name);
        assert.equal(message.workflow.workflowPayload, payload);
        assert.equal(message.results, JSON.parse(JSON.stringify({ ...values })));
        assert.equal(message.attempts, Object.fromEntries(attempts));
        assert.is(message.isCleanup, cleanup);
      },
    ),
  );
});

messages("a message of a newer version is told apart from an unreadable one", () => {
  assert.equal(readTaskMessage(bytes('{"v":2}')), { is: "newer", version: 2 });
  for (const data of JUNK) {
    const read = readTaskMessage(data);
    assert.equal(
      read,
      text(data) === '{"v":2}' ? { is: "newer", version: 2 } : { is: "unreadable" },
    );
  }
});

messages("fields of wrong types are taken as absent", () => {
  const odd = '{"v":1,"signature":{},"workflow":5,"results":[1],"attempts":"x","cleanup":1}';
  assert.equal(readTaskMessage(bytes(odd)), {
    is: "message",
    message: {
      signature: {},
      workflow: { workflowName: "", depth: 0 },
      isCleanup: false,
      results: {},
      attempts: {},
      failures: [],
    },
  });
});

messages("bytes that are changed anywhere never break the reader", () => {
  const message = writeTaskMessage(
    bytes('{"task":"t","args":[null]}'),
    writeTaskContext("wf", '"ж"', { depth: 0, cleanup: true }),
    [{ node: 0, data: bytes("1") }],
    [[0, 2]],
  );
  fc.assert(
    fc.property(fc.nat({ max: message.length - 1 }), fc.nat({ max: 255 }), (at, byte) => {
      const data = message.slice();
      data[at] = byte;
      assert.ok(["message", "newer", "unreadable"].includes(readTaskMessage(data).is));
      assert.ok(readTaskMessage(data.subarray(0, at)).is !== "message");
    }),
    { numRuns: 300 },
  );
});

messages("a claim is read as it was written, and junk is none", () => {
  const claim = { by: "processor-1", seq: 1_204 };
  assert.equal(readClaim(writeClaim(claim)), claim);
  const wrong = ['{"v":1,"by":7,"seq":1}', '{"v":1,"by":"a","seq":-1}', '{"v":2,"by":"a","seq":1}'];
  for (const data of [...JUNK, ...wrong.map(bytes)]) assert.is(readClaim(data), undefined);
});

messages("a tick says nothing but its version", () => {
  assert.equal(JSON.parse(text(TICK)), { v: 1 });
});

messages.run();
