/** A report every Monday at six in Warsaw: a schedule, whose runs know which week they are about. */
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { chord, currentTask, Dyrygent, task, Workflow } from "nats-dyrygent";

const sales: Record<string, number[]> = { lublin: [12, 30], gdansk: [7, 8, 9] };

const count = task("report.count", (shop: string) => {
  return `${shop}: ${sales[shop]!.reduce((a, b) => a + b, 0)}`;
});
const write = task("report.write", (lines: string[]) => {
  // The run of an occurrence is called "weekly-<moment>", however often this attempt is made.
  const { workflowId, workflowPayload } = currentTask();
  return `for ${(workflowPayload as { to: string }).to}, ${workflowId.split("-")[0]}: ${
    lines.join("; ")
  }`;
});

const report = new Workflow("report", { timeout: "2h", retention: "30d", payload: { to: "Ada" } });
report.add(chord(Object.keys(sales).map((shop) => count.s(shop)), write.s()));

const servers = process.env["NATS_URL"] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, noAsyncTraces: true });
const app = await Dyrygent.open(nc, { namespace: "example_report" });
const worker = app.worker({ tasks: [count, write] });
const processor = app.processor(); // Processors submit what is due; there is no scheduler to run.
await Promise.all([worker.start(), processor.start()]);

// The same again changes nothing: say it whenever the program starts.
const weekly = await app.schedule(
  "weekly",
  { cron: "0 6 * * 1", timeZone: "Europe/Warsaw" },
  report,
  {
    missed: "runOnce", // Was nobody there on Monday? Then once, when somebody is.
  },
);
const { nextAt } = await weekly.status();
const inWarsaw = { timeZone: "Europe/Warsaw", weekday: "long" } as const;
console.log(new Intl.DateTimeFormat("en", inWarsaw).format(nextAt));

const now = await weekly.runNow(); // Besides what is due.
console.log(await now.result());

const often = await app.schedule("often", { every: "1s" }, report);
while ((await often.status()).lastRun === undefined) await new Promise((r) => setTimeout(r, 50));
const { lastRun, lastAt } = await often.status();
console.log(await app.run(lastRun!).result());
console.log(lastRun === `often-${new Date(lastAt!).toISOString().replaceAll(/[-:]|\.\d+/g, "")}`);

for await (const { id } of app.schedules()) await app.scheduleOf(id).remove();
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();

// Output:
// Monday
// for Ada, weekly: lublin: 42; gdansk: 24
// for Ada, often: lublin: 42; gdansk: 24
// true
