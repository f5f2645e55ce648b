/** Commands that serve until they are told to stop: SIGTERM and SIGINT let them end what they have begun. */
import { createServer, type ServerResponse } from "node:http";
import process from "node:process";
import { failureOf } from "../../core/records.ts";
import { startProcesses } from "../../processes/processes.ts";
import { READY } from "../../processes/until_stopped.ts";
import { type Asked, type Command, countOf, flagsAgain, needed, textFlag } from "../command.ts";
import { EXIT, UsageError } from "../exit.ts";
import { loadModule, tasksOf } from "../module.ts";
import { type PrometheusMetrics, prometheusMetrics } from "../prometheus.ts";

interface Serving {
  /** @default while it is not stopped */
  readonly isServing?: boolean;
  stop(): Promise<void>;
}

const HEALTH = {
  flags: { health: { type: "string" }, metrics: { type: "boolean" } },
  help: {
    health: "a port that answers GET /health and GET /ready with 200, or 503",
    metrics: "there also GET /metrics, for Prometheus; needs the package prom-client",
  },
} as const;

/** @throws {UsageError} when there is no port for it, or the package is missing */
async function metricsFor({ values }: Asked): Promise<PrometheusMetrics | undefined> {
  if (values["metrics"] !== true) return undefined;
  if (values["health"] === undefined) {
    throw new UsageError("--metrics needs a port to answer on: --health <port>.");
  }
  if (values["processes"] !== undefined) {
    throw new UsageError(
      "--metrics is of one process: start the workers one by one, or drop --processes.",
    );
  }
  return await prometheusMetrics();
}

/** This very command in so many processes, each a worker. */
async function inProcesses(asked: Asked, count: number): Promise<number> {
  const flags = flagsAgain(asked, ["processes", "health"]);
  const script = new URL(import.meta.url.replace(/commands\/serving(\.\w+)$/, "main$1"));
  const args = ["worker", ...asked.positionals, ...flags];
  return await serve(asked, () => startProcesses(script, { count, args }));
}

/** Until the process is told to end; then whatever serves ends first. */
async function serve(
  asked: Asked,
  start: () => Promise<Serving>,
  metrics?: PrometheusMetrics,
): Promise<number> {
  const { nc } = await asked.open();
  let serving: Serving | undefined;
  const port = textFlag(asked, "health");
  await using _health = port === undefined ? undefined : await listen(countOf("--health", port), {
    isWell: (path) => {
      if (path === "/health") return !nc.isClosed();
      return path === "/ready" ? serving !== undefined && serving.isServing !== false : undefined;
    },
    metrics,
  });
  const started = serving = await start();
  // To whoever started this one among others.
  if (process.connected === true) process.send?.(READY);
  await new Promise<void>((resolve) => {
    if (asked.signal.aborted) resolve();
    asked.signal.addEventListener("abort", () => resolve());
    void nc.closed().then(() => resolve());
  });
  serving = undefined;
  await started.stop();
  return nc.isClosed() ? EXIT.unavailable : EXIT.ok;
}

interface Pages {
  /** Undefined: there is no such page. */
  readonly isWell: (path: string) => boolean | undefined;
  readonly metrics: PrometheusMetrics | undefined;
}

async function listen(port: number, { isWell, metrics }: Pages): Promise<AsyncDisposable> {
  const server = createServer((request, response) => {
    const path = request.url ?? "";
    if (metrics !== undefined && path === "/metrics") return void answer(response, metrics);
    const well = isWell(path);
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

async function answer(response: ServerResponse, { page }: PrometheusMetrics): Promise<void> {
  try {
    const { type, text } = await page();
    response.writeHead(200, { "content-type": type }).end(text);
  } catch (error) {
    response.writeHead(500).end(failureOf(error).message);
  }
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
    const metrics = await metricsFor(asked);
    const count = textFlag(asked, "processes");
    if (count !== undefined) return await inProcesses(asked, countOf("--processes", count));
    const tasks = tasksOf(await loadModule(path), path);
    const queues = textFlag(asked, "queues")?.split(",");
    const concurrency = textFlag(asked, "concurrency");
    const prefetch = textFlag(asked, "prefetch");
    const { app } = await asked.open({ telemetry: metrics?.telemetry });
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
    }, metrics);
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
    const metrics = await metricsFor(asked);
    const { app } = await asked.open({ telemetry: metrics?.telemetry });
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
    }, metrics);
  },
};

export const servingCommands: readonly Command[] = [worker, processor];
