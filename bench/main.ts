/**
 * How fast the engine is, beside the same way of a task written by hand, in the same run on the same server.
 *
 *     npm run bench                     all bars: some twenty minutes
 *     npm run bench -- fan chain        only these
 *     npm run bench -- --json           one object a line
 *     npm run bench -- --quick          small and once: whether it works
 *     npm run bench -- --plot           draws growth and hops into docs/ too
 *
 * Ends with 1 when a bar is missed, but not when it was quick: only complete measurements judge.
 */
import { writeFileSync } from "node:fs";
import os from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Bar, Effort } from "./bar.ts";
import { bundle } from "./bars/bundle.ts";
import { chain } from "./bars/chain.ts";
import { chord } from "./bars/chord.ts";
import { diamonds } from "./bars/diamonds.ts";
import { fairness } from "./bars/fairness.ts";
import { fan, fanApart, fanByWebSocket, fanInCluster, fanSynced } from "./bars/fan.ts";
import { growth } from "./bars/growth.ts";
import { layered } from "./bars/layered.ts";
import { onDeno } from "./bars/on_deno.ts";
import { parked } from "./bars/parked.ts";
import { pressure } from "./bars/pressure.ts";
import { processors } from "./bars/processors.ts";
import { takeOvers } from "./bars/take_over.ts";
import { typeCheck } from "./bars/type_check.ts";
import { asJson, asText, isReached, type Line } from "./line.ts";
import { beMember } from "./member.ts";
import { Place } from "./place.ts";
import { svgOf } from "./plot.ts";
import { median, quantile } from "./statistics.ts";

const BARS: readonly Bar[] = [
  fan,
  fanApart,
  chain,
  layered,
  diamonds,
  chord,
  growth,
  parked,
  pressure,
  processors,
  takeOvers,
  fanSynced,
  fanInCluster,
  onDeno,
  fanByWebSocket,
  bundle,
  typeCheck,
  fairness,
];

async function describe(): Promise<string> {
  await using place = await Place.open();
  const { Deno: deno } = globalThis as { Deno?: { version: { deno: string } } };
  const runtime = deno === undefined ? `Node ${process.version}` : `Deno ${deno.version.deno}`;
  const cpus = os.cpus();
  return `nats-server ${place.version} (file storage, sync_interval 2m), ${runtime}, ` +
    `${cpus.length} × ${cpus[0]?.model}`;
}

async function run(args: string[]): Promise<boolean> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
      plot: { type: "boolean", default: false },
      runs: { type: "string" },
      /** Of the full sizes. */
      share: { type: "string" },
    },
  });
  const unknown = positionals.find((name) => BARS.every((bar) => bar.name !== name));
  if (unknown !== undefined) {
    throw new Error(`No bar "${unknown}"; there are: ${BARS.map(({ name }) => name).join(", ")}`);
  }
  const effort: Effort = {
    runs: Number(values.runs ?? (values.quick ? 1 : 5)),
    share: Number(values.share ?? (values.quick ? 0.02 : 1)),
  };
  if (!values.json) console.log(`${await describe()}; median (min–max) of ${effort.runs}`);
  const lines: Line[] = [];
  for (const bar of BARS) {
    if (positionals.length > 0 && !positionals.includes(bar.name)) continue;
    for (const line of await bar.measure(effort)) {
      lines.push(line);
      console.log(values.json ? asJson(line) : asText(line));
    }
  }
  if (values.plot) draw(lines);
  return values.quick || lines.every(isReached);
}

/** What was measured of these, into docs/. */
function draw(lines: readonly Line[]): void {
  const of = (bench: string) => lines.filter((line) => line.bench === bench);
  const points = (line: Line) => ({ x: line.n, y: median(line.values) });
  if (of("growth").length > 0) {
    writeFileSync(
      "docs/growth.svg",
      svgOf({
        title: "A layered graph, ten and a hundred times as large",
        x: "nodes",
        left: "tasks/s",
        right: "MB",
        isLogX: true,
        series: [
          { name: "tasks/s", axis: "left", points: of("growth").map(points) },
          {
            name: "memory of the processor",
            axis: "right",
            points: of("processor's memory").map(points),
          },
        ],
      }),
    );
  }
  const [hops] = of("chain, median");
  if (hops?.distribution === undefined) return;
  const spread = (values: readonly number[]) =>
    Array.from(
      { length: 100 },
      (_, percent) => ({ x: percent, y: quantile(values, percent / 100) }),
    );
  writeFileSync(
    "docs/hops.svg",
    svgOf({
      title: "From the beginning of a task of a chain to that of the next",
      x: "percent of the hops take at most so long",
      left: "ms",
      isLogX: false,
      series: [
        { name: "nats-dyrygent", axis: "left", points: spread(hops.distribution.values) },
        { name: "by hand", axis: "left", points: spread(hops.distribution.reference) },
      ],
    }),
  );
}

const [first, order] = process.argv.slice(2);
if (first === "member") await beMember(order!);
else process.exit(await run(process.argv.slice(2)) ? 0 : 1);
