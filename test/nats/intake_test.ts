/** Messages on demand: whoever wants one more gets one more, whenever it was said. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { natsPorts } from "../../src/nats/open.ts";
import { eventually, TestServer } from "./server.ts";

const tests = new TestServer();
test.after(() => tests.stop());

test(
  "what was wanted while other messages were still to come is asked for when they have come",
  tests.scope(async (scope) => {
    const { ticks } = await natsPorts(await scope.connect(), {
      namespace: scope.namespace,
      tickLeaseMs: 10_000,
      taskLeaseMs: 10_000,
      replicas: 1,
      storage: "memory",
      log: () => {},
    });
    const taken: string[] = [];
    const intake = await ticks.take(({ workflow }) => void taken.push(workflow));
    const take = async (workflow: string) => {
      await ticks.wake(workflow);
      await eventually(
        `${workflow} is handed out`,
        async () => taken.includes(workflow) || taken.join(),
      );
    };
    intake.want(3);
    await take("a");
    // Two are still to come: too few are wanted to be worth a request now.
    intake.want(1);
    for (const workflow of ["b", "c", "d"]) await take(workflow);
    await intake.close();
    assert.equal(taken, ["a", "b", "c", "d"]);
  }, { leavesWork: true }),
);

test.run();
