/** What the engine tells of itself, as plain data: in memory and in virtual time, also when processors take over. */
import { setImmediate } from "node:timers";
import { chain, chord, currentTask, group, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Measurement, Reading } from "../../src/core/metrics.ts";
import { definitionKey, outcomeKey } from "../../src/core/keys.ts";
import type { TraceContext } from "../../src/core/trace_context.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Ports } from "../../src/ports.ts";
import type { Ending, Operation, Telemetry } from "../../src/telemetry.ts";
import { VirtualEngine } from "../virtual_engine.ts";

interface Told {
  readonly operation: Operation;
  readonly span: string;
  ending?: Ending;
}

/** Numbers its spans. */
class Notes implements Telemetry {
  readonly told: Told[] = [];
  readonly measured: Measurement[] = [];
  readonly reads = new Set<() => Promise<readonly Reading[]>>();

  begin(operation: Operation) {
    const span = `${this.told.length + 1}`.padStart(16, "0");
    const trace = typeof operation.parent === "string"
      ? span.padStart(32, "a")
      : operation.parent.traceparent.split("-")[1]!;
    const note: Told = { operation, span };
    this.told.push(note);
    return {
      trace: { traceparent: `00-${trace}-${span}-01` },
      within: <T>(call: () => T) => call(),
      end: (ending: Ending) => {
        assert.is(note.ending, undefined, `${operation.is} is ended twice`);
        note.ending = ending;
      },
    };
  }

  measure(measurement: Measurement): void {
    this.measured.push(measurement);
  }

  observe(read: () => Promise<readonly Reading[]>) {
    this.reads.add(read);
    return () => this.reads.delete(read);
  }

  spanOf(is: Operation["is"], task: string, attempt = 1): string {
    return this.told.find(({ operation }) =>
      operation.is === is && "task" in operation && operation.task === task &&
      operation.attempt === attempt
    )!.span;
  }

  causesOf(task: string, attempt = 1): string[] {
    const { operation } = this.told.find(({ operation }) =>
      operation.is === "dispatch" && operation.task === task && operation.attempt === attempt
    )!;
    return operation.is === "dispatch" ? operation.causes.map(spanIn).sort() : [];
  }
}

const spanIn = ({ traceparent }: TraceContext) => traceparent.split("-")[2]!;

function engineWith(telemetry: Telemetry | undefined): { engine: VirtualEngine; ports: Ports } {
  const engine = new VirtualEngine();
  const { clock } = engine;
  const random = new SeededRandom(1);
  const ports = memoryPorts({
    clock,
    random,
    log: () => {},
    ...(telemetry === undefined ? {} : { telemetry }),
  });
  return { engine: Object.assign(engine, { ports }), ports };
}

const one = task("one", () => 1);
const two = task("two", () => 2);
const list = task("list", (all: unknown[]) => all.length);
const flaky = task("flaky", { retry: { max: 1, base: "1s", jitter: false } }, () => {
  if (currentTask().attempt === 1) throw new Error("no");
});

test("definitions, messages and outcomes carry the trace; without telemetry nothing does", async () => {
  for (const notes of [new Notes(), undefined]) {
    const { engine, ports } = engineWith(notes);
    await engine.processor();
    const queued: (TraceContext | undefined)[] = [];
    const { publish } = ports.tasks;
    (ports.tasks as { publish: typeof publish }).publish = (address, data, most, trace) => {
      queued.push(trace);
      return publish(address, data, most, trace);
    };
    await engine.worker([one]);
    const run = await engine.submit(Workflow.of(one.s()));
    assert.is(await engine.until("it ends", run.result()), 1);
    const head = await ports.facts.read(definitionKey("run"));
    const outcome = await ports.facts.read(outcomeKey("run", 0, 1));
    const traces = [head!.trace, ...queued, outcome!.trace];
    assert.equal(
      traces.map((trace) => trace && spanIn(trace)),
      notes === undefined ? [undefined, undefined, undefined] : [
        notes.told[0]!.span,
        notes.spanOf("dispatch", "one"),
        notes.spanOf("execute", "one"),
      ],
    );
  }
});

test("what a message waited for is named: also behind joins, also the attempt before", async () => {
  const notes = new Notes();
  const { engine } = engineWith(notes);
  await engine.processor();
  await engine.worker([one, two, list, flaky]);
  const wf = new Workflow("w");
  // A group after a group waits for all of it: behind a join.
  wf.add(chain(group([one.s(), two.s()]), group([list.si([1]), flaky.si()])));
  const run = await engine.submit(wf);
  await engine.until("it ends", run.result());
  const first = [notes.spanOf("execute", "one"), notes.spanOf("execute", "two")].sort();
  assert.equal(notes.causesOf("one"), []);
  assert.equal(notes.causesOf("list"), first);
  assert.equal(notes.causesOf("flaky"), first);
  assert.equal(notes.causesOf("flaky", 2), [notes.spanOf("execute", "flaky", 1)]);
});

test("whoever takes over knows from the log what its messages waited for", async () => {
  const notes = new Notes();
  const { engine } = engineWith(notes);
  const first = await engine.processor();
  await engine.worker([one, two, list]);
  const body = list.s().set({ countdown: "1h" });
  const run = await engine.submit(Workflow.of(chord([one.s(), two.s()], body)));
  await engine.pass(2_000);
  await engine.until("it stops", first.stop());
  await engine.processor();
  assert.is(await engine.until("it ends", run.result()), 2);
  assert.equal(
    notes.causesOf("list"),
    [notes.spanOf("execute", "one"), notes.spanOf("execute", "two")].sort(),
  );
  const conducts = notes.told.filter(({ operation }) => operation.is === "conduct");
  assert.ok(conducts.length >= 2);
  const [submit] = notes.told;
  for (const { operation, ending } of notes.told.slice(1)) {
    assert.ok(ending !== undefined, `${operation.is} has ended`);
    if (operation.is !== "conduct" && operation.is !== "dispatch") continue;
    assert.is(spanIn(operation.parent as TraceContext), submit!.span, operation.is);
  }
});

test("a node may wait for a thousand, and names 32", async () => {
  const notes = new Notes();
  const { engine } = engineWith(notes);
  await engine.processor();
  await engine.worker([one, list]);
  const run = await engine.submit(
    Workflow.of(chord(Array.from({ length: 1_000 }, () => one.s()), list.s())),
  );
  assert.is(await engine.until("it ends", run.result()), 1_000);
  assert.is(notes.causesOf("list").length, 32);
});

test("what is measured", async () => {
  const notes = new Notes();
  const { engine } = engineWith(notes);
  await engine.processor();
  await engine.worker([one, flaky]);
  const run = await engine.submit(Workflow.of(chain(one.s(), flaky.si())));
  await engine.until("it ends", run.result());
  // The end is told right after it is recorded.
  await new Promise((resolve) => setImmediate(resolve));
  const of = (task: string) => ({ queue: "default", task });
  const attempted = { is: "attempted", error: undefined, ms: 0 } as const;
  assert.equal(notes.measured, [
    { is: "ticked", lateMs: 0 },
    { is: "submitted", workflow: "canvas" },
    { is: "waited", ...of("one"), ms: 0 },
    { ...attempted, ...of("one"), outcome: "succeeded" },
    { is: "waited", ...of("flaky"), ms: 0 },
    { ...attempted, ...of("flaky"), outcome: "failed", error: "Error" },
    { is: "hopped", ms: 0 },
    { is: "retried", ...of("flaky") },
    { is: "waited", ...of("flaky"), ms: 0 },
    { ...attempted, ...of("flaky"), outcome: "succeeded" },
    { is: "ended", workflow: "canvas", state: "SUCCESS", ms: 1_000 },
  ]);
});

test("what runs and what waits is read when it is asked for, and no more after a stop", async () => {
  const notes = new Notes();
  const { engine } = engineWith(notes);
  const processor = await engine.processor();
  let release = () => {};
  const held = task("held", () => new Promise<void>((resolve) => release = resolve));
  await engine.worker([held]);
  const run = await engine.submit(Workflow.of(group([held.s(), one.s().set({ queue: "nobody" })])));
  await engine.pass(100);
  const read = async () =>
    (await Promise.all([...notes.reads].map((read) => read()))).flat().map(
      ({ ...reading }) => ({ ...reading, asked: undefined }),
    );
  const lane = { is: "lane", lane: "p5", asked: undefined } as const;
  const seen = await read();
  assert.equal(seen, [
    { is: "conducted", active: 1, parked: 0, asked: undefined },
    { ...lane, queue: "default", waiting: 0, inHand: 1 },
    { ...lane, queue: "nobody", waiting: 1, inHand: 0 },
    { is: "running", queue: "default", task: "held", count: 1, asked: undefined },
  ]);
  release();
  await engine.worker([one], ["nobody"]);
  await engine.until("it ends", run.result());
  await engine.until("it stops", processor.stop());
  assert.is(notes.reads.size, 2, "of the workers");
});

test.run();
