/**
 * Months of schedules in moments: several processors' recurrences on the memory adapter, in virtual time, started and
 * stopped at random. What ran is what the log of facts says: a run that was made twice would be one and the same, so each
 * submit is counted too.
 */
import * as fc from "fast-check";
import {
  DyrygentError,
  type MissedPolicy,
  NotFoundError,
  task,
  UnavailableError,
  Workflow,
} from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Schedule, schedule, schedules } from "../../src/client/schedules.ts";
import { ALL_HEADS } from "../../src/core/keys.ts";
import { occurrencesOf, type Recurrence, ruleOf } from "../../src/core/recurrence.ts";
import { occurrenceRunId, scheduleKey } from "../../src/core/schedule.ts";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { Ports } from "../../src/ports.ts";
import { Recurrences } from "../../src/processor/recurring.ts";
import { submitDefinition } from "../../src/runs/submission.ts";
import { rejection, within } from "../nats/server.ts";
import { overriding } from "../virtual_engine.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const nothing = task("nothing", () => {});

/** A world without workers: runs are submitted, and nobody takes them. */
class World {
  readonly clock = new VirtualClock();
  readonly logs: string[] = [];
  readonly ports: Ports;
  readonly all: Recurrences[] = [];
  /** Definitions that were really written. */
  made = 0;

  constructor(seed = 1) {
    const ports = memoryPorts({
      clock: this.clock,
      random: new SeededRandom(seed),
      log: (level, message) => void this.logs.push(`${level}: ${message}`),
    });
    const { facts } = ports;
    const counting: Partial<typeof facts> = {
      create: async (key, data, note) => {
        const written = await facts.create(key, data, note);
        if (written === "created") this.made++;
        return written;
      },
    };
    this.ports = { ...ports, facts: overriding(facts, counting) };
  }

  recurrences({ everyMs = HOUR_MS, ports = this.ports } = {}): Recurrences {
    const recurrences = new Recurrences(ports, { everyMs });
    this.all.push(recurrences);
    return recurrences;
  }

  get now(): number {
    return this.clock.now();
  }

  /** Lets time pass; after each timer, everything that follows from it happens. */
  async pass(ms: number): Promise<void> {
    const until = this.clock.monotonic() + ms;
    await this.settled();
    for (;;) {
      const next = this.clock.untilNext;
      if (next === undefined || this.clock.monotonic() + next > until) break;
      this.clock.fireNext();
      await this.settled();
    }
    this.clock.pass(until - this.clock.monotonic());
  }

  async settled(): Promise<void> {
    // What was told is heard a moment later.
    for (let i = 0; i < 3; i++) await Promise.resolve();
    await within("the recurrences settle", Promise.all(this.all.map((one) => one.settled())));
  }

  /** The ids of the runs there are, in the order in which they were made. */
  async runs(): Promise<string[]> {
    return (await this.ports.facts.keys(ALL_HEADS)).map((key) => key.split(".")[0]!);
  }
}

function moments(when: Recurrence, anchor: number, after: number, until: number): number[] {
  const { next } = occurrencesOf(ruleOf(when, anchor));
  const found: number[] = [];
  for (let at = next(after); at !== undefined && at <= until; at = next(at)) found.push(at);
  return found;
}

const ids = (schedule: string, found: readonly number[]) =>
  found.map((at) => occurrenceRunId(schedule, at));

const nightly = { cron: "30 2 * * *", timeZone: "Europe/Warsaw" } as const;

test("a year of nights with three processors is one run for each night", async () => {
  const world = new World();
  const start = world.now;
  await schedule(world.ports, "nightly", nightly, nothing.s());
  for (let i = 0; i < 3; i++) world.recurrences({ everyMs: 30 * DAY_MS }).start();
  await world.pass(365 * DAY_MS);
  const expected = ids("nightly", moments(nightly, start, start, world.now));
  assert.is(expected.length, 365);
  assert.equal(await world.runs(), expected);
  assert.is(world.made, 365);
  const status = await new Schedule(world.ports, "nightly").status();
  assert.is(status.lastRun, expected.at(-1));
  assert.is(status.nextAt! - status.lastAt!, DAY_MS);
  assert.equal(world.logs, []);
});

const anyWhen: fc.Arbitrary<Recurrence> = fc.constantFrom<Recurrence>(
  { cron: "*/10 * * * *" },
  { cron: "0 */3 * * *", timeZone: "America/New_York" },
  { every: "7m" },
  { every: "4m" },
  { every: "11h" },
);
/** Who starts (or stops, if it runs) and how long it stays like that. */
const anyTurns = fc.array(
  fc.record({ who: fc.nat({ max: 2 }), minutes: fc.integer({ min: 0, max: 150 }) }),
  { minLength: 1, maxLength: 12 },
);

/** What must have run, given when somebody was there. Each occurrence once, and what the policy says of missed ones. */
function expectedRuns(
  all: readonly number[],
  missed: MissedPolicy,
  isUp: (at: number) => boolean,
  nextUp: (at: number) => number | undefined,
): number[] {
  const late = (at: number) => {
    const up = isUp(at) ? at : nextUp(at);
    return up === undefined ? undefined : { up, isMissed: up - at > MINUTE_MS };
  };
  return all.filter((at, i) => {
    const handled = late(at);
    if (handled === undefined) return false;
    if (!handled.isMissed) return true;
    switch (missed) {
      case "skip":
        return false;
      case "runAll":
        return true;
      case "runOnce": {
        const next = all[i + 1] === undefined ? undefined : late(all[i + 1]!);
        return next === undefined || !(next.isMissed && next.up === handled.up);
      }
    }
  });
}

test("however processors come and go, each occurrence runs once, or is missed as the policy says", async () => {
  await fc.assert(
    fc.asyncProperty(
      anyWhen,
      fc.constantFrom<MissedPolicy>("skip", "runOnce", "runAll"),
      anyTurns,
      fc.nat(),
      async (when, missed, turns, seed) => {
        const world = new World(seed);
        const start = world.now;
        await schedule(world.ports, "s", when, nothing.s(), { missed });
        const running: (Recurrences | undefined)[] = [undefined, undefined, undefined];
        /** From when to when somebody was there. */
        const ups: { from: number; to: number }[] = [];
        for (const { who, minutes } of turns) {
          const wasUp = running.some((one) => one !== undefined);
          if (running[who] === undefined) {
            running[who] = world.recurrences();
            running[who].start();
          } else {
            await running[who].stop();
            running[who] = undefined;
          }
          const isUp = running.some((one) => one !== undefined);
          if (isUp && !wasUp) ups.push({ from: world.now, to: Infinity });
          if (wasUp && !isUp) ups.at(-1)!.to = world.now;
          await world.pass(minutes * MINUTE_MS);
        }
        await Promise.all(running.map((one) => one?.stop()));
        if (ups.at(-1)?.to === Infinity) ups.at(-1)!.to = world.now;
        // Who leaves at the very moment of an occurrence may have left before it or after.
        const expected = expectedRuns(
          moments(when, start, start, world.now),
          missed,
          (at) => ups.some(({ from, to }) => from <= at && at <= to),
          (at) => ups.find(({ from }) => from > at)?.from,
        );
        assert.equal(await world.runs(), ids("s", expected));
        assert.is(world.made, expected.length);
      },
    ),
    { numRuns: 15 },
  );
});

test("a processor that dies between submitting and noting it makes no second run", async () => {
  const world = new World();
  const start = world.now;
  const { views } = world.ports;
  let dies = true;
  const ports: Ports = {
    ...world.ports,
    views: overriding(views, {
      swap: (key, revision, data) => {
        if (key.startsWith("schedule.") && dies) return Promise.reject(new Error("it died"));
        return views.swap(key, revision, data);
      },
    }),
  };
  await schedule(world.ports, "s", { every: "1h" }, nothing.s());
  const dying = world.recurrences({ ports });
  dying.start();
  await world.pass(HOUR_MS + MINUTE_MS / 2);
  assert.equal(await world.runs(), ids("s", [start + HOUR_MS]));
  assert.is((await new Schedule(world.ports, "s").status()).lastAt, undefined);
  await dying.stop();
  world.recurrences().start();
  await world.pass(1);
  dies = false;
  assert.equal(await world.runs(), ids("s", [start + HOUR_MS]));
  assert.is(world.made, 1);
  assert.is((await new Schedule(world.ports, "s").status()).lastAt, start + HOUR_MS);
});

test("a paused schedule does nothing, and goes on with the next occurrence", async () => {
  const world = new World();
  const start = world.now;
  const handle = await schedule(world.ports, "s", { every: "1h" }, nothing.s(), {
    missed: "runAll",
  });
  world.recurrences({ everyMs: 365 * DAY_MS }).start();
  await world.pass(1.5 * HOUR_MS);
  await handle.pause();
  await handle.pause();
  assert.is((await handle.status()).paused, true);
  await world.pass(3 * HOUR_MS);
  await handle.resume();
  await world.pass(1 * HOUR_MS);
  assert.equal(await world.runs(), ids("s", [start + HOUR_MS, start + 5 * HOUR_MS]));
});

test("the same schedule again changes nothing; another workflow keeps the next occurrence; another rule counts from now", async () => {
  const world = new World();
  const start = world.now;
  const { ports } = world;
  const again = (when: Recurrence, n: number) =>
    schedule(ports, "s", when, task("count", (n: number) => n).s(n));
  const handle = await again({ every: "1h" }, 1);
  const revision = async () => (await ports.views.get(scheduleKey("s")))!.revision;
  const first = await revision();
  await world.pass(HOUR_MS / 2);
  await again({ every: 3_600_000 }, 1);
  assert.is(await revision(), first);
  await again({ every: "1h" }, 2);
  assert.is.not(await revision(), first);
  assert.is((await handle.status()).nextAt, start + HOUR_MS);
  await handle.pause();
  await again({ every: "2h" }, 2);
  assert.is((await handle.status()).paused, true, "a replaced schedule stays paused");
  await schedule(ports, "s", { every: "2h" }, nothing.s(), { paused: false });
  const status = await handle.status();
  assert.is(status.nextAt, world.now + 2 * HOUR_MS);
  assert.is(status.createdAt, start);
  assert.equal(status.when, { every: 2 * HOUR_MS });
});

/** Hides nothing, but gives another answer each time, as ciphers do. */
class Scrambler {
  #n = 0;
  encode = (data: Uint8Array) => Uint8Array.from([this.#n++, ...data.map((byte) => byte ^ 0x55)]);
  decode = (data: Uint8Array) => data.slice(1).map((byte) => byte ^ 0x55);
}

test("with a codec, what is recorded is sealed, and processors submit it without the codec", async () => {
  const world = new World();
  const { ports } = world;
  const greet = task("greet", (name: string) => name);
  const wf = new Workflow("greeting", { payload: { to: "secret payload" } });
  wf.call(greet, "secret argument");
  wf.call(greet, wf.input<string>());
  const options = { input: "secret input" };
  const bytes = async () => (await ports.views.get(scheduleKey("s")))!.data;
  const text = (data: Uint8Array) => new TextDecoder().decode(data);
  const sealing: Ports = { ...ports, codec: new Scrambler() };
  const make = (ports: Ports) => schedule(ports, "s", { every: "1h" }, wf, options);

  await make(ports);
  assert.match(text(await bytes()), "secret argument");
  await make(sealing);
  const sealed = text(await bytes());
  assert.not.match(sealed, "secret");
  await make(sealing);
  assert.is(text(await bytes()), sealed, "the same again, and it was written anew");
  for (let i = 0; i < 2; i++) world.recurrences().start();
  world.recurrences({ ports: sealing }).start();
  await world.pass(2 * HOUR_MS);
  assert.is((await world.runs()).length, 2);
  assert.is(world.made, 2);
  for (const { data } of await ports.facts.scan(ALL_HEADS, { bodies: true })) {
    assert.not.match(text(data), "secret");
  }
  assert.equal(world.logs, []);
});

test("bad input is refused, and nothing is recorded", async () => {
  const world = new World();
  const bad: [unknown[], RegExp][] = [
    [["a.b", { every: "1h" }, nothing.s()], /schedule id "a.b"/],
    [["s", { every: "1ms" }, nothing.s()], /when.every/],
    [["s", { every: "1h" }, nothing.s(), { missed: "never" }], /missed = "never"/],
    [["s", { every: "1h" }, nothing.s(), { paused: 1 }], /paused = 1/],
    [["s", { every: "1h" }, nothing.s(), { often: true }], /no schedule option "often"/],
    [["s", { every: "1h" }, nothing.s(), { input: 1 }], /takes no input/],
    [
      ["s", { every: "1h" }, task("one", (x: string) => x).s("x".repeat(2_000_000))],
      /2\d{6} bytes/,
    ],
  ];
  for (const [[id, when, target, options], message] of bad) {
    const made = schedule(world.ports, id as string, when as Recurrence, target as never, options!);
    const error = await rejection(made);
    assert.instance(error, DyrygentError);
    assert.match(error.message, message);
  }
  for await (const { id } of schedules(world.ports)) assert.unreachable(id);
});

test("of a schedule that is not there, every method says so", async () => {
  const { ports } = new World();
  const handle = new Schedule(ports, "nobody");
  for (const method of ["status", "pause", "resume", "remove", "runNow"] as const) {
    const error = await rejection(handle[method]());
    assert.instance(error, NotFoundError);
    assert.match(error.message, `There is no schedule "nobody"`);
  }
});

test("schedules that cannot be read or run are said and left alone, and the others go on", async () => {
  const world = new World();
  const start = world.now;
  const { views } = world.ports;
  const put = (id: string, record: unknown) =>
    views.put(scheduleKey(id), new TextEncoder().encode(JSON.stringify(record)));
  await put("newer", { v: 2 });
  await schedule(world.ports, "odd", { every: "1h" }, nothing.s());
  const odd = JSON.parse(new TextDecoder().decode((await views.get(scheduleKey("odd")))!.data));
  await put("odd", { ...odd, workflow: { ...odd.workflow, nodes: 7 } });
  await schedule(world.ports, "good", { every: "1h" }, nothing.s());
  world.recurrences({ everyMs: MINUTE_MS }).start();
  await world.pass(2.5 * HOUR_MS);
  assert.equal(await world.runs(), ids("good", [start + HOUR_MS, start + 2 * HOUR_MS]));
  assert.is(world.logs.length, 2, world.logs.join("\n"));
  assert.match(world.logs[0]!, /^warn: the schedule newer cannot be read/);
  assert.match(world.logs[1]!, /^error: the schedule odd is left alone: nodes = 7/);
  const found: string[] = [];
  for await (const { id } of schedules(world.ports)) found.push(id);
  assert.equal(found.sort(), ["good", "odd"]);
});

test("a run id that somebody else has taken counts as the occurrence's run", async () => {
  const world = new World();
  const at = world.now + HOUR_MS;
  await schedule(world.ports, "s", { every: "1h" }, nothing.s());
  const other = new Workflow("other").build();
  await submitDefinition(world.ports, occurrenceRunId("s", at), other);
  world.recurrences().start();
  await world.pass(2 * HOUR_MS);
  assert.equal(await world.runs(), ids("s", [at, at + HOUR_MS]));
});

test("a server out of reach delays what is due, and nothing is lost", async () => {
  const world = new World();
  const start = world.now;
  let isDown = false;
  const refuse = () => {
    if (isDown) throw new UnavailableError("no answer", { hint: "" });
  };
  const { facts, views } = world.ports;
  const ports: Ports = {
    ...world.ports,
    facts: overriding(facts, { create: async (...args) => (refuse(), facts.create(...args)) }),
    views: overriding(views, { list: (prefix) => (refuse(), views.list(prefix)) }),
  };
  await schedule(world.ports, "s", { every: "1h" }, nothing.s());
  world.recurrences({ everyMs: MINUTE_MS, ports }).start();
  await world.pass(HOUR_MS / 2);
  isDown = true;
  await world.pass(HOUR_MS / 2 + MINUTE_MS / 2);
  assert.equal(await world.runs(), []);
  isDown = false;
  await world.pass(HOUR_MS);
  assert.equal(await world.runs(), ids("s", [start + HOUR_MS, start + 2 * HOUR_MS]));
  assert.is(
    world.logs.filter((line) => /were not read/.test(line) && /^warn/.test(line)).length,
    1,
  );
});

test("once does what is due now, and nothing afterwards", async () => {
  const world = new World();
  const start = world.now;
  await schedule(world.ports, "s", { every: "1h" }, nothing.s(), { missed: "runAll" });
  await world.pass(3 * HOUR_MS);
  const recurrences = world.recurrences();
  await recurrences.once(Infinity);
  assert.equal(await world.runs(), ids("s", [1, 2, 3].map((n) => start + n * HOUR_MS)));
  await world.pass(3 * HOUR_MS);
  assert.is((await world.runs()).length, 3);
  await recurrences.once(Infinity);
  assert.is((await world.runs()).length, 6);
});

test.run();
