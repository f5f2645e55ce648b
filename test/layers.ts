/**
 * The rules of the house: which module may import which, and what the library may touch. Pure
 * functions over `{ path: text }`, so that `layers_test.ts` can plant a violation and see each
 * rule fire. Nothing here reads a file.
 */
import { posix } from "node:path";

/** The library's own files: path from the project's root → text. */
export type Sources = Record<string, string>;

type Layer = keyof typeof mayImport;

/** Layers from the bottom up, each with the layers below that it may use; its own always. */
const mayImport = {
  core: [],
  ports: ["core"],
  memory: ["ports", "core"],
  nats: ["ports", "core"],
  runs: ["ports", "core"],
  client: ["runs", "ports", "core"], // not the adapters: the front passes them in
  worker: ["runs", "ports", "core"],
  processor: ["runs", "ports", "core"],
  processes: ["core"], // an entry of its own: edge runtimes have no processes
  nats_server: [], // for development and tests, started by the command
  opentelemetry: ["ports", "core"], // an entry of its own: it knows a package that most do without
  front: [
    "client",
    "worker",
    "processor",
    "processes",
    "opentelemetry",
    "runs",
    "memory",
    "nats",
    "ports",
    "core",
  ],
  cli: [
    "front",
    "client",
    "worker",
    "processor",
    "processes",
    "nats_server",
    "runs",
    "memory",
    "nats",
    "ports",
    "core",
  ],
} satisfies Record<string, string[]>;

/** The layers that may know a package by name; for the rest the world is `src/ports.ts`. */
const mayUsePackages: Layer[] = ["nats", "front", "cli"];
/** The layers that are not for edge runtimes. */
const nodeOnly: Layer[] = ["processes", "nats_server", "cli"];
/** Packages, each with the one file or folder that may know it. */
const onlyUserOf = new Map([
  ["croner", "src/core/recurrence.ts"],
  ["@opentelemetry/api", "src/opentelemetry/"],
  ["prom-client", "src/cli/prometheus.ts"],
]);

const frontFiles = ["mod.ts", "opentelemetry.ts", "processes.ts", "testing.ts", "src/dyrygent.ts"];
const entries = ["mod.ts", "opentelemetry.ts", "processes.ts", "testing.ts", "src/cli/main.ts"];
/** And what supervises processes and servers, which no simulation runs. */
const timeAndChancePorts = [
  "src/nats/clock.ts",
  "src/nats/random.ts",
  "src/processes/processes.ts",
  "src/nats_server/fetch.ts",
  "src/nats_server/launch.ts",
  "src/nats_server/process.ts",
  "src/cli/changes.ts",
  "src/cli/live_worker.ts",
];
const selfImports = new Map([
  ["nats-dyrygent", "mod.ts"],
  ["nats-dyrygent/opentelemetry", "opentelemetry.ts"],
  ["nats-dyrygent/processes", "processes.ts"],
  ["nats-dyrygent/testing", "testing.ts"],
]);

/** Every broken rule as one line "<file>: <what is wrong>; <what to do>". Empty: all is well. */
export function violations(sources: Sources): string[] {
  return [
    ...brokenLayers(sources),
    ...cycles(sources),
    ...timeAndChance(sources),
    ...unreached(sources),
    ...namelessFiles(sources),
  ].sort();
}

/** What a module imports: specifiers as written, of static, type-only and dynamic imports. */
export function importsOf(text: string): string[] {
  const statement = /(?:^|[\n;}])\s*(?:import|export)\b[^"'`;]*?\bfrom\s*["']([^"'\n]+)["']/g;
  const bareOrDynamic = /\bimport\s*\(?\s*["']([^"'\n]+)["']/g;
  const code = withoutComments(text);
  return [...code.matchAll(statement), ...code.matchAll(bareOrDynamic)].map((match) => match[1]!);
}

function brokenLayers(sources: Sources): string[] {
  const found: string[] = [];
  for (const [file, text] of Object.entries(sources)) {
    const layer = layerOf(file);
    if (layer === undefined) {
      found.push(`${file}: belongs to no layer; move it into one of ${layerNames()}`);
      continue;
    }
    for (const specifier of importsOf(text)) {
      const user = onlyUserOf.get(specifier);
      if (user !== undefined && (user.endsWith("/") ? file.startsWith(user) : file === user)) {
        continue;
      }
      const problem = brokenImport(layer, specifier, targetOf(file, specifier));
      if (problem !== undefined) found.push(`${file}: ${problem}`);
    }
  }
  return found;
}

function brokenImport(layer: Layer, specifier: string, target?: string): string | undefined {
  if (specifier.startsWith("node:")) {
    const isAllowed = nodeOnly.includes(layer) ||
      (layer === "worker" && specifier === "node:async_hooks");
    return isAllowed ? undefined : `imports ${specifier}, which edge runtimes lack; use a port`;
  }
  if (target === undefined) {
    const onlyUser = onlyUserOf.get(specifier);
    if (onlyUser !== undefined) return `imports the package ${specifier}; only ${onlyUser} may`;
    if (mayUsePackages.includes(layer)) return undefined;
    return `${layer} imports the package ${specifier}; only ${mayUsePackages.join(", ")} may`;
  }
  const targetLayer = layerOf(target);
  if (targetLayer === undefined) return `imports ${target}, which is not part of the library`;
  const below: string[] = mayImport[layer];
  if (targetLayer === layer || below.includes(targetLayer)) return undefined;
  const allowed = [layer, ...below].join(", ");
  return `${layer} imports ${targetLayer} (${target}); it may import only ${allowed}`;
}

/** One line per knot of modules that import each other, with a way around it. */
function cycles(sources: Sources): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push(`${file}: imports itself: ${[...path.slice(at), file].join(" → ")}`);
    if (at >= 0 || done.has(file)) return;
    for (const next of localImports(sources, file)) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of Object.keys(sources)) visit(file, []);
  return found;
}

/** Time and chance come in through ports: a run can then be simulated and repeated. */
function timeAndChance(sources: Sources): string[] {
  const forbidden = [
    /\bDate\s*\.\s*now\b/,
    /\bnew\s+Date\b(?!\s*\(\s*[^\s)])/, // without an argument: now
    /\bperformance\s*\.\s*now\b/,
    /\bset(?:Timeout|Interval|Immediate)\b/,
    /\bAbortSignal\s*\.\s*timeout\b/,
    /\bMath\s*\.\s*random\b/,
    /\bcrypto\s*\.\s*(?:randomUUID|getRandomValues)\b/,
  ];
  const found: string[] = [];
  for (const [file, text] of Object.entries(sources)) {
    if (!file.startsWith("src/") || timeAndChancePorts.includes(file)) continue;
    const code = withoutStrings(withoutComments(text));
    for (const match of forbidden.map((pattern) => code.match(pattern))) {
      if (match === null) continue;
      found.push(`${file}: uses ${match[0]}; take it from the clock or random port`);
    }
  }
  return found;
}

function unreached(sources: Sources): string[] {
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file) || !(file in sources)) return;
    reached.add(file);
    for (const next of localImports(sources, file)) visit(next);
  };
  entries.forEach(visit);
  return Object.keys(sources)
    .filter((file) => !reached.has(file))
    .map((file) => `${file}: nothing reaches it from ${entries.join(", ")}; import or remove it`);
}

function namelessFiles(sources: Sources): string[] {
  return Object.keys(sources)
    .filter((file) => /(?:^|[/_])(?:utils?|types|helpers?|interfaces)(?:\/|\.ts$)/.test(file))
    .map((file) => `${file}: the name says nothing; put each part where it is used, or name it`);
}

function layerOf(file: string): Layer | undefined {
  if (frontFiles.includes(file) || file.startsWith("src/testing/")) return "front";
  if (file === "src/ports.ts" || file === "src/telemetry.ts") return "ports";
  const folder = /^src\/(\w+)\//.exec(file)?.[1];
  const folders: Layer[] = [
    "core",
    "memory",
    "nats",
    "runs",
    "client",
    "worker",
    "processor",
    "processes",
    "nats_server",
    "opentelemetry",
    "cli",
  ];
  return folders.find((layer) => layer === folder);
}

function layerNames(): string {
  return Object.keys(mayImport).join(", ");
}

/** The project's file that a specifier means, or undefined for a package. */
function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith(".")) return posix.join(posix.dirname(file), specifier);
  return selfImports.get(specifier);
}

function localImports(sources: Sources, file: string): string[] {
  return importsOf(sources[file] ?? "")
    .map((specifier) => targetOf(file, specifier))
    .filter((target) => target !== undefined)
    .filter((target) => target in sources);
}

// Strings are matched first in both, so that the "//" of an address opens no comment.
const text = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/;
const textOrComment = new RegExp(`(${text.source})|//[^\\n]*|/\\*[\\s\\S]*?\\*/`, "g");

function withoutComments(code: string): string {
  return code.replace(textOrComment, (_, text: string | undefined) => text ?? "");
}

/** Empties quoted strings; templates stay, for there may be code in them. */
function withoutStrings(code: string): string {
  return code.replace(new RegExp(text, "g"), (text) => text.startsWith("`") ? text : '""');
}
