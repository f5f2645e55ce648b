/** Valid records of every kind, made by the library's own writers: what mutations begin with. */
import { encodeDefinition } from "../../src/core/definition_codec.ts";
import type { Definition } from "../../src/core/definition.ts";
import { withInput } from "../../src/core/expand.ts";
import type { Control } from "../../src/core/fact.ts";
import {
  type EndRecord,
  type OutcomeNote,
  type RunStatus,
  writeTaskContext,
  writeTaskMessage,
} from "../../src/core/records.ts";
import { noCounts } from "../../src/core/node_state.ts";
import type { ScheduleRecord } from "../../src/core/schedule.ts";
import type { Codec } from "../../src/core/sealing.ts";
import { chain, group, task, Workflow, type WorkflowJson } from "nats-dyrygent";
import { anyPlan } from "../mixed/plans.ts";
import type { Pieces } from "./mutate.ts";

const encoder = new TextEncoder();
/** The run that records are about. Mutations know the name, so that records come to speak of their own run. */
export const RUN = "x";
export const AT = Date.UTC(2026, 0, 1);

const add = task("add", (a: number, b: number) => a + b);
// deno-lint-ignore no-explicit-any
const echo = task("echo", (...values: any[]) => values);

const tell = task("tell", (_about: unknown) => null);
const gather = task("gather", (results: number[]) => results);

export const bytes = (text: string): Uint8Array => encoder.encode(text);

/** Bytes the other way around, each changed: enough to see what is sealed. */
export const codec: Codec = {
  encode: (data) => data.map((byte) => byte ^ 0x5a).reverse(),
  decode: (data) => data.map((byte) => byte ^ 0x5a).reverse(),
};

/** Everything that can stand in a small definition. */
function everything(): Workflow {
  const wf = new Workflow("everything", {
    timeout: "10m",
    payload: { team: "storage" },
    maxParallel: 3,
    retention: "1d",
  });
  const first = wf.call(add, 1, 2).named("first").set({
    retry: { max: 2, base: 10, on: ["Error"] },
    priority: 9,
    timeout: "1m",
  });
  const second = wf.call(echo, { list: [first, null] }).set({
    concurrency: { key: "k", max: 2 },
    payload: [1],
  });
  wf.call(echo, [first, second]).set({ rateLimit: { max: 5, per: "1s" }, expires: "1h" });
  wf.waitFor("approved", { timeout: "1m" }).after(first);
  wf.call(add, 1, 1).after(second, { on: "failure" });
  wf.onError(tell.s());
  wf.finally(tell.s());
  return wf;
}

/** Two nodes, one after the other. */
function small(): Workflow {
  const wf = new Workflow("small", { timeout: "10m" });
  wf.call(add, wf.call(add, 1, 2), 3);
  return wf;
}

export function workflows(): Workflow[] {
  const wide = Workflow.of(chain(group([1, 2, 3, 4, 5, 6].map((n) => add.si(n, n))), gather.s()));
  return [small(), everything(), wide, ...[1, 2, 3, 5, 8].map((seed) => anyPlan(seed).workflow)];
}

function built(workflow: Workflow): Definition {
  const definition = workflow.build();
  const wants = definition.policies.some(({ event }) => event === "input");
  return wants ? withInput(definition, { n: 1 }) : definition;
}

/** Records of definitions: of one piece, and of many. */
export async function definitions(): Promise<Pieces[]> {
  const all: Pieces[] = [];
  for (const workflow of workflows()) {
    for (const maxBytes of [1_000_000, 2_600]) {
      const encoded = await encodeDefinition(
        { ...built(workflow), start: { countdownMs: 5, expiresAt: AT + 1e9 } },
        maxBytes,
      ).catch(() => undefined);
      if (encoded !== undefined) all.push([encoded.head, ...encoded.chunks]);
    }
  }
  const parent = { workflow: "above", node: 1, attempt: 1, depth: 1 };
  all.push([(await encodeDefinition({ ...built(small()), parent }, 1_000_000)).head]);
  return all;
}

export async function smallDefinition(): Promise<Uint8Array> {
  return (await encodeDefinition(built(small()), 1_000_000)).head;
}

export function jsonWorkflows(): WorkflowJson[] {
  return workflows().map((workflow) => workflow.toJSON());
}

export const notes: OutcomeNote[] = [
  { is: "succeeded", startedAt: AT, endedAt: AT + 5, sentNs: "1767225600000000000", worker: "w1" },
  { is: "failed", startedAt: AT, endedAt: AT, sentNs: "0", worker: "processor" },
  {
    is: "succeeded",
    startedAt: AT,
    endedAt: AT,
    sentNs: "0",
    worker: "processor",
    elsewhere: { is: "run", run: "above__1_1" },
  },
  {
    is: "succeeded",
    startedAt: AT,
    endedAt: AT,
    sentNs: "0",
    worker: "w1",
    elsewhere: { is: "blob", blob: "x.0.1.Fo3NhWxH2rXJ9KVm5QyTc7" },
  },
];

export const controls: Control[] = [
  { is: "cancel", reason: "enough" },
  { is: "cancel" },
  { is: "timeout" },
  { is: "pause" },
  { is: "resume" },
  { is: "pause", following: 3 },
  { is: "retry" },
  { is: "retry", attempt: 2 },
  { is: "skip", nodes: [0, 1] },
  { is: "rerun", nodes: [1] },
  { is: "event", name: "approved", data: { by: ["a", 1, null] } },
];

export const ends: EndRecord[] = [
  { state: "SUCCESS", at: AT, counts: { ...noCounts(), SUCCESS: 2 }, failed: [] },
  {
    state: "FAILURE",
    at: AT,
    counts: { ...noCounts(), FAILURE: 1, UPSTREAM_FAILED: 1 },
    failed: [{ node: 0, attempt: 1 }],
  },
  { state: "CANCELLED", at: AT, counts: noCounts(), failed: [], reason: "enough" },
];

export const statuses: RunStatus[] = [
  {
    id: RUN,
    name: "small",
    state: "RUNNING",
    counts: { ...noCounts(), SCHEDULED: 1, PENDING: 1 },
    round: 1,
    submittedAt: AT,
  },
  {
    id: RUN,
    name: "small",
    state: "SUCCESS",
    counts: { ...noCounts(), SUCCESS: 2 },
    round: 2,
    submittedAt: AT,
    finishedAt: AT + 5,
    payload: { team: "storage" },
    parent: { id: "above", node: 1 },
  },
];

export function schedules(): ScheduleRecord[] {
  const [workflow, other] = jsonWorkflows();
  const taking = new Workflow("taking");
  taking.call(echo, taking.input());
  const needy = taking.toJSON();
  const common = { missed: "skip", paused: false, createdAt: AT, handledTo: AT } as const;
  return [
    {
      ...common,
      rule: { is: "cron", cron: "0 2 * * *", timeZone: "Europe/Warsaw" },
      workflow: workflow!,
    },
    {
      ...common,
      rule: { is: "every", everyMs: 60_000, anchor: AT },
      missed: "runAll",
      lastAt: AT,
      lastRun: "s-1",
      workflow: other!,
    },
    { ...common, rule: { is: "every", everyMs: 1_000, anchor: AT }, workflow: needy, input: 1 },
  ];
}

export function taskMessages(): Uint8Array[] {
  const plain = writeTaskContext("small", undefined, { depth: 0, cleanup: false });
  const full = writeTaskContext("small", '{"team":"storage"}', { depth: 2, cleanup: true });
  const [context] = [plain];
  return [
    writeTaskMessage(bytes('{"task":"add","args":[1,2]}'), context, [], []),
    writeTaskMessage(
      bytes(
        '{"inputs":[{"at":[0],"node":0},{"at":[1,"k"],"nodes":[0,[1,4,1]]}],"task":"echo","args":[null,{"k":null}],"timeoutMs":5000,"softTimeoutMs":100,"payload":{"a":1}}',
      ),
      full,
      [{ node: 0, data: bytes("[1]") }],
      [[1, 2], [2, 3]],
      { expiresAt: AT + 1e9, submittedAt: AT, rate: { max: 5, perMs: 1_000 }, failures: [] },
    ),
    writeTaskMessage(
      bytes(
        '{"inputs":[{"at":[0],"summary":true},{"at":[1],"failure":1}],"task":"echo","args":[null,null]}',
      ),
      full,
      [],
      [],
      {
        failures: [{ node: 1, label: "add-1", attempt: 1 }],
        summary: { state: "FAILURE", counts: noCounts(), reason: "enough" },
      },
    ),
    writeTaskMessage(bytes('{"task":"echo","args":[[1,2,3]],"calls":"map"}'), context, [], []),
    writeTaskMessage(
      bytes(
        '{"task":"dyrygent.map","args":[{"policy":{"queue":"default","priority":5},"signature":{"task":"add","args":[]}},[1,2]]}',
      ),
      context,
      [],
      [],
    ),
    writeTaskMessage(
      bytes(
        `{"task":"dyrygent.run","args":[${JSON.stringify(small().toJSON())}],"ignoreResult":true}`,
      ),
      context,
      [],
      [],
    ),
  ];
}
