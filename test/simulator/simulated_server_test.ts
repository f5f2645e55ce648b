/** What the simulated server says that it did is what it did. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { type Done, SimulatedServer } from "../../simulator/simulated_server.ts";
import { settled, VirtualWorld } from "../../simulator/virtual_world.ts";
import type { Intake, TaskDelivery, TickDelivery } from "../../src/ports.ts";

const address = { queue: "default", lane: "p5", workflow: "run", node: 0, attempt: 1 };

class Watched {
  readonly done: Done["is"][] = [];
  readonly tasks: TaskDelivery[] = [];
  readonly world = new VirtualWorld();
  readonly server = new SimulatedServer(
    this.world,
    ({ is }) => this.done.push(is),
    1_048_576,
  );

  take(): Promise<Intake> {
    const queues = ["default"];
    return this.server.takeTasks({ queues, ahead: 0 }, (task) => this.tasks.push(task));
  }
}

test("a task message that was replaced is acknowledged in vain", async () => {
  const watched = new Watched();
  const { world, server, tasks, done } = watched;
  const intake = await watched.take();
  intake.want(2);
  for (let i = 0; i < 2; i++) {
    await server.tasks.withdraw("run");
    await server.queue(address, new Uint8Array());
    await settled();
  }
  tasks[0]!.ack();
  await settled();
  assert.equal([done, await server.tasks.list("run")], [["queued", "queued"], [address]]);
  server.restart();
  intake.want(1);
  await world.step();
  assert.is(tasks.length, 3);
  tasks[2]!.ack();
  await settled();
  assert.equal([done.at(-1), await server.tasks.list("run")], ["task acked", []]);
});

test("a task message that was withdrawn is acknowledged in vain", async () => {
  const watched = new Watched();
  const { server, tasks, done } = watched;
  const intake = await watched.take();
  intake.want(1);
  await server.queue(address, new Uint8Array());
  await settled();
  await server.tasks.withdraw("run");
  tasks[0]!.ack();
  await settled();
  assert.equal(done, ["queued"]);
});

test("a tick that was replaced is acknowledged in vain", async () => {
  const { server, done } = new Watched();
  const taken: TickDelivery[] = [];
  const intake = await server.takeTicks((tick) => taken.push(tick));
  intake.want(2);
  for (let i = 0; i < 2; i++) {
    await server.wake("run");
    await settled();
  }
  taken[0]!.ack();
  await settled();
  assert.equal([done, await server.listTicks()], [["ticked", "ticked"], ["run"]]);
  taken[1]!.ack();
  await server.ensureTick("run");
  taken[1]!.ack();
  await settled();
  assert.equal([done.at(-1), await server.listTicks()], ["tick acked", ["run"]]);
});

test.run();
