/**
 * Each role works with the permissions that docs/protocol.md gives it, on a real server; each of these permissions is
 * used; SECURITY.md's table lists the same; and what that page says a role cannot do, the server refuses. What was used
 * is taken from the server's own trace, not from what the library believes to send.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { Dyrygent, type LogLevel } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Apps, repair, type Role, ROLES, useEverything } from "./roles.ts";
import { eventually, startServer, within } from "./server.ts";

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
