/** Every command, against a real server: what it prints, and its exit code. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { jetstream } from "@nats-io/jetstream";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readContext } from "../../src/cli/context_file.ts";
import { resolved } from "../../src/cli/connection.ts";
import { findFreePorts } from "../../scripts/nats_server.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { startChild } from "../nats/child.ts";
import { add, bad, codec, talk, whoami } from "./module.ts";
import { eventually, type Scope, TestServer } from "../nats/server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const MODULE = fileURLToPath(new URL("./module.ts", import.meta.url));
const MAIN = "../../src/cli/main.ts";

interface Said {
  readonly code: number;
  readonly text: string;
  /** Each line as JSON. */
  readonly json: () => unknown[];
}

type Say = (...words: string[]) => Promise<Said>;

/** A command line in a scope's namespace. */
function sayIn(scope: Scope): Say {
  return async (...words) => {
    let text = "";
    const where = ["--server", scope.server.url, "--namespace", scope.namespace];
    const code = await runCommandLine([...words, ...where], (more) => void (text += more));
    const json = () => text.trim().split("\n").map((line) => JSON.parse(line) as unknown);
    return { code, text, json };
  };
}

/** With a worker for the module's tasks, and a processor. */
async function served<T>(scope: Scope, use: (say: Say) => Promise<T>): Promise<T> {
  await scope.running({ tasks: [add, bad, talk, whoami] });
  return await use(sayIn(scope));
}

/** A cold start on a busy machine. */
const START_MS = 60_000;

test(
  "submit, wait, and look",
  tests.scope((scope) =>
    served(scope, async (say) => {
      const waited = await say("submit", MODULE, "--wait", "--id", "sum");
      assert.match(waited.text, /^sum\n[^]*SUCCESS after .+\n43\n$/);
      assert.is(waited.code, 0);
      assert.is((await say("submit", `${MODULE}#sums`, "--args", "[5]", "-w")).code, 0);
      const called = await say("submit", `${MODULE}#add`, "--args", "[20, 22]", "--id", "called");
      assert.equal([called.code, called.text], [0, "called\n"]);
      assert.equal((await say("result", "called", "--json")).json(), [42]);
      assert.equal((await say("result", "sum", "add-0", "--json")).json(), [41]);
      const failed = await say("submit", `${MODULE}#failing`, "--wait", "--id", "bad");
      assert.is(failed.code, 1);
      assert.match(failed.text, /bad-0 FAILURE, attempt 1/);

      const list = await say("ls");
      assert.match(list.text, /^ID +WORKFLOW +STATE +NODES +SUBMITTED\n/);
      assert.match(list.text, /bad +canvas +FAILURE +1 FAILURE/);
      const states = (await say("ls", "--state", "failure", "--json")).json();
      assert.equal(states.map((run) => (run as { id: string }).id), ["bad"]);

      const shown = await say("show", "sum");
      assert.match(shown.text, /canvas sum {2}SUCCESS\nsubmitted .+, took .+\n2 SUCCESS\n/);
      assert.match(shown.text, /0 +add-0 +SUCCESS +1 +.+ +default/);
      assert.match((await say("show", "bad", "0")).text, /1 +FAILURE .*RangeError: no luck/);
      assert.match((await say("dead")).text, /bad +canvas +bad-0 +1 +.*no luck/);
      assert.match((await say("watch", "sum")).text, /SUCCESS after/);
      assert.is((await say("watch", "bad")).code, 1);
      assert.match((await say("events", "sum")).text, /add-1 {2}SUCCESS\n[^]*workflow {2}SUCCESS/);
      assert.match((await say("graph", "sum")).text, /^add-0 {2}SUCCESS\n└─ add-1 {2}SUCCESS/);
      assert.match((await say("graph", "sum", "--format", "mermaid")).text, /n0 --> n1/);
      assert.match((await say("graph", "sum", "--format", "dot")).text, /n0 -> n1;/);
      assert.match((await say("audit", "sum")).text, /^all is well: 1 runs, 2 nodes/);
      assert.match((await say("ps")).text, /processor [^]*worker .*default: add, bad/);
      assert.is((await say("doctor")).code, 0);
      assert.match((await say("queues")).text, /default +priority 5 +0 +0 +yes/);
    })
  ),
);

test(
  "steer: pause, send, resume, skip, cancel, retry, rerun, remove; and why",
  tests.scope((scope) =>
    served(scope, async (say) => {
      await say("submit", `${MODULE}#waiting`, "--id", "asks");
      await eventually("it waits", async () => {
        const { text } = await say("why", "asks", "approved");
        return text.includes("approved waits for approval") || text;
      });
      assert.match((await say("why", "asks", "approval")).text, /waits for event "approval"/);
      assert.match((await say("pause", "asks")).text, /asks: pause is recorded/);
      await eventually("it is paused", async () => {
        const { text } = await say("why", "asks", "approved");
        return text.includes("the run is paused") || text;
      });
      assert.is((await say("resume", "asks")).code, 0);
      assert.is((await say("send", "asks", "approval", '"yes"')).code, 0);
      assert.is((await say("watch", "asks")).code, 0);
      const late = await say("cancel", "asks");
      assert.equal([late.code, late.text], [1, "asks: nothing to cancel, it is SUCCESS\n"]);
      assert.is((await say("rerun", "asks", "approved")).code, 0);
      assert.is((await say("watch", "asks")).code, 0);
      assert.match((await say("show", "asks")).text, /round 2/);

      await say("submit", `${MODULE}#unserved`, "--id", "there");
      await eventually("nobody serves it", async () => {
        const { text } = await say("why", "there", "there");
        return text.includes('no live worker serves queue "elsewhere"') || text;
      });
      assert.is((await say("skip", "there", "there")).code, 0);
      assert.is((await say("watch", "there")).code, 0);
      assert.match((await say("why", "there", "there")).text, /has ended: SKIPPED/);

      await say("submit", `${MODULE}#waiting`, "--id", "stopped");
      assert.is((await say("cancel", "stopped", "--reason", "enough")).code, 0);
      assert.is((await say("watch", "stopped")).code, 1);
      assert.is((await say("retry", "stopped")).code, 0);
      assert.is((await say("send", "stopped", "approval")).code, 0);
      assert.is((await say("watch", "stopped")).code, 0);
      assert.is((await say("remove", "stopped")).code, 0);
      assert.is((await say("show", "stopped")).code, 3);
      assert.match((await say("purge", "--older", "1ms")).text, /2 runs are removed/);
      assert.equal((await say("ls")).text, "no runs\n");
    })
  ),
);

test(
  "messages that nobody could read are listed, shown and dropped",
  tests.scope((scope) =>
    served(scope, async (say) => {
      assert.is((await say("dead")).text, "nothing failed\n");
      const js = jetstream(await scope.raw);
      await js.publish(`${scope.namespace}.task.default.p5.nobody.0.1`, "gibberish");
      await js.publish(`${scope.namespace}.task.default.p5.x`, "what is this");
      await eventually("both are kept", async () => {
        const { text } = await say("dead", "--json");
        return text.split("\n").length === 3 || text;
      });
      const { text } = await say("dead");
      assert.match(text, /^nothing failed\n\nMESSAGE THAT NOBODY COULD READ +BYTES\n/);
      const key = /unknown\.\d+/.exec(text)?.[0] ?? text;
      assert.is((await say("dead", "show", key)).text, "what is this\n");
      assert.is((await say("dead", "drop", key)).code, 0);
      assert.equal((await say("dead", "--json")).json(), [
        { quarantined: "nobody.0.1", bytes: 9 },
      ]);
      assert.is((await say("dead", "drop", ">")).code, 3);
      assert.is((await say("dead", "show", key)).code, 3);
      assert.is((await say("dead", "bury")).code, 2);
      await say("submit", `${MODULE}#failing`, "--wait", "--id", "bad");
      assert.match((await say("dead")).text, /bad +canvas +bad-0 +1 +.*no luck/);
      assert.match((await say("dead", "retry", "bad")).text, /bad: retry is recorded/);
      assert.is((await say("watch", "bad")).code, 1);
      assert.match((await say("dead")).text, /bad +canvas +bad-0 +2 +.*no luck/);
      assert.is((await say("dead", "retry", "nowhere")).code, 3);
    })
  ),
);

test(
  "a namespace is opened as those who made it opened it, and is not made by looking",
  tests.scope(async (scope) => {
    const say = sayIn(scope);
    const missing = await say("ls");
    assert.is(missing.code, 3);
    assert.match(missing.text, /There is no namespace ".+" on .+\n.*--namespace/);
    assert.is((await say("purge")).code, 3);

    const options = { tickLease: "3s", taskLease: "5s", storage: "memory", codec } as const;
    const app = await scope.open(options);
    await scope.worker(app, { tasks: [add] });
    await scope.processor(app);
    assert.is((await say("submit", `${MODULE}#add`, "--args", "[1, 2]", "--id", "open")).code, 0);
    assert.is(await app.run("open").result(), 3);
    assert.match((await say("result", "open")).text, /codec/);
    assert.equal((await say("result", "open", "--codec", MODULE)).text, "3\n");
    assert.is((await say("processor", "--once")).code, 0);
    assert.is((await say("result", "open", "--codec", MAIN)).code, 2);
  }),
);

test(
  "a workflow as JSON, without code",
  tests.scope((scope) =>
    served(scope, async (say) => {
      const folder = mkdtempSync(join(tmpdir(), "dyrygent-cli-"));
      try {
        const file = join(folder, "workflow.json");
        const nodes = [{ task: "add", args: [1, 2] }, { task: "add", args: [3, 4], after: [0] }];
        const policies = [{ queue: "default", priority: 5 }];
        const output = { json: "null", inputs: [{ at: [], node: 1 }] };
        const plain = { version: 1, name: "plain", timeoutMs: 60_000, policies, nodes, output };
        writeFileSync(file, JSON.stringify(plain));
        const run = await say("submit", "--file", file, "--wait");
        assert.is(run.code, 0, run.text);
        assert.match(run.text, /\n7\n$/);
        writeFileSync(file, "[");
        assert.is((await say("submit", "--file", file)).code, 2);
      } finally {
        rmSync(folder, { recursive: true });
      }
    })
  ),
);

test(
  "schedules",
  tests.scope(async (scope) => {
    const say = sayIn(scope);
    const app = await scope.open();
    const { default: canvas } = await import("./module.ts");
    await app.schedule("nightly", { cron: "0 2 * * *", timeZone: "Europe/Warsaw" }, canvas);
    assert.match((await say("schedules")).text, /nightly +canvas +0 2 \* \* \* \(Europe\/Warsaw\)/);
    assert.is((await say("schedules", "pause", "nightly")).code, 0);
    assert.match((await say("schedules")).text, /paused/);
    assert.is((await say("schedules", "resume", "nightly")).code, 0);
    assert.is((await say("schedules", "run", "nightly")).code, 0);
    assert.is((await say("schedules", "explode", "nightly")).code, 2);
    assert.is((await say("schedules", "remove", "nightly")).code, 0);
    assert.equal((await say("schedules")).text, "no schedules\n");
  }, { leavesWork: true }),
);

test(
  "logs: of a run, a node, an attempt; followed; for programs",
  tests.scope((scope) =>
    served(scope, async (say) => {
      await say("submit", `${MODULE}#talk`, "--id", "talks");
      const followed = await say("logs", "talks", "--follow");
      const stamp = "^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d  ";
      assert.is(followed.code, 0);
      const [first, second, third, rest] = followed.text.split("\n");
      assert.match(first!, new RegExp(`${stamp}info   talk-0  trying {"attempt":1}$`));
      assert.match(second!, new RegExp(`${stamp}info   talk-0, attempt 2  trying {"attempt":2}$`));
      assert.match(third!, new RegExp(`${stamp}warn   talk-0, attempt 2  at last$`));
      assert.is(rest, "");
      assert.is((await say("logs", "talks")).text, followed.text);
      const urgent = (await say("logs", "talks", "0", "--level", "warn", "--json")).json();
      const messages = urgent.map((line) => (line as { message: string }).message);
      assert.equal(messages, ["at last"]);
      const early = await say("logs", "talks", "talk-0", "--attempt", "1");
      assert.is(early.text, `${first}\n`);
      assert.is((await say("logs", "nowhere")).code, 3);
      assert.is((await say("logs", "talks", "nowhere")).code, 3);
      assert.is((await say("logs", "talks", "--level", "loud")).code, 2);
      assert.is((await say("logs", "talks", "--attempt", "0")).code, 2);
    })
  ),
);

test(
  "a processor for cron, and health while one serves",
  tests.scope(async (scope) => {
    const say = sayIn(scope);
    assert.match(
      (await say("processor", "--once")).text,
      /^0 workflows looked after, 0 ended\n$/,
    );
    const where = ["--server", scope.server.url, "--namespace", scope.namespace];
    const [port] = await findFreePorts(1);
    await using serving = startChild(MAIN, ["processor", "--health", String(port), ...where]);
    await serving.said("processor ", START_MS);
    const status = async (path: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      await answer.body?.cancel();
      return answer.status;
    };
    assert.equal([await status("/health"), await status("/ready"), await status("/")], [
      200,
      200,
      404,
    ]);
    serving.signal("SIGTERM");
    assert.is(await serving.ended, 0);
  }, { within: START_MS + 20_000 }),
);

test(
  "a worker in several processes ends with all of them",
  tests.scope(async (scope) => {
    const where = ["--server", scope.server.url, "--namespace", scope.namespace];
    const app = await scope.open();
    await using serving = startChild(MAIN, ["worker", MODULE, "--processes", "2", ...where]);
    const alive = async () => (await app.workers()).length;
    await eventually("both are there", async () => await alive() === 2 || await alive(), START_MS);
    serving.signal("SIGTERM");
    assert.is(await serving.ended, 0);
    assert.is(await alive(), 0);
  }, { within: START_MS + 20_000 }),
);

test("what makes no sense is said, with what to do, and ends with 2", async () => {
  const say = async (...words: string[]) => {
    let text = "";
    const code = await runCommandLine(words, (more) => void (text += more));
    return { code, text };
  };
  for (
    const [words, expected] of [
      [["explode"], /no command "explode": see nats-dyrygent --help/],
      [["ls", "--explode"], /Unknown option '--explode': see nats-dyrygent ls --help/],
      [["ls", "--limit", "many"], /--limit many: give a whole number/],
      [["show"], /Say which run/],
      [["show", "a", "b", "c"], /show takes <id> \[node\]/],
      [["worker", "./nowhere.ts"], /nowhere.ts cannot be loaded/],
      [["submit", `${MODULE}#nothing`], /does not export nothing; it exports: add, bad/],
      [["submit", MODULE, "--args", "{"], /--args: default is no function/],
      [["completion", "tcsh"], /bash, zsh or fish/],
      [["ls", "--context", "nowhere"], /There is no context "nowhere"/],
      [["ls", "--creds", "/nowhere"], /--creds \/nowhere: /],
      [["submit", "--file", "/nowhere"], /--file \/nowhere: /],
    ] as [string[], RegExp][]
  ) {
    const { code, text } = await say(...words);
    assert.match(text, expected, words.join(" "));
    assert.is(code, 2, words.join(" "));
  }
  const down = await say("ls", "--server", "nats://127.0.0.1:1");
  assert.is(down.code, 4);
  assert.match(down.text, /Cannot connect to nats:\/\/127.0.0.1:1[^]*Start a nats-server/);
  const asJson = await say("ls", "--server", "nats://127.0.0.1:1", "--json");
  assert.is((JSON.parse(asJson.text) as { code: string }).code, "UNAVAILABLE");
});

test("help names every command and flag; completions too", async () => {
  let text = "";
  assert.is(await runCommandLine(["--help"], (more) => void (text += more)), 0);
  const commands = [...text.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name!);
  assert.ok(commands.length > 20, text);
  for (const name of commands) {
    let help = "";
    assert.is(await runCommandLine([name, "--help"], (more) => void (help += more)), 0);
    assert.match(help, `nats-dyrygent ${name}`);
  }
  for (const shell of ["bash", "zsh", "fish"]) {
    let script = "";
    await runCommandLine(["completion", shell], (more) => void (script += more));
    for (const name of commands) assert.match(script, name);
  }
});

test("where the server is: a flag, else the environment, else a context", () => {
  const folder = mkdtempSync(join(tmpdir(), "dyrygent-contexts-"));
  try {
    const env = { XDG_CONFIG_HOME: folder };
    assert.equal(resolved({}, env), {});
    const nats = join(folder, "nats");
    writeContexts(nats, { production: { url: "nats://far:4222", creds: "~/far.creds", nkey: "" } });
    assert.equal(resolved({ context: "production" }, env), {
      server: "nats://far:4222",
      creds: "~/far.creds",
    });
    assert.equal(resolved({}, env), { server: "nats://far:4222", creds: "~/far.creds" });
    const url = { ...env, NATS_URL: "nats://near:4222" };
    assert.equal(resolved({}, url), { server: "nats://near:4222" });
    assert.equal(resolved({ server: "nats://flag:4222" }, url).server, "nats://flag:4222");
    const named = { ...url, NATS_CONTEXT: "production" };
    assert.equal(resolved({}, named), { server: "nats://near:4222", creds: "~/far.creds" });
    writeFileSync(join(nats, "context", "broken.json"), "{");
    assert.throws(() => readContext(nats, "broken"), /is not JSON/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

function writeContexts(folder: string, contexts: Record<string, object>): void {
  mkdirSync(join(folder, "context"), { recursive: true });
  for (const [name, context] of Object.entries(contexts)) {
    writeFileSync(join(folder, "context", `${name}.json`), JSON.stringify(context));
  }
  writeFileSync(join(folder, "context.txt"), Object.keys(contexts)[0]!);
}

test.run();
