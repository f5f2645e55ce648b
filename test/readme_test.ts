/**
 * The samples of README.md and docs/ compile and run as they are written.
 *
 * Of each document, every ```ts block counts:
 * - a block that begins with a comment like `// tasks.ts` is a file of that name, for the others to import or start;
 * - all other blocks, in order, are one program, as if a reader pasted one after the other;
 * - "```ts no-run" is only type-checked, as a file of its own;
 * - in a table whose head begins with "canvas" and ends with "result", each row is a canvas and what it gives.
 *
 * Where a line reads `console.log(…); // text`, that text must be printed, in this order. Nothing else is changed but the
 * server's address. On Node the samples are checked by tsc and run by tsx; on Deno by Deno.
 */
import { spawn } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { suite } from "uvu";
import * as assert from "uvu/assert";
import { type NatsServer, startNatsServer } from "../scripts/nats_server.ts";

/** The address that samples connect to. */
const SAMPLE_URL = "nats://127.0.0.1:4222";
const LIMIT_MS = 60_000;
const root = process.cwd();
const isDeno = "Deno" in globalThis;

interface Program {
  /** Below the folder of all samples: `README/first.ts`. */
  readonly file: string;
  readonly text: string;
  /** What it must print; undefined: it is not run by itself. */
  readonly prints: readonly string[] | undefined;
}

function documents(): string[] {
  const inDocs = readdirSync("docs", { recursive: true, encoding: "utf8" });
  return ["README.md", ...inDocs.filter((name) => name.endsWith(".md")).map((n) => `docs/${n}`)];
}

/** The programs of one document. */
function programsOf(document: string): Program[] {
  const markdown = readFileSync(document, "utf8");
  const folder = document.replace(/\.md$/, "").replaceAll(/[/\\]/g, "_");
  const files = new Map<string, string>();
  const unrun = new Map<string, string>();
  const main: string[] = [];
  for (const [, flags = "", code = ""] of markdown.matchAll(/^```ts\b(.*)\n([^]*?)^```$/gm)) {
    const name = /^\/\/ ([\w-]+\.ts)\n/.exec(code)?.[1];
    if (flags.includes("no-run")) unrun.set(`no_run_${unrun.size}.ts`, code);
    else if (name !== undefined) files.set(name, code);
    else main.push(code);
  }
  if (main.length > 0) files.set("samples.ts", main.join("\n"));
  const rows = canvasRows(markdown);
  if (rows.length > 0) files.set("table.ts", tableProgram(rows));
  const all = [...files.values()].join("\n");
  const isImported = (name: string) => all.includes(`"./${name}"`);
  return [
    ...[...files].map(([name, text]) => ({
      file: `${folder}/${name}`,
      text,
      prints: isImported(name) ? undefined : printsOf(text),
    })),
    ...[...unrun].map(([name, text]) => ({ file: `${folder}/${name}`, text, prints: undefined })),
  ];
}

function printsOf(text: string): string[] {
  return [...text.matchAll(/^.*\bconsole\.log\(.*\); \/\/ (.*)$/gm)].map(([, printed]) => printed!);
}

/** `[canvas, result]` of each row. */
function canvasRows(markdown: string): [string, string][] {
  const table = /^\| canvas .*\| result +\|\n\|[ |-]+\|\n((?:\|.*\n)+)/m.exec(markdown)?.[1] ?? "";
  return [...table.matchAll(/^\| `(.*?)` .*\| `(.*?)` +\|$/gm)].map((row) => [row[1]!, row[2]!]);
}

/** Rows print what they promise, as JSON. */
function tableProgram(rows: readonly [string, string][]): string {
  const lines = rows.map(([canvas, result]) =>
    `console.log(JSON.stringify(await (await app.submit(${canvas})).result())); // ` +
    JSON.stringify(JSON.parse(result))
  );
  return `
import { connect } from "@nats-io/transport-node";
import { chain, chord, chunks, Dyrygent, group, map, starmap } from "nats-dyrygent";
import { add, mul, sum } from "./tasks.ts";
const nc = await connect({ servers: "${SAMPLE_URL}" });
const app = await Dyrygent.open(nc, { namespace: "table" });
const worker = app.worker({ tasks: [add, mul, sum] });
const processor = app.processor();
await Promise.all([worker.start(), processor.start()]);
${lines.join("\n")}
await Promise.all([worker.stop(), processor.stop()]);
await nc.close();
`;
}

/** A folder in which the samples find this library and its dependencies as if they were installed. */
function samplesFolder(programs: readonly Program[], url: string): string {
  const folder = mkdtempSync(join(tmpdir(), "readme-"));
  const modules = join(folder, "node_modules");
  mkdirSync(modules);
  for (const name of ["@nats-io", "@types", "zod"]) {
    symlinkSync(join(root, "node_modules", name), join(modules, name));
  }
  symlinkSync(root, join(modules, "nats-dyrygent"));
  writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ extends: join(root, "tsconfig.json"), include: ["**/*.ts"], exclude: [] }),
  );
  for (const { file, text } of programs) {
    mkdirSync(join(folder, file, ".."), { recursive: true });
    writeFileSync(join(folder, file), text.replaceAll(SAMPLE_URL, url));
  }
  return folder;
}

const denoConfig = ["--config", join(root, "deno.json")];

/** Runs this runtime with these arguments. Rejects with the output when it fails, or takes too long. */
function runtime(args: readonly string[], cwd: string): Promise<string> {
  return new Promise((done, reject) => {
    const child = spawn(process.execPath, args, {
      cwd,
      env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    let printed = "";
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
      output += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => output += text);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      if (code === 0) done(printed);
      else reject(new Error(`${args.join(" ")} ended with ${code}:\n${output}`));
    });
  });
}

function typeCheck(folder: string, programs: readonly Program[]): Promise<string> {
  const files = programs.map(({ file }) => join(folder, file));
  return runtime(
    isDeno
      ? ["check", "--quiet", ...denoConfig, ...files]
      : [join(root, "node_modules/typescript/bin/tsc"), "-p", folder],
    folder,
  );
}

function run(folder: string, { file }: Program): Promise<string> {
  const path = join(folder, file);
  const tsx = resolve(root, "node_modules/tsx/dist/loader.mjs");
  return runtime(
    isDeno ? ["run", "-A", "--no-check", ...denoConfig, path] : ["--import", tsx, path],
    folder,
  );
}

/** Every expected line must come, in order; other lines may come in between. The runtimes quote texts differently. */
function assertPrinted(file: string, printed: string, expected: readonly string[]): void {
  const lines = printed.replaceAll('"', "'").split("\n");
  let at = 0;
  for (const line of expected) {
    const found = lines.indexOf(line.replaceAll('"', "'"), at);
    assert.ok(found !== -1, `${file} does not print "${line}" here:\n${printed}`);
    at = found + 1;
  }
}

const programs = documents().flatMap(programsOf);
const samples = suite<{ server: NatsServer; folder: string }>("samples");

samples.before(async (context) => {
  context.server = await startNatsServer({ syncInterval: "default" });
  context.folder = samplesFolder(programs, context.server.url);
});

samples.after(async ({ server, folder }) => {
  rmSync(folder, { recursive: true, force: true });
  await server.stop();
});

samples("README.md has samples and a table of canvases", () => {
  const files = programs.map(({ file }) => file);
  for (const file of ["README/tasks.ts", "README/first.ts", "README/samples.ts"]) {
    assert.ok(files.includes(file), `${file} is missing`);
  }
  assert.ok(canvasRows(readFileSync("README.md", "utf8")).length >= 14, "the table is not found");
});

samples("all samples compile, and print what they say", async ({ folder }) => {
  const toRun = programs.filter(({ prints }) => prints !== undefined);
  const [, ...printed] = await Promise.all([
    typeCheck(folder, programs),
    ...toRun.map((program) => run(folder, program)),
  ]);
  toRun.forEach(({ file, prints }, i) => assertPrinted(file, printed[i]!, prints!));
});

samples("links between the documents lead somewhere", () => {
  const broken: string[] = [];
  const all = ["CONTRIBUTING.md", ...documents()];
  for (const document of all) {
    for (const [, target] of readFileSync(document, "utf8").matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target!)) continue;
      const [path = "", anchor] = target!.split("#");
      const file = path === "" ? document : join(document, "..", path);
      try {
        const isFolder = file.endsWith("/");
        const text = isFolder ? (readdirSync(file), "") : readFileSync(file, "utf8");
        if (anchor !== undefined && !anchorsOf(text).includes(anchor)) throw new Error();
      } catch {
        broken.push(`${document}: ${target}`);
      }
    }
  }
  assert.equal(broken, []);
});

/** The anchors that GitHub gives to headings. */
function anchorsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-")
  );
}

samples.run();
