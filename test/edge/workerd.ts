/** The example's edge function in workerd itself, bundled as for a deployment. Node only: Miniflare starts it. */
import type { Readable } from "node:stream";
import { build } from "esbuild";

export interface EdgeFunction extends AsyncDisposable {
  /** Calls its `fetch`. */
  fetch(path: string, body?: unknown): Promise<{ status: number; text: string }>;
  /** Calls its `scheduled`, as a cron trigger does. */
  scheduled(): Promise<void>;
}

/** `node:async_hooks`, and nothing else of Node.js. */
const FLAGS = ["nodejs_als"];

export async function deploy(bindings: Record<string, string>): Promise<EdgeFunction> {
  const { outputFiles: [bundle] } = await build({
    entryPoints: ["examples/edge/worker.ts"],
    bundle: true,
    format: "esm",
    platform: "browser",
    external: ["node:async_hooks"],
    write: false,
  });
  const { Miniflare } = await import("miniflare");
  let printed = "";
  const workerd = new Miniflare({
    modules: [{ type: "ESModule", path: "worker.mjs", contents: bundle!.text }],
    compatibilityDate: "2026-04-01",
    compatibilityFlags: FLAGS,
    bindings,
    // Else it asks the world what a request's place is.
    cf: false,
    handleRuntimeStdio(...streams: Readable[]) {
      for (const stream of streams) stream.on("data", (text) => printed += text);
    },
  });
  // Its type needs a package of types that nothing else here needs.
  const entry = await workerd.getWorker() as unknown as {
    scheduled(event: { cron: string }): Promise<{ outcome: string }>;
  };
  return {
    async fetch(path, body) {
      const init = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
      const response = await workerd.dispatchFetch(`http://edge${path}`, init);
      const text = await response.text();
      if (response.status >= 500) throw new Error(`${path}: ${text}\n${printed}`);
      return { status: response.status, text };
    },
    async scheduled() {
      const { outcome } = await entry.scheduled({ cron: "* * * * *" });
      if (outcome !== "ok") throw new Error(`scheduled() ended with ${outcome}:\n${printed}`);
    },
    [Symbol.asyncDispose]: () => workerd.dispose(),
  };
}
