/**
 * Random graphs on a real server, conducted by two processors and run by two workers, all on connections of their own.
 * What happened is not asked of the engine: every execution writes its start and its end to a stream of the test, and
 * the sequences of that stream tell whether the edges were respected.
 */
import { jetstream, type JetStreamClient, jetstreamManager } from "@nats-io/jetstream";
import fc from "fast-check";
import { currentTask, type Dyrygent, type Node, type Run, task, Workflow } from "nats-dyrygent";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type Scope, TestServer } from "./server.ts";

const server = new TestServer();
const test = suite("random graphs");
test.after(() => server.stop());

const GRAPHS = 120;

/** A node of a graph: its upstreams are earlier nodes. */
interface Plan {
  /** Whose results it takes. */
  readonly takes: readonly number[];
  /** Whom it only waits for. */
  readonly waits: readonly number[];
  readonly fails: boolean;
}

const anyPlan = fc.record({
  back: fc.array(fc.record({ by: fc.integer({ min: 1, max: 15 }), takes: fc.boolean() }), {
    maxLength: 4,
  }),
  fails: fc.integer({ min: 0, max: 39 }).map((dice) => dice === 0),
});

const anyGraph: fc.Arbitrary<Plan[]> = fc.array(anyPlan, {
  minLength: 1,
  maxLength: 60,
  size: "max",
}).map((
  plans,
) =>
  plans.map(({ back, fails }, i) => {
    const upstreams = back.filter(({ by }) => by <= i).map(({ by, takes }) => ({
      node: i - by,
      takes,
    }));
    return {
      takes: upstreams.filter(({ takes }) => takes).map(({ node }) => node),
      waits: upstreams.filter(({ takes }) => !takes).map(({ node }) => node),
      fails,
    };
  })
);

/** What a node gives for what it takes. */
function mix(own: number, taken: readonly number[]): number {
  return taken.reduce((value, next) => (value * 31 + next) % 1_000_003, own + 1);
}

/** Writes its start and its end before and after it does anything, each acknowledged by the server. */
function witnessed(js: JetStreamClient, subject: string) {
  return task("mix", async (own: number, taken: number[], fails: boolean) => {
    const { nodeKey } = currentTask();
    await js.publish(`${subject}.start.${nodeKey}`);
    const value = mix(own, taken);
    await js.publish(`${subject}.end.${nodeKey}`);
    if (fails) throw new Error(`node ${own} fails`);
    return value;
  });
}

function build(plans: readonly Plan[], work: ReturnType<typeof witnessed>): Workflow<number[]> {
  const wf = new Workflow("random");
  const nodes: Node<number>[] = [];
  plans.forEach(({ takes, waits, fails }, i) => {
    const node = wf.call(work, i, takes.map((upstream) => nodes[upstream]!), fails);
    nodes.push(node.after(waits.map((upstream) => nodes[upstream]!)));
  });
  return wf.output(nodes);
}

/** The value of every node that may run and succeed, by direct evaluation; "fails" or "never" for the others. */
function evaluate(plans: readonly Plan[]): (number | "fails" | "never")[] {
  const values: (number | "fails" | "never")[] = [];
  plans.forEach(({ takes, waits, fails }, i) => {
    if ([...takes, ...waits].some((upstream) => typeof values[upstream] !== "number")) {
      values.push("never");
    } else {values.push(
        fails ? "fails" : mix(
          i,
          takes.map((upstream) => values[upstream] as number),
        ),
      );}
  });
  return values;
}

/** Sequences of starts and ends in the test's own stream, by workflow and node. */
async function readWitness(scope: Scope, stream: string): Promise<Map<string, number[]>> {
  const js = jetstream(await scope.raw);
  const seen = new Map<string, number[]>();
  const consumer = await js.consumers.get(stream);
  const { state } = await (await jetstreamManager(await scope.raw)).streams.info(stream);
  if (state.messages === 0) return seen;
  for await (const msg of await consumer.consume()) {
    const key = msg.subject.split(".").slice(1).join(".");
    seen.set(key, [...seen.get(key) ?? [], msg.seq]);
    if (msg.info.pending === 0) break;
  }
  return seen;
}

test(
  `${GRAPHS} graphs of up to 60 nodes: every edge is respected, every node runs once, every value is right`,
  server.scope(async (scope) => {
    const seed = Math.floor(performance.timeOrigin + performance.now()) % 2 ** 31;
    const graphs = fc.sample(anyGraph, { numRuns: GRAPHS, seed });
    const subject = `${scope.namespace}proof`;
    const stream = `${scope.namespace}_proof`;
    await (await jetstreamManager(await scope.raw)).streams.add({
      name: stream,
      subjects: [`${subject}.>`],
    });
    const apps: Dyrygent[] = [];
    for (let i = 0; i < 2; i++) {
      const work = witnessed(jetstream(await scope.connect()), subject);
      await scope.worker(await scope.open(), { tasks: [work], concurrency: 32 });
      const app = await scope.open();
      await scope.processor(app);
      apps.push(app);
    }
    const work = witnessed(jetstream(await scope.raw), subject);
    const submit = (plans: readonly Plan[], i: number): Promise<Run<number[]>> =>
      apps[i % 2]!.submit(build(plans, work), { id: `graph${i}` });
    const runs = await Promise.all(graphs.map(submit));
    const states = await Promise.all(runs.map(async (run) => (await run.ended()).state));
    const witness = await readWitness(scope, stream);

    for (const [i, plans] of graphs.entries()) {
      const where = (node: number) => `graph ${i}, node ${node} (seed ${seed})`;
      const values = evaluate(plans);
      const isWhole = values.every((value) => typeof value === "number");
      assert.is(states[i], isWhole ? "SUCCESS" : "FAILURE", `graph ${i} (seed ${seed})`);
      if (isWhole) assert.equal(await runs[i]!.result(), values, `graph ${i} (seed ${seed})`);
      const at = (what: "start" | "end", node: number) =>
        witness.get(`${what}.graph${i}.${node}`) ?? [];
      for (const [node, { takes, waits }] of plans.entries()) {
        const times = values[node] === "never" ? 0 : 1;
        assert.is(at("start", node).length, times, `${where(node)} ran not ${times} times`);
        assert.is(at("end", node).length, times, `${where(node)} ended not ${times} times`);
        if (times === 0) continue;
        for (const upstream of [...takes, ...waits]) {
          assert.ok(
            at("end", upstream)[0]! < at("start", node)[0]!,
            `${where(node)} began before node ${upstream} ended`,
          );
        }
      }
    }
    const ran = [...witness.keys()].filter((key) => key.startsWith("start.")).length;
    assert.ok(ran > GRAPHS * 5, `only ${ran} nodes ran: the graphs are too small to show anything`);
  }, { within: 90_000 }),
);

test.run();
