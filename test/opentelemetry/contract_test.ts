/** What is promised of traces: headers on the wire (docs/protocol.md), names and attributes (docs/guide/observability.md). */
import { readFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { chain, expand, task } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, TestServer } from "../nats/server.ts";
import { Collector, spanNamed } from "./collector.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const one = task("one", () => 1);
const grow = task("grow", () => expand(one.s()));
const bad = task("bad", () => {
  throw new Error("no");
});

/** Every word in backticks of the rows of a table, in its first column. */
function firstColumn(page: string, head: string): string[] {
  const table = page.slice(page.indexOf(`| ${head}`)).split("\n\n")[0]!;
  const rows = table.split("\n").slice(2);
  return rows.flatMap((row) => [...row.split("|")[1]!.matchAll(/`([^`]+)`/g)].map((m) => m[1]!));
}

test(
  "heads, task messages, outcomes and expansions have the headers that the protocol says",
  tests.scope(async (scope) => {
    const collector = new Collector();
    const app = await scope.open({ telemetry: collector.telemetry });
    const raw = await scope.raw;
    const seen = new Map<string, string | undefined>();
    raw.subscribe(`${scope.namespace}.>`, {
      callback: (_, msg) => {
        const subject = msg.subject.slice(scope.namespace.length + 1);
        if (!subject.startsWith("event.")) seen.set(subject, msg.headers?.get("traceparent"));
      },
    });
    await raw.flush();
    await scope.worker(app, { tasks: [one, grow] });
    await scope.processor(app);
    await (await app.submit(chain(grow.s(), one.si()), { id: "w" })).result();
    await eventually(
      "both runs ended",
      () => collector.spans.filter(({ name }) => name.startsWith("conduct")).length === 2,
    );
    const header = (name: string, id: string) => {
      const spans = collector.spans.filter(({ attributes }) =>
        attributes["messaging.message.conversation_id"] === id
      );
      const { traceId, spanId } = spanNamed(spans, name).spanContext();
      return `00-${traceId}-${spanId}-01`;
    };
    const execute = header("execute grow", "w");
    assert.equal(Object.fromEntries([...seen].filter(([, trace]) => trace)), {
      "fact.w.def.0": header("submit canvas", "w"),
      "task.default.p5.w.0.1": header("dispatch grow", "w"),
      "fact.w.r.0.1.run": execute,
      "fact.w__0_1.def.0": header("submit canvas", "w__0_1"),
      "task.default.p5.w__0_1.0.1": header("dispatch one", "w__0_1"),
      "fact.w__0_1.r.0.1": header("execute one", "w__0_1"),
      "task.default.p5.w.1.1": header("dispatch one", "w"),
      "fact.w.r.1.1": header("execute one", "w"),
    });
  }),
);

test(
  "without telemetry there are no such headers",
  tests.scope(async (scope) => {
    const app = await scope.running({ tasks: [one] });
    await (await app.submit(one.s(), { id: "w" })).result();
    const { streams } = await jetstreamManager(await scope.raw);
    for (const key of ["def.0", "r.0.1"]) {
      const last_by_subj = `$KV.${scope.namespace}.w.${key}`;
      const stored = await streams.getMessage(`KV_${scope.namespace}`, { last_by_subj });
      assert.is(stored!.header.has("traceparent"), false, key);
    }
  }),
);

test(
  "attributes are those of the guide, all of them",
  tests.scope(async (scope) => {
    const collector = new Collector();
    const app = await scope.open({ telemetry: collector.telemetry });
    await scope.worker(app, { tasks: [one, bad] });
    await scope.processor(app);
    await (await app.submit(bad.s())).result().catch(() => {});
    await eventually(
      "it ended",
      () => collector.spans.some(({ name }) => name.startsWith("conduct")),
    );
    const said = new Set(collector.spans.flatMap(({ attributes }) => Object.keys(attributes)));
    const page = readFileSync("docs/guide/observability.md", "utf8");
    assert.equal([...said].sort(), firstColumn(page, "attribute").sort());
    const names = new Set(collector.spans.map(({ name }) => name.split(" ")[0]!));
    const promised = firstColumn(page, "span").map((name) => name.split(" ")[0]!);
    assert.equal([...names].sort(), promised.sort());
  }),
);

test.run();
