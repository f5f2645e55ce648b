/**
 * Every program in `examples/` runs as it is and prints what its last comment block says:
 *
 *     // Output:
 *     // the first line
 */
import { spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import process from "node:process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type NatsServer, startNatsServer } from "../scripts/nats_server.ts";

const LIMIT_MS = 110_000;
/** Programs that need another program. */
const NEEDS: Record<string, string> = { "python_worker.ts": "python3" };
const MOST_LINES = 60;
const files = readdirSync("examples").filter((name) => name.endsWith(".ts"));
const runtime = "Deno" in globalThis ? ["run", "-A"] : ["--import", "tsx"];

/** The lines that a program says it prints; undefined when it says nothing. */
function promisedOutput(program: string): string | undefined {
  const block = /\n\/\/ Output:\n((?:\/\/ .*\n)+)$/.exec(program)?.[1];
  return block?.replaceAll(/^\/\/ /gm, "");
}

/** What the program prints, errors included; and how it ended, unless that was well. */
function outputOf(file: string, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...runtime, file], {
      env: { ...process.env, NATS_URL: url, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => output += text);
    }
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve(code === 0 ? output : `${output}(ended with ${signal ?? code})`);
    });
  });
}

let started: Promise<NatsServer> | undefined;
const server = () => started ??= startNatsServer({ syncInterval: "default", websocket: false });

// A suite for each, because a suite has a time limit: the more examples there are, the longer they take.
for (const name of files) {
  const example = suite(`examples/${name}`);
  const needed = NEEDS[name];
  if (needed !== undefined && spawnSync(needed, ["--version"]).status !== 0) {
    console.log(`    examples/${name} is skipped: there is no ${needed} on this machine`);
    example.skip("prints what it says");
  } else {
    example("prints what it says", async () => {
      const promised = promisedOutput(readFileSync(`examples/${name}`, "utf8"));
      assert.ok(promised !== undefined, `examples/${name} must end with a block "// Output:"`);
      assert.fixture(await outputOf(`examples/${name}`, (await server()).url), promised!);
    });
  }
  example.run();
}

const examples = suite("examples");
examples.after(async () => {
  await (await started)?.stop();
});

examples(`examples are short: at most ${MOST_LINES} lines`, () => {
  const long = files.filter((name) =>
    readFileSync(`examples/${name}`, "utf8").trimEnd().split("\n").length > MOST_LINES
  );
  assert.equal(long, []);
});

examples("examples/README.md says what each is", () => {
  const page = readFileSync("examples/README.md", "utf8");
  const listed = [...page.matchAll(/^\| \[(\w+\.ts)\]\(\1\)/gm)].map(([, name]) => name);
  assert.equal(listed.toSorted(), files.toSorted());
});

examples("only a block at the end counts as promised output", () => {
  assert.is(promisedOutput(`f();\n\n// Output:\n// one\n// two\n`), "one\ntwo\n");
  assert.is(promisedOutput(`f();\n\n// Output:\n`), undefined);
  assert.is(promisedOutput(`\n// Output:\n// one\nf();\n`), undefined);
});

examples.run();
