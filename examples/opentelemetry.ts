/** One trace shows a whole run, with a retry in it and a handler's own span. Yours would be sent on, not printed. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import * as sdk from "@opentelemetry/sdk-trace-base";
import { chain, currentTask, Dyrygent, task } from "nats-dyrygent";
import { openTelemetry } from "nats-dyrygent/opentelemetry";

const exporter = new sdk.InMemorySpanExporter();
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const spanProcessors = [new sdk.SimpleSpanProcessor(exporter)];
trace.setGlobalTracerProvider(new sdk.BasicTracerProvider({ spanProcessors }));

const load = task("load", { retry: { max: 1, base: "10ms" } }, (name: string) => {
  if (currentTask().attempt === 1) throw new RangeError("not yet");
  trace.getTracer("example").startSpan(`read ${name}`).end();
  return "some text";
});
const count = task("count", (text: string) => text.length);

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, {
  namespace: "example_opentelemetry",
  telemetry: openTelemetry(),
});
const worker = app.worker({ tasks: [load, count] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);
const run = await app.submit(chain(load.s("a.txt"), count.s()));
console.log(await run.result());
await worker.stop();
await processor.stop();
await nc.close();

const spans = exporter.getFinishedSpans();
function show(parent: sdk.ReadableSpan | undefined, indent: string): void {
  for (const span of spans) {
    if (span.parentSpanContext?.spanId !== parent?.spanContext().spanId) continue;
    console.log(`${indent}${span.name} ${span.attributes["error.type"] ?? ""}`.trimEnd());
    show(span, `${indent}  `);
  }
}
show(undefined, "");

// Output:
// 9
// submit canvas
//   dispatch load
//     wait load
//     execute load RangeError
//   dispatch load
//     wait load
//     execute load
//       read a.txt
//   dispatch count
//     wait count
//     execute count
//   conduct canvas
