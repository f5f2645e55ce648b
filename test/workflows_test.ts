/** The workflows of the repository give away no more rights than they need, and call what is there. Read as text. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";

const FOLDER = ".github/workflows";
const workflows = readdirSync(FOLDER).map((name) => ({
  name,
  text: readFileSync(`${FOLDER}/${name}`, "utf8"),
}));
const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as {
  scripts: Record<string, string>;
};

/** Each job of a workflow, by its name. */
function jobsOf(text: string): Map<string, string> {
  const parts = text.split(/^jobs:\n/m)[1]!.split(/^ {2}(\w+):\n/m).slice(1);
  return new Map(
    parts.flatMap((part, i) => i % 2 === 0 ? [[part, parts[i + 1]!] as const] : []),
  );
}

for (const { name, text } of workflows) {
  test(`${name}: may only read unless a job says why`, () => {
    assert.match(text, /^permissions:\n {2}contents: read\n\n/m);
    for (const line of text.match(/^ +[\w-]+: write.*$/gm) ?? []) assert.match(line, / # \w/);
  });

  test(`${name}: each action has a major version at least, and is one of GitHub's own`, () => {
    const uses = [...text.matchAll(/uses: (\S+)/g)].map(([, action]) => action!);
    assert.ok(uses.length > 0);
    for (const action of uses) {
      assert.match(action, /^actions\/[\w-]+@(?:v\d+(?:\.\d+)*|[0-9a-f]{40})$/);
    }
  });

  test(`${name}: what it runs is there`, () => {
    for (const [, script] of text.matchAll(/npm run ([\w-]+)/g)) {
      assert.ok(script! in scripts, `npm run ${script}`);
    }
    if (text.includes("run: .ci/run")) assert.ok(existsSync(".ci/run"));
    assert.not.match(text, /npm publish(?!.*--provenance --access public)/);
  });

  test(`${name}: credentials of a checkout are not kept, and each job has an end`, () => {
    for (const [job, body] of jobsOf(text)) {
      assert.match(body, /timeout-minutes: \d+/, job);
      const checkouts = body.split("actions/checkout@").length - 1;
      assert.is(body.split("persist-credentials: false").length - 1, checkouts, job);
    }
  });
}

test("a release is checked before it is built, and built before it is published", () => {
  const jobs = jobsOf(readFileSync(`${FOLDER}/release.yml`, "utf8"));
  assert.equal([...jobs.keys()], ["check", "build", "npm", "jsr", "github"]);
  assert.match(jobs.get("check")!, /run: \.ci\/run/);
  assert.match(jobs.get("build")!, /needs: check/);
  for (const publishing of ["npm", "jsr"]) {
    assert.match(jobs.get(publishing)!, /needs: build/);
    assert.match(jobs.get(publishing)!, /id-token: write/);
  }
});

test.run();
