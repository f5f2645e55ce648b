/**
 * Limited lanes in memory do what they do on a server. Each of these was a difference that `npm run conformance` found; the
 * server's part is played there.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { VirtualClock } from "../../src/memory/clock.ts";
import { memoryPorts } from "../../src/memory/open.ts";
import { SeededRandom } from "../../src/memory/random.ts";
import type { QueueDelivery } from "../../src/memory/queue.ts";
import type { Intake, TaskDelivery } from "../../src/ports.ts";

/** Who takes what is queued into one lane. */
class Lane {
  readonly #clock = new VirtualClock();
  readonly #lane: string;
  readonly #tasks = memoryPorts({
    clock: this.#clock,
    random: new SeededRandom(1),
    log: () => {},
  }).tasks;
  readonly taken: TaskDelivery[] = [];

  constructor(lane: string) {
    this.#lane = lane;
  }

  async queue(node: number, most?: number): Promise<void> {
    const address = { queue: "q", lane: this.#lane, workflow: "w", node, attempt: 1 };
    await this.#tasks.publish(address, new Uint8Array(), most);
  }

  async take(): Promise<Intake> {
    const options = { queues: ["q"], ahead: 0 };
    const intake = await this.#tasks.take(options, (task) => void this.taken.push(task));
    intake.want(10);
    return intake;
  }

  /** Which nodes have been handed out by then. */
  async after(ms: number): Promise<(number | undefined)[]> {
    const end = this.#clock.monotonic() + ms;
    await settled();
    while (this.#clock.monotonic() + (this.#clock.untilNext ?? Infinity) <= end) {
      this.#clock.fireNext();
      await settled();
    }
    this.#clock.pass(end - this.#clock.monotonic());
    return this.taken.map(({ address }) => address?.node);
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

test("a limit that is raised counts at once", async () => {
  const lane = new Lane("c-key");
  await lane.take();
  await lane.queue(1, 1);
  await lane.queue(2, 1);
  assert.equal(await lane.after(0), [1]);
  await lane.queue(2, 2);
  assert.equal(await lane.after(0), [1, 2]);
});

test("a message that is given back for later counts against the limit until then", async () => {
  const lane = new Lane("c-key");
  await lane.take();
  await lane.queue(1, 1);
  await lane.queue(2, 1);
  await lane.after(0);
  lane.taken[0]!.begin();
  lane.taken[0]!.giveBack(5_000);
  assert.equal(await lane.after(4_900), [1]);
  assert.equal(await lane.after(200), [1, 1]);
});

test("a message that is given back to a rated lane is not overtaken by the next one", async () => {
  const lane = new Lane("r-key");
  await lane.take();
  await lane.queue(1);
  await lane.queue(2);
  await lane.after(0);
  lane.taken[0]!.giveBack();
  assert.equal(await lane.after(1_100), [1, 1]);
});

test("what was given back to a limited lane is left to others for a moment, or until a slot gets free", async () => {
  const lane = new Lane("c-key");
  const intake = await lane.take();
  await lane.queue(1, 1);
  await lane.queue(2, 1);
  await lane.after(0);
  lane.taken[0]!.giveBack();
  assert.equal(await lane.after(900), [1]);
  assert.equal(await lane.after(200), [1, 1]);
  lane.taken[1]!.giveBack();
  intake.want(1);
  assert.equal(await lane.after(10), [1, 1, 1]);
});

test("whoever still has a message whose lease has run out gets no more than the limit", async () => {
  const lane = new Lane("c-key");
  await lane.take();
  await lane.queue(1, 1);
  assert.equal(await lane.after(31_000), [1]);
  await lane.take();
  assert.equal(await lane.after(0), [1, 1], "another one may have it");
});

test("what is given back for later after its lease has run out, and before anybody got it, comes later", async () => {
  const lane = new Lane("c-key");
  const intake = await lane.take();
  await lane.queue(1, 1);
  assert.equal(await lane.after(31_000), [1]);
  lane.taken[0]!.giveBack(60_000);
  intake.want(1);
  assert.equal(await lane.after(59_000), [1]);
  assert.equal(await lane.after(2_000), [1, 1]);
});

test("who has answered gets it again after its lease when the answer got lost", async () => {
  const lane = new Lane("c-key");
  await lane.take();
  await lane.queue(1, 1);
  await lane.after(0);
  (lane.taken[0] as TaskDelivery & QueueDelivery).settle();
  assert.equal(await lane.after(29_000), [1]);
  assert.equal(await lane.after(2_000), [1, 1]);
});

test("what is said of an earlier delivery of a limited message does not begin a later one", async () => {
  const lane = new Lane("r-key");
  await lane.take();
  await lane.queue(1);
  await lane.queue(2);
  await lane.after(0);
  lane.taken[0]!.giveBack();
  assert.equal(await lane.after(1_100), [1, 1]);
  lane.taken[0]!.begin();
  assert.equal(await lane.after(0), [1, 1]);
  lane.taken[1]!.begin();
  assert.equal(await lane.after(0), [1, 1, 2]);
});

test("a taker that is closed twice closes no other one", async () => {
  const lane = new Lane("p5");
  const first = await lane.take();
  await lane.take();
  await first.close();
  await first.close();
  await lane.queue(1);
  assert.equal(await lane.after(0), [1]);
});

test.run();
