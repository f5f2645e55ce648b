/** The command for whoever writes tasks: from nothing to a run, and on with every change of the module. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { connect } from "@nats-io/transport-node";
import { Dyrygent, task } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { findFreePorts } from "../../scripts/nats_server.ts";
import { watchSources } from "../../src/cli/changes.ts";
import { startChild } from "../nats/child.ts";
import { eventually } from "../nats/server.ts";

/** Several cold starts on a busy machine. */
const START_MS = 90_000;
const LIBRARY = new URL("../../mod.ts", import.meta.url).href;

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "dyrygent-dev-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("dev starts a server, a processor and a worker, which follows the module's changes", () =>
  inFolder(async (folder) => {
    const path = join(folder, "tasks.mjs");
    const write = (body: string) =>
      writeFileSync(path, `import { task } from "${LIBRARY}";\nexport const who = ${body};\n`);
    write(`task("who", () => "the first")`);
    const [port] = await findFreePorts(1);
    await using dev = startChild("../../src/cli/main.ts", ["dev", path, "--port", String(port)]);
    const url = `nats://127.0.0.1:${port}`;
    assert.match(await dev.said("nats-server", START_MS), `${url}  ws://127.0.0.1:`);
    await dev.said("worker ", START_MS);
    assert.match(dev.output(), `submit ${path}#who --args '[…]' --wait --server ${url}`);

    const nc = await connect({ servers: url });
    try {
      const app = await Dyrygent.open(nc);
      const who = task("who", (): string => "");
      assert.is(await (await app.submit(who.s())).result(), "the first");
      write(`task("who", () => "the second")`);
      await dev.said("a source file changed");
      await dev.said("worker ", START_MS);
      await eventually("the new one answers", async () => {
        return await (await app.submit(who.s())).result() === "the second";
      });

      write("this is no program");
      await dev.said("the worker ended (exit code 2): it starts again when a source", START_MS);
      write(`task("who", () => process.exit(7))`);
      await dev.said("worker ", START_MS);
      const run = await app.submit(who.s());
      await dev.said("the worker ended (exit code 7): it starts again in a second", START_MS);
      await run.cancel();
    } finally {
      await nc.close();
    }
    dev.signal("SIGTERM");
    assert.is(await dev.ended, 0);
    const gone = await connect({ servers: url, reconnect: false }).then(() => false, () => true);
    assert.ok(gone, "the server it started ends with it");
  }));

test("dev says when the port that it is to use is taken", async () => {
  const [port] = await findFreePorts(1);
  const first = startChild("../../src/cli/main.ts", ["dev", "--port", String(port)]);
  await using _first = first;
  await first.said("nats-server", START_MS);
  await using second = startChild("../../src/cli/main.ts", ["dev", "--port", String(port)]);
  assert.is(await second.ended, 4);
  assert.match(second.output(), /address already in use/);
});

test("changes are those of source files, also in new folders, told once when they come together", () =>
  inFolder(async (folder) => {
    let told = 0;
    using _watch = watchSources(folder, () => void told++);
    writeFileSync(join(folder, "result.json"), "1");
    writeFileSync(join(folder, "a.ts"), "1");
    writeFileSync(join(folder, "b.ts"), "1");
    await eventually("told of two files", () => told > 0);
    assert.is(told, 1);
    mkdirSync(join(folder, "deeper"));
    await eventually("told of a file in a new folder", () => {
      writeFileSync(join(folder, "deeper", "c.mjs"), String(process.hrtime.bigint()));
      return told > 1;
    });
  }));

test.run();
