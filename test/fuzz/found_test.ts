/** What fuzzing has found, each as a claim of its own. A new finding becomes a test here before it is cured. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Run } from "../../src/client/run.ts";
import { decodeHead } from "../../src/core/definition_codec.ts";
import { NotFoundError, WorkflowFailedError } from "../../src/core/errors.ts";
import {
  controlKey,
  definitionKey,
  endKey,
  expansionKey,
  outcomeKey,
} from "../../src/core/keys.ts";
import {
  readControl,
  readEnd,
  readTaskMessage,
  writeControl,
  writeEnd,
  writeExpansion,
  writeOutcomeNote,
} from "../../src/core/records.ts";
import { noCounts } from "../../src/core/node_state.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import { Processor } from "../../src/processor/processor.ts";
import type { Ports } from "../../src/ports.ts";
import { recordControl } from "../../src/runs/control.ts";
import { removeRun } from "../../src/runs/removal.ts";
import { Worker } from "../../src/worker/worker.ts";
import { type InvalidWorkflowError, task, Workflow, type WorkflowJson } from "nats-dyrygent";
import { READERS } from "./readers.ts";
import * as records from "./records.ts";

const { AT, RUN, bytes, codec } = records;
const decoder = new TextDecoder();
const succeeded = writeOutcomeNote(records.notes[0]!);

/** Gives these records to a reader: it must not throw. @returns what it says. */
async function replay(reader: string, ...pieces: (string | Uint8Array)[]): Promise<string> {
  const { read } = READERS.find(({ name }) => name === reader)!;
  return await read(pieces.map((one) => typeof one === "string" ? bytes(one) : one));
}

function open(): Ports & { clock: VirtualClock } {
  const clock = new VirtualClock();
  return { ...memoryPorts({ clock, random: new SeededRandom(1), log: () => {}, codec }), clock };
}

/** What an answer is refused with. */
async function errorOf(answer: Promise<unknown>): Promise<WorkflowFailedError> {
  return answer.then(
    () => assert.unreachable("there was an answer") as never,
    (error) => error,
  );
}

/** Two nodes: add(1, 2), then add of its result and 3. */
const head = await records.smallDefinition();
const [, , first, second] = decoder.decode(head).split("\n");

/** The small definition with other signatures. */
function withSignatures(...lines: [string, string]): Uint8Array {
  const text = decoder.decode(head);
  return bytes(text.replace(`${first}\n${second}`, lines.join("\n")));
}

/** Conducts and works until the run has ended, but not for ever. @returns its end. */
async function conduct({ clock, ...ports }: ReturnType<typeof open>) {
  const add = task("add", (a: number, b: number) => a + b);
  const other = task("other", () => "not asked for");
  const worker = new Worker({ ...ports, clock }, { tasks: [add, other] }, { isAnnounced: false });
  const processor = new Processor({ ...ports, clock }, {}, { isAnnounced: false });
  await worker.start();
  await processor.start();
  await ports.ticks.wake(RUN);
  const end = () => ports.facts.read(endKey(RUN, 1));
  for (let turns = 0; await end() === undefined && turns < 500; turns++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    clock.fireNext();
  }
  const ended = await end();
  assert.ok(ended, "the run has not ended");
  const run = new Run<unknown>({ ...ports, clock }, RUN);
  return { run, end: readEnd(ended.data)! };
}

test("a version that is an object without a text is unreadable, and ends the run", async () => {
  const odd = '{"v":{"toString":1,"valueOf":1}}\n';
  assert.match(await replay("load-definition", odd), /cannot be read/);
  const ports = open();
  await ports.facts.create(definitionKey(RUN), bytes(odd));
  assert.is((await conduct(ports)).end.state, "ERROR");
});

test("a start that is null is unreadable", () => {
  const text = decoder.decode(head).replace('"nodes":2', '"nodes":2,"start":null');
  assert.throws(() => decodeHead(bytes(text)), /the head lacks a field/);
});

test("a head that claims a million chunks costs no million reads", async () => {
  const text = decoder.decode(head)
    .replace('"nodes":2', '"nodes":1000000').replace('"chunks":0', '"chunks":999999');
  assert.match(await replay("load-definition", text), /cannot be read/);
});

for (const inputs of ["nonsense", "null", "{}", '[{"at":[0],"node":7}]']) {
  test(`a node whose inputs are ${inputs} fails, and its run ends`, async () => {
    const ports = open();
    const broken = `{"inputs":${inputs},"task":"add","args":[1,1]}`;
    await ports.facts.create(definitionKey(RUN), withSignatures(first!, broken));
    const { end } = await conduct(ports);
    assert.equal([end.state, end.failed], ["FAILURE", [{ node: 1, attempt: 1 }]]);
  });
}

for (const calls of ['"all"', "2", "null"]) {
  test(`a task message that calls its task ${calls} is no message`, async () => {
    const message = `{"v":1,"signature":{"task":"add","args":[1,2],"calls":${calls}}}`;
    assert.match(await replay("task-message", message), /BadMessageError/);
  });
}

test("timeouts that are no milliseconds make a message unreadable", async () => {
  for (const field of ["timeoutMs", "softTimeoutMs"]) {
    for (const value of ["0", "-1", "0.5", '"5"', "{}", "1e999"]) {
      const message = `{"v":1,"signature":{"task":"add","args":[1,2],"${field}":${value}}}`;
      assert.match(await replay("task-message", message), /BadMessageError/, value);
    }
  }
});

test("attempts that are no numbers do not get into the subjects that inputs are read from", () => {
  const odd = '{"v":1,"signature":{},"attempts":{"0":"1\\r\\nPUB x 0\\r\\n"}}';
  const read = readTaskMessage(bytes(odd));
  assert.equal(read.is === "message" && read.message.attempts, {});
});

for (const body of ["not JSON", "", '"half', "{}}"]) {
  test(`a result that is ${body || "nothing"} fails whoever takes it, and the run ends`, async () => {
    const ports = open();
    await ports.facts.create(definitionKey(RUN), head);
    await ports.facts.create(outcomeKey(RUN, 0, 1), bytes(body), succeeded);
    const { run, end } = await conduct(ports);
    assert.equal([end.state, end.failed], ["FAILURE", [{ node: 1, attempt: 1 }]]);
    const error = await errorOf(run.result());
    assert.match(error.failures[0]!.remoteMessage, /Cannot read the result x\.r\.0\.1/);
  });
}

test("a result that goes on where JSON ends changes nothing of the message it is put into", async () => {
  const ports = open();
  await ports.facts.create(definitionKey(RUN), head);
  const more = '1},"signature":{"task":"other","args":[]},"results":{"0":1';
  await ports.facts.create(outcomeKey(RUN, 0, 1), bytes(more), succeeded);
  const { run, end } = await conduct(ports);
  assert.is(end.state, "FAILURE");
  await errorOf(run.result(1));
});

const deep = "[".repeat(100_000) + "]".repeat(100_000);

test("an event with a hundred thousand levels is no event, and the run goes on", async () => {
  const event = `{"v":1,"id":"c","at":1,"is":"event","name":"approved","data":${deep}}`;
  assert.is(readControl(bytes(event)), undefined);
  const ports = open();
  await ports.facts.create(definitionKey(RUN), head);
  await ports.facts.create(controlKey(RUN, 1), bytes(event));
  assert.is((await conduct(ports)).end.state, "SUCCESS");
});

test("brackets in strings are no levels, and 200 levels of arguments fit into any record", () => {
  const data = `${"[".repeat(200)}${JSON.stringify(`\\"${"[{".repeat(1_000)}`)}${"]".repeat(200)}`;
  const event = `{"v":1,"id":"c","at":1,"is":"event","name":"approved","data":${data}}`;
  const control = readControl(bytes(event))!;
  assert.equal(readControl(writeControl(control)), control);
});

test("a message of a failure that was sealed as something else is shown, whatever it is", async () => {
  for (const value of ['{"toString":1}', "[]", "5", "null"]) {
    const sealed = btoa(String.fromCharCode(...await codec.encode(bytes(value))));
    const failure = `{"name":"Error","message":{"~sealed":"${sealed}"}}`;
    await replay("sealed", failure);
  }
});

test("a terminal record names nodes that there are not: the error does, too", async () => {
  const ports = open();
  await ports.facts.create(definitionKey(RUN), head);
  const failed = [{ node: 99, attempt: 1 }];
  const end = { state: "FAILURE", at: AT, counts: noCounts(), failed } as const;
  await ports.facts.create(endKey(RUN, 1), writeEnd(end));
  const error = await errorOf(new Run(ports, RUN).result());
  assert.instance(error, WorkflowFailedError);
  assert.match(error.message, /Node node-99 failed/);
});

test("a reason that is no text is none", () => {
  const end = writeEnd({ state: "ERROR", at: AT, counts: noCounts(), failed: [] });
  const odd = decoder.decode(end).replace("}", '},"reason":{"toString":1}').replace("}}", "}");
  assert.is(readEnd(bytes(odd))?.reason, undefined);
});

/** A run whose only outcome that counts says that it gives what it gives itself. */
async function circular(state: "SUCCESS" | "FAILURE"): Promise<Ports> {
  const ports = open();
  const note = {
    ...records.notes[state === "SUCCESS" ? 0 : 1]!,
    elsewhere: { is: "run", run: RUN } as const,
  };
  await ports.facts.create(definitionKey(RUN), head);
  for (const node of [0, 1]) {
    await ports.facts.create(outcomeKey(RUN, node, 1), bytes(""), writeOutcomeNote(note));
  }
  const failed = state === "SUCCESS" ? [] : [{ node: 0, attempt: 1 }, { node: 1, attempt: 1 }];
  const end = writeEnd({ state, at: AT, counts: noCounts(), failed });
  await ports.facts.create(endKey(RUN, 1), end);
  return ports;
}

test("a run that is to give its own result is refused, not asked for ever", async () => {
  const run = new Run(await circular("SUCCESS"), RUN);
  for (const asked of [run.result(), run.result(1)]) {
    const error = await errorOf(asked);
    assert.is(error.code, "CODEC");
    assert.match(error.message, /would give it to itself/);
  }
});

test("a run that failed because of itself has an error that ends", async () => {
  const error = await errorOf(new Run(await circular("FAILURE"), RUN).result());
  assert.is(error.failures.length, 2);
});

test("a result that another run gave, which is gone, is not found", async () => {
  const ports = open();
  const note = { ...records.notes[0]!, elsewhere: { is: "run", run: "gone" } as const };
  await ports.facts.create(definitionKey(RUN), head);
  await ports.facts.create(outcomeKey(RUN, 1, 1), bytes(""), writeOutcomeNote(note));
  assert.instance(await errorOf(new Run(ports, RUN).result(1)), NotFoundError);
});

test("runs that say of each other that they are in their place are removed once", async () => {
  const ports = open();
  for (const [run, other] of [[RUN, "y"], ["y", RUN], ["z", "z"]] as const) {
    await ports.facts.create(definitionKey(run), head);
    await ports.facts.create(expansionKey(run, 0, 1), writeExpansion({ child: other, at: AT }));
  }
  for (const run of [RUN, "z"]) await removeRun(ports, run);
  // Its own definition does not say that it belongs to x.
  assert.equal(await ports.facts.keys(">"), [definitionKey("y"), expansionKey("y", 0, 1)]);
});

test("a run that somebody else's record calls its child is neither cancelled nor paused", async () => {
  const ports = open();
  await ports.facts.create(definitionKey(RUN), head);
  await ports.facts.create(definitionKey("other"), head);
  await ports.facts.create(expansionKey(RUN, 0, 1), writeExpansion({ child: "other", at: AT }));
  await recordControl(ports, RUN, { is: "pause" }, "p");
  await recordControl(ports, RUN, { is: "cancel" }, "c");
  assert.is((await conduct(ports)).end.state, "CANCELLED");
  assert.equal(await ports.facts.keys("other.ctl.*"), []);
});

test("a control fact gets a number that is heard, whatever number somebody else took", async () => {
  const ports = open();
  await ports.facts.create(definitionKey(RUN), head);
  await ports.facts.create(controlKey(RUN, 999_999_999), bytes("gibberish"));
  const recorded = await recordControl(ports, RUN, { is: "cancel" }, "c");
  assert.is(recorded?.key, controlKey(RUN, 2));
  assert.is((await conduct(ports)).end.state, "CANCELLED");
});

const workflow = records.jsonWorkflows()[0]!;

test("JSON with the same policy twice is the workflow that it is when it was stored and read", async () => {
  const [policy] = workflow.policies;
  const nodes = workflow.nodes.map((node, i) => ({ ...node, policy: i }));
  const twice = { ...workflow, policies: [policy, policy], nodes };
  await replay("definition-json", JSON.stringify(twice));
  assert.equal(Workflow.fromJSON(twice as WorkflowJson).toJSON(), workflow);
  assert.throws(() => Workflow.fromJSON({ ...workflow, nodes: [{ policy: "length" }] } as never));
});

test("JSON that nests a hundred thousand deep where nobody looks is refused, with the path", async () => {
  const level: { in?: unknown } = {};
  for (let i = 0, at = level; i < 100_000; i++) at = at.in = {};
  const [policy] = workflow.policies;
  for (
    const [path, odd] of [
      ["policies[0]", { policies: [{ ...policy, other: level }] }],
      ["output", { output: { ...workflow.output, other: level } }],
    ] as const
  ) {
    assert.throws(
      () => Workflow.fromJSON({ ...workflow, ...odd } as never),
      (error: InvalidWorkflowError) =>
        error.code === "INVALID_WORKFLOW" && error.path.startsWith(path),
    );
  }
});

test("a path of an input has texts and numbers, not what amounts to one", async () => {
  for (const step of ["[]", "null", "{}", '["a"]', deep]) {
    const template = `{"json":"[null]","inputs":[{"at":[${step}],"node":0}]}`;
    assert.is(await replay("template", template), "refused", step.slice(0, 20));
  }
});

test("a description of a blob that claims a gigabyte costs none", async () => {
  assert.is(await replay("blob", '{"size":1073741824}'), "gone");
  assert.is(await replay("blob", '{"size":1e999}'), "damaged");
});

test.run();
