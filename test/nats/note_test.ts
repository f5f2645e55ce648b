/** An outcome's note and its trace are found in the bytes of a message, and are what the client library says. */
import { headers, type Msg } from "@nats-io/nats-core";
import { jetstreamManager } from "@nats-io/jetstream";
import { task } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { notedOf, noteOf, recordedAt } from "../../src/nats/note.ts";
import { TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const NAME = "Dyrygent-Outcome";
const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const notes: readonly (Record<string, string> | undefined)[] = [
  undefined,
  {},
  { [NAME]: "1 succeeded 1 2 3 worker" },
  { "Nats-Expected-Last-Subject-Sequence": "0", [NAME]: "ä note, of any text: 日", Other: "more" },
  { Other: `${NAME}: not this one`, "X-Dyrygent-Outcome": "nor this one" },
  { [NAME]: "" },
  { [NAME]: "1 failed 1 2 3 worker run:abc" },
  { [NAME]: "1 succeeded 1 2 3 worker", traceparent: TRACE, tracestate: "a=1" },
  { traceparent: TRACE },
  { traceparent: "of no form" },
];

test(
  "the note of each message is its own, whatever stands before it in the buffer",
  tests.scope(async (scope) => {
    const nc = await scope.raw;
    const messages: Msg[] = [];
    nc.subscribe("noted.*", { callback: (_, msg) => void messages.push(msg) });
    await nc.flush();
    for (const [i, note] of notes.entries()) {
      const with_ = note && headers();
      for (const [key, value] of Object.entries(note ?? {})) with_!.set(key, value);
      nc.publish(`noted.${i}`, `{"body":"NATS/1.0\\r\\n${NAME}: of the body"}`, {
        ...(with_ === undefined ? {} : { headers: with_ }),
      });
    }
    await nc.flush();
    assert.is(messages.length, notes.length);
    for (const [i, msg] of messages.entries()) {
      const note = notes[i]?.[NAME];
      assert.equal(noteOf(msg), note ? { note } : {}, `message ${i}`);
      assert.is(noteOf(msg).note ?? "", msg.headers?.get(NAME) ?? "", `message ${i}`);
      const { traceparent, tracestate } = notes[i] ?? {};
      const trace = tracestate === undefined ? { traceparent } : { traceparent, tracestate };
      const noted = traceparent === TRACE ? { ...noteOf(msg), trace } : noteOf(msg);
      assert.equal(notedOf(msg), noted, `message ${i}`);
    }
  }),
);

test(
  "where the bytes are somewhere else, the client library is asked",
  tests.scope(async (scope) => {
    const nc = await scope.raw;
    const came = new Promise<Msg>((resolve) => {
      nc.subscribe("noted", { callback: (_, msg) => resolve(msg) });
    });
    const noted = headers();
    noted.set(NAME, "1 succeeded 1 2 3 worker");
    noted.set("traceparent", TRACE);
    nc.publish("noted", "a body", { headers: noted });
    const { subject, data, headers: decoded } = await came;
    const elsewhere = { subject, data: data.slice(), headers: decoded } as Msg;
    assert.equal(noteOf(elsewhere), { note: "1 succeeded 1 2 3 worker" });
    assert.equal(notedOf(elsewhere), {
      note: "1 succeeded 1 2 3 worker",
      trace: { traceparent: TRACE },
    });
    const size = () => subject.length + 40 + data.length;
    assert.equal(noteOf({ ...elsewhere, size } as Msg), { note: "1 succeeded 1 2 3 worker" });
  }),
);

test(
  "a hint says when its fact was recorded, to a fraction of a millisecond, as the log does",
  tests.scope(async (scope) => {
    const app = await scope.open();
    const nc = await scope.raw;
    const came = new Promise<Msg>((resolve) => {
      nc.subscribe(`${scope.namespace}.fact.>`, { callback: (_, msg) => resolve(msg) });
    });
    await nc.flush();
    await app.submit(task("t", () => 1).s(), { id: "r", unknownTasks: "ignore" });
    const hint = await came;
    const { streams } = await jetstreamManager(nc);
    const stored = await streams.getMessage(`KV_${scope.namespace}`, {
      last_by_subj: `$KV.${scope.namespace}.r.def.0`,
    });
    const { at } = recordedAt(hint);
    const nanoseconds = stored!.timestamp.split(".")[1]!.replace("Z", "").padEnd(9, "0");
    const expected = stored!.time.getTime() + Number(nanoseconds.slice(3)) / 1e6;
    assert.ok(Math.abs(at! - expected) < 0.001, `${at} is ${expected}`);
    assert.equal(recordedAt({ ...hint, data: hint.data } as Msg), {});
  }, { leavesWork: true }),
);

test.run();
