/** What the types cost whoever writes workflows: a check of a file with a long chain and a large workflow. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import type { Bar } from "../bar.ts";

const STEPS = 50;
const NODES = 200;

/** A chain whose links are all checked, and a workflow in which every node takes two results. */
function program(): string {
  const links = Array.from({ length: STEPS - 1 }, () => "add.s(1)").join(", ");
  const nodes = Array.from(
    { length: NODES - 2 },
    (_, i) => `const n${i + 2} = wf.call(add, n${i}, n${i + 1});`,
  );
  return `import { chain, task, Workflow } from "nats-dyrygent";
const add = task("add", (a: number, b: number) => a + b);
export const long = chain([add.s(1, 2), ${links}] as const);
const wf = new Workflow("large");
const n0 = wf.call(add, 1, 2);
const n1 = wf.call(add, n0, 2);
${nodes.join("\n")}
export const output = wf.output(n${NODES - 1});
`;
}

export const typeCheck: Bar = {
  name: "types",
  async measure({ runs }) {
    // Inside the project, where its own name and its configuration are found.
    const folder = mkdtempSync(join(process.cwd(), ".types-"));
    try {
      const file = join(folder, "program.ts");
      writeFileSync(file, program());
      const config = join(folder, "tsconfig.json");
      writeFileSync(
        config,
        JSON.stringify({ extends: "../tsconfig.json", include: [], files: [file] }),
      );
      const tsc = "node_modules/typescript/bin/tsc";
      const values: number[] = [];
      for (let run = 0; run < runs; run++) {
        const start = performance.now();
        await promisify(execFile)(process.execPath, [tsc, "--noEmit", "-p", config]);
        values.push((performance.now() - start) / 1_000);
      }
      const n = STEPS + NODES;
      return [{ bench: "type check", n, unit: "s", values, bar: { atMost: 2 } }];
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
