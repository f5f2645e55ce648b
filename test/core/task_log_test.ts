/** A line of a task's log is bounded, is always JSON, and says when there was more of it; records are read without trust. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LIMITS } from "../../src/core/limits.ts";
import {
  bytesOf,
  type LogLine,
  readLogLines,
  readTaskLog,
  writeLogLine,
  writeTaskLog,
} from "../../src/core/task_log.ts";

const written = (message: unknown, fields?: unknown): LogLine =>
  JSON.parse(writeLogLine(7, "info", message, fields)) as LogLine;

test("a line is its moment, level, message and fields", () => {
  assert.equal(written("said"), { at: 7, level: "info", message: "said" });
  assert.equal(written("said", { n: 1, deep: { list: [null] } }).fields, {
    n: 1,
    deep: { list: [null] },
  });
});

test("errors and big integers in fields are kept as people expect", () => {
  const error = Object.assign(new RangeError("out of it"), { code: "E1" });
  const { fields, cut } = written("failed", { error, size: 2n ** 70n });
  const shown = fields as { error: Record<string, unknown>; size: string };
  assert.equal([shown.error["name"], shown.error["message"], shown.error["code"]], [
    "RangeError",
    "out of it",
    "E1",
  ]);
  assert.match(shown.error["stack"] as string, /out of it/);
  assert.is(shown.size, "1180591620717411303424");
  assert.is(cut, undefined);
});

test("whatever is logged, the line has at most so many bytes, and says that it was cut", () => {
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  const deep = JSON.parse("[".repeat(2_000) + "]".repeat(2_000)) as unknown;
  const bad = {
    get a() {
      throw new Error("no");
    },
  };
  const cases: [unknown, unknown][] = [
    ["x".repeat(10_000_000), undefined],
    ["\u0000".repeat(9_000), undefined],
    ["é".repeat(9_000), { n: 1 }],
    ["😀".repeat(9_000), undefined],
    ["said", { big: "x".repeat(9_000) }],
    ["said", circle],
    ["said", { deep }],
    ["said", bad],
    ["said", [1]],
    ["said", 5],
    ["said", null],
    ["x".repeat(8_000), { some: "y".repeat(3_000) }],
  ];
  for (const [message, fields] of cases) {
    const json = writeLogLine(7, "warn", message, fields);
    assert.ok(bytesOf(json) <= LIMITS.logLineBytes, json.slice(0, 100));
    const line = JSON.parse(json) as LogLine;
    assert.is(line.cut, true, json.slice(0, 100));
    assert.not.match(line.message, /\p{Cs}/u);
  }
  assert.equal(written("é".repeat(9_000), { n: 1 }).fields, { n: 1 });
  assert.match(written("x".repeat(9_000)).message, /^x{8000,}…$/);
});

test("a message that is no text is one all the same", () => {
  assert.is(written(new RangeError("no")).message, "RangeError: no");
  assert.is(written(undefined).message, "undefined");
  assert.is(written(Symbol("s")).message, "Symbol(s)");
  assert.is(written(Object.create(null)).message, "something that cannot be described");
  assert.is(written("a\ud800b").message, "a\ufffdb");
});

test("a record is read as it was written, and what is none is refused", () => {
  const head = { worker: "w1", startedAt: 5, dropped: 2 };
  const lines = `[${writeLogLine(7, "info", "said", undefined)}]`;
  const read = readTaskLog(writeTaskLog(head, lines));
  assert.equal(read, { ...head, lines: [{ at: 7, level: "info", message: "said" }] });
  const bytes = (text: string) => new TextEncoder().encode(text);
  for (const text of ["", "[]", "{}", '{"v":2}', '{"v":1,"worker":"w","dropped":-1}']) {
    assert.is(readTaskLog(bytes(text)), undefined, text);
  }
});

test("lines that cannot be read keep their places", () => {
  assert.equal(readLogLines([1, { at: 7, level: "loud", message: "a", fields: [] }]), [
    { at: 0, level: "info", message: "a line that cannot be read" },
    { at: 7, level: "info", message: "a" },
  ]);
  assert.equal(readLogLines("sealed"), []);
});

test.run();
