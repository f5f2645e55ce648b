/** An outcome's note is found in the bytes of a message, and is what the client library says. */
import { headers, type Msg } from "@nats-io/nats-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { noteOf } from "../../src/nats/note.ts";
import { TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const NAME = "Dyrygent-Outcome";
const notes: readonly (Record<string, string> | undefined)[] = [
  undefined,
  {},
  { [NAME]: "1 succeeded 1 2 3 worker" },
  { "Nats-Expected-Last-Subject-Sequence": "0", [NAME]: "ä note, of any text: 日", Other: "more" },
  { Other: `${NAME}: not this one`, "X-Dyrygent-Outcome": "nor this one" },
  { [NAME]: "" },
  { [NAME]: "1 failed 1 2 3 worker run:abc" },
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
    nc.publish("noted", "a body", { headers: noted });
    const { subject, data, headers: decoded } = await came;
    const elsewhere = { subject, data: data.slice(), headers: decoded } as Msg;
    assert.equal(noteOf(elsewhere), { note: "1 succeeded 1 2 3 worker" });
    const size = () => subject.length + 40 + data.length;
    assert.equal(noteOf({ ...elsewhere, size } as Msg), { note: "1 succeeded 1 2 3 worker" });
  }),
);

test.run();
