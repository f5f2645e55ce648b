/**
 * A nats-server until Ctrl-C, and what tests, benches and the demo start theirs with.
 *
 *     node --import tsx scripts/nats_server.ts [--version 2.10] [--port 4222]
 *     node --import tsx scripts/nats_server.ts --which [--version 2.10]
 *
 * (in Deno: deno run -A scripts/nats_server.ts …)
 */
import { existsSync, realpathSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { findNatsServer } from "../src/nats_server/binary.ts";
import { startNatsServer } from "../src/nats_server/server.ts";

export { findFreePorts } from "../src/nats_server/free_ports.ts";
export {
  type NatsClusterOptions,
  type NatsServerOptions,
  NatsServerStartError,
} from "../src/nats_server/launch.ts";
export { type NatsServer, startNatsServer } from "../src/nats_server/server.ts";

const usage = `Usage: nats_server.ts [--version 2.10] [--port 4222]   run one until Ctrl-C
       nats_server.ts --which [--version 2.10]         print the path of the executable`;

async function main(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      version: { type: "string" },
      port: { type: "string" },
      which: { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return console.log(usage);
  if (values.which) return console.log((await findNatsServer({ version: values.version })).path);

  const server = await startNatsServer({ version: values.version, port: portFrom(values.port) });
  console.log(
    `nats-server ${server.version}, process ${server.pid}; Ctrl-C stops it and deletes its store`,
  );
  console.log(`  nats       ${server.url}\n  websocket  ${server.websocketUrl}`);
  console.log(`  store      ${server.storeDir}`);
  let isStopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      isStopping = true;
      void server.stop();
    });
  }
  const keepAlive = setInterval(() => {}, 60_000);
  const how = await server.ended;
  clearInterval(keepAlive);
  if (isStopping) return await server.stop();
  throw new Error(`nats-server ended by itself (${how}):\n${server.logs()}`);
}

function portFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= -1 && port !== 0 && port <= 65_535) return port;
  throw new Error(
    `Cannot listen on port ${JSON.stringify(text)}: give 1 to 65535, or -1 for a free one.`,
  );
}

// Not import.meta.main, which Node 20 lacks.
const startedAs = process.argv[1];
if (startedAs !== undefined && existsSync(startedAs)) {
  if (realpathSync(startedAs) === realpathSync(fileURLToPath(import.meta.url))) {
    await main(process.argv.slice(2)).catch((error) => {
      console.error(error instanceof Error ? error.message : error);
      process.exitCode = 1;
    });
  }
}
