/** What a user's module looks like to the command: tasks, workflows, and a function that makes one. */
import {
  chain,
  type Codec,
  currentTask,
  event,
  type Signature,
  task,
  Workflow,
} from "nats-dyrygent";
import process from "node:process";

export const add = task("add", (a: number, b: number) => a + b);
export const bad = task("bad", (): number => {
  throw new RangeError("no luck");
});
export const whoami = task("whoami", () => process.pid);
export const talk = task("talk", { retry: { max: 1, base: 1 } }, (): void => {
  const { log, attempt } = currentTask();
  log.info("trying", { attempt });
  if (attempt > 1) return log.warn("at last");
  throw new Error("not yet");
});
export const elsewhere = task("elsewhere", { queue: "elsewhere" }, () => "done");
const approval = event<string>("approval");

export const sums = (n: number): ReturnType<typeof chain> => chain(add.s(n, 1), add.s(2));
export const failing: Signature<never, number> = bad.s() as never;

export const waiting = new Workflow("waiting");
waiting.call(add, 1, 2).after(waiting.waitFor(approval).named("approval")).named("approved");

export const unserved = new Workflow("unserved");
unserved.call(elsewhere).named("there");
unserved.call(add, 1, 1).after(unserved.call(add, 0, 0).named("first")).named("last");

/** Every bit the other way round. */
const flip = (data: Uint8Array): Uint8Array => data.map((byte) => ~byte);
export const codec: Codec = { encode: flip, decode: flip };

export default sums(40);
