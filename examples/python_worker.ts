/**
 * Tasks in another language: python_worker.py knows nothing of this library, only what docs/protocol.md says, and speaks
 * to the server through NATS' own client for Python: `pip install nats-py` first.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { connect } from "@nats-io/transport-node";
import { chain, Dyrygent, group, task } from "nats-dyrygent";

const NAMESPACE = "example_python";
const double = task("double", (n: number) => 2 * n);

/** What runs in Python: here only its name, queue and types count. */
const inPython = { queue: "python", retry: { max: 2, base: "10ms" } } as const;
const elsewhere = (): never => {
  throw new Error("this task has its code in python_tasks.py");
};
const stats = task("py.stats", inPython, (_numbers: number[]): { mean: number; median: number } => {
  return elsewhere();
});
const shout = task("py.shout", inPython, (_text: string): string => elsewhere());

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: NAMESPACE });
const worker = app.worker({ tasks: [double] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);

const script = fileURLToPath(new URL("python_worker.py", import.meta.url));
const python = spawn("python3", [script, servers, NAMESPACE, "python"], {
  stdio: ["ignore", "pipe", "inherit"],
});
python.on("exit", (code) => code && process.exit(code)); // Without nats-py, it says so and ends.
await once(python.stdout, "data"); // It says "ready".

const run = await app.submit(chain(group([1, 2, 3, 10].map((n) => double.s(n))), stats.s()));
console.log(await run.result());
const loud = await app.submit(shout.s("hello"));
console.log(await loud.result());
for (const { attempt, state, failure } of await loud.attempts(0)) {
  console.log(attempt, state, failure?.message ?? "ok");
}
const unknown = await app.submit(task("py.typo", { queue: "python" }, elsewhere).s(), {
  unknownTasks: "ignore",
});
console.log((await unknown.result().catch((error) => error)).failures[0].message);

python.kill();
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// { mean: 8, median: 5 }
// HELLO
// 1 FAILURE Node py.shout-0 failed on attempt 1: ConnectionError: nobody heard 'hello'
// 2 SUCCESS ok
// Node py.typo-0 failed on attempt 1: UnknownTaskError: no task py.typo here
