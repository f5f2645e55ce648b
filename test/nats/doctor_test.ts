/** The doctor on a real server: each thing that can go wrong there is provoked, after the namespace was opened. */
import {
  AckPolicy,
  jetstream,
  type JetStreamManager,
  jetstreamManager,
  StorageType,
  type StreamConfig,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import {
  type DoctorCode,
  type DoctorReport,
  Dyrygent,
  task,
  UnavailableError,
} from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { findFreePorts } from "../../scripts/nats_server.ts";
import { doctor } from "../../src/client/doctor.ts";
import { factsConfig } from "../../src/nats/setup.ts";
import { namesIn } from "../../src/nats/names.ts";
import { natsPorts } from "../../src/nats/open.ts";
import {
  eventually,
  Moment,
  rejection,
  type Scope,
  startServer,
  TestServer,
  within,
} from "./server.ts";
import { add, arithmetic } from "./tasks.ts";

const server = new TestServer();
const test = suite("app.doctor()");
test.after(() => server.stop());

const manager = async (scope: Scope): Promise<JetStreamManager> =>
  jetstreamManager(await scope.raw);

/** Exactly these kinds, in this order; what clients are not told apart. */
function finds({ findings }: DoctorReport, ...codes: DoctorCode[]): void {
  const told = findings.filter(({ code }) => code !== "sync-unknown");
  assert.equal(
    told.map(({ code }) => code),
    codes,
    told.map(({ code, message }) => `${code}: ${message}`).join("\n"),
  );
}

const messagesOf = ({ findings }: DoctorReport) => findings.map(({ message }) => message).join();

test(
  "a namespace at work is well; what clients are not told, the monitoring tells",
  server.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    await (await app.submit(add.s(1, 1))).result();
    const report = await app.doctor();
    assert.is(report.ok, true);
    assert.equal(report.findings.map(({ code, severity }) => [code, severity]), [
      ["sync-unknown", "info"],
    ]);
    // This server syncs every two minutes.
    const asked = await app.doctor({ monitoringUrl: scope.server.monitorUrl! });
    finds(asked, "sync-lazy");
    assert.match(messagesOf(asked), "every 120 s");
    const [port] = await findFreePorts(1);
    finds(
      await app.doctor({ monitoringUrl: `http://127.0.0.1:${port}` }),
      "monitoring-unreachable",
    );
  }),
);

test("a server that syncs every write has nothing to be told", async () => {
  await using synced = await startServer({ syncInterval: "always" });
  const nc = await connect({ servers: synced.url });
  const app = await Dyrygent.open(nc);
  const processor = app.processor();
  await processor.start();
  assert.equal(await app.doctor({ monitoringUrl: `${synced.monitorUrl}/` }), {
    ok: true,
    findings: [],
  });
  await processor.stop();
  await nc.close();
});

const drifts: [stream: string, change: Partial<StreamConfig>, severity: "error" | "warning"][] = [
  ["KV_#", { max_age: 3_600e9 }, "error"],
  ["KV_#", { republish: undefined as never }, "error"],
  ["#_TASKS", { max_msgs_per_subject: 2 }, "error"],
  ["#_TICKS", { max_bytes: 1_000_000 }, "error"],
  ["KV_#_STATE", { max_age: 3_600e9 }, "warning"],
];

test(
  "streams that somebody changed",
  server.scope(async (scope) => {
    const app = await scope.open();
    const { streams } = await manager(scope);
    for (const [stream, change, severity] of drifts) {
      const name = stream.replace("#", scope.namespace);
      const { config } = await streams.info(name);
      await streams.update(name, { ...config, ...change });
      const report = await app.doctor();
      const drift = report.findings.filter(({ code }) => code === "config-drift");
      assert.equal(drift.map((one) => one.severity), [severity], name);
      assert.match(drift[0]!.message, `Stream ${name} has ${Object.keys(change)[0]} = `);
      assert.is(report.ok, severity === "warning");
      await streams.update(name, config);
    }
    finds(await app.doctor(), "no-live-processor");
  }),
);

test(
  "consumers that somebody changed, deleted or added",
  server.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic, queues: ["default", "other"] });
    const { consumers } = await manager(scope);
    const [tasks, ticks] = [`${scope.namespace}_TASKS`, `${scope.namespace}_TICKS`];
    await consumers.update(tasks, "p5-other", { max_ack_pending: 5 });
    await consumers.add(tasks, {
      durable_name: "mine",
      ack_policy: AckPolicy.Explicit,
      filter_subject: `${scope.namespace}.task.mine.>`,
    });
    const report = await app.doctor();
    finds(report, "config-drift", "foreign-consumer");
    assert.match(messagesOf(report), "Consumer p5-other of");
    await consumers.update(tasks, "p5-other", { max_ack_pending: -1 });
    await consumers.delete(tasks, "mine");
    await scope.stop();
    await consumers.delete(ticks, "processor");
    finds(await app.doctor(), "consumer-missing", "no-live-processor");
  }),
);

test(
  "the limit of a lane is no drift",
  server.scope(async (scope) => {
    const limited = task("limited", { concurrency: { key: "k", max: 3 } }, () => null);
    const app = await scope.running({ tasks: [limited] });
    await (await app.submit(limited.s())).result();
    finds(await app.doctor());
  }),
);

test(
  "streams that somebody deleted",
  server.scope(async (scope) => {
    const app = await scope.open();
    const { streams } = await manager(scope);
    await streams.delete(`${scope.namespace}_TICKS`);
    const report = await app.doctor();
    finds(report, "stream-missing");
    assert.is(report.ok, false);
  }),
);

test(
  "who is not there: a processor, a worker of a queue, the consumer of a lane",
  server.scope(async (scope) => {
    const app = await scope.open();
    finds(await app.doctor(), "no-live-processor");
    assert.ok((await app.doctor()).ok);
    const run = await app.submit(add.s(1, 1), { unknownTasks: "ignore" });
    const none = await app.doctor();
    finds(none, "no-live-processor");
    assert.not.ok(none.ok);
    await scope.processor(app);
    await eventually("its task is queued", async () => (await scope.contents()).tasks === 1);
    const unserved = await app.doctor();
    finds(unserved, "queue-unserved");
    assert.match(messagesOf(unserved), "1 tasks wait in queue default");
    await (await manager(scope)).consumers.delete(`${scope.namespace}_TASKS`, "p5-default");
    const missing = await app.doctor();
    finds(missing, "consumer-missing");
    assert.match(messagesOf(missing), "p5-default is missing, and 1 tasks");
    await scope.worker(app, { tasks: arithmetic });
    await run.result();
    finds(await app.doctor());
  }),
);

test(
  "a queue whose workers are busy is served",
  server.scope(async (scope) => {
    const [begun, go] = [new Moment("it runs"), new Moment("it may end")];
    const held = task("held", async () => {
      begun.come();
      await go.wait;
    });
    const app = await scope.running({ tasks: [held], concurrency: 1, prefetch: 0 });
    const runs = await Promise.all([1, 2, 3].map(() => app.submit(held.s())));
    await begun.reached();
    await eventually("all are queued", async () => (await scope.contents()).tasks === 3);
    finds(await app.doctor());
    go.come();
    await Promise.all(runs.map((run) => run.ended()));
  }),
);

test(
  "runs, ticks and tasks that do not fit each other; what nobody understands",
  server.scope(async (scope) => {
    const app = await scope.running({ tasks: arithmetic });
    await (await app.submit(add.s(1, 1), { id: "over" })).ended();
    await scope.rest();
    await scope.stop();
    const { namespace } = scope;
    const js = jetstream(await scope.raw);
    await js.publish(`$KV.${namespace}.broken.def.0`, "not JSON");
    await js.publish(`$KV.${namespace}.newer.def.0`, '{"v":99}\n');
    await js.publish(`${namespace}.tick.newer`, '{"v":1}');
    await js.publish(`${namespace}.tick.over`, '{"v":1}');
    await js.publish(`${namespace}.tick.nobody`, '{"v":1}');
    await js.publish(`${namespace}.task.default.p5.over.0.2`, "{}");
    await js.publish(`${namespace}.task.odd`, "{}");
    await js.publish(`$KV.${namespace}_STATE.quarantine.over.0.1`, "{}");
    await js.publish(`$KV.${namespace}_STATE.schedule.broken`, "{}");
    const report = await app.doctor();
    finds(
      report,
      "no-live-processor",
      "queue-unserved",
      "record-unreadable",
      "record-unreadable",
      "foreign-message",
      "run-without-tick",
      "tick-without-run",
      "tick-left",
      "tasks-left",
      "record-newer",
      "quarantined",
    );
    const said = messagesOf(report);
    assert.match(said, "run broken cannot be read");
    assert.match(said, "schedule broken cannot be read");
    assert.match(said, "run newer was written by a newer version");
  }, { leavesWork: true }),
);

test(
  "a run that is retried without a tick has not ended",
  server.scope(async (scope) => {
    const failing = task("failing", (): number => {
      throw new Error("no luck");
    });
    const app = await scope.running({ tasks: [failing] });
    const run = await app.submit(failing.s(), { id: "failed" });
    await run.ended();
    await scope.rest();
    await scope.stop();
    await scope.processor(await scope.open());
    finds(await app.doctor());
    const retry = JSON.stringify({ v: 1, id: "x", at: 1, is: "retry" });
    await jetstream(await scope.raw).publish(`$KV.${scope.namespace}.failed.ctl.1`, retry);
    finds(await app.doctor(), "run-without-tick");
  }, { leavesWork: true }),
);

test(
  "a stream that is nearly full, and one that is kept in memory",
  server.scope(async (scope) => {
    const app = await scope.open();
    const { streams } = await manager(scope);
    const name = `KV_${scope.namespace}`;
    await jetstream(await scope.raw).publish(`$KV.${scope.namespace}.x.def.a-1`, "x".repeat(9_000));
    const { state: { bytes } } = await streams.info(name);
    await streams.update(name, { max_bytes: Math.ceil(bytes / 0.9) });
    const report = await app.doctor();
    finds(report, "storage-filling", "no-live-processor");
    assert.match(messagesOf(report), `stream ${name} is`);
    const memory = await Dyrygent.open(await scope.connect(), {
      namespace: `${scope.namespace}_m`,
      storage: "memory",
    });
    finds(await memory.doctor(), "memory-storage", "no-live-processor");
  }),
);

test(
  "a clock that is not the server's",
  server.scope(async (scope) => {
    const namespace = scope.namespace;
    const ports = await natsPorts(await scope.raw, {
      namespace,
      replicas: 1,
      storage: "file",
      log: () => {},
      tickLeaseMs: 10_000,
      taskLeaseMs: 30_000,
    });
    const off = { ...ports.clock, now: () => ports.clock.now() + 90_000 };
    const report = await doctor({ ...ports, clock: off });
    finds(report, "clock-skew", "no-live-processor");
    assert.match(messagesOf(report), /the server is (89|90)\.\d s behind/);
    assert.not.ok(report.ok);
  }),
);

test("a stream that acknowledges before it writes, on servers that have that", async () => {
  await using modern = await startServer();
  const nc = await connect({ servers: modern.url });
  const [, minor] = modern.version.split(".").map(Number);
  const { streams } = await jetstreamManager(nc);
  const wanted = factsConfig(namesIn("demo"), { replicas: 1, storage: "file" });
  await streams.add({ ...wanted, storage: StorageType.File, persist_mode: "async" } as never);
  const app = await Dyrygent.open(nc, { namespace: "demo" });
  const { findings } = await app.doctor();
  assert.is(findings.some(({ code }) => code === "writes-async"), minor! >= 12);
  await nc.close();
});

test("a replica whose server is away", async () => {
  const ports = await findFreePorts(3);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`);
  const servers = await Promise.all(
    ports.map((port, i) =>
      startServer({ cluster: { name: "doctor", serverName: `s${i}`, port, routes } })
    ),
  );
  const nc = await connect({ servers: servers[0]!.url });
  try {
    let app: Dyrygent | undefined;
    await eventually("the cluster is up", async () => {
      const opened = await Dyrygent.open(nc, { replicas: 3 }).catch((error) => error);
      if (opened instanceof Dyrygent) app = opened;
      return app !== undefined || opened;
    }, 20_000);
    const seen = async () => {
      const report = await app!.doctor().catch(() => undefined);
      return report?.findings.filter(({ severity }) => severity !== "info");
    };
    await eventually("all is well", async () => (await seen())?.length === 0, 20_000);
    await servers[2]!.kill();
    // A leader that was elected since has never heard of it, and does not call it offline.
    await eventually("each stream misses it", async () => {
      const missed = (await seen() ?? []).filter(({ message }) => message.includes(" on s2 is "));
      const codes = missed.map(({ code }) => code);
      return codes.includes("replica-offline") && codes.length === 4 || String(codes);
    }, 30_000);
  } finally {
    await nc.close();
    await Promise.all(servers.map((one) => one.stop()));
  }
});

test(
  "on a connection that is closed nothing can be seen",
  server.scope(async (scope) => {
    const nc = await scope.connect();
    const app = await scope.open({}, nc);
    await nc.close();
    assert.instance(await rejection(within("the doctor", app.doctor(), 2_000)), UnavailableError);
  }),
);

/** An account with these limits, one user `all`, and one who may not list consumers. */
const limited = `
  accounts {
    limited {
      jetstream: { max_file: 1000000, max_consumers: 2, max_ack_pending: 5000 }
      users: [
        { user: "all", password: "x" }
        {
          user: "some", password: "x"
          permissions: { publish: { deny: ["$JS.API.CONSUMER.LIST.>"] } }
        }
      ]
    }
  }`;

test("an account's limits, and what a user may not see", async () => {
  await using server = await startServer({ config: limited });
  const nc = await connect({ servers: server.url, user: "all", pass: "x" });
  const app = await Dyrygent.open(nc);
  const worker = app.worker({ tasks: [add] });
  const processor = app.processor();
  await Promise.all([worker.start(), processor.start()]);
  const report = await app.doctor();
  finds(report, "account-limited", "account-limited");
  assert.match(messagesOf(report), /has 2 of 2 consumers.*5000 messages/);
  await jetstream(nc).publish("$KV.dyrygent.x.def.a-1", "x".repeat(900_000));
  finds(await app.doctor(), "account-limited", "storage-filling", "account-limited");

  const some = await connect({ servers: server.url, user: "some", pass: "x" });
  const seen = await within("the doctor", (await openOn(some)).doctor());
  assert.ok(seen.findings.some(({ code }) => code === "not-seen"));
  assert.match(messagesOf(seen), /the lanes: permission denied .*CONSUMER\.LIST/);
  await Promise.all([worker.stop(), processor.stop()]);
  await Promise.all([nc.close(), some.close()]);
});

const openOn = (nc: NatsConnection) => Dyrygent.open(nc, { log: () => {} });

test.run();
