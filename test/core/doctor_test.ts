/** What the doctor makes of what was seen: each kind of finding, and nothing of what is as it should be. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { readFileSync } from "node:fs";
import { InvalidOptionError, type Severity, task } from "nats-dyrygent";
import { DOCTOR_CODES, type DoctorFinding } from "../../src/core/doctor_finding.ts";
import {
  type NamespaceFacts,
  namespaceFindings,
  outOfStep,
  stillOutOfStep,
} from "../../src/core/namespace_health.ts";
import type { LiveProcessor, LiveWorker } from "../../src/core/presence.ts";
import {
  type ConsumerFacts,
  type ServerFacts,
  serverFindings,
  type StreamFacts,
} from "../../src/core/server_health.ts";
import { locally } from "../data/local.ts";

const test = suite("the doctor");

const NOW = 1_700_000_000_000;
const asked = { from: NOW, to: NOW + 50 };

const stream: StreamFacts = {
  name: "KV_demo",
  isOptional: false,
  differences: [],
  bytes: 1_000,
  maxBytes: -1,
  consumers: 1,
  maxConsumers: -1,
  isAsync: false,
  leader: "a",
  followers: [],
};

const consumer: ConsumerFacts = {
  name: "p5-default",
  queue: "default",
  isForeign: false,
  differences: [],
  pending: 0,
  inHand: 0,
  isPulled: false,
};

/** A server of which there is nothing to say. */
const sound: ServerFacts = {
  version: "2.10.27",
  isClustered: false,
  now: NOW + 20,
  replicas: 1,
  storage: "file",
  account: { bytes: 0, maxBytes: -1, consumers: 1, maxConsumers: -1, maxAckPending: -1 },
  streams: [stream],
  missing: { streams: [], consumers: [] },
  consumers: [consumer],
  queued: { lanes: new Map(), runs: new Map(), foreign: [] },
  monitoring: {
    isSyncedAlways: true,
    syncIntervalMs: 120_000,
    bytes: 0,
    maxBytes: 1e9,
    maxConsumers: 1_000,
  },
  unseen: [],
  unanswered: [],
};

const worker: LiveWorker = {
  id: "w",
  queues: ["default"],
  tasks: [],
  concurrency: 1,
  running: 0,
  succeeded: 0,
  failed: 0,
  startedAt: NOW,
  at: NOW,
};
const processor: LiveProcessor = {
  id: "p",
  concurrency: 1,
  active: 0,
  parked: 0,
  startedAt: NOW,
  at: NOW,
};

const healthy: NamespaceFacts = {
  workers: [worker],
  processors: [processor],
  now: NOW,
  ticks: 1,
  schedules: 0,
  outOfStep: { withoutTick: [], ticksAlone: [], ticksLeft: [], tasksLeft: [] },
  quarantined: [],
  unreadable: [],
  newer: [],
};

const ofServer = (change: Partial<ServerFacts>) => serverFindings({ ...sound, ...change }, asked);
const ofNamespace = (change: Partial<NamespaceFacts>, server: Partial<ServerFacts> = {}) =>
  namespaceFindings({ ...healthy, ...change }, { ...sound, ...server });
const ofStream = (change: Partial<StreamFacts>, more: Partial<ServerFacts> = {}) =>
  ofServer({ streams: [{ ...stream, ...change }], ...more });

type Expected = readonly [code: string, severity: Severity, message: RegExp];
const provoked = new Set<string>();

function are(findings: readonly DoctorFinding[], ...expected: Expected[]): void {
  assert.equal(
    findings.map(({ code, severity }) => `${severity} ${code}`),
    expected.map(([code, severity]) => `${severity} ${code}`),
  );
  for (const [i, { code, message, cure }] of findings.entries()) {
    provoked.add(code);
    assert.match(message, expected[i]![2]);
    assert.ok(cure.length > 10);
  }
}

test("of what is as it should be, nothing is said", () => {
  are(ofServer({}));
  are(ofNamespace({}));
  for (const version of ["2.10.30", "2.11.0", "2.15.1", "2.15.9-RC.1"]) are(ofServer({ version }));
});

test("versions: too old, older or newer than tested", () => {
  are(ofServer({ version: "2.9.25" }), ["server-too-old", "error", /2\.9\.25 is too old: 2\.10/]);
  are(ofServer({ version: "unknown" }), ["server-too-old", "error", /unknown/]);
  are(ofServer({ version: "2.10.3" }), ["server-untested", "warning", /older than 2\.10\.27/]);
  for (const version of ["2.16.0", "3.0.0"]) {
    are(ofServer({ version }), ["server-untested", "info", /newer than 2\.15/]);
  }
});

test("clocks: of the server, and of who says that it was there later than now", () => {
  are(ofServer({ now: NOW - 900 }));
  are(ofServer({ now: NOW + 1_000 }));
  are(ofServer({ now: undefined }));
  are(ofServer({ now: NOW - 2_500 }), ["clock-skew", "warning", /the server is 2\.5 s behind/]);
  are(ofServer({ now: NOW + 60_050 }), ["clock-skew", "error", /60\.0 s ahead of/]);
  are(
    ofNamespace({
      workers: [{ ...worker, at: NOW + 5_000 }],
      processors: [{ ...processor, at: NOW - 25_000 }],
    }),
    ["clock-skew", "warning", /clock of worker w is 5\.0 s ahead/],
  );
});

test("durability: disks synced late, memory, one copy in a cluster, what is not known", () => {
  const monitoring = { ...sound.monitoring!, isSyncedAlways: false } as ServerFacts["monitoring"];
  are(ofServer({ monitoring }), ["sync-lazy", "warning", /every 120 s/]);
  are(ofServer({ monitoring, replicas: 3, isClustered: true }));
  are(ofServer({ monitoring: undefined }), ["sync-unknown", "info", /clients are not told/]);
  are(
    ofServer({ monitoring: { unreachable: "http://x/jsz does not answer" } }),
    ["monitoring-unreachable", "warning", /http:\/\/x/],
  );
  are(ofServer({ storage: "memory" }), ["memory-storage", "warning", /memory of one server/]);
  are(ofServer({ isClustered: true }), ["one-copy", "info", /one copy/]);
});

test("streams: missing, drifted, without a leader, acknowledging before they write", () => {
  const missing = { streams: ["demo_TASKS"], consumers: ["consumer processor of demo_TICKS"] };
  are(
    ofServer({ missing }),
    ["stream-missing", "error", /demo_TASKS/],
    ["consumer-missing", "error", /processor of demo_TICKS/],
  );
  const drift = { object: "Stream KV_demo", field: "max_age", expected: 0, actual: 5 };
  const told = /Stream KV_demo has max_age = 5, needs 0/;
  are(ofStream({ differences: [drift] }), ["config-drift", "error", told]);
  are(
    ofStream({ differences: [drift], isOptional: true }),
    ["config-drift", "warning", told],
  );
  const gone = { ...drift, field: "republish", expected: { src: "a" }, actual: undefined };
  are(
    ofStream({ differences: [gone] }),
    ["config-drift", "error", /republish = nothing, needs \{"src":"a"\}/],
  );
  are(ofStream({ leader: undefined }), ["no-leader", "error", /KV_demo/]);
  are(ofStream({ isAsync: true }), ["writes-async", "warning", /KV_demo/]);
});

test("replicas: offline, and worse when too few are left; behind", () => {
  const b = { name: "b", isCurrent: true, isOffline: false, lag: 0 };
  const off = { ...b, isCurrent: false, isOffline: true };
  const three = { replicas: 3, isClustered: true } as const;
  const said = /KV_demo on b is offline/;
  are(ofStream({ followers: [b, b] }, three));
  are(ofStream({ followers: [off, b] }, three), ["replica-offline", "warning", said]);
  are(
    ofStream({ followers: [off, off] }, three),
    ["replica-offline", "error", said],
    ["replica-offline", "error", said],
  );
  are(ofStream({ followers: [{ ...b, lag: 10 }, b] }, three));
  are(
    ofStream({ followers: [{ ...b, lag: 5_000 }, { ...b, isCurrent: false }] }, three),
    ["replica-lagging", "warning", /5000 behind/],
    ["replica-lagging", "warning", /on b/],
  );
});

test("room: of a stream, of the account, of the server", () => {
  are(ofStream({ bytes: 79, maxBytes: 100 }));
  are(ofStream({ bytes: 80, maxBytes: 100 }), ["storage-filling", "warning", /80 % full: 80 of/]);
  const account = { ...sound.account!, bytes: 960, maxBytes: 1_000 };
  are(ofServer({ account }), ["storage-filling", "error", /JetStream of the account is 96 %/]);
  const monitoring = { ...sound.monitoring!, bytes: 9e8 } as ServerFacts["monitoring"];
  are(ofServer({ monitoring }), ["storage-filling", "warning", /of the server is 90 %/]);
});

test("limits: of consumers, and of what is not acknowledged", () => {
  are(ofStream({ consumers: 8, maxConsumers: 10 }), ["account-limited", "warning", /8 of 10/]);
  are(ofStream({ consumers: 1_000 }), ["account-limited", "error", /KV_demo has 1000 of 1000/]);
  const account = { ...sound.account!, consumers: 10, maxConsumers: 10, maxAckPending: 1_000 };
  are(
    ofServer({ account }),
    ["account-limited", "error", /the account has 10 of 10/],
    ["account-limited", "warning", /a consumer 1000 messages/],
  );
});

test("consumers: drifted, strange, missing where tasks wait for them", () => {
  const object = "Consumer p5-default of demo_TASKS";
  const drift = { object, field: "max_ack_pending", expected: -1, actual: 5 };
  are(
    ofServer({ consumers: [{ ...consumer, differences: [drift] }] }),
    ["config-drift", "error", /p5-default of demo_TASKS has max_ack_pending = 5, needs -1/],
  );
  const { queue: _, ...nameless } = consumer;
  are(
    ofServer({ consumers: [consumer, { ...nameless, name: "mine", isForeign: true }] }),
    ["foreign-consumer", "warning", /consumer mine/],
  );
  const queued = {
    lanes: new Map([["p5-default", 1], ["p9-default", 3]]),
    runs: new Map([["a", 4]]),
    foreign: ["demo.task.odd"],
  };
  are(
    ofServer({ queued }),
    ["consumer-missing", "error", /p9-default is missing, and 3 tasks/],
    ["foreign-message", "warning", /demo\.task\.odd/],
  );
  are(
    ofServer({ queued: undefined, unseen: ["denied"], unanswered: ["no answer"] }),
    ["not-seen", "warning", /denied/],
    ["not-seen", "error", /no answer/],
  );
});

test("a queue that nobody serves; not one whose workers are busy, or did not announce themselves", () => {
  const waiting = { consumers: [{ ...consumer, pending: 7 }] };
  const said = /7 tasks wait in queue default/;
  are(ofNamespace({}, waiting));
  are(ofNamespace({ workers: [] }, waiting), ["queue-unserved", "error", said]);
  const other = [{ ...worker, queues: ["other"] }];
  are(ofNamespace({ workers: other }, waiting), ["queue-unserved", "error", said]);
  const pulled = { consumers: [...waiting.consumers, { ...consumer, isPulled: true }] };
  are(ofNamespace({ workers: [] }, pulled));
});

test("no live processor: bad where something waits for one", () => {
  are(ofNamespace({ processors: [] }), ["no-live-processor", "error", /1 runs and 0 schedules/]);
  are(ofNamespace({ processors: [], ticks: 0, schedules: 2 }), [
    "no-live-processor",
    "error",
    /0 runs and 2 schedules/,
  ]);
  are(ofNamespace({ processors: [], ticks: 0 }), ["no-live-processor", "info", /nothing/]);
  const { queue: _, ...ticks } = consumer;
  are(ofNamespace({ processors: [] }, { consumers: [{ ...ticks, isPulled: true }] }));
});

test("what does not fit: runs, ticks and tasks", () => {
  const seen = outOfStep({
    runs: ["open", "lost", "over", "late"],
    ticks: new Set(["open", "late", "alone"]),
    ended: new Set(["over", "late"]),
    queued: ["open", "over", "gone"],
  });
  assert.equal(seen, {
    withoutTick: ["lost"],
    ticksAlone: ["alone"],
    ticksLeft: ["late"],
    tasksLeft: ["over", "gone"],
  });
  const later = { ...seen, ticksLeft: [], tasksLeft: ["gone", "new"] };
  const still = stillOutOfStep(seen, later);
  assert.equal(still, { ...seen, ticksLeft: [], tasksLeft: ["gone"] });
  are(
    ofNamespace({ outOfStep: seen }),
    ["run-without-tick", "warning", /: lost$/],
    ["tick-without-run", "warning", /: alone$/],
    ["tick-left", "warning", /: late$/],
    ["tasks-left", "warning", /: over, gone$/],
  );
});

test("what cannot be read, was written by a newer version, or is in quarantine", () => {
  const quarantined = Array.from({ length: 7 }, (_, i) => `quarantine.a.${i}.1`);
  are(
    ofNamespace({ unreadable: ["schedule x"], newer: ["schedule y"], quarantined }),
    ["record-unreadable", "error", /schedule x cannot be read/],
    ["record-newer", "warning", /schedule y was written/],
    ["quarantined", "warning", /quarantine\.a\.4\.1 and 2 more$/],
  );
});

test("each kind is provoked here, and described in the guide", () => {
  assert.equal([...provoked].sort(), [...DOCTOR_CODES].sort());
  const guide = readFileSync("docs/guide/audit-and-doctor.md", "utf8");
  const rows = [...guide.matchAll(/^\| `([a-z-]+)` +\| (.*?) +\|/gm)].map(([, code]) => code!);
  assert.equal(rows, DOCTOR_CODES);
});

test("without a server only the namespace is looked at; bad options are refused", async () => {
  const add = task("add", (a: number, b: number) => a + b);
  await locally({}, { tasks: [add] }, async ({ app }) => {
    await (await app.submit(add.s(1, 1))).result();
    assert.equal(await app.doctor(), { ok: true, findings: [] });
    for (const monitoringUrl of ["", "localhost:8222", "ftp://x", "http://", 8222 as never]) {
      const error = await app.doctor({ monitoringUrl }).then(() => undefined, (error) => error);
      assert.instance(error, InvalidOptionError, String(monitoringUrl));
    }
  });
});

test.run();
