/** Nothing that outlives a run remembers it: no set and no map of a processor, a worker or a client grows with each run. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Dyrygent, task, Workflow } from "nats-dyrygent";
import { eventually, type Scope, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

type Collection = Map<unknown, unknown> | Set<unknown>;

/** Notes every set and map into which something is put, until it is disposed of. */
class Watched implements Disposable {
  readonly #seen = new Set<Collection>();
  readonly #add = Set.prototype.add;
  readonly #set = Map.prototype.set;

  constructor() {
    const [seen, add, set] = [this.#seen, this.#add, this.#set];
    Set.prototype.add = function (value) {
      if (this !== seen) add.call(seen, this);
      return add.call(this, value);
    };
    Map.prototype.set = function (key, value) {
      add.call(seen, this);
      return set.call(this, key, value);
    };
  }

  [Symbol.dispose](): void {
    Set.prototype.add = this.#add;
    Map.prototype.set = this.#set;
  }

  get collections(): Collection[] {
    return [...this.#seen];
  }
}

/** What of `collection` mentions `text`. */
function mentions(collection: Collection, text: string): string[] {
  return [...collection].flat().filter((entry): entry is string =>
    typeof entry === "string" && entry.includes(text)
  );
}

const flaky = task("flaky", { retry: { max: 1, base: 1 } }, (value: number) => {
  if (value === 13) throw new Error("always");
  return value;
});
const list = task("list", () => [1, 2, 13]);

/** Something of everything: children, failures, limits, time, events, a retry, a watcher. */
async function useAll(scope: Scope, app: Dyrygent, id: string): Promise<void> {
  const wf = new Workflow("all");
  const mapped = wf.map(flaky, wf.call(list)).optional();
  const limited = wf.call(flaky, 1).set({ concurrency: { key: "key", max: 2 } });
  const rated = wf.call(flaky, 1).set({ rateLimit: { max: 100, per: "1s", key: "rated" } });
  const timed = wf.call(flaky, 1).set({ timeout: "10s", expires: "10s", countdown: 10 });
  const told = wf.waitFor("told");
  wf.call(flaky, 13).after([limited, rated, timed, told]).after(mapped, { on: "done" });
  const run = await app.submit(wf, { id });
  const watching = (async () => {
    for await (const _ of run.watch()) { /* until it has ended */ }
  })();
  await run.send("told");
  assert.is((await run.ended()).state, "FAILURE");
  await watching;
  await run.retryFailed();
  assert.is((await run.ended()).state, "FAILURE");
  await scope.rest();
  assert.ok((await run.remove()).applied);
}

test(
  "no set and no map of a process that goes on has the id of a run that was removed",
  tests.scope(async (scope) => {
    using watched = new Watched();
    const app = await scope.running({ tasks: [flaky, list], inputCache: 0 }, { sweep: "1h" });
    await useAll(scope, app, "first");
    const lasting = watched.collections;
    await useAll(scope, app, "needle");
    await eventually(
      "all have forgotten it",
      () => lasting.every((collection) => mentions(collection, "needle").length === 0),
    ).catch(() => {});
    assert.equal(lasting.flatMap((collection) => mentions(collection, "needle")), []);
    assert.ok(lasting.length > 20);
  }, { within: 40_000 }),
);

test.run();
