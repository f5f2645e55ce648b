/** Parked workflows of which a processor keeps nothing at hand: they go on as others do. */
import { task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { controlKey } from "../../src/core/keys.ts";
import { writeControl } from "../../src/core/records.ts";
import type { Ports } from "../../src/ports.ts";
import { Processor } from "../../src/processor/processor.ts";
import { deaf, overriding, VirtualEngine } from "../virtual_engine.ts";

const add = task("add", (a: number, b: number) => a + b);

/** Two tasks, one after the other. */
function twoSteps(): Workflow<number> {
  const wf = new Workflow("two");
  return wf.output(wf.call(add, wf.call(add, 1, 2), 3));
}

async function forgetful(ports: Ports): Promise<void> {
  await new Processor(ports, { sweep: "30d" }, { isAnnounced: false, keep: 0 }).start();
}

test("what is recorded while nothing is at hand is gone on with at once", async () => {
  const engine = new VirtualEngine();
  await forgetful(engine.ports);
  const run = await engine.submit(twoSteps());
  await engine.pass(20_000);
  await engine.worker([add]);
  await engine.pass(100);
  assert.is((await run.status()).state, "SUCCESS");
});

test("what is not heard of is found when its tick comes", async () => {
  const engine = new VirtualEngine();
  await forgetful(deaf(engine.ports, ".r."));
  const run = await engine.submit(twoSteps());
  await engine.pass(20_000);
  await engine.worker([add]);
  assert.is((await engine.until("it ends", run.ended())).state, "SUCCESS");
});

test("a run that stands still is looked after with two questions, and is not read anew", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const asked: string[] = [];
  const noting = <Port extends object>(port: Port, names: readonly (keyof Port & string)[]): Port =>
    overriding(
      port,
      Object.fromEntries(names.map((name) => [name, (...args: unknown[]) => {
        asked.push(name);
        return (port[name] as (...args: unknown[]) => unknown)(...args);
      }])) as Partial<Port>,
    );
  await forgetful({
    ...ports,
    facts: noting(ports.facts, ["read", "readRecorded", "last", "next", "scan"]),
    tasks: noting(ports.tasks, ["publish", "has", "list"]),
  });
  await engine.submit(twoSteps());
  await engine.pass(120_000);
  asked.length = 0;
  await engine.pass(240_000);
  const looks = asked.filter((name) => name === "last").length;
  assert.ok(looks >= 3, `${looks} looks in four minutes`);
  assert.equal([...new Set(asked)], ["has", "last"]);
});

test("what is recorded during such a look is gone on with at once", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let onLook = async () => {};
  const last: Ports["facts"]["last"] = async (filter) => {
    const found = await ports.facts.last(filter);
    await onLook();
    return found;
  };
  await forgetful({ ...ports, facts: overriding(ports.facts, { last }) });
  const run = await engine.submit(twoSteps());
  await engine.pass(20_000);
  const looking = new Promise<void>((resolve) => {
    onLook = async () => {
      onLook = async () => {};
      resolve();
      await engine.worker([add]);
      await engine.sleep(1_000);
    };
  });
  await engine.until("it is looked after", looking);
  await engine.pass(1_100);
  assert.is((await run.status()).state, "SUCCESS");
});

test("a run is not taken for one that stands still when what was heard came past what was not", async () => {
  const engine = new VirtualEngine();
  const { facts } = engine.ports;
  await forgetful(deaf(engine.ports, ".ctl."));
  const wf = new Workflow("half");
  wf.call(add, 1, 2);
  wf.call(add, 3, 4).set({ queue: "nobody" });
  const run = await engine.submit(wf);
  await engine.pass(100);
  const cancel = writeControl({ id: "unheard", at: 0, control: { is: "cancel" } });
  await facts.create(controlKey(run.id, 1), cancel);
  await engine.worker([add]);
  await engine.pass(120_000);
  assert.is((await run.status()).state, "CANCELLED");
});

test("a message that gets lost is sent again, though nothing is at hand", async () => {
  const engine = new VirtualEngine();
  await forgetful(engine.ports);
  const run = await engine.submit(twoSteps());
  await engine.pass(120_000);
  await engine.ports.tasks.withdraw("run");
  await engine.worker([add]);
  await engine.pass(120_000);
  assert.is((await run.status()).state, "SUCCESS");
});

test("what was missed while the connection was lost is found one after the other", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const onGap: (() => void)[] = [];
  const hints = overriding(ports.hints, {
    onGap: (call) => {
      onGap.push(call);
      return () => {};
    },
  });
  await forgetful(deaf({ ...ports, hints }, ".r."));
  const ids = ["a", "b", "c"];
  const runs = await Promise.all(ids.map((id) => engine.submit(twoSteps(), id)));
  await engine.pass(20_000);
  await engine.worker([add]);
  await engine.pass(100);
  for (let gap = 0; gap < 2; gap++) {
    for (const call of onGap) call();
    await engine.pass(3_000);
  }
  const states = await Promise.all(runs.map(async (run) => (await run.status()).state));
  assert.equal(states, ["SUCCESS", "SUCCESS", "SUCCESS"]);
});

test("a run whose end is being decided is not put to sleep, however long that takes", async () => {
  const engine = new VirtualEngine();
  const { ports } = engine;
  const read: Ports["facts"]["read"] = async (key) => {
    if (key.includes(".ctl.")) await engine.sleep(5_000);
    return await ports.facts.read(key);
  };
  await engine.processor(deaf({ ...ports, facts: overriding(ports.facts, { read }) }, ".ctl."));
  const wf = new Workflow("late", { timeout: 500 });
  wf.call(add, 1, 2);
  const run = await engine.submit(wf);
  await engine.pass(60_000);
  assert.is((await run.status()).state, "ERROR");
});

test("a run with a message in the queue does not sleep for an hour: what gets lost is sent again", async () => {
  const engine = new VirtualEngine();
  await engine.processor();
  const wf = new Workflow("one");
  wf.call(task("once", () => 1));
  const run = await engine.submit(wf);
  await engine.pass(120_000);
  await engine.ports.tasks.withdraw("run");
  await engine.worker([task("once", () => 1)]);
  await engine.pass(120_000);
  assert.is((await run.status()).state, "SUCCESS");
});

/** @param keep how many are kept at hand. @returns how many ticks come back in twenty seconds, of two hundred runs. */
async function looksAt(keep: number): Promise<number> {
  const engine = new VirtualEngine();
  const { ports } = engine;
  let looks = 0;
  const take: Ports["ticks"]["take"] = (onTick) =>
    ports.ticks.take((tick) => {
      looks++;
      onTick(tick);
    });
  const often = { sweep: "30d", tick: { idle: ["100ms", "100ms"] } } as const;
  const watched = { ...ports, ticks: overriding(ports.ticks, { take }) };
  await new Processor(watched, often, { isAnnounced: false, keep }).start();
  for (let i = 0; i < 200; i++) await engine.submit(twoSteps(), `run${i}`);
  await engine.pass(10_000);
  looks = 0;
  await engine.pass(20_000);
  return looks;
}

test("the ticks of very many come back less often", async () => {
  // Some fifty a second, instead of two thousand; ten of those of which nothing is kept.
  const [kept, read] = [await looksAt(1_000), await looksAt(0)];
  assert.ok(kept > 500 && kept < 1_500, `${kept} looks in twenty seconds`);
  assert.ok(read > 125 && read < 375, `${read} looks in twenty seconds, nothing kept`);
});

test.run();
