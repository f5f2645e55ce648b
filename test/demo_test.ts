/** The demo does what it says: on an installation made for the test, on a random graph, and when it cannot. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import fc from "fast-check";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { components } from "../scripts/demo/components.ts";
import { readLockfile } from "../scripts/demo/lockfile.ts";
import { prove } from "../scripts/demo/proof.ts";

const LIMIT_MS = 60_000;
const runtime = "Deno" in globalThis ? ["run", "-A"] : ["--import", "tsx"];

interface Ended {
  readonly code: number | null;
  readonly printed: string;
  readonly said: string;
}

/** @param onSaid sees all that the demo has said so far, and what stops it. */
function demo(
  args: readonly string[],
  onSaid: (said: string, stop: () => void) => void = () => {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...runtime, "scripts/demo.ts", ...args], {
      env: { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), LIMIT_MS);
    let printed = "";
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => printed += text);
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      // Not child.kill: Deno then says that the signal ended it, whatever the exit code.
      onSaid(said, () => process.kill(child.pid!, "SIGINT"));
    });
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code, printed, said });
    });
  });
}

async function demoReport(args: readonly string[]) {
  const { code, printed, said } = await demo([...args, "--json"]);
  assert.is(code, 0, said);
  return JSON.parse(printed);
}

/** What a lockfile says of a package, and the files it has besides its manifest: name → content. */
interface Fixture {
  readonly entry: Record<string, unknown>;
  readonly license?: unknown;
  /** Undefined: not installed. */
  readonly files?: Record<string, string>;
}

/**
 * a and b need each other; shared is there twice; missing is for another platform; tool finds its peer above; local is a
 * folder of the project that a link leads to.
 */
const installation: Record<string, Fixture> = {
  "node_modules/@scope/tool": {
    entry: {
      version: "1.0.0",
      dependencies: { shared: "^2.0.0" },
      peerDependencies: { leaf: "*", absent: "*" },
      peerDependenciesMeta: { absent: { optional: true } },
    },
    license: "MIT",
    files: { "index.js": "tool", "z/deep.js": "deeper" },
  },
  "node_modules/@scope/tool/node_modules/shared": {
    entry: { version: "2.0.0", dependencies: { leaf: "1" } },
    license: { type: "ISC" },
    files: { "index.js": "another shared" },
  },
  "node_modules/a": {
    entry: { version: "1.0.0", dependencies: { b: "1", shared: "1" } },
    license: "MIT",
    files: { "a.js": "a".repeat(1_000) },
  },
  "node_modules/b": {
    entry: { version: "1.0.0", dependencies: { a: "1", local: "1" } },
    licenses: [{ type: "MIT" }],
    files: { "b.js": "b".repeat(2_000), "LICENSE": "as you like" },
  } as Fixture,
  "node_modules/leaf": {
    entry: { version: "1.0.0", optionalDependencies: { missing: "1" } },
    files: { "license.md": "as you like", "leaf.js": "" },
  },
  "node_modules/local": { entry: { link: true, resolved: "packages/local" } },
  "node_modules/missing": { entry: { version: "1.0.0", optional: true } },
  "node_modules/shared": {
    entry: { version: "1.0.0", dependencies: { leaf: "1" } },
    files: { "index.js": "shared" },
  },
  "packages/local": {
    entry: { version: "0.0.1", name: "local", dependencies: { shared: "1" } },
    license: "MIT",
    files: { "local.ts": "export {};" },
  },
};

/** What each package needs, itself included, worked out by hand. */
const needs: Record<string, string[]> = {
  "node_modules/@scope/tool": [
    "node_modules/@scope/tool",
    "node_modules/@scope/tool/node_modules/shared",
    "node_modules/leaf",
  ],
  "node_modules/@scope/tool/node_modules/shared": [
    "node_modules/@scope/tool/node_modules/shared",
    "node_modules/leaf",
  ],
  "node_modules/a": [
    "node_modules/a",
    "node_modules/b",
    "node_modules/leaf",
    "node_modules/shared",
    "packages/local",
  ],
  "node_modules/b": [
    "node_modules/a",
    "node_modules/b",
    "node_modules/leaf",
    "node_modules/shared",
    "packages/local",
  ],
  "node_modules/leaf": ["node_modules/leaf"],
  "node_modules/shared": ["node_modules/leaf", "node_modules/shared"],
  "packages/local": ["node_modules/leaf", "node_modules/shared", "packages/local"],
};

const lockText = JSON.stringify({
  lockfileVersion: 3,
  packages: {
    "": { name: "project", dependencies: { a: "1" } },
    ...Object.fromEntries(Object.entries(installation).map(([at, { entry }]) => [at, entry])),
  },
});

function filesOf({ entry, files, ...license }: Fixture): Record<string, string> | undefined {
  const { version } = entry;
  return files && { ...files, "package.json": JSON.stringify({ version, ...license }) };
}

/** @returns the path of the lockfile. */
function install(folder: string): string {
  for (const [location, fixture] of Object.entries(installation)) {
    for (const [name, content] of Object.entries(filesOf(fixture) ?? {})) {
      const path = join(folder, location, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
  }
  writeFileSync(join(folder, "package-lock.json"), lockText);
  return join(folder, "package-lock.json");
}

function sha256(...parts: readonly string[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

test("every package is weighed once, with all that it needs", async () => {
  const folder = mkdtempSync(join(tmpdir(), "demo-"));
  try {
    const { report, proof, workers } = await demoReport([install(folder)]);
    const contents = Object.keys(needs).map((location) =>
      Object.entries(filesOf(installation[location]!)!).sort(([a], [b]) => a < b ? -1 : 1)
        .map(([, content]) => content)
    );
    const own = Object.fromEntries(
      Object.keys(needs).map((location, i) => [location, contents[i]!.join("").length]),
    );
    for (const { location, own: bytes, total } of report.packages) {
      assert.is(bytes, own[location], `own bytes of ${location}`);
      const expected = needs[location]!.reduce((sum, needed) => sum + own[needed]!, 0);
      assert.is(total, expected, `bytes of ${location} with all it needs`);
    }
    assert.is(report.packages.length, 7);
    assert.is(report.sha256, sha256(contents.map((parts) => sha256(...parts)).join("\n")));
    assert.equal(report.cycles, [["a", "b"]]);
    assert.equal(report.severalVersions, [{ name: "shared", versions: ["1.0.0", "2.0.0"] }]);
    assert.equal(report.absent, [{ location: "node_modules/missing", optional: true }]);
    assert.equal(Object.fromEntries(report.licences), {
      "MIT": 4,
      "ISC": 1,
      "see its LICENSE file": 1,
      "not stated": 1,
    });
    // a and b are one node; the last one is the report. 7 edges between the packages, 6 to the report.
    assert.equal([proof.nodes, proof.edges], [7, 13]);
    assert.is(workers.node + workers.deno, 7);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("a random graph gives the checksum that is computed directly", async () => {
  const { report, proof, workers } = await demoReport(["--nodes", "300", "--seed", "5"]);
  assert.type(report.checksum, "number");
  assert.is(proof.nodes, 300);
  assert.is(workers.node + workers.deno, 300);
});

test("what it prints for people ends with the proof", async () => {
  const { code, printed, said } = await demo(["--nodes", "20"]);
  assert.is(code, 0, said);
  assert.match(printed, /^20 tasks in .* s, \d+ tasks\/s: Node ran \d+, Deno \d+$/m);
  assert.match(printed, /^ {2}\d+ edges kept: /m);
  assert.match(printed, /^ {2}20 nodes, each with exactly one success$/m);
});

test("Ctrl-C ends it in order, with exit code 1", async () => {
  let isStopped = false;
  const { code, said } = await demo(["--nodes", "100000"], (said, stop) => {
    if (isStopped || !said.includes("nats-server")) return;
    isStopped = true;
    stop();
  });
  assert.is(code, 1, said);
  assert.match(said, /^Stopped by SIGINT\.$/m);
});

test("a lockfile or an option that cannot be used is named, with exit code 1", async () => {
  const mistakes: [string[], RegExp][] = [
    [["nowhere.json"], /^Cannot read the lockfile: .*nowhere\.json/m],
    [["package.json"], /^The lockfile has no "packages"/m],
    [["--nodes", "many"], /^--nodes many: give a whole number/m],
    [["--fast"], /^Unknown option '--fast'/m],
  ];
  await Promise.all(mistakes.map(async ([args, message]) => {
    const { code, said } = await demo(args);
    assert.is(code, 1, said);
    assert.match(said, message);
  }));
});

test("a lockfile without a package that is installed is refused", () => {
  assert.throws(() => readLockfile(lockText, () => false), /None of the lockfile's 8 packages/);
  assert.throws(() => readLockfile("{", () => true), /is not JSON/);
  assert.throws(() => readLockfile('{"packages":{"":{}}}', () => true), /lists no packages/);
});

test("the proof sees an order that was not kept, a node that is missing, and one that ran twice", () => {
  const outcome = (node: number, sentNs: bigint, recordedNs: bigint) => ({
    node,
    attempt: 1,
    succeeded: true,
    sentNs,
    recordedNs,
    worker: "node",
  });
  const [first, second] = [outcome(0, 10n, 20n), outcome(1, 20n, 30n)];
  const early = outcome(1, 19n, 30n);
  assert.equal(prove(2, [[0, 1]], [second, first]), { edges: 1, nodes: 2, problems: [] });
  assert.match(prove(2, [[0, 1]], [first, early]).problems.join(), /^edge 0 → 1: /);
  assert.match(prove(3, [[0, 1]], [first, second]).problems.join(), /^node 2 succeeded 0 times$/);
  assert.match(prove(2, [], [first, first, second]).problems.join(), /^node 0 succeeded 2 times$/);
  assert.match(prove(1, [], [first, second]).problems.join(), /^node 1 is not of the workflow$/);
  const failed = { ...early, succeeded: false };
  assert.match(prove(2, [[0, 1]], [first, failed, second]).problems.join(), /^edge 0 → 1: /);
});

test("vertices that reach each other are one component, after all that it depends on", () => {
  const graphs = fc.integer({ min: 0, max: 8 }).chain((size) =>
    fc.array(fc.uniqueArray(fc.nat({ max: Math.max(0, size - 1) }), { maxLength: size }), {
      minLength: size,
      maxLength: size,
    })
  );
  fc.assert(fc.property(graphs, (graph) => {
    const reached = graph.map((_, start) => {
      const found = new Set([start]);
      for (const vertex of found) for (const next of graph[vertex]!) found.add(next);
      return found;
    });
    const found = components(graph);
    const placeOf = graph.map((_, vertex) => found.findIndex((all) => all.includes(vertex)));
    assert.is(found.flat().length, graph.length);
    graph.forEach((dependencies, vertex) => {
      for (let other = 0; other < graph.length; other++) {
        const together = reached[vertex]!.has(other) && reached[other]!.has(vertex);
        assert.is(placeOf[vertex] === placeOf[other], together);
      }
      for (const next of dependencies) assert.ok(placeOf[next]! <= placeOf[vertex]!);
    });
  }));
});

test("a chain of 100,000 vertices is no problem", () => {
  const chain = Array.from({ length: 100_000 }, (_, i) => i < 99_999 ? [i + 1] : []);
  assert.is(components(chain).length, 100_000);
});

test.run();
