/** The library keeps its layers; and each rule, when it is broken, is seen to be broken. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { importsOf, type Sources, violations } from "./layers.ts";

function library(): Sources {
  const inSrc = readdirSync("src", { recursive: true, encoding: "utf8" })
    .map((name) => `src/${name.replaceAll("\\", "/")}`)
    .filter((path) => path.endsWith(".ts"));
  const files = ["mod.ts", "opentelemetry.ts", "processes.ts", "testing.ts", ...inSrc].filter((
    path,
  ) => existsSync(path));
  return Object.fromEntries(files.map((path) => [path, readFileSync(path, "utf8")]));
}

/** A small library in which every layer has one file, all rules are kept, and all is reached. */
const sound: Sources = {
  "mod.ts": `export { Dyrygent } from "./src/dyrygent.ts";`,
  "testing.ts": `export { runLocally } from "./src/testing/run_locally.ts";`,
  "src/dyrygent.ts": `
    import type { NatsConnection } from "@nats-io/nats-core";
    import { submit } from "./client/submit.ts";
    import { attempt } from "./worker/attempt.ts";
    import { conduct } from "./processor/conduct.ts";
    import { systemClock } from "./nats/clock.ts";
    import "./nats/facts.ts";
    export class Dyrygent {}`,
  "src/testing/run_locally.ts": `export * from "../memory/facts.ts";`,
  "src/cli/main.ts": `import process from "node:process"; import "../../mod.ts";`,
  "src/client/submit.ts": `import type { Facts } from "../ports.ts";`,
  "src/worker/attempt.ts": `
    import { AsyncLocalStorage } from "node:async_hooks";
    import type { Facts } from "../ports.ts";`,
  "src/processor/conduct.ts": `import { apply } from "../core/scheduler.ts";`,
  "src/nats/facts.ts": `
    import { Kvm } from "@nats-io/kv";
    import type { Facts } from "../ports.ts";`,
  "src/nats/clock.ts": `export const systemClock = { now: () => Date.now(), sleep: setTimeout };`,
  "src/memory/facts.ts": `import type { Facts } from "../ports.ts";`,
  "src/ports.ts": `import type { Fact } from "./core/scheduler.ts";`,
  "src/core/scheduler.ts": `
    import { CycleError } from "./errors.ts";
    export const day = (at: number): Date => new Date(at); // new Date() would be now`,
  "src/core/errors.ts": `
    /* import { x } from "../nats/facts.ts"; */
    export const hint = "see http://example.org, not Math.random or setTimeout";`,
};

/** Adds code to the sound library and expects exactly these complaints. */
function planted(change: Sources, ...expected: RegExp[]): void {
  const sources = { ...sound };
  for (const [path, code] of Object.entries(change)) {
    sources[path] = `${sources[path] ?? ""}\n${code}`;
  }
  const found = violations(sources);
  assert.is(found.length, expected.length, found.join("\n") || "no rule fired");
  expected.forEach((pattern, index) => assert.match(found[index] ?? "", pattern));
}

test("the library keeps its layers", () => {
  const sources = library();
  assert.ok("mod.ts" in sources, "mod.ts is missing: run the tests in the project's folder");
  assert.equal(violations(sources), []);
});

test("a library that keeps the rules gets no complaint", () => {
  assert.equal(violations(sound), []);
});

test("an import that points up is refused, for every layer", () => {
  const up = (path: string, target: string, pattern: RegExp): void => {
    const found = violations({ ...sound, [path]: `${sound[path]}\nimport "${target}";` });
    assert.ok(found.some((line) => pattern.test(line)), `${pattern} in:\n${found.join("\n")}`);
  };
  up("src/core/errors.ts", "../ports.ts", /core imports ports \(src\/ports.ts\)/);
  up("src/core/errors.ts", "../nats/facts.ts", /core imports nats/);
  up("src/ports.ts", "./memory/facts.ts", /ports imports memory/);
  up("src/nats/facts.ts", "../worker/attempt.ts", /nats imports worker/);
  up("src/memory/facts.ts", "../processor/conduct.ts", /memory imports processor/);
  up("src/client/submit.ts", "../dyrygent.ts", /client imports front/);
  up("src/processor/conduct.ts", "nats-dyrygent", /processor imports front \(mod.ts\)/);
  up("src/dyrygent.ts", "./cli/main.ts", /front imports cli/);
});

test("siblings do not import each other", () => {
  planted(
    { "src/worker/attempt.ts": `import { submit } from "../client/submit.ts";` },
    /^src\/worker\/attempt.ts: worker imports client/,
  );
  planted(
    { "src/nats/facts.ts": `import type { F } from "../memory/facts.ts";` },
    /nats imports memory/,
  );
});

test("client, worker and processor do not know an adapter", () => {
  for (const file of ["client/submit", "worker/attempt", "processor/conduct"]) {
    planted({ [`src/${file}.ts`]: `import type { F } from "../nats/facts.ts";` }, /imports nats/);
    planted({ [`src/${file}.ts`]: `export * from "../memory/facts.ts";` }, /imports memory/);
    planted({ [`src/${file}.ts`]: `import { Kvm } from "@nats-io/kv";` }, /package @nats-io\/kv/);
  }
});

test("core and ports import no package", () => {
  planted({ "src/core/errors.ts": `import { nuid } from "@nats-io/nuid";` }, /core imports the pa/);
  planted(
    { "src/ports.ts": `import type { Msg } from "@nats-io/nats-core";` },
    /ports imports the/,
  );
});

test("the cron library is known to one file", () => {
  const recurrence = { "src/core/recurrence.ts": `import { Cron } from "croner";` };
  planted({ ...recurrence, "src/core/scheduler.ts": `import "./recurrence.ts";` });
  planted({ "src/core/scheduler.ts": `import "croner";` }, /croner; only src\/core\/recurrence.ts/);
  planted({ "src/nats/facts.ts": `import "croner";` }, /croner; only src\/core\/recurrence.ts/);
});

test("packages that most do without are known to one folder, or one file", () => {
  const entry = `import "./src/opentelemetry/spans.ts";`;
  const spans = `import { SpanKind } from "@opentelemetry/api";`;
  planted({ "opentelemetry.ts": entry, "src/opentelemetry/spans.ts": spans });
  planted({ "src/dyrygent.ts": spans }, /api; only src\/opentelemetry\/ may/);
  planted({ "src/worker/attempt.ts": spans }, /api; only src\/opentelemetry\/ may/);
  planted({
    "src/cli/prometheus.ts": `await import("prom-client");`,
    "src/cli/main.ts": `import "./prometheus.ts";`,
  });
  planted({ "src/cli/main.ts": `import "prom-client";` }, /only src\/cli\/prometheus.ts may/);
});

test("the library imports nothing from outside of it", () => {
  planted({ "src/dyrygent.ts": `import "../scripts/test.ts";` }, /scripts\/test.ts, which is not/);
});

test("modules that import each other are found, with the way around", () => {
  planted(
    { "src/core/errors.ts": `import type { State } from "./scheduler.ts";` },
    /errors.ts → src\/core\/scheduler.ts → |scheduler.ts → src\/core\/errors.ts → /,
  );
  planted({ "src/core/errors.ts": `export * from "./errors.ts";` }, /imports itself/);
});

test("node: is for the CLI, and node:async_hooks for the worker", () => {
  planted({ "src/core/errors.ts": `import { join } from "node:path";` }, /imports node:path/);
  planted({ "src/worker/attempt.ts": `await import("node:fs");` }, /imports node:fs/);
  planted({ "src/client/submit.ts": `import "node:async_hooks";` }, /imports node:async_hooks/);
});

test("time and chance come from ports only", () => {
  const uses = [
    "Date.now()",
    "new Date()",
    "new Date",
    "performance.now()",
    "setTimeout(f, 1)",
    "globalThis.setInterval(f, 1)",
    "setImmediate(f)",
    "AbortSignal.timeout(5)",
    "Math.random()",
    "crypto.randomUUID()",
    "`${Math.random()}`",
  ];
  for (const use of uses) {
    planted({ "src/core/errors.ts": `const x = ${use};` }, /errors.ts: uses .*; take it from/);
    planted({ "src/memory/facts.ts": `const x = ${use};` }, /facts.ts: uses .*; take it from/);
  }
});

test("a file that nothing reaches is found", () => {
  planted({ "src/core/old.ts": `export const old = 1;` }, /^src\/core\/old.ts: nothing reaches it/);
});

test("a file belongs to a layer, and its name says what it is", () => {
  const stray: Sources = { "src/stray.ts": "", "mod.ts": `import "./src/stray.ts";` };
  planted(stray, /^mod.ts: imports src\/stray.ts/, /^src\/stray.ts: belongs to no layer/);
  for (const name of ["utils", "util", "types", "helpers", "interfaces", "nats_utils", "utils/a"]) {
    planted(
      { [`src/core/${name}.ts`]: "", "src/core/scheduler.ts": `import "./${name}.ts";` },
      /the name says nothing/,
    );
  }
});

test("imports of every form are seen, those in comments and texts are not", () => {
  const code = `
    import a, {
      b, // from "./comment.ts"
    } from "./one.ts";
    import type { C } from './two.ts';
    export * as d from "./three.ts"; import "./four.ts";
    export interface E { e: string }
    export type { F } from "./five.ts";
    const g = await import("./six.ts");
    type H = import("./seven.ts").H;
    // import "./eight.ts";
    /** @example import { x } from "./nine.ts"; */
    const list = Array.from("abc"), url = "http://example.org"; import "./ten.ts";`;
  const names = ["one", "two", "three", "four", "five", "six", "seven", "ten"];
  assert.equal(importsOf(code).sort(), names.map((name) => `./${name}.ts`).sort());
});

test.run();
