/** Commands that serve until they are told to stop: SIGTERM and SIGINT let them end what they have begun. */
import { createServer } from "node:http";
import process from "node:process";
import { startProcesses } from "../../processes/processes.ts";
import { READY } from "../../processes/until_stopped.ts";
import { type Asked, type Command, countOf, flagsAgain, needed, textFlag } from "../command.ts";
import { EXIT } from "../exit.ts";
import { loadModule, tasksOf } from "../module.ts";

interface Serving {
  /** @default while it is not stopped */
  readonly isServing?: boolean;
  stop(): Promise<void>;
}

const HEALTH = {
  flags: { health: { type: "string" } },
  help: { health: "a port that answers GET /health and GET /ready with 200, or 503" },
} as const;

/** This very command in so many processes, each a worker. */
async function inProcesses(asked: Asked, count: number): Promise<number> {
  const flags = flagsAgain(asked, ["processes", "health"]);
  const script = new URL(import.meta.url.replace(/commands\/serving(\.\w+)$/, "main$1"));
  const args = ["worker", ...asked.positionals, ...flags];
  return await serve(asked, () => startProcesses(script, { count, args }));
}

/** Until the process is told to end; then whatever serves ends first. */
async function serve(asked: Asked, start: () => Promise<Serving>): Promise<number> {
  const { nc } = await asked.open();
  let serving: Serving | undefined;
  const port = textFlag(asked, "health");
  await using _health = port === undefined
    ? undefined
    : await listen(countOf("--health", port), (path) => {
      if (path === "/health") return !nc.isClosed();
      return path === "/ready" ? serving !== undefined && serving.isServing !== false : undefined;
    });
  const started = serving = await start();
  // To whoever started this one among others.
  process.send?.(READY);
  await new Promise<void>((resolve) => {
    if (asked.signal.aborted) resolve();
    asked.signal.addEventListener("abort", () => resolve());
    process.once("disconnect", () => resolve());
    void nc.closed().then(() => resolve());
  });
  serving = undefined;
  await started.stop();
  return nc.isClosed() ? EXIT.unavailable : EXIT.ok;
}

/** @param isWell undefined: there is no such page. */
async function listen(
  port: number,
  isWell: (path: string) => boolean | undefined,
): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    const well = isWell(request.url ?? "");
    response.writeHead(well === undefined ? 404 : well ? 200 : 503).end();
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, resolve);
  });
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

const worker: Command = {
  name: "worker",
  usage: "<module>",
  summary: "run the tasks that a module exports",
  serves: true,
  flags: {
    processes: { type: "string", short: "p" },
    queues: { type: "string", short: "q" },
    concurrency: { type: "string", short: "c" },
    prefetch: { type: "string" },
    ...HEALTH.flags,
  },
  help: {
    processes: "so many, for tasks that compute; a dead one is replaced",
    queues: 'comma-separated; "default" unless told otherwise',
    concurrency: "tasks at the same time",
    prefetch: "task messages held ready besides",
    ...HEALTH.help,
  },
  async run(asked) {
    const path = needed(asked, 0, "module");
    const count = textFlag(asked, "processes");
    if (count !== undefined) return await inProcesses(asked, countOf("--processes", count));
    const tasks = tasksOf(await loadModule(path), path);
    const queues = textFlag(asked, "queues")?.split(",");
    const concurrency = textFlag(asked, "concurrency");
    const prefetch = textFlag(asked, "prefetch");
    const { app } = await asked.open();
    return await serve(asked, async () => {
      const worker = app.worker({
        tasks,
        ...(queues === undefined ? {} : { queues }),
        ...(concurrency === undefined
          ? {}
          : { concurrency: countOf("--concurrency", concurrency) }),
        ...(prefetch === undefined ? {} : { prefetch: Number(prefetch) }),
      });
      await worker.start();
      const names = tasks.map(({ taskName }) => taskName);
      asked.output.give({ worker: worker.id, tasks: names }, () => {
        asked.output.line(`worker ${worker.id} serves ${names.join(", ")}`);
      });
      return worker;
    });
  },
};

const processor: Command = {
  name: "processor",
  usage: "",
  summary: "conduct workflows",
  serves: true,
  flags: {
    concurrency: { type: "string", short: "c" },
    once: { type: "boolean" },
    ...HEALTH.flags,
  },
  help: {
    concurrency: "workflows at the same time",
    once: "do what is due, and end: for cron",
    ...HEALTH.help,
  },
  async run(asked) {
    const { output, values } = asked;
    const concurrency = textFlag(asked, "concurrency");
    const { app } = await asked.open();
    const processor = app.processor(
      concurrency === undefined ? {} : { concurrency: countOf("--concurrency", concurrency) },
    );
    if (values["once"] === true) {
      const report = await processor.runOnce();
      output.give(report, () => {
        output.line(`${report.conducted} workflows looked after, ${report.finished} ended`);
      });
      return EXIT.ok;
    }
    return await serve(asked, async () => {
      await processor.start();
      output.give(
        { processor: processor.id },
        () => output.line(`processor ${processor.id} conducts`),
      );
      return processor;
    });
  },
};

export const servingCommands: readonly Command[] = [worker, processor];
