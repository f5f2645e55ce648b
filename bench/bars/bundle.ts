/** What an edge function carries: processor, client and the NATS client, in one minified file. */
import { gzipSync } from "node:zlib";
import process from "node:process";
import type { Bar } from "../bar.ts";

const PROGRAM = `
export { Dyrygent } from "./mod.ts";
export { wsconnect } from "@nats-io/nats-core";
`;

export const bundle: Bar = {
  name: "bundle",
  async measure() {
    // Not with the others: processes whose memory is measured load this file too.
    const { build } = await import("esbuild");
    const { outputFiles } = await build({
      stdin: { contents: PROGRAM, resolveDir: process.cwd(), loader: "ts" },
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      platform: "browser",
      external: ["node:*"],
    });
    const bytes = gzipSync(outputFiles[0]!.contents, { level: 9 }).length;
    const values = [bytes / 1_000];
    return [{ bench: "edge bundle, gzip", n: 1, unit: "KB", values, bar: { atMost: 90 } }];
  },
};
