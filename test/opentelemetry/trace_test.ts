/** With the real SDK, on a real server, submitter, processor and worker apart: what their spans say together. */
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import {
  chain,
  currentTask,
  type Dyrygent,
  expand,
  task,
  type Telemetry,
  Workflow,
} from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { eventually, type Scope, TestServer } from "../nats/server.ts";
import { Collector, linksOf, spanNamed } from "./collector.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const split = task("split", (n: number) => n);
const left = task("left", { retry: { max: 2, base: "10ms", jitter: false } }, (n: number) => {
  if (currentTask().attempt === 1) throw new RangeError("not yet");
  return n + 1;
});
const right = task("right", (n: number) => n + 2);
const join = task("join", (a: number, b: number) => a + b);

function diamond(): Workflow<number> {
  const wf = new Workflow("diamond");
  const top = wf.call(split, 1);
  return wf.output(wf.call(join, wf.call(left, top), wf.call(right, top)));
}

interface Three {
  readonly submitter: Collector;
  readonly processor: Collector;
  readonly worker: Collector;
  readonly app: Dyrygent;
  /** Of all three. */
  readonly spans: () => readonly ReadableSpan[];
}

/** Each of them with a connection and an SDK of its own. */
async function three(
  scope: Scope,
  tasks: Parameters<Scope["worker"]>[1]["tasks"],
  told: { readonly processor?: boolean; readonly worker?: boolean } = {},
): Promise<Three> {
  const [submitter, processor, worker] = [new Collector(), new Collector(), new Collector()];
  const by = (is: boolean | undefined, { telemetry }: Collector) =>
    is === false ? {} : { telemetry };
  await scope.worker(await scope.open(by(told.worker, worker)), { tasks });
  await scope.processor(await scope.open(by(told.processor, processor)));
  const app = await scope.open({ telemetry: submitter.telemetry });
  const spans = () => [submitter, processor, worker].flatMap((one) => one.spans);
  return { submitter, processor, worker, app, spans };
}

const idOf = (span: ReadableSpan) => span.spanContext().spanId;
const parentOf = (span: ReadableSpan) => span.parentSpanContext?.spanId;

/** They are told when they end, which is after the run has. */
async function conducted({ spans }: Pick<Three, "spans">, runs = 1): Promise<void> {
  await eventually(
    "the conduct spans ended",
    () => spans().filter(({ name }) => name.startsWith("conduct ")).length >= runs || "some",
  );
}

test(
  "one trace shows a whole diamond, with a retry in it",
  tests.scope(async (scope) => {
    const all = await three(scope, [split, left, right, join]);
    const tracer = all.submitter.tracers.getTracer("test");
    const request = tracer.startSpan("request");
    const run = await context.with(
      trace.setSpan(context.active(), request),
      () => all.app.submit(diamond(), { id: "d" }),
    );
    assert.is(await run.result(), 5);
    request.end();
    await conducted(all);
    const spans = all.spans();

    assert.equal(new Set(spans.map((span) => span.spanContext().traceId)).size, 1);
    assert.equal(spans.map(({ name }) => name).sort(), [
      "conduct diamond",
      ...["join", "left", "left", "right", "split"].map((name) => `dispatch ${name}`),
      ...["join", "left", "left", "right", "split"].map((name) => `execute ${name}`),
      "request",
      "submit diamond",
      ...["join", "left", "left", "right", "split"].map((name) => `wait ${name}`),
    ]);

    // The tree: who came from whom.
    const submit = spanNamed(spans, "submit diamond");
    assert.is(parentOf(submit), request.spanContext().spanId);
    assert.is(parentOf(spanNamed(spans, "conduct diamond")), idOf(submit));
    const nodes = [["split", 1], ["left", 1], ["left", 2], ["right", 1], ["join", 1]] as const;
    for (const [name, attempt] of nodes) {
      const dispatch = spanNamed(spans, `dispatch ${name}`, attempt);
      assert.is(parentOf(dispatch), idOf(submit), name);
      for (const kind of ["wait", "execute"]) {
        const span = spanNamed(spans, `${kind} ${name}`, attempt);
        assert.is(parentOf(span), idOf(dispatch), `${kind} ${name}`);
        assert.is(span.parentSpanContext?.isRemote, true);
      }
    }

    // The edges: links to what was waited for, and of a retry to the attempt before.
    const linked = (name: string, attempt: number, ...to: (readonly [string, number])[]) =>
      assert.equal(
        linksOf(spanNamed(spans, `dispatch ${name}`, attempt)),
        to.map(([task, n]) => idOf(spanNamed(spans, `execute ${task}`, n))).sort(),
        `${name} ${attempt}`,
      );
    linked("split", 1);
    linked("left", 1, ["split", 1]);
    linked("right", 1, ["split", 1]);
    linked("left", 2, ["left", 1]);
    linked("join", 1, ["left", 2], ["right", 1]);

    const failed = spanNamed(spans, "execute left", 1);
    assert.is(failed.kind, SpanKind.CONSUMER);
    assert.equal(failed.status, { code: SpanStatusCode.ERROR, message: "not yet" });
    assert.equal(failed.events.map(({ name }) => name), ["exception"]);
    const { "messaging.client.id": worker, ...attributes } = failed.attributes;
    assert.type(worker, "string");
    assert.equal(attributes, {
      "messaging.system": "nats",
      "messaging.message.conversation_id": "d",
      "dyrygent.workflow.name": "diamond",
      "messaging.operation.name": "execute",
      "messaging.operation.type": "process",
      "messaging.destination.name": "default",
      "messaging.message.id": "d.1.1",
      "dyrygent.task.name": "left",
      "dyrygent.node": 1,
      "dyrygent.attempt": 1,
      "dyrygent.lane": "p5",
      "dyrygent.deliveries": 1,
      "dyrygent.outcome": "failed",
      "error.type": "RangeError",
    });
    assert.is(spanNamed(spans, "execute left", 2).status.code, SpanStatusCode.UNSET);
    assert.is(spanNamed(spans, "dispatch join").kind, SpanKind.PRODUCER);
    assert.is(spanNamed(spans, "conduct diamond").attributes["dyrygent.outcome"], "SUCCESS");
    assert.is(submit.attributes["dyrygent.workflow.nodes"], 4);
  }),
);

test(
  "a handler's own spans are part of its execution, and a run that it submits as well",
  tests.scope(async (scope) => {
    const worker = new Collector();
    const inner = await scope.open({ telemetry: worker.telemetry });
    const outer = task("outer", async () => {
      await Promise.resolve();
      worker.tracers.getTracer("mine").startSpan("query").end();
      await inner.submit(chain(split.s(1), split.s()), { id: "inner" });
    });
    await scope.worker(inner, { tasks: [outer, split] });
    await scope.processor(await scope.open());
    const app = await scope.open();
    await (await app.submit(outer.s())).result();
    assert.is(await app.run("inner").result(), 1);
    const execute = spanNamed(worker.spans, "execute outer");
    for (const name of ["query", "submit canvas"]) {
      const span = spanNamed(worker.spans, name);
      assert.is(parentOf(span), idOf(execute), name);
      assert.is(span.spanContext().traceId, execute.spanContext().traceId);
    }
    // The processor keeps no traces, and hands on what it is given.
    const submit = spanNamed(worker.spans, "submit canvas");
    for (const span of worker.spans.filter(({ name }) => name === "execute split")) {
      assert.is(parentOf(span), idOf(submit));
    }
  }),
);

const list = task("list", (n: number) => [n, n]);
const fan = task("fan", (n: number) => expand(chain(right.s(n), right.s())));

test(
  "runs in the place of nodes are in the trace of the run above",
  tests.scope(async (scope) => {
    const all = await three(scope, [fan, list, split, right]);
    const wf = new Workflow("outside");
    const grown = wf.call(fan, 1);
    const each = wf.map(split, wf.call(list, grown));
    const sub = new Workflow("inside");
    wf.run(sub.output(sub.call(right, 1)));
    wf.output(each);
    const run = await all.app.submit(wf, { id: "o" });
    assert.equal(await run.result(), [5, 5]);
    await conducted(all, 4);
    const spans = all.spans();
    assert.is(new Set(spans.map((span) => span.spanContext().traceId)).size, 1);
    const submit = (name: string) => spanNamed(spans, `submit ${name}`);
    assert.is(parentOf(submit("canvas")), idOf(spanNamed(spans, "execute fan")));
    assert.ok(spans.some(({ name }) => name === "submit inside"));
    assert.ok(spans.some(({ name }) => name === "submit map-split"));
    // What follows the node is linked to the execution that expanded.
    assert.equal(linksOf(spanNamed(spans, "dispatch list")), [
      idOf(spanNamed(spans, "execute fan")),
    ]);
  }),
);

test(
  "a worker without telemetry passes the trace on to runs that take a node's place",
  tests.scope(async (scope) => {
    const all = await three(scope, [fan, right], { worker: false });
    assert.is(await (await all.app.submit(fan.s(1))).result(), 5);
    await conducted(all, 2);
    assert.is(new Set(all.spans().map((span) => span.spanContext().traceId)).size, 1);
    assert.is(all.spans().filter(({ name }) => name === "dispatch right").length, 2);
  }),
);

test(
  "what was submitted without a trace is one trace of its conductor",
  tests.scope(async (scope) => {
    const all = await three(scope, [split, right]);
    const app = await scope.open();
    await (await app.submit(chain(split.s(1), right.s()))).result();
    await conducted(all);
    const spans = all.spans();
    const conduct = spanNamed(spans, "conduct canvas");
    assert.is(conduct.parentSpanContext, undefined);
    assert.is(parentOf(spanNamed(spans, "dispatch right")), idOf(conduct));
    assert.is(new Set(spans.map((span) => span.spanContext().traceId)).size, 1);
  }),
);

test(
  "the same submitted again in another trace is the same run, and keeps its trace",
  tests.scope(async (scope) => {
    const all = await three(scope, [split, left, right, join]);
    const [first, second] = [
      await all.app.submit(diamond(), { id: "same" }),
      await all.app.submit(diamond(), { id: "same" }),
    ];
    assert.is(await first.result(), await second.result());
    await conducted(all);
    const submits = all.submitter.spans;
    assert.equal(submits.map(({ attributes }) => attributes["dyrygent.outcome"]), [
      "created",
      "exists",
    ]);
    assert.is.not(submits[0]!.spanContext().traceId, submits[1]!.spanContext().traceId);
    for (const { name, parentSpanContext } of all.processor.spans) {
      assert.is(parentSpanContext?.spanId, idOf(submits[0]!), name);
    }
  }),
);

test(
  "with a codec no message of a failure leaves in a span",
  tests.scope(async (scope) => {
    const codec = { encode: (data: Uint8Array) => data, decode: (data: Uint8Array) => data };
    const worker = new Collector();
    const bad = task("bad", () => {
      throw new RangeError("secret");
    });
    await scope.worker(await scope.open({ codec, telemetry: worker.telemetry }), { tasks: [bad] });
    await scope.processor(await scope.open());
    const run = await (await scope.open({ codec })).submit(bad.s());
    assert.is((await run.result().catch((error) => error)).name, "WorkflowFailedError");
    const { status, attributes, events } = spanNamed(worker.spans, "execute bad");
    assert.equal(status, { code: SpanStatusCode.ERROR });
    assert.is(attributes["error.type"], "RangeError");
    assert.equal(events, []);
  }),
);

test(
  "telemetry that throws fails nothing, and is said once",
  tests.scope(async (scope) => {
    const fails = (): never => {
      throw new Error("out of order");
    };
    const telemetry: Telemetry = { begin: fails, measure: fails, observe: fails };
    const app = await scope.open({ telemetry });
    await scope.worker(app, { tasks: [split] });
    await scope.processor(app);
    assert.is(await (await app.submit(split.s(7))).result(), 7);
    const said = scope.logs.filter(({ message }) => message.startsWith("telemetry failed"));
    assert.equal(said, [{ level: "warn", message: "telemetry failed: out of order" }]);
  }),
);

test(
  "what is no telemetry is refused",
  tests.scope(async (scope) => {
    const error = await scope.open({ telemetry: {} as Telemetry }).catch((error) => error);
    assert.is(error.code, "INVALID_OPTION");
    assert.match(error.message, /telemetry = .* is no telemetry/);
  }),
);

test.run();
