/** Commands about schedules. They are made in code: `app.schedule(…)`. */
import type { ScheduleStatus } from "../../core/schedule.ts";
import { type Asked, type Command, needed } from "../command.ts";
import { EXIT, UsageError } from "../exit.ts";
import { spanText, timeText } from "../output.ts";

function whenText({ when }: ScheduleStatus): string {
  if (!("cron" in when)) return `every ${spanText(Number(when.every))}`;
  return `${when.cron} (${when.timeZone ?? "UTC"})`;
}

async function list({ output, open }: Asked): Promise<number> {
  const { app } = await open();
  const all: ScheduleStatus[] = [];
  for await (const status of app.schedules()) all.push(status);
  output.list(all, {
    none: "no schedules",
    head: ["SCHEDULE", "WORKFLOW", "WHEN", "NEXT", "LAST RUN"],
    row: (status) => [
      status.id,
      status.name,
      whenText(status),
      status.paused ? "paused" : status.nextAt === undefined ? "" : timeText(status.nextAt),
      status.lastRun ?? "",
    ],
  });
  return EXIT.ok;
}

const schedules: Command = {
  name: "schedules",
  usage: "[what] [id]",
  summary: "schedules there are; `pause`, `resume`, `remove` or `run` one now",
  async run(asked) {
    const [what] = asked.positionals;
    if (what === undefined) return await list(asked);
    const schedule = (await asked.open()).app.scheduleOf(needed(asked, 1, "schedule"));
    switch (what) {
      case "pause":
        await schedule.pause();
        break;
      case "resume":
        await schedule.resume();
        break;
      case "remove":
        await schedule.remove();
        break;
      case "run": {
        const { id } = await schedule.runNow();
        asked.output.give({ id }, () => asked.output.line(id));
        return EXIT.ok;
      }
      default:
        throw new UsageError(`schedules ${what}: say pause, resume, remove or run.`);
    }
    asked.output.give({ schedule: schedule.id, done: what }, () => {
      asked.output.line(`${schedule.id}: ${what} is done`);
    });
    return EXIT.ok;
  },
};

export const scheduling: readonly Command[] = [schedules];
