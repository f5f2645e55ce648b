/** What `Dyrygent.open` makes on a server, and what it refuses to work with. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type ConsumerConfig,
  type JetStreamManager,
  jetstreamManager,
  type StreamConfig,
} from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import {
  ConfigMismatchError,
  Dyrygent,
  type DyrygentOptions,
  InvalidOptionError,
  UnavailableError,
  UnsupportedServerError,
} from "nats-dyrygent";
import type { NatsServer } from "../../scripts/nats_server.ts";
import { Moment, rejection, type Scope, startServer, TestServer, within } from "./server.ts";
import { add, arithmetic } from "./tasks.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const SECOND = 1_000_000_000;

/** Those fields of `actual` that `expected` has; what the server leaves out is null. */
function only(expected: object, actual: object): Record<string, unknown> {
  const found = actual as Record<string, unknown>;
  return Object.fromEntries(Object.keys(expected).map((key) => [key, found[key] ?? null]));
}

/** Where the server keeps a stream; the name of the store's own folder is the account's. */
const folderOf = ({ storeDir }: NatsServer, stream: string) =>
  join(storeDir, "jetstream", "$G", "streams", stream);

test(
  "a server that cannot make a stream yet, as while it clears up, is asked again",
  tests.scope(async (scope) => {
    const raw = await scope.raw;
    const obstacle = folderOf(scope.server, `KV_${scope.namespace}`);
    mkdirSync(dirname(obstacle), { recursive: true });
    writeFileSync(obstacle, "a file where the stream's folder belongs");
    const answered = new Moment<number>("an answer to the first request for the stream");
    raw.subscribe("$JS.EVENT.ADVISORY.API", {
      callback: (_, msg) => {
        const { subject, response } = msg.json<{ subject: string; response: string }>();
        if (subject !== `$JS.API.STREAM.CREATE.KV_${scope.namespace}`) return;
        answered.come(JSON.parse(response).error?.err_code);
      },
    });
    await raw.flush();
    const opening = scope.open();
    assert.is(await answered.reached(), 10049);
    // Newer servers have removed it themselves by now.
    rmSync(obstacle, { force: true });
    await within("open", opening);
  }),
);

test(
  "a stream that the server refuses for good, as its subjects are taken, fails at once",
  tests.scope(async (scope) => {
    const { streams } = await jetstreamManager(await scope.raw);
    await streams.add({
      name: `${scope.namespace}_OTHER`,
      subjects: [`${scope.namespace}.tick.>`],
    });
    const error = await within("refusal", rejection(scope.open()), 2_000);
    assert.instance(error, UnavailableError);
    assert.match(error.message, /set up stream .*_TICKS.* overlap/);
  }),
);

test(
  "open makes the streams as designed",
  tests.scope(async (scope) => {
    await scope.open();
    const { streams } = await jetstreamManager(await scope.raw);
    const ns = scope.namespace;
    const common = { max_age: 0, max_msgs: -1, max_bytes: -1, num_replicas: 1, storage: "file" };
    const facts = {
      ...common,
      subjects: [`$KV.${ns}.>`],
      retention: "limits",
      discard: "new",
      discard_new_per_subject: true,
      max_msgs_per_subject: 1,
      deny_delete: true,
      deny_purge: false,
      allow_rollup_hdrs: false,
      allow_direct: true,
      republish: { src: `$KV.${ns}.>`, dest: `${ns}.fact.>` },
    };
    const tasks = {
      ...common,
      subjects: [`${ns}.task.>`],
      retention: "workqueue",
      discard: "new",
      discard_new_per_subject: true,
      max_msgs_per_subject: 1,
    };
    const ticks = {
      ...common,
      subjects: [`${ns}.tick.>`],
      retention: "workqueue",
      discard: "old",
      max_msgs_per_subject: 1,
    };
    for (
      const [name, expected] of [[`KV_${ns}`, facts], [`${ns}_TASKS`, tasks], [
        `${ns}_TICKS`,
        ticks,
      ]] as const
    ) {
      const { config } = await streams.info(name);
      assert.equal(only(expected, config), expected, name);
    }
    const state = (await streams.info(`KV_${ns}_STATE`)).config;
    assert.equal([state.max_msgs_per_subject, state.discard], [1, "new"]);
  }),
);

test(
  "open makes the processors' consumer, a worker its lanes' consumers, as designed",
  tests.scope(async (scope) => {
    const app = await scope.open({ tickLease: "7s", taskLease: "11s" });
    await scope.worker(app, { tasks: arithmetic, queues: ["a-queue"] });
    const { consumers } = await jetstreamManager(await scope.raw);
    const ns = scope.namespace;
    const common = {
      ack_policy: "explicit",
      deliver_policy: "all",
      replay_policy: "instant",
      max_deliver: -1,
      max_ack_pending: -1,
      backoff: null,
      inactive_threshold: null,
    };
    const tick = { ...common, filter_subject: `${ns}.tick.>`, ack_wait: 7 * SECOND };
    const lane = { ...common, filter_subject: `${ns}.task.a-queue.p5.>`, ack_wait: 11 * SECOND };
    assert.equal(
      only(tick, (await consumers.info(`${ns}_TICKS`, "processor")).config),
      tick,
    );
    assert.equal(
      only(lane, (await consumers.info(`${ns}_TASKS`, "p5-a-queue")).config),
      lane,
    );
  }),
);

test(
  "open again, also ten times at once, changes nothing",
  tests.scope(async (scope) => {
    await Promise.all(Array.from({ length: 10 }, () => scope.open()));
    const { streams } = await jetstreamManager(await scope.raw);
    const before = await streams.info(`KV_${scope.namespace}`);
    await scope.open();
    const after = await streams.info(`KV_${scope.namespace}`);
    assert.equal([after.config, after.created], [before.config, before.created]);
  }),
);

test(
  "storage may be memory",
  tests.scope(async (scope) => {
    await scope.open({ storage: "memory" });
    const { streams } = await jetstreamManager(await scope.raw);
    for (const name of ["KV_#", "#_TASKS", "#_TICKS", "KV_#_STATE"]) {
      const { config } = await streams.info(name.replace("#", scope.namespace));
      assert.is(config.storage, "memory");
    }
    const error = await rejection(scope.open({ storage: "file" })) as ConfigMismatchError;
    assert.instance(error, ConfigMismatchError);
    assert.is(error.field, "storage");
  }),
);

/** Makes a stream anew with another configuration. */
async function changeStream(jsm: JetStreamManager, name: string, change: Partial<StreamConfig>) {
  const { config } = await jsm.streams.info(name);
  await jsm.streams.delete(name);
  await jsm.streams.add({ ...config, ...change } as StreamConfig & { name: string });
}

const drifted: [stream: string, change: Record<string, unknown>][] = [
  ["KV_#", { max_msgs_per_subject: 2 }],
  ["KV_#", { discard_new_per_subject: false }],
  ["KV_#", { discard: "old", discard_new_per_subject: false }],
  ["KV_#", { deny_delete: false }],
  ["KV_#", { deny_purge: true }],
  ["KV_#", { allow_rollup_hdrs: true }],
  ["KV_#", { allow_direct: false }],
  ["KV_#", { republish: undefined }],
  ["KV_#", { republish: { src: "$KV.#.>", dest: "elsewhere.>" } }],
  ["KV_#", { republish: { src: "$KV.#.>", dest: "#.fact.>", headers_only: true } }],
  ["KV_#", { max_age: 3_600 * SECOND }],
  ["KV_#", { max_msgs: 1_000_000 }],
  ["KV_#", { subjects: ["$KV.#.*.def.>"] }],
  ["KV_#", { storage: "memory" }],
  ["KV_#", { retention: "interest", discard: "new" }],
  ["#_TASKS", { retention: "limits" }],
  ["#_TASKS", { discard: "old", discard_new_per_subject: false }],
  ["#_TASKS", { discard_new_per_subject: false }],
  ["#_TASKS", { max_msgs_per_subject: 2 }],
  ["#_TASKS", { max_age: 3_600 * SECOND }],
  ["#_TASKS", { max_msgs: 10_000 }],
  ["#_TICKS", { retention: "limits" }],
  ["#_TICKS", { discard: "new" }],
  ["#_TICKS", { max_msgs_per_subject: 2 }],
  ["#_TICKS", { max_msgs: 10_000 }],
  ["#_TICKS", { max_bytes: 1_000_000 }],
  ["#_TICKS", { max_age: 3_600 * SECOND }],
];

for (const [stream, change] of drifted) {
  test(
    `a stream ${stream} with ${JSON.stringify(change)} is refused, naming the field`,
    tests.scope(async (scope) => {
      await scope.open();
      const jsm = await jetstreamManager(await scope.raw);
      const ns = scope.namespace;
      const name = stream.replace("#", ns);
      await changeStream(jsm, name, fillIn(change, ns));
      const error = await rejection(scope.open()) as ConfigMismatchError;
      assert.instance(error, ConfigMismatchError);
      assert.is(error.object, `Stream ${name}`);
      assert.ok(Object.keys(change).includes(error.field), error.message);
      assert.match(error.message, error.field);
      assert.match(error.hint, /Set it back/);
    }),
  );
}

/** `change` with the namespace for every `#`. */
function fillIn<T>(change: T, namespace: string): T {
  const text = JSON.stringify(change).replaceAll("#", namespace);
  const undefineds = Object.fromEntries(
    Object.entries(change as object).filter(([, value]) => value === undefined),
  );
  return { ...JSON.parse(text), ...undefineds };
}

const driftedConsumers: Record<string, unknown>[] = [
  { ack_wait: 3 * SECOND },
  { max_deliver: 5 },
  { max_ack_pending: 1_000 },
  { max_deliver: 3, ack_wait: SECOND, backoff: [SECOND, 2 * SECOND] },
  { inactive_threshold: 3_600 * SECOND },
  { headers_only: true },
  { filter_subject: "#.other.x" },
];

for (const change of driftedConsumers) {
  test(
    `a consumer with ${JSON.stringify(change)} is refused, by processors and by workers`,
    tests.scope(async (scope) => {
      const app = await scope.open();
      await scope.worker(app, { tasks: arithmetic });
      await scope.stop();
      const { consumers } = await jetstreamManager(await scope.raw);
      const ns = scope.namespace;
      const recreate = async (stream: string, name: string, part: string) => {
        const { config } = await consumers.info(stream, name);
        await consumers.delete(stream, name);
        const text = JSON.stringify(change).replace("#.other", part);
        await consumers.add(stream, { ...config, ...JSON.parse(text) } as ConsumerConfig);
      };
      const refused = async (attempt: Promise<unknown>, object: string) => {
        const error = await rejection(attempt) as ConfigMismatchError;
        assert.instance(error, ConfigMismatchError);
        assert.is(error.object, object);
        assert.ok(Object.keys(change).includes(error.field), error.message);
      };
      await recreate(`${ns}_TASKS`, "p5-default", `${ns}.task`);
      const worker = (await scope.open()).worker({ tasks: arithmetic });
      await refused(worker.start(), `Consumer p5-default of ${ns}_TASKS`);
      await recreate(`${ns}_TICKS`, "processor", `${ns}.tick`);
      await refused(scope.open(), `Consumer processor of ${ns}_TICKS`);
    }),
  );
}

test(
  "what carries no promise may be changed: descriptions, limits that refuse, compression",
  tests.scope(async (scope) => {
    await scope.open();
    const jsm = await jetstreamManager(await scope.raw);
    const name = `KV_${scope.namespace}`;
    await jsm.streams.update(name, { description: "ours", max_bytes: 1e9 });
    await scope.open();
  }),
);

test("a server without JetStream is unsupported", async () => {
  await using server = await startServer({ jetstream: false });
  const nc = await connect({ servers: server.url });
  const error = await rejection(within("open", Dyrygent.open(nc)));
  assert.instance(error, UnsupportedServerError);
  assert.match(error.message, /JetStream is not enabled/);
  await nc.close();
});

test("an account without JetStream is unsupported", async () => {
  const config = `accounts {
    poor { users: [{ user: "poor", password: "x" }] }
    rich { users: [{ user: "rich", password: "x" }], jetstream: enabled }
  }`;
  await using server = await startServer({ config });
  const nc = await connect({ servers: server.url, user: "poor", pass: "x" });
  assert.instance(await rejection(within("open", Dyrygent.open(nc))), UnsupportedServerError);
  await nc.close();
});

/** Greets as a server of that version does, and answers pings. */
async function startGreeter(version: string) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const info = { server_id: "old", version, proto: 1, headers: true, max_payload: 1_048_576 };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (data) => data.includes("PING") && socket.write("PONG\r\n"));
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `nats://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

for (const version of ["2.9.25", "2.2.0", "1.4.1"]) {
  test(`a server of version ${version} is unsupported, and nothing is sent to it`, async () => {
    await using greeter = await startGreeter(version);
    const nc = await connect({ servers: greeter.url });
    const error = await rejection(within("open", Dyrygent.open(nc)));
    assert.instance(error, UnsupportedServerError);
    assert.ok(error.message.includes(`nats-server ${version} is too old`), error.message);
    assert.match(error.message, /2\.10 or newer/);
    await nc.close();
  });
}

/** One user who may do everything but what `permissions` say. */
const restricted = (permissions: string) =>
  `authorization { users: [
    { user: "all", password: "x" },
    { user: "some", password: "x", permissions: { ${permissions} } },
  ] }`;

const deniedAtOpen = [
  'publish: { deny: ["$JS.API.INFO"] }',
  'publish: { deny: ["$JS.API.STREAM.INFO.>"] }',
  'publish: { deny: ["$JS.API.STREAM.CREATE.>"] }',
  'publish: { deny: ["$JS.API.CONSUMER.>"] }',
  'subscribe: { deny: ["_INBOX.>"] }',
];

for (const permissions of deniedAtOpen) {
  test(`open with the permissions ${permissions} names what is denied`, async () => {
    await using server = await startServer({ config: restricted(permissions) });
    const nc = await connect({ servers: server.url, user: "some", pass: "x" });
    const error = await rejection(within("open", Dyrygent.open(nc, { namespace: "denied" })));
    assert.instance(error, UnavailableError);
    const subject = /"([^">]*)/.exec(permissions)![1]!;
    assert.match(error.message, /permission denied/);
    assert.ok(error.message.includes(subject), error.message);
    await nc.close();
  });
}

test("a submit that may not be written names the denied subject, and soon", async () => {
  const config = restricted('publish: { deny: ["$KV.denied.>"] }');
  await using server = await startServer({ config });
  const nc = await connect({ servers: server.url, user: "some", pass: "x" });
  const app = await Dyrygent.open(nc, { namespace: "denied" });
  const error = await rejection(
    within("submit", app.submit(add.s(1, 1), { id: "no", unknownTasks: "ignore" })),
  );
  assert.instance(error, UnavailableError);
  assert.match(error.message, /permission denied for publish on "\$KV\.denied\.no\.def\.0"/);
  await nc.close();
});

test("a status that may not be read names the denied subject, and soon", async () => {
  const config = restricted('publish: { deny: ["$JS.API.STREAM.MSG.GET.>"] }');
  await using server = await startServer({ config });
  const nc = await connect({ servers: server.url, user: "some", pass: "x" });
  const app = await Dyrygent.open(nc, { namespace: "denied" });
  const error = await rejection(within("status", app.run("no").status()));
  assert.instance(error, UnavailableError);
  assert.match(error.message, /permission denied for publish on "\$JS\.API\.STREAM\.MSG\.GET/);
  await nc.close();
});

test(
  "everything on a closed connection is Unavailable, at once",
  tests.scope(async (scope) => {
    const nc = await scope.connect();
    const app = await scope.open({}, nc);
    const run = await app.submit(add.s(1, 1), { id: "before" });
    const worker = app.worker({ tasks: arithmetic });
    const waiting = [run.result(), run.result(0), run.ended(), run.watch().next()]
      .map((promise) => rejection(promise));
    await nc.flush();
    await nc.close();
    const asked: (() => Promise<unknown>)[] = [
      () => Dyrygent.open(nc),
      () => app.submit(add.s(1, 1)),
      () => run.status(),
      () => run.result(),
      () => run.cancel(),
      () => app.list().next(),
      () => worker.start(),
      () => app.processor().start(),
      () => app.processor().runOnce(),
      () => app.processor().sweep(),
    ];
    const errors = [...asked.map((ask) => rejection(ask())), ...waiting];
    for (const [i, error] of errors.entries()) {
      const found = await within(`answer ${i}`, error, 2_000);
      assert.instance(found, UnavailableError, `answer ${i}: ${found}`);
      assert.match(found.message, /closed/, `answer ${i}: ${found}`);
    }
  }, { leavesWork: true }),
);

test("open while the server is down is Unavailable within six seconds", async () => {
  const server = await startServer();
  const nc = await connect({ servers: server.url, maxReconnectAttempts: -1 });
  await server.kill();
  const error = await rejection(within("open", Dyrygent.open(nc), 6_000));
  assert.instance(error, UnavailableError);
  await nc.close();
  await server.stop();
});

test("what waits for a server that never comes back is Unavailable once its connection gives up", async () => {
  const server = await startServer();
  const nc = await connect({
    servers: server.url,
    maxReconnectAttempts: 3,
    reconnectTimeWait: 50,
    noAsyncTraces: true,
  });
  const app = await Dyrygent.open(nc);
  const lost = new Moment("the connection is lost");
  void (async () => {
    for await (const { type } of nc.status()) if (type === "disconnect") lost.come();
  })();
  await server.kill();
  await lost.reached();
  const error = await rejection(within("submit", app.submit(add.s(1, 1))));
  assert.instance(error, UnavailableError);
  assert.match(error.message, /connection (is|was) closed/);
  await server.stop();
});

for (const [how, stop] of [["is down", "SIGKILL"], ["does not answer", "SIGSTOP"]] as const) {
  test(`workers and processors can be stopped while the server ${how}`, async () => {
    const server = await startServer();
    const nc = await connect({ servers: server.url, maxReconnectAttempts: -1 });
    const app = await Dyrygent.open(nc, { log: () => {} });
    const worker = app.worker({ tasks: arithmetic });
    const processor = app.processor();
    await Promise.all([worker.start(), processor.start()]);
    await (await app.submit(add.s(1, 1))).result();
    process.kill(server.pid!, stop);
    await within("stopping", Promise.all([worker.stop({ timeout: "1s" }), processor.stop()]));
    await nc.close();
    await server.kill();
    await server.stop();
  });
}

test(
  "namespaces on one server know nothing of each other",
  tests.scope(async (scope) => {
    const nc = await scope.connect();
    const names = [`${scope.namespace}_a`, `${scope.namespace}_b`];
    const [a, b] = await Promise.all(
      names.map((namespace) => Dyrygent.open(nc, { namespace })),
    ) as [Dyrygent, Dyrygent];
    await scope.worker(a, { tasks: arithmetic });
    await scope.processor(a);
    const inA = await a.submit(add.s(1, 1), { id: "same" });
    const inB = await b.submit(add.s(2, 2), { id: "same" });
    assert.is(await inA.result(), 2);
    assert.is((await inB.status()).state, "INITIAL");
    await scope.worker(b, { tasks: arithmetic });
    await scope.processor(b);
    assert.is(await inB.result(), 4);
    const listed: string[] = [];
    for await (const { id } of a.list()) listed.push(id);
    assert.equal(listed, ["same"]);
  }),
);

const badOptions: [options: Record<string, unknown>, option: string][] = [
  ...["", "a.b", "a b", "*", ">", "a\r\nb", "a\0b", "ż", "x".repeat(65), 7].map((
    namespace,
  ): [Record<string, unknown>, string] => [{ namespace }, "namespace"]),
  [{ replicas: 2 }, "replicas"],
  [{ replicas: "3" }, "replicas"],
  [{ storage: "tape" }, "storage"],
  [{ tickLease: "10" }, "tickLease"],
  [{ tickLease: 0 }, "tickLease"],
  [{ tickLease: -1 }, "tickLease"],
  [{ taskLease: NaN }, "taskLease"],
  [{ taskLease: 1e300 }, "taskLease"],
  [{ taskLeaseMs: 1_000 }, "taskLeaseMs"],
];

test(
  "bad options of open are refused before anything is sent",
  tests.scope(async (scope) => {
    const nc = await scope.connect();
    const { outMsgs } = nc.stats();
    for (const [options, option] of badOptions) {
      const error = await rejection(Dyrygent.open(nc, options as DyrygentOptions));
      assert.instance(error, InvalidOptionError, JSON.stringify(options));
      assert.is((error as InvalidOptionError).option, option);
    }
    assert.is(nc.stats().outMsgs, outMsgs);
  }),
);

/** Options that a worker or processor refuses. */
async function refuses(scope: Scope, make: (app: Dyrygent) => unknown): Promise<string> {
  const app = await scope.open();
  try {
    make(app);
  } catch (error) {
    assert.instance(error, InvalidOptionError);
    return (error as InvalidOptionError).option;
  }
  throw new Error("it was accepted");
}

test(
  "bad options of workers and processors are refused",
  tests.scope(async (scope) => {
    const bad: [(app: Dyrygent) => unknown, string][] = [
      [(app) => app.worker({ tasks: [add], queues: ["a.b"] }), "queue"],
      [(app) => app.worker({ tasks: [add], concurrency: 0 }), "concurrency"],
      [(app) => app.worker({ tasks: [add], prefetch: -1 }), "prefetch"],
      [(app) => app.worker({ tasks: [add], id: "a b" }), "worker id"],
      [(app) => app.worker({ tasks: [add], maxCrashes: 0.5 }), "maxCrashes"],
      [(app) => app.worker({ tasks: [(() => 1) as never] }), "tasks"],
      [(app) => app.worker({ tasks: [add], conc: 1 } as never), "conc"],
      [(app) => app.processor({ window: 0 }), "window"],
      [(app) => app.processor({ concurrency: NaN }), "concurrency"],
      [(app) => app.processor({ tick: { idle: ["1s", "0s"] } }), "tick.idle[1]"],
      [(app) => app.processor({ sweep: "1x" as never }), "sweep"],
      [(app) => app.processor().on("end" as "finish", () => {}), "event"],
    ];
    for (const [make, option] of bad) assert.is(await refuses(scope, make), option);
  }),
);

test.run();
