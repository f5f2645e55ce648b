/** A worker's script in several processes: all of them work, a dead one is replaced, and all end when they are told to. */
import process from "node:process";
import { type Dyrygent, group, InvalidOptionError, task, UnavailableError } from "nats-dyrygent";
import { type Processes, startProcesses } from "nats-dyrygent/processes";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { startChild } from "../nats/child.ts";
import { eventually, rejection, type Scope, TestServer } from "../nats/server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

const script = new URL("./worker_process.ts", import.meta.url);
const whoami = task("whoami", (_ms: number) => 0);

/** Which processes have worked, of many tasks that take a moment. */
async function whoWorks(app: Dyrygent): Promise<Set<number>> {
  const run = await app.submit(group(Array.from({ length: 12 }, () => whoami.s(30))));
  return new Set(await run.result());
}

/** A machine that is busy may leave all to one of them for a while. */
async function allWork(app: Dyrygent, pids: readonly number[]): Promise<void> {
  const seen = new Set<number>();
  await eventually("all of them have worked", async () => {
    for (const pid of await whoWorks(app)) seen.add(pid);
    return pids.every((pid) => seen.has(pid)) || [...seen].join();
  });
  assert.equal([...seen].sort(), [...pids].sort());
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const exits = () => {
  const ended: { pid: number; how: string }[] = [];
  return { ended, onExit: (exit: { pid: number; how: string }) => void ended.push(exit) };
};

/** With a processor. */
async function conducted(scope: Scope): Promise<Dyrygent> {
  const app = await scope.open();
  await scope.processor(app);
  return app;
}

test(
  "all work, and all are gone after stop",
  tests.scope(async (scope) => {
    const app = await conducted(scope);
    const args = [scope.server.url, scope.namespace];
    const processes = await startProcesses(script, { count: 2, args });
    const { pids } = processes;
    await allWork(app, pids);
    await processes.stop();
    assert.equal(pids.map(isAlive), [false, false]);
    assert.equal(processes.pids, []);
  }),
);

test(
  "one that is killed is started again, and works",
  tests.scope(async (scope) => {
    const app = await conducted(scope);
    const { ended, onExit } = exits();
    const options = { count: 2, args: [scope.server.url, scope.namespace], onExit };
    await using processes = await startProcesses(script, options);
    assert.ok(processes.isServing);
    const [victim, other] = processes.pids as [number, number];
    process.kill(victim, "SIGKILL");
    await eventually("one is away", () => !processes.isServing);
    await eventually("both serve again", () => processes.isServing, 60_000);
    const present = await secondBeside(processes, victim, other);
    assert.equal(ended.map(({ pid, how }) => ({ pid, how })), [{ pid: victim, how: "SIGKILL" }]);
    while (!(await whoWorks(app)).has(present)) { /* It has only just begun. */ }
  }),
);

/** The one that took the victim's place. */
async function secondBeside(processes: Processes, victim: number, other: number) {
  for (;;) {
    const next = processes.pids.find((pid) => pid !== other && pid !== victim);
    if (next !== undefined) return next;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test(
  "those whose starter was killed end by themselves",
  tests.scope(async (scope) => {
    const app = await conducted(scope);
    await using starter = startChild("../processes/starter_process.ts", [
      scope.server.url,
      scope.namespace,
    ]);
    const pids = (await starter.said("started ")).split(" ").slice(1).map(Number);
    await allWork(app, pids);
    await starter.kill();
    await eventually("they are gone", () => !pids.some(isAlive));
  }),
);

test(
  "those whose starter was killed before they serve end by themselves",
  tests.scope(async (scope) => {
    await using starter = startChild("../processes/starter_process.ts", [
      scope.server.url,
      scope.namespace,
      "late",
    ]);
    const pids = [await starter.said("late "), await starter.said("late ")]
      .map((line) => Number(line.split(" ")[1]));
    starter.signal("SIGKILL");
    await eventually("they are gone", () => !pids.some(isAlive));
  }),
);

test("one that ends before it serves is said, and none is left", async () => {
  const { ended, onExit } = exits();
  const error = await rejection(
    startProcesses(script, { count: 2, args: ["nowhere", "nothing", "break"], onExit }),
  );
  assert.instance(error, UnavailableError);
  assert.match(error.message, "ended before it served: exit code 3");
  assert.equal(ended, []);
});

test("a wrong count is refused", async () => {
  const error = await rejection(startProcesses(script, { count: 0 }));
  assert.instance(error, InvalidOptionError);
  assert.match(error.message, "count = 0");
});

test.run();
