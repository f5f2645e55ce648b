/** What users import is documented: an editor shows it, and so does JSR, which says how much of it is. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { test } from "uvu";
import * as assert from "uvu/assert";

interface Documented {
  readonly jsDoc?: { readonly doc?: string };
}

/** What `deno doc --json` says of a module. */
interface ModuleDoc {
  readonly module_doc?: { readonly doc?: string };
  readonly symbols: readonly {
    readonly name: string;
    readonly declarations: readonly Documented[];
  }[];
}

const deno = "Deno" in globalThis ? [] : ["node_modules/deno/bin.cjs"];
const { exports: entries } = JSON.parse(readFileSync("deno.json", "utf8")) as {
  exports: Record<string, string>;
};

function documentation(): [string, ModuleDoc][] {
  const args = [...deno, "doc", "--json", ...Object.values(entries)];
  const { nodes } = JSON.parse(execFileSync(process.execPath, args, {
    encoding: "utf8",
    maxBuffer: 1e9,
    stdio: ["ignore", "pipe", "ignore"],
  }));
  return Object.entries(nodes);
}

test("each entry point says what it is, and each exported symbol has its documentation", () => {
  const modules = documentation();
  assert.is(modules.length, Object.keys(entries).length);
  const exported = modules.flatMap(([, { symbols }]) => symbols);
  assert.ok(exported.length > 100, `only ${exported.length} symbols were found`);
  const bare = exported
    .filter(({ declarations }) => !declarations.some(({ jsDoc }) => jsDoc?.doc))
    .map(({ name }) => name);
  const mute = modules.filter(([, { module_doc }]) => !module_doc?.doc).map(([path]) => path);
  assert.equal([...mute, ...bare], []);
});

test.run();
