/**
 * Each role works with the permissions that docs/protocol.md gives it, on a real server; each of these permissions is
 * used; SECURITY.md's table lists the same; and what that page says a role cannot do, the server refuses. What was used
 * is taken from the server's own trace, not from what the library believes to send.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { currentTask, Dyrygent, type LogLevel, type Schedule, task, Workflow } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { eventually, rejection, startServer, within } from "./server.ts";

const ROLES = ["client", "worker", "processor"] as const;
type Role = typeof ROLES[number];

/** Subjects, with wildcards. */
interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

const conf = /^```conf\n([^]*?)\n```$/m.exec(readFileSync("docs/protocol.md", "utf8"))![1]!;
const security = readFileSync("SECURITY.md", "utf8");
const permissions = Object.fromEntries(ROLES.map((role) => [role, permissionsOf(role)])) as Record<
  Role,
  Permissions
>;

function permissionsOf(role: Role): Permissions {
  const [, publish, subscribe] = new RegExp(
    `user: ${role}, .*?\\bpublish: \\[(.*?)\\].*?\\bsubscribe: \\[(.*?)\\]`,
    "s",
  ).exec(conf)!;
  const subjects = (list: string) => [...list.matchAll(/"(.*?)"/g)].map(([, subject]) => subject!);
  return { publish: subjects(publish!), subscribe: subjects(subscribe!) };
}

/** Whether a subject, perhaps with wildcards of its own, is within a pattern. */
function isWithin(subject: string, pattern: string): boolean {
  const [got, wanted] = [subject.split("."), pattern.split(".")];
  for (const [i, part] of wanted.entries()) {
    if (part === ">") return got.length > i;
    if (got[i] === undefined || got[i] === ">") return false;
    if (part !== "*" && part !== got[i]) return false;
  }
  return got.length === wanted.length;
}

const add = task("add", (a: number, b: number) => a + b);
const long = task("long", (length: number) => "x".repeat(length));
const double = task("double", { timeout: "30s" }, (n: number) => 2 * n);
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

type Apps = Record<Role, Dyrygent>;

/** Everything that needs a permission, at least once. */
async function useEverything(apps: Apps, admin: NatsConnection): Promise<void> {
  const { client, worker: forWorker, processor: forProcessor } = apps;
  const failing = task("failing", (): number => {
    throw new Error("always");
  });
  // Not before some task ran long enough to be told as started.
  const toldAsStarted = new Promise<void>((resolve) =>
    admin.subscribe("demo.event.started.>", { callback: () => resolve() })
  );
  const reporting = task("reporting", async () => {
    currentTask().progress(0.5);
    await toldAsStarted;
  });
  const worker = forWorker.worker({ tasks: [add, sum, double, failing, reporting, long] });
  const processor = forProcessor.processor({ retention: 0, tick: { idle: [50, 50] } });
  await Promise.all([worker.start(), processor.start()]);

  await admin.request("demo.task.default.p5.junk", "not a task");
  const wf = new Workflow("allowed", { payload: "x".repeat(100) });
  const huge = wf.call(task("size", (text: string) => text.length), "x".repeat(600_000));
  wf.call(add, 1, 1).set({ priority: 1 });
  for (const max of [1, 2]) wf.call(add, 1, 1).set({ concurrency: { key: "shared", max } });
  wf.call(add, 1, 1).set({ rateLimit: { max: 1, per: "50ms" } });
  wf.call(reporting);
  wf.call(
    task("add", (a: string, b: string) => a + b),
    wf.call(long, 1_500_000).named("big"),
    "",
  );
  wf.call(failing).after(huge, { on: "failure" });
  wf.call(sum, [huge]).set({ payload: "y".repeat(600) });
  wf.call(add, 1, 1).set({ countdown: "1h" }).named("far");
  wf.call(task("size", (text: string) => text.length), "x".repeat(600_000));
  const served = { unknownTasks: "refuse", dedupe: { key: "served" } } as const;
  await (await client.submit(add.s(1, 1), { ...served, id: "served" })).result();
  assert.is((await client.submit(add.s(1, 1), served)).id, "served");
  assert.is((await client.workers()).length, 1);
  assert.is((await client.processors()).length, 1);
  const often = await client.schedule("often", { every: "1s" }, add.s(1, 1));
  await submittedBy(often);
  for await (const { id } of client.schedules()) await client.scheduleOf(id).pause();
  assert.is(await (await often.runNow()).result(), 2);
  await often.remove();
  const run = await client.submit(wf, { id: "allowed", unknownTasks: "ignore" });
  await run.pause();
  await run.resume();
  await run.skip(["far"]);
  assert.is((await run.ended()).state, "FAILURE");
  assert.is((await run.result("big") as string).length, 1_500_000);
  for await (const _ of run.watch()) { /* all of it */ }
  const junk = await admin.request("$JS.API.STREAM.INFO.demo_TASKS");
  assert.is(junk.json<{ state: { messages: number } }>().state.messages, 0);
  assert.match((await rejection(run.result())).message, /UnknownTaskError/);
  await run.retryFailed();
  await run.cancel("enough");
  assert.ok((await run.ended()).round === 2);
  const grown = new Workflow("grown");
  grown.map(double, [1]).after(grown.waitFor("go"));
  const growing = await client.submit(grown, { id: "grown" });
  await growing.send("go");
  assert.equal(await growing.result(), [2]);
  assert.equal((await growing.audit()).findings, []);
  const { findings } = await client.doctor();
  assert.not.ok(findings.some(({ code }) => code === "not-seen"));
  const late = new Workflow("late", { timeout: "200ms" });
  late.waitFor("never");
  assert.is((await (await client.submit(late, { id: "late" })).ended()).state, "ERROR");
  const gone = await client.submit(long.s(1_500_000), { id: "gone" });
  await gone.result();
  assert.ok((await gone.remove()).applied);
  for await (const { id } of client.list({ limit: 1 })) assert.is(id, "allowed");
  const removed = new Set((await processor.sweep()).removed.map((id) => id.split("-")[0]));
  assert.equal([...removed].toSorted(), ["allowed", "grown", "late", "often", "served"]);
  await Promise.all([worker.stop(), processor.stop()]);
}

/** Resolves when a run of the schedule was submitted. */
function submittedBy(schedule: Schedule): Promise<void> {
  return eventually("a run of the schedule", async () => {
    return (await schedule.status()).lastRun !== undefined;
  });
}

/** Somebody removes consumers while they are in use. */
async function repair({ client, worker, processor }: Apps, admin: NatsConnection): Promise<void> {
  const working = worker.worker({ tasks: [add] });
  const conducting = processor.processor({ tick: { idle: [50, 50] } });
  await Promise.all([working.start(), conducting.start()]);
  await (await client.submit(add.s(1, 1))).result();
  for (const consumer of ["demo_TICKS.processor", "demo_TASKS.p5-default"]) {
    await admin.request(`$JS.API.CONSUMER.DELETE.${consumer}`);
  }
  assert.is(await (await client.submit(add.s(2, 2))).result(), 4);
  await Promise.all([working.stop(), conducting.stop()]);
}

interface Traced {
  /** Subjects as the server saw them. */
  readonly used: Record<Role, Permissions>;
  /** What the server refused. */
  readonly refusals: readonly string[];
}

/** The rows of the first table below a title of SECURITY.md, without the code marks. */
function tableBelow(title: string): string[][] {
  const section = security.split(`\n${title}\n`)[1]!.split(/\n#/)[0]!;
  const [, , ...rows] = section.split("\n").filter((line) => line.startsWith("|"));
  return rows.map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.trim().replace(/^`(.*)`$/, "$1"))
  );
}

function isRare(role: Role, verb: keyof Permissions, pattern: string): boolean {
  const row = tableBelow(`### May ${verb}`).find(([subject]) => subject === pattern);
  return row?.[1 + ROLES.indexOf(role)] === "rarely";
}

/** Opens the namespace in each role and lets `use` use it. A refusal, or a warning of the library, ends it at once. */

async function asRoles(
  use: typeof useEverything,
  { mayWarn = false } = {},
): Promise<Traced> {
  const folder = mkdtempSync(join(tmpdir(), "permissions-"));
  const logFile = join(folder, "trace.log");
  const connections = new Map<string, NatsConnection>();
  const refusals: string[] = [];
  let refuse: (problem: string) => void = () => {};
  const refused = new Promise<never>((_, reject) => {
    refuse = (problem) => reject(new Error(problem));
  });
  refused.catch(() => {}); // It may come when nobody waits for it any more.
  try {
    await using server = await startServer({
      config: `${conf}\ntrace: true\nmax_traced_msg_len: 1\nlog_file: ${JSON.stringify(logFile)}`,
    });
    const open = async (user: string): Promise<Dyrygent> => {
      const nc = await connect({
        servers: server.url,
        user,
        pass: "secret",
        inboxPrefix: `_INBOX_${user}`,
      });
      connections.set(user, nc);
      void (async () => {
        for await (const event of nc.status()) {
          if (event.type !== "error") continue;
          refusals.push(`${user}: ${event.error.message}`);
          refuse(refusals.at(-1)!);
        }
      })();
      const log = (level: LogLevel, text: string) => {
        if (level === "warn" && !mayWarn) refuse(`${user}: ${text}`);
      };
      return Dyrygent.open(nc, { namespace: "demo", log });
    };
    await open("admin");
    const apps = {} as Apps;
    for (const role of ROLES) apps[role] = await open(role);
    const ids = ROLES.map((role) => [connections.get(role)!.info!.client_id, role] as const);
    await Promise.race([use(apps, connections.get("admin")!), refused]);
    for (const nc of connections.values()) await nc.flush();
    return { used: tracedIn(readFileSync(logFile, "utf8"), new Map(ids)), refusals };
  } finally {
    for (const nc of connections.values()) await nc.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function tracedIn(log: string, roles: ReadonlyMap<number, Role>): Record<Role, Permissions> {
  const used = Object.fromEntries(
    ROLES.map((role) => [role, { publish: new Set<string>(), subscribe: new Set<string>() }]),
  ) as Record<Role, { publish: Set<string>; subscribe: Set<string> }>;
  for (const [, cid, verb, subject] of log.matchAll(/ cid:(\d+) .*<<- \[(H?PUB|SUB) (\S+) /g)) {
    const role = roles.get(Number(cid));
    if (role !== undefined) used[role][verb === "SUB" ? "subscribe" : "publish"].add(subject!);
  }
  return Object.fromEntries(
    ROLES.map((
      role,
    ) => [role, { publish: [...used[role].publish], subscribe: [...used[role].subscribe] }]),
  ) as unknown as Record<Role, Permissions>;
}

const test = suite("permissions");

test(
  "each role does its work with these, and each that is not rare is used",
  async () => {
    const { used, refusals } = await within("everything", asRoles(useEverything), 60_000);
    assert.equal(refusals, []);
    for (const role of ROLES) {
      for (const verb of ["publish", "subscribe"] as const) {
        const unused = permissions[role][verb].filter((pattern) =>
          !isRare(role, verb, pattern) &&
          !used[role][verb].some((subject) => isWithin(subject, pattern))
        );
        assert.equal(unused, [], `${role} has no use for these to ${verb}`);
      }
    }
  },
);

test("a consumer that somebody removes under them is made again", async () => {
  const { used, refusals } = await within("the repair", asRoles(repair, { mayWarn: true }), 60_000);
  assert.equal(refusals, []);
  const made = (role: Role, what: string) =>
    used[role].publish.some((subject) => subject.startsWith(`$JS.API.CONSUMER.CREATE.${what}`));
  assert.ok(made("processor", "demo_TICKS.processor."));
  assert.ok(
    made("worker", "demo_TASKS.p5-default.") || made("processor", "demo_TASKS.p5-default."),
  );
});

test("SECURITY.md lists the permissions of docs/protocol.md", () => {
  for (
    const [verb, title] of [["publish", "May publish"], ["subscribe", "May subscribe"]] as const
  ) {
    const rows = tableBelow(`### ${title}`);
    for (const [i, role] of ROLES.entries()) {
      const listed = rows.filter((row) => row[1 + i] !== "").map(([subject]) => subject);
      assert.equal(listed.toSorted(), permissions[role][verb].toSorted(), `${role}, ${verb}`);
    }
    for (const row of rows) {
      assert.ok(row.slice(1, 4).every((mark) => ["", "yes", "rarely"].includes(mark)), row.join());
      assert.ok(row[4], `${row[0]}: for what?`);
    }
  }
});

test("what SECURITY.md says a role cannot do, the server refuses", async () => {
  const rows = tableBelow("### What a role cannot do");
  assert.ok(rows.length >= 20, "the table is not found");
  await using server = await startServer({ config: conf });
  for (const role of ROLES) {
    const nc = await connect({ servers: server.url, user: role, pass: "secret" });
    try {
      const refused = new Set<string>();
      void (async () => {
        for await (const event of nc.status()) {
          const { error } = event as { error?: { operation?: string; subject?: string } };
          if (error?.operation === "publish") refused.add(error.subject!);
        }
      })();
      const subjects = rows.filter(([who]) => who === role).map((row) => row[2]!);
      assert.ok(subjects.length > 0, `nothing is said of a ${role}`);
      for (const subject of subjects) nc.publish(subject, "{}");
      // Else a server that refuses everything would pass.
      nc.publish("$JS.API.INFO");
      await nc.flush();
      await eventually(`${role}: all of them are refused`, () =>
        refused.size >= subjects.length ||
        subjects.filter((subject) => !refused.has(subject)).join());
      assert.equal([...refused].toSorted(), subjects.toSorted());
    } finally {
      await nc.close();
    }
  }
});

test("a subject is within a pattern as NATS sees it", () => {
  assert.ok(isWithin("a.b.c", "a.>") && isWithin("a.b.c", "a.*.c") && isWithin("a.*", "a.*"));
  for (const [subject, pattern] of [["a", "a.>"], ["a.b.c", "a.*"], ["a.>", "a.*"], ["b", "a"]]) {
    assert.not.ok(isWithin(subject!, pattern!), `${subject} in ${pattern}`);
  }
});

test.run();
