/** Submits with a key: one run in a window, whoever submits, however they die. On the memory adapter. */
import { suite } from "uvu";
import * as assert from "uvu/assert";
import {
  ConflictError,
  Dyrygent,
  InvalidOptionError,
  InvalidWorkflowError,
  task,
} from "nats-dyrygent";
import { dedupeView, readClaim, writeClaim } from "../../src/core/dedupe.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Ports } from "../../src/ports.ts";
import { Processor } from "../../src/processor/processor.ts";

const add = task("add", (a: number, b: number) => a + b);
const DAY_MS = 86_400_000;

interface World {
  readonly app: Dyrygent;
  readonly ports: Ports;
  readonly clock: VirtualClock;
  /** The process dies before it does this: once. */
  dieAt: "claim" | "head" | "tick" | "mark" | undefined;
}

function world(): World {
  const clock = new VirtualClock();
  const ports = memoryPorts({ clock, random: new SeededRandom(1), log: () => {} });
  const { facts, ticks, views } = ports;
  const [create, ensure, swap] = [
    facts.create.bind(facts),
    ticks.ensure,
    views.swap.bind(views),
  ];
  const dieAt = (what: World["dieAt"]) => {
    if (found.dieAt !== what) return;
    found.dieAt = undefined;
    throw new Error(`died at ${what}`);
  };
  Object.assign(facts, {
    create: async (key: string, data: Uint8Array) => (dieAt("head"), create(key, data)),
  });
  Object.assign(ticks, { ensure: async (id: string) => (dieAt("tick"), ensure(id)) });
  Object.assign(views, {
    swap: async (key: string, revision: number, data: Uint8Array) => {
      if (key.startsWith("dedupe.")) dieAt(readClaim(data)!.made ? "mark" : "claim");
      return swap(key, revision, data);
    },
  });
  const found: World = { app: new Dyrygent(ports, "memory"), ports, clock, dieAt: undefined };
  return found;
}

const heads = async ({ ports }: World) => (await ports.facts.keys("*.def.0")).length;
const rejected = (promise: Promise<unknown>) => promise.then(() => undefined, (error) => error);

const dedupe = suite("dedupe");

dedupe(
  "the first submit makes the run, later ones are given it, whatever their content",
  async () => {
    const { app } = world();
    const first = await app.submit(add.s(1, 2), { dedupe: { key: "order 7" } });
    const second = await app.submit(add.s(3, 4), { dedupe: { key: "order 7" }, id: "other" });
    const other = await app.submit(add.s(1, 2), { dedupe: { key: "order 8" } });
    assert.equal([first.deduplicated, second.deduplicated, other.deduplicated], [
      false,
      true,
      false,
    ]);
    assert.is(second.id, first.id);
    assert.is.not(other.id, first.id);
    assert.is(app.run(first.id).deduplicated, false);
  },
);

dedupe("after the window the key makes a new run", async () => {
  const { app, clock } = world();
  const ids: string[] = [];
  const submit = async () =>
    ids.push((await app.submit(add.s(1, 2), { dedupe: { key: "k", window: "1h" } })).id);
  await submit();
  clock.pass(3_599_999);
  await submit();
  clock.pass(1);
  await submit();
  assert.is(ids[0], ids[1]);
  assert.is.not(ids[1], ids[2]);
  const byDefault = await app.submit(add.s(1, 2), { dedupe: { key: "day" } });
  clock.pass(DAY_MS - 1);
  assert.is((await app.submit(add.s(1, 2), { dedupe: { key: "day" } })).id, byDefault.id);
});

dedupe("of many at once with different content, one makes the run", async () => {
  const seen = world();
  const runs = await Promise.all(
    Array.from({ length: 50 }, (_, i) => seen.app.submit(add.s(i, i), { dedupe: { key: "k" } })),
  );
  assert.is(new Set(runs.map(({ id }) => id)).size, 1);
  assert.is(runs.filter(({ deduplicated }) => !deduplicated).length, 1);
  assert.is(await heads(seen), 1);
});

for (const where of ["claim", "head", "tick", "mark"] as const) {
  dedupe(`a submitter that dies before the ${where} leaves nothing half-made`, async () => {
    const seen = world();
    seen.dieAt = where;
    const error = await rejected(seen.app.submit(add.s(1, 2), { dedupe: { key: "k" } }));
    // A mark that is not written fails nothing.
    assert.is(error === undefined, where === "mark");
    const run = await seen.app.submit(add.s(3, 4), { dedupe: { key: "k" } });
    assert.equal(await seen.ports.ticks.list(), [run.id]);
    assert.is(await heads(seen), 1);
    assert.is(run.deduplicated, where === "tick" || where === "mark");
    const again = await seen.app.submit(add.s(5, 6), { dedupe: { key: "k" } });
    assert.equal([again.id, again.deduplicated], [run.id, true]);
  });
}

dedupe("a run that was removed after its retention is not made again", async () => {
  const { app, ports } = world();
  const first = await app.submit(add.s(1, 2), { dedupe: { key: "k", window: "7d" } });
  await ports.facts.purge(`${first.id}.>`);
  const second = await app.submit(add.s(1, 2), { dedupe: { key: "k", window: "7d" } });
  assert.equal([second.id, second.deduplicated], [first.id, true]);
});

dedupe("what is not valid claims nothing", async () => {
  const { app, ports } = world();
  const bad = add.s(1, new Date() as never);
  assert.instance(await rejected(app.submit(bad, { dedupe: { key: "k" } })), InvalidWorkflowError);
  await app.submit(add.s(1, 2), { id: "taken" });
  const conflict = app.submit(add.s(3, 4), { id: "taken", dedupe: { key: "k" } });
  assert.instance(await rejected(conflict), ConflictError);
  assert.equal(await ports.views.keys("dedupe."), []);
  const run = await app.submit(add.s(3, 4), { id: "mine", dedupe: { key: "k" } });
  assert.equal([run.id, run.deduplicated], ["mine", false]);
});

dedupe("keys are any text of 1 to 256 characters, and no two meet", async () => {
  const { app } = world();
  const options = [
    { key: "" },
    { key: "x".repeat(257) },
    { key: 5 as never },
    { key: "k", window: 0 },
    { key: "k", window: "soon" as never },
    { key: "k", more: 1 } as never,
  ];
  for (const bad of options) {
    assert.instance(await rejected(app.submit(add.s(1, 2), { dedupe: bad })), InvalidOptionError);
  }
  const keys = ["x".repeat(256), "a b.*>", "ä", "a\u0308", "\u0000", "k", "K"];
  assert.is(new Set(await Promise.all(keys.map(dedupeView))).size, keys.length);
  for (const key of keys) {
    assert.match(await dedupeView(key), /^dedupe\.[0-9a-f]{32}$/);
    assert.is((await app.submit(add.s(1, 2), { dedupe: { key } })).deduplicated, false);
  }
});

dedupe("a record that cannot be read is left alone, and said", async () => {
  const { app, ports } = world();
  const view = await dedupeView("k");
  const newer = new TextEncoder().encode('{"v":2,"run":"x"}');
  await ports.views.put(view, newer);
  const error = await rejected(app.submit(add.s(1, 2), { dedupe: { key: "k" } }));
  assert.instance(error, ConflictError);
  assert.match((error as Error).message, /dedupe\.key "k" cannot be read/);
  await new Processor(ports).sweep();
  assert.equal((await ports.views.get(view))!.data, newer);
  for (const text of ["", "[]", '{"v":1}', '{"v":1,"run":"a b","until":5}', '{"v":1,"run":"x"}']) {
    assert.is(readClaim(new TextEncoder().encode(text)), undefined, text);
  }
});

dedupe(
  "processors remove claims whose window has been over for an hour, and only these",
  async () => {
    const { app, ports, clock } = world();
    await app.submit(add.s(1, 2), { dedupe: { key: "short", window: "1h" } });
    await app.submit(add.s(1, 2), { dedupe: { key: "long", window: "2h" } });
    clock.pass(2 * 3_600_000 + 1);
    await new Processor(ports).sweep();
    assert.equal(await ports.views.keys("dedupe."), [await dedupeView("long")]);
  },
);

dedupe("a claim that is made anew while it is being removed stays", async () => {
  const { ports } = world();
  const key = await dedupeView("k");
  const claim = { run: "a", until: 1, made: true };
  await ports.views.put(key, writeClaim(claim));
  const old = await ports.views.get(key);
  await ports.views.put(key, writeClaim({ ...claim, run: "b" }));
  await ports.views.remove(key, old!.revision);
  assert.is(readClaim((await ports.views.get(key))!.data)!.run, "b");
});

dedupe.run();
