/**
 * Every program in `examples/` runs as it is and prints what its last comment block says:
 *
 *     // Output:
 *     // the first line
 */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { delimiter } from "node:path";
import process from "node:process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type NatsServer, startNatsServer } from "../scripts/nats_server.ts";
import { findNatsPy } from "./nats_py.ts";

const LIMIT_MS = 110_000;
/** The program that needs Python. */
const IN_PYTHON = "python_worker.ts";
const MOST_LINES = 60;
/** Of Python: what formats the rest breaks longer lines. */
const MOST_COLUMNS = 110;
const files = readdirSync("examples").filter((name) => name.endsWith(".ts"));
const inPython = readdirSync("examples").filter((name) => name.endsWith(".py"));
const runtime = "Deno" in globalThis ? ["run", "-A"] : ["--import", "tsx"];

/** The lines that a program says it prints; undefined when it says nothing. */
function promisedOutput(program: string): string | undefined {
  const block = /\n\/\/ Output:\n((?:\/\/ .*\n)+)$/.exec(program)?.[1];
  return block?.replaceAll(/^\/\/ /gm, "");
}

/** What the program prints, errors included; and how it ended, unless that was well. */
function outputOf(file: string, env: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...runtime, file], {
      env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
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

function linesOf(name: string): string[] {
  return readFileSync(`examples/${name}`, "utf8").trimEnd().split("\n");
}

let started: Promise<NatsServer> | undefined;
const server = () => started ??= startNatsServer({ syncInterval: "default", websocket: false });

const natsPy = await findNatsPy();
/** What Python needs to find it, and not to leave anything behind. */
const pythonEnv: Record<string, string> = natsPy.is === "missing" ? {} : {
  PYTHONPATH: [natsPy.folder, process.env["PYTHONPATH"]].filter(Boolean).join(delimiter),
  PYTHONDONTWRITEBYTECODE: "1",
};

// A suite for each, because a suite has a time limit: the more examples there are, the longer they take.
for (const name of files) {
  const example = suite(`examples/${name}`);
  if (name === IN_PYTHON && natsPy.is === "missing") {
    console.log(`    examples/${name} is skipped: ${natsPy.why}`);
    example.skip("prints what it says");
  } else {
    example("prints what it says", async () => {
      const promised = promisedOutput(readFileSync(`examples/${name}`, "utf8"));
      assert.ok(promised !== undefined, `examples/${name} must end with a block "// Output:"`);
      const env = name === IN_PYTHON ? pythonEnv : {};
      const { url } = await server();
      assert.fixture(await outputOf(`examples/${name}`, { ...env, NATS_URL: url }), promised!);
    });
  }
  example.run();
}

const examples = suite("examples");
examples.after(async () => {
  await (await started)?.stop();
});

examples(`examples are short: at most ${MOST_LINES} lines`, () => {
  const long = [...files, ...inPython].filter((name) => linesOf(name).length > MOST_LINES);
  assert.equal(long, []);
});

examples(`those in Python are not wide: at most ${MOST_COLUMNS} columns`, () => {
  const wide = inPython.filter((name) => linesOf(name).some((line) => line.length > MOST_COLUMNS));
  assert.equal(wide, []);
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
