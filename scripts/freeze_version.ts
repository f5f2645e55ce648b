/**
 * Freezes the library as it stands, with its dependencies and a NATS transport, as one file in `test/versions/`. Tests run
 * such a file beside the current code, as a deployment does in the middle of an upgrade (`test/nats/versions_test.ts`).
 * Run it on the commit of each release. A version is frozen once: it never overwrites a file.
 *
 *     npm run freeze
 */
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { build } from "esbuild";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
const outfile = `test/versions/${version}.mjs`;

if (existsSync(outfile)) {
  console.error(
    `Cannot freeze ${version}: ${outfile} is there. What was released does not change; raise the ` +
      `version in package.json and deno.json first.`,
  );
  process.exit(1);
}
const { metafile } = await build({
  stdin: {
    contents: `export * from "./mod.ts";\nexport { connect } from "@nats-io/transport-node";\n`,
    resolveDir: process.cwd(),
    sourcefile: "frozen.ts",
    loader: "ts",
  },
  bundle: true,
  minify: true,
  format: "esm",
  platform: "node",
  target: "node20",
  legalComments: "none",
  banner: {
    js:
      `// nats-dyrygent ${version}, frozen by scripts/freeze_version.ts; see README.md here. Never edit.\n` +
      // The NATS packages are CommonJS: they require node: modules at run time.
      `import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);`,
  },
  outfile,
  metafile: true,
});
console.log(`${outfile}: ${metafile.outputs[outfile]!.bytes} bytes`);
