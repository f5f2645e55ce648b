/** The table in docs/bad-input.md says which test holds which promise: each of them must be there. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readFileSync } from "node:fs";

const ROW = /^\| (.+?) +\| `(\S+)` +\| (.+?) +\|$/gm;

test("every test that the table of bad input names is there", () => {
  const page = readFileSync("docs/bad-input.md", "utf8");
  const rows = [...page.matchAll(ROW)];
  assert.ok(rows.length > 50, `only ${rows.length} rows are read`);
  const missing = rows.filter(([, , file, name]) =>
    !readFileSync(`test/${file}`, "utf8").includes(name!.replaceAll("\\_", "_"))
  );
  assert.equal(missing.map(([, what, , name]) => `${what}: ${name}`), []);
});

test.run();
