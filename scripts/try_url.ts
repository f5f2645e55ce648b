/**
 * Tries what the build has put into `url/` as a stranger would: serves it, and has Deno import it by URL in a folder with
 * nothing else in it: no configuration, no import map, no packages. A real workflow runs, its types are checked, and the
 * command runs from its URL, too.
 *
 *     npm run build && npm run try-package
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { startNatsServer } from "./nats_server.ts";

const program = (host: string, server: string) => `
import { connect } from "npm:@nats-io/transport-node@3";
import { chain, Dyrygent, task } from "http://${host}/mod.ts";
import { runLocally } from "http://${host}/testing.ts";

const add = task("add", (a: number, b: number) => a + b);
const canvas = chain(add.s(20, 20), add.s(2));
const nc = await connect({ servers: "${server}" });
const app = await Dyrygent.open(nc, { namespace: "url" });
const worker = app.worker({ tasks: [add] });
const processor = app.processor();
await worker.start();
await processor.start();
const result: number = await (await app.submit(canvas)).result();
await worker.stop();
await processor.stop();
await nc.close();
const { state }: { state: string } = await runLocally(canvas, { tasks: [add] });
console.log(result, state);
`;
const EXPECTED = "42 SUCCESS";

const illTyped = (host: string) => `
import { chain, task } from "http://${host}/mod.ts";
const add = task("add", (a: number, b: number) => a + b);
const sum = task("sum", (xs: number[]) => xs.length);
// @ts-expect-error a number is no list
export const wrong = chain(add.s(1, 2), sum.s());
`;

/** As hosts of text do. */
const files = createServer((request, response) => {
  try {
    const body = readFileSync(join("url", new URL(request.url!, "http://host").pathname));
    response.writeHead(200, { "content-type": "text/plain; charset=utf-8" }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
const folder = mkdtempSync(join(tmpdir(), "nats-dyrygent-url-"));

/** @throws {Error} with all it said, when it fails. */
function deno(...args: string[]): Promise<string> {
  // Itself, not what starts it: that would leave it behind when its time is up.
  const binary = resolve("node_modules/deno/deno");
  const options = { cwd: folder, env: { ...process.env, NO_COLOR: "1" }, timeout: 120_000 };
  return new Promise((done, reject) => {
    execFile(binary, args, options, (error, stdout, stderr) => {
      if (error === null) done(stdout);
      else reject(new Error(`deno ${args.join(" ")} failed:\n${stdout}\n${stderr}`));
    });
  });
}

function expect(how: string, printed: string, expected: string): void {
  if (!printed.includes(expected)) {
    throw new Error(`${how} printed ${JSON.stringify(printed)}, not ${JSON.stringify(expected)}`);
  }
  console.log(`ok  ${how}`);
}

await using server = await startNatsServer({ syncInterval: "default", websocket: false });
try {
  await new Promise<void>((listening) => files.listen(0, "127.0.0.1", listening));
  const host = `127.0.0.1:${(files.address() as AddressInfo).port}`;
  const permissions = ["--no-prompt", "--allow-net", `--allow-import=${host}`];
  writeFileSync(join(folder, "app.ts"), program(host, server.url));
  expect("Deno, by URL", await deno("run", "--check", ...permissions, "app.ts"), EXPECTED);
  writeFileSync(join(folder, "wrong.ts"), illTyped(host));
  await deno("check", `--allow-import=${host}`, "wrong.ts");
  console.log("ok  types, by URL");
  const help = await deno("run", "-A", `http://${host}/src/cli/main.ts`, "--help");
  expect("the command, by URL", help, "submit [module");
} finally {
  files.close();
  rmSync(folder, { recursive: true, force: true });
}
