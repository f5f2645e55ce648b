/** The fan, on Deno, with the reference on Deno: the same program in another process. */
import { execFile } from "node:child_process";
import process from "node:process";
import { promisify } from "node:util";
import type { Bar } from "../bar.ts";

/** Of a line that is printed as JSON. */
interface Printed {
  readonly bench: string;
  readonly n: number;
  readonly values: readonly number[];
  readonly references: readonly number[];
}

/** It ends with 1 when the bar of Node.js is missed, which is another one. */
function asMeasured(error: Error & { stdout?: string }): { stdout: string } {
  const { stdout = "" } = error;
  if (!stdout.includes("{")) throw error;
  return { stdout };
}

export const onDeno: Bar = {
  name: "deno",
  async measure({ runs, share }) {
    const args = ["run", "-A", "bench/main.ts", "fan", "--json", "--runs", String(runs)];
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["node_modules/deno/bin.cjs", ...args, "--share", String(share)],
      { env: { ...process.env, DENO_NO_UPDATE_CHECK: "1" } },
    ).catch(asMeasured);
    const printed = stdout.split("\n").filter((line) => line.startsWith("{"));
    const { n, values, references } = JSON.parse(printed.at(-1)!) as Printed;
    return [{
      bench: "fan, on Deno",
      n,
      unit: "tasks/s",
      values,
      reference: references,
      bar: { atLeast: 0.8 },
    }];
  },
};
