/** The same engine in memory and in virtual time, for unit tests: the day between two attempts passes at once. */
import { currentTask, FatalTaskError, task, Workflow } from "nats-dyrygent";
import { runLocally } from "nats-dyrygent/testing";

const retry = { max: 2, backoff: "fixed", base: "1d", cap: "1d", jitter: false } as const;
const measure = task("measure", { retry }, (site: string) => {
  if (site === "") throw new FatalTaskError("a site needs a name");
  if (site === "north" && currentTask().attempt === 1) throw new Error("it is snowing");
  return site.length;
});
const sum = task("sum", (xs: number[]) => xs.reduce((a, b) => a + b, 0));

const wf = new Workflow("weather");
const sites = ["north", "east"].map((site) => wf.call(measure, site).named(site));
const all = wf.call(sum, sites).named("all");

const weather = await runLocally(wf.output(all), { tasks: [measure, sum] });
console.log(`${weather.state}: ${weather.result}`);
console.log(weather.order.join(", ")); // Attempts, as they ended.
const { submittedAt, finishedAt = NaN } = weather.status;
console.log(`days: ${Math.round((finishedAt - submittedAt) / 86_400_000)}`);

const nameless = await runLocally(measure.s(""), { tasks: [measure] });
console.log(`${nameless.state}: ${nameless.error?.failures[0]?.message}`);

// Output:
// SUCCESS: 9
// north, east, north, all
// days: 1
// FAILURE: Node measure-0 failed on attempt 1: FatalTaskError: a site needs a name
