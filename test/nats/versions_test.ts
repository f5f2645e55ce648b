/**
 * An upgrade needs no pause: clients, workers and processors of this version and of each frozen one (`test/versions/`)
 * understand each other on one server, whichever of the three is the older, and one takes over what the other began.
 * Each side uses only its own library and its own NATS client.
 */
import { readdirSync } from "node:fs";
import { connect } from "@nats-io/transport-node";
import * as current from "nats-dyrygent";
import type { Dyrygent, Run, RunSummary } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { mixing } from "../data/codecs.ts";
import { type Scope, TestServer, within } from "./server.ts";

type Library = typeof current & { readonly connect: typeof connect };

const FROZEN = new URL("../versions/", import.meta.url);
/** Bytes; more than a record can hold. */
const BIG = 1_500_000;

const now: Library = { ...current, connect };
const frozen = new Map<string, Library>();
for (const file of readdirSync(FROZEN).filter((name) => name.endsWith(".mjs")).sort()) {
  frozen.set(file.replace(/\.mjs$/, ""), await import(new URL(file, FROZEN).href) as Library);
}

/** The tasks, made by the library of the worker that runs them. */
function tasksOf(lib: Library) {
  const { currentTask, expand, FatalTaskError, group, task } = lib;
  const square = task("square", (n: number) => n * n);
  return {
    square,
    sum: task("sum", (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0)),
    flaky: task("flaky", { retry: { max: 2, base: "5ms" } }, (n: number) => {
      if (currentTask().attempt < 3) throw new TypeError("not yet");
      return n;
    }),
    big: task("big", (letter: string) => letter.repeat(BIG)),
    size: task("size", (text: string) => text.length),
    grow: task("grow", (list: readonly number[]) => expand(group(list.map((n) => square.s(n))))),
    refuse: task("refuse", (why: string): number => {
      throw new FatalTaskError(why);
    }),
    tell: task("tell", (about: RunSummary) => `${about.state}: ${about.failures.length} failed`),
    payload: task("payload", () => currentTask().payload),
    list: task("list", (length: number) => Array.from({ length }, (_, i) => i + 1)),
    note: task("note", (what: unknown) => what),
  };
}

/** A workflow that uses most of what there is, made by the library of the client that submits it. */
function everything(lib: Library) {
  const { chain, chord, event, map, starmap, task, Workflow } = lib;
  const tasks = tasksOf(lib);
  const { square, sum, flaky, big, size, list, grow, refuse, payload, note } = tasks;
  const add = task("sum2", (a: number, b: number) => a + b);
  const wf = new Workflow("everything", { timeout: "2m", payload: { team: "storage" } });
  const input = wf.input<number[]>();
  const [total] = wf.add(chord([square.s(2), flaky.s(3), square.s(4)], sum.s()));
  const length = wf.call(size, wf.call(big, "x")).named("length").set({ priority: 9 });
  const grown = wf.add(chain(list.s(3), grow.s()))[0]!;
  const mapped = wf.map(square, input);
  const inner = new Workflow("inner");
  const nested = wf.run(inner.output(inner.call(sum, inner.input<number[]>())), [4, 5]);
  const go = wf.waitFor(event<{ by: string }>("go"), { timeout: "1m" });
  const approved = wf.call(note, go);
  const listed = wf.add(chain(map(square, [1, 2]).pipe(sum.s()), square.s()))[0]!;
  const starred = wf.add(starmap(add, [[1, 2], [3, 4]]))[0]!;
  const refused = wf.call(refuse, "on purpose").optional();
  const instead = wf.call(note, "instead").after(refused, { on: "failure" });
  const any = wf.call(note, "any").after(refused).after(total!).when("anySucceeded");
  const limited = [1, 2, 3].map((n) =>
    wf.call(square, n).set({ concurrency: { key: "two", max: 2 } })
  );
  const rated = wf.call(square, 7).set({ rateLimit: { max: 5, per: "1s" } });
  const own = wf.call(payload).set({ payload: { node: 1 }, countdown: "20ms" });
  wf.add(square.s(9).link(note.s()).compensate(note.s()).onError(note.si("never")));
  wf.finally(tasks.tell.s());
  return wf.output({
    total,
    length,
    grown,
    mapped,
    nested,
    approved,
    listed,
    starred,
    instead,
    any,
    limited,
    rated,
    own,
  });
}

const EXPECTED = {
  total: 23,
  length: BIG,
  grown: [1, 4, 9],
  mapped: [25, 36],
  nested: 9,
  approved: { by: "Ada" },
  listed: 25,
  starred: [3, 7],
  instead: "instead",
  any: "any",
  limited: [1, 4, 9],
  rated: 49,
  own: { node: 1 },
};

const server = new TestServer();
const test = suite("versions side by side");
test.after(() => server.stop());

/** What has been opened by any library, and is ended in any case. */
class Deployment {
  readonly #scope: Scope;
  readonly #stops: (() => Promise<unknown>)[] = [];
  readonly warnings: string[] = [];

  constructor(scope: Scope) {
    this.#scope = scope;
  }

  async open(lib: Library): Promise<Dyrygent> {
    const nc = await lib.connect({ servers: this.#scope.server.url, noAsyncTraces: true });
    this.#stops.push(() => nc.close());
    return lib.Dyrygent.open(nc, {
      namespace: this.#scope.namespace,
      codec: mixing(1),
      log: (level, message) => {
        if (level === "warn" || level === "error") this.warnings.push(message);
      },
    });
  }

  async worker(lib: Library) {
    const add = lib.task("sum2", (a: number, b: number) => a + b);
    const worker = (await this.open(lib)).worker({
      tasks: [...Object.values(tasksOf(lib)), add] as current.AnyTask[],
    });
    await worker.start();
    this.#stops.push(() => worker.stop({ timeout: "2s" }));
    return worker;
  }

  async processor(lib: Library) {
    const processor = (await this.open(lib)).processor();
    await processor.start();
    this.#stops.push(() => processor.stop());
    return processor;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stop of this.#stops.reverse()) await stop().catch(() => {});
  }
}

/** All that a client can learn of the finished run is as it should be, and its log breaks no promise. */
async function checkWhole(run: Run<unknown>): Promise<void> {
  assert.equal(await within("its result", run.result(), 30_000), EXPECTED);
  const status = await run.status();
  assert.is(status.state, "SUCCESS");
  assert.is(status.counts.FAILURE, 1); // The optional one.
  const attempts = await run.attempts(1);
  assert.equal(attempts.map(({ state }) => state), ["SUCCESS"]);
  const states: string[] = [];
  for await (const event of run.watch()) if (event.is === "workflow") states.push(event.state);
  assert.is(states.at(-1), "SUCCESS");
  assert.equal((await run.audit()).findings, []);
}

for (const [version, old] of frozen) {
  const side = { old, now };
  for (const client of ["old", "now"] as const) {
    for (const worker of ["old", "now"] as const) {
      for (const processor of ["old", "now"] as const) {
        if (client === worker && worker === processor) continue;
        test(
          `client ${client}, worker ${worker}, processor ${processor} (old: ${version})`,
          server.scope(async (scope) => {
            await using deployment = new Deployment(scope);
            await deployment.worker(side[worker]);
            await deployment.processor(side[processor]);
            const app = await deployment.open(side[client]);
            const run = await app.submit(everything(side[client]), { id: "run", input: [5, 6] });
            await run.send("go", { by: "Ada" });
            await checkWhole(run);
            // Whoever did not submit it sees the same.
            const other = await deployment.open(side[client === "old" ? "now" : "old"]);
            await checkWhole(other.run("run"));
            assert.equal(deployment.warnings, []);
            await scope.rest(); // While there is somebody who puts the last tick away.
          }, { within: 60_000 }),
        );
      }
    }
  }

  test(
    `two processors and two workers, one of each version, share the runs of two clients (old: ${version})`,
    server.scope(async (scope) => {
      await using deployment = new Deployment(scope);
      for (const lib of [old, now]) {
        await deployment.worker(lib);
        await deployment.processor(lib);
      }
      const runs = await Promise.all([old, now, old, now, old, now].map(async (lib, i) => {
        const app = await deployment.open(lib);
        const run = await app.submit(everything(lib), { id: `run${i}`, input: [5, 6] });
        await run.send("go", { by: "Ada" });
        return run;
      }));
      await Promise.all(runs.map(checkWhole));
      assert.equal(deployment.warnings, []);
      await scope.rest();
    }, { within: 90_000 }),
  );

  for (const [before, after] of [["old", "now"], ["now", "old"]] as const) {
    test(
      `${after} goes on with what ${before} has begun (old: ${version})`,
      server.scope(async (scope) => {
        await using deployment = new Deployment(scope);
        const first = await deployment.open(side[before]);
        const worker = await deployment.worker(side[before]);
        const processor = await deployment.processor(side[before]);
        const run = await first.submit(everything(side[before]), { id: "run", input: [5, 6] });
        const waits = async () => {
          for await (const event of run.watch()) {
            // All but what waits for the event has ended, at the latest, when the big result is there.
            if (event.is === "node" && event.state === "SUCCESS" && event.label === "length") {
              return;
            }
          }
        };
        await within("half of it", waits(), 30_000);
        const failed = await first.submit(tasksOf(side[before]).refuse.s("first"), {
          id: "failed",
        });
        await failed.result().catch(() => {});
        await worker.stop();
        await processor.stop();
        await run.pause();

        await deployment.worker(side[after]);
        await deployment.processor(side[after]);
        const app = await deployment.open(side[after]);
        // The same content is the same run, whoever writes it down. (Sealed content is compared, not its digest.)
        await app.submit(everything(side[after]), { id: "run", input: [5, 6] });
        await app.run("run").send("go", { by: "Ada" });
        await app.run("run").resume();
        await checkWhole(app.run("run"));
        await checkWhole(run);
        assert.ok((await app.run("failed").retryFailed()).applied);
        const ended = await within("the second round", app.run("failed").ended());
        assert.equal([ended.state, ended.round], ["FAILURE", 2]);
        await scope.rest();
      }, { within: 60_000 }),
    );

    test(
      `${after} takes a ${before} client's id with the same content for the same run (old: ${version})`,
      server.scope(async (scope) => {
        const open = async (lib: Library) =>
          lib.Dyrygent.open(await scope.connect(), { namespace: scope.namespace, log: () => {} });
        await (await open(side[before])).submit(everything(side[before]), {
          id: "twice",
          input: [],
        });
        const again = await open(side[after]);
        assert.is(
          (await again.submit(everything(side[after]), { id: "twice", input: [] })).id,
          "twice",
        );
        const other = again.submit(new side[after].Workflow("other"), { id: "twice" });
        const refused = await other.then(() => undefined, (error) => error as Error);
        assert.instance(refused, side[after].ConflictError);
      }, { leavesWork: true }),
    );
  }
}

test("there is a frozen version to compare with", () => {
  assert.ok(frozen.size > 0, `no *.mjs in ${FROZEN}; run npm run freeze`);
  for (const [version, lib] of frozen) {
    assert.is.not(lib.Dyrygent, current.Dyrygent, `${version} is not a library of its own`);
  }
});

test.run();
