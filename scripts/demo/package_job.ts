/** The default demo's workflow: a node for every installed package, after those it depends on, and the report. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { type Node, Workflow } from "nats-dyrygent";
import { components } from "./components.ts";
import type { Conclusion, Edge, Job } from "./job.ts";
import { type Installation, LockfileError, readLockfile } from "./lockfile.ts";
import {
  type HeavyPackage,
  type PackageReport,
  report,
  weigh,
  type Weighed,
} from "./package_tasks.ts";
import { bytesText, listText, table } from "./table.ts";

/** @throws {LockfileError} */
export function packageJob(lockfile: string): Job {
  const root = dirname(lockfile);
  const installation = readLockfile(
    textOf(lockfile),
    (location) => existsSync(join(root, location, "package.json")),
  );
  const { packages } = installation;
  const groups = components(packages.map(({ dependencies }) => dependencies));
  const groupOf = new Map(groups.flatMap((members, group) => members.map((n) => [n, group])));

  const workflow = new Workflow("packages", { timeout: "10m" });
  const nodes: Node<Weighed>[] = [];
  const edges: Edge[] = [];
  for (const [group, members] of groups.entries()) {
    const needed = new Set(
      members.flatMap((number) => packages[number]!.dependencies.map((n) => groupOf.get(n)!)),
    );
    needed.delete(group);
    const upstream = [...needed].map((group) => nodes[group]!);
    const order = members.map((number) => {
      const { location, name, version } = packages[number]!;
      return { number, location, name, version };
    });
    const node = workflow.call(weigh, { root, packages: order }, upstream);
    for (const { index } of upstream) edges.push([index, node.index]);
    nodes.push(node);
  }
  const last = workflow.call(report, nodes);
  for (const { index } of nodes) edges.push([index, last.index]);

  const cycles = groups.filter((members) => members.length > 1);
  return {
    title: `${packages.length} packages of ${shortest(lockfile)}`,
    workflow: workflow.output(last),
    edges,
    describe: (node) =>
      groups[node]?.map((number) => packages[number]!.name).join(" + ") ?? "the report",
    conclude: (result) => conclude(result as PackageReport, installation, cycles),
  };
}

function shortest(path: string): string {
  const fromHere = relative("", path);
  return fromHere.length < path.length ? fromHere : path;
}

function textOf(lockfile: string): string {
  try {
    return readFileSync(lockfile, "utf8");
  } catch (error) {
    throw new LockfileError(
      `Cannot read the lockfile: ${(error as Error).message}. ` +
        "Give the path of a package-lock.json whose packages are installed beside it.",
    );
  }
}

function conclude(
  report: PackageReport,
  { packages, absent }: Installation,
  cycles: readonly number[][],
): Conclusion {
  const names = cycles.map((members) => members.map((number) => packages[number]!.name));
  const missing = absent.filter(({ optional }) => !optional).map(({ location }) => location);
  return {
    lines: [
      `${packages.length} packages, ${report.files} files, ${bytesText(report.bytes)}`,
      `SHA-256 of it all ${report.sha256}`,
      "",
      ...heavyTable("heaviest with all they need", report.heaviestWithDependencies),
      "",
      ...heavyTable("heaviest by themselves", report.heaviestAlone),
      "",
      ...listText("licences", report.licences.map(([licence, n]) => `${licence} ${n}`)),
      ...listText(
        "in several versions",
        report.severalVersions.map(({ name, versions }) => `${name} ${versions.join(" | ")}`),
      ),
      ...listText("need each other", names.map((members) => members.join(" + "))),
      ...(absent.length > missing.length
        ? [`optional and not installed: ${absent.length - missing.length} packages`]
        : []),
      ...listText("in the lockfile, but not installed (npm ci?)", missing),
    ],
    json: {
      ...report,
      packages: packages.map(({ location, name, version }, number) => ({
        location,
        name,
        version,
        own: report.own[number],
        total: report.total[number],
      })),
      cycles: names,
      absent,
    },
    checked: `${packages.length} transitive weights equal a walk through the lockfile`,
    problems: wrongWeights(report, packages.map(({ dependencies }) => dependencies)),
  };
}

/** Every package's transitive weight, worked out once more without workflow, components or sets of weights. */
function wrongWeights(
  { own, total }: PackageReport,
  dependencies: readonly (readonly number[])[],
): string[] {
  return dependencies.flatMap((_, start) => {
    const reached = new Set([start]);
    let expected = 0;
    for (const number of reached) {
      expected += own[number] ?? NaN;
      for (const dependency of dependencies[number]!) reached.add(dependency);
    }
    return total[start] === expected
      ? []
      : [`package ${start} weighs ${total[start]} with all it needs; the walk gives ${expected}`];
  });
}

function heavyTable(title: string, packages: readonly HeavyPackage[]): string[] {
  return table(
    [title, "with all it needs", "packages", "by itself"],
    packages.map(({ package: name, own, total, reach }) => [
      name,
      bytesText(total),
      `${reach}`,
      bytesText(own),
    ]),
  );
}
