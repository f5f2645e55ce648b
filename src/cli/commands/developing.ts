/** For whoever writes tasks: a nats-server, a processor and a worker that follows the module's changes, in one command. */
import { dirname } from "node:path";
import process from "node:process";
import { Canvas } from "../../core/canvas.ts";
import { Workflow } from "../../core/workflow.ts";
import { isPortFree } from "../../nats_server/free_ports.ts";
import { type NatsServer, startNatsServer } from "../../nats_server/server.ts";
import { watchSources } from "../changes.ts";
import { type Asked, type Command, countOf, flagsAgain, textFlag } from "../command.ts";
import { resolved } from "../connection.ts";
import type { Where } from "../context_file.ts";
import { EXIT } from "../exit.ts";
import { LiveWorker } from "../live_worker.ts";
import { isTask, loadModule } from "../module.ts";

/** Where the other commands look for a server when nobody says where it is. */
const USUAL_PORT = 4222;
const MOST_TRIES = 3;

const dev: Command = {
  name: "dev",
  usage: "[module]",
  summary: "to write tasks: a server, a processor, and a worker that follows changes",
  serves: true,
  flags: {
    port: { type: "string" },
    websocket: { type: "string" },
    store: { type: "string" },
    queues: { type: "string", short: "q" },
    concurrency: { type: "string", short: "c" },
  },
  help: {
    port: `of a nats-server that it starts; else ${USUAL_PORT}, or what runs there already`,
    websocket: "its port for WebSockets; else the next one",
    store: "a folder that keeps what is recorded; else it is gone at the end",
    queues: 'of the worker, comma-separated; "default" unless told otherwise',
    concurrency: "of the worker: tasks at the same time",
  },
  async run(asked) {
    const { output, signal, positionals: [path] } = asked;
    await using server = await ownServer(asked);
    const { app, nc } = await asked.open({ server: server?.url });
    output.line(serverLine(server, nc.getServer()));
    const processor = app.processor();
    await processor.start();
    output.line(`processor    ${processor.id}`);
    const worker = path === undefined ? undefined : liveWorker(asked, path, server);
    if (worker !== undefined) worker.start();
    using _changes = path === undefined ? undefined : watchSources(dirname(path), () => {
      output.line("a source file changed: a new worker takes over");
      worker?.start();
    });
    output.line();
    for (const line of await triesOf(path, { server: server?.url, ...asked.values })) {
      output.line(line);
    }
    const lost = await new Promise<string | undefined>((resolve) => {
      if (signal.aborted) resolve(undefined);
      signal.addEventListener("abort", () => resolve(undefined));
      void server?.ended.then(resolve);
      void nc.closed().then(() => resolve("the connection was closed"));
    });
    await worker?.stop();
    await processor.stop();
    await nc.close();
    if (lost === undefined) return EXIT.ok;
    output.line(`the server ended: ${lost}\n${server?.logs() ?? ""}`.trimEnd());
    return EXIT.unavailable;
  },
};

/** Started here, unless somebody said where one is, or one runs where all commands look for it. */
async function ownServer(asked: Asked): Promise<NatsServer | undefined> {
  const asksFor = textFlag(asked, "port");
  const { server } = resolved(asked.values as Where, process.env);
  if (asksFor === undefined && server !== undefined) return undefined;
  const port = asksFor === undefined ? USUAL_PORT : countOf("--port", asksFor);
  if (asksFor === undefined && !await isPortFree(port)) return undefined;
  const websocket = textFlag(asked, "websocket");
  return await startNatsServer({
    port,
    websocketPort: websocket !== undefined
      ? countOf("--websocket", websocket)
      : await isPortFree(port + 1)
      ? port + 1
      : -1,
    storeDir: textFlag(asked, "store"),
    // What is only tried out need not survive a power cut, and a disk may be slow.
    syncInterval: "default",
  });
}

function serverLine(server: NatsServer | undefined, address: string): string {
  if (server === undefined) return `nats-server  ${address} (it runs already)`;
  const { version, url, websocketUrl } = server;
  return `nats-server  ${url}  ${websocketUrl}  (${version})`;
}

function liveWorker(asked: Asked, path: string, server: NatsServer | undefined): LiveWorker {
  const script = new URL(import.meta.url.replace(/commands\/developing(\.\w+)$/, "main$1"));
  const own = ["port", "websocket", "store", ...(server === undefined ? [] : ["server"])];
  const args = ["worker", path, ...flagsAgain(asked, own)];
  if (server !== undefined) args.push("--server", server.url);
  return new LiveWorker(script, args, (line) => asked.output.line(line));
}

/** What can be submitted: in a terminal of its own. */
async function triesOf(path: string | undefined, { server, namespace }: {
  server: string | undefined;
  namespace?: unknown;
}): Promise<string[]> {
  const where = [
    ...(server === undefined || server.endsWith(`:${USUAL_PORT}`) ? [] : ["--server", server]),
    ...(namespace === undefined ? [] : ["--namespace", String(namespace)]),
  ];
  const command = (...words: string[]) => `  nats-dyrygent ${[...words, ...where].join(" ")}`;
  const submits = path === undefined ? [] : await submitsOf(path);
  return [
    "Try in another terminal:",
    ...submits.slice(0, MOST_TRIES).map((words) => command("submit", ...words, "--wait")),
    ...(path === undefined ? [command("worker", "./tasks.js")] : []),
    command("ls"),
    command("ps"),
  ];
}

async function submitsOf(path: string): Promise<string[][]> {
  let module;
  try {
    module = await loadModule(path);
  } catch {
    // The worker says why.
    return [];
  }
  const named = Object.entries(module).map(([name, value]) => ({
    value,
    target: name === "default" ? path : `${path}#${name}`,
  }));
  const tasks = named.filter(({ value }) => isTask(value));
  return [
    ...named.filter(({ value }) => value instanceof Workflow || value instanceof Canvas)
      .map(({ target }) => [target]),
    ...tasks.map(({ target }) => [target, "--args", "'[…]'"]),
  ];
}

export const developing: readonly Command[] = [dev];
