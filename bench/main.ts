/**
 * How fast the engine is, as ratios against the reference loop in the same run on the same server; and, as a figure without
 * a bar, how a small workflow fares behind a huge one.
 * `npm run bench`, `-- --json` (one object a line), `-- --quick` (small and once), `-- fan chain` (only these).
 */
import { connect } from "@nats-io/transport-node";
import os from "node:os";
import process from "node:process";
import { startNatsServer } from "../scripts/nats_server.ts";
import { Engine, type Fairness } from "./engine.ts";
import { Reference } from "./reference.ts";
import { max, median, min, quantile, seeded } from "./statistics.ts";

const args = process.argv.slice(2);
const json = args.includes("--json");
const quick = args.includes("--quick");
const only = args.filter((arg) => !arg.startsWith("--"));
const RUNS = quick ? 1 : 5;
const SCALE = quick ? 0.1 : 1;

interface Line {
  readonly bench: string;
  readonly n: number;
  readonly unit: "tasks/s" | "ms/hop";
  readonly value: readonly number[];
  readonly reference: readonly number[];
  /** The ratio that this must reach: at least for rates, at most for times. */
  readonly floor: number;
}

function print({ bench, n, unit, value, reference, floor }: Line): boolean {
  const rate = unit === "tasks/s";
  const ratio = median(value) / median(reference);
  const ok = rate ? ratio >= floor : ratio <= floor;
  const digits = (x: number) => Number(x.toFixed(rate ? 0 : 3));
  if (json) {
    const measured = rate
      ? { tasksPerSecond: digits(median(value)) }
      : { hopMs: digits(median(value)) };
    console.log(JSON.stringify({
      bench,
      n,
      ...measured,
      min: digits(min(value)),
      max: digits(max(value)),
      reference: digits(median(reference)),
      ratio: Number(ratio.toFixed(3)),
      floor,
      ok,
    }));
  } else {
    console.log(
      `${bench.padEnd(24)} ${String(n).padStart(8)}  ${digits(median(value))} ${unit} (${
        digits(min(value))
      }–${digits(max(value))})` +
        `, reference ${digits(median(reference))}: ratio ${ratio.toFixed(2)} (${
          rate ? "≥" : "≤"
        } ${floor}) ${ok ? "ok" : "MISSED"}`,
    );
  }
  return ok;
}

/** A figure, not a bar: nothing fails by it. @param hopMs of the reference. */
function printFairness(n: number, hops: number, { tookMs, share }: Fairness, hopMs: number): void {
  const took = Math.round(tookMs / hopMs);
  const percent = Number((share * 100).toFixed(1));
  if (json) {
    console.log(JSON.stringify({
      bench: "fairness",
      n,
      hops,
      tookMs: Math.round(tookMs),
      reference: Number(hopMs.toFixed(3)),
      referenceHops: took,
      hugePercentEnded: percent,
    }));
  } else {
    console.log(
      `${"fairness".padEnd(24)} ${String(n).padStart(8)}  a chain of ${hops} submitted behind it ` +
        `took ${Math.round(tookMs)} ms = ${took} reference hops; ` +
        `${percent} % of the huge one had ended by then`,
    );
  }
}

async function main(): Promise<boolean> {
  const server = await startNatsServer({ syncInterval: "2m" });
  const connections = await Promise.all(
    Array.from({ length: 4 }, () => connect({ servers: server.url, noAsyncTraces: true })),
  );
  const [a, b, c, d] = connections as [
    typeof connections[0],
    typeof connections[0],
    typeof connections[0],
    typeof connections[0],
  ];
  if (!json) {
    const runtime = (globalThis as { Deno?: { version: { deno: string } } }).Deno;
    console.log(
      `nats-server ${a.info?.version}, sync_interval 2m, file storage, one node; ` +
        `${
          runtime === undefined ? `Node ${process.version}` : `Deno ${runtime.version.deno}`
        }; ${os.cpus().length} × ${os.cpus()[0]?.model}; ${RUNS} runs, median (min–max)`,
    );
  }
  const reference = new Reference(a, b, "reference");
  await reference.open();
  const engine = await Engine.open(c, d, "engine");
  const random = seeded(7);
  const wanted = (bench: string) => only.length === 0 || only.includes(bench);
  const results: boolean[] = [];
  const n = Math.round(10_000 * SCALE);
  // Both sides warm, and in turns: noise hits them alike.
  await reference.throughput(n, 1_000);
  await engine.fan(n);

  const rates: number[] = [];
  if (wanted("fan")) {
    const value: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      rates.push(await reference.throughput(2 * n, 1_000));
      value.push(await engine.fan(n));
    }
    results.push(print({ bench: "fan", n, unit: "tasks/s", value, reference: rates, floor: 0.4 }));
  }
  if (wanted("chain")) {
    const hops = Math.round(1_000 * SCALE);
    const value: number[] = [];
    const hop: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      hop.push(quantile(await reference.hops(hops), 0.5));
      value.push(await engine.chain(hops));
    }
    results.push(
      print({ bench: "chain", n: hops, unit: "ms/hop", value, reference: hop, floor: 2.5 }),
    );
  }
  if (wanted("layered")) {
    const small: number[] = [];
    for (let run = 0; run < RUNS; run++) {
      if (rates.length <= run) rates.push(await reference.throughput(2 * n, 1_000));
      small.push(await engine.layered(n, random));
    }
    results.push(
      print({ bench: "layered", n, unit: "tasks/s", value: small, reference: rates, floor: 0.25 }),
    );
    const large = [await engine.layered(10 * n, random)];
    // Cost per task at most 1.5 × the cost at a tenth of the size.
    results.push(
      print({
        bench: "growth",
        n: 10 * n,
        unit: "tasks/s",
        value: large,
        reference: small,
        floor: 1 / 1.5,
      }),
    );
  }
  await engine.close();
  if (wanted("fairness")) {
    const hops = 10;
    const hopMs = quantile(await reference.hops(Math.round(1_000 * SCALE)), 0.5);
    // Few slots: with many, nothing would have to wait.
    const small = await Engine.open(c, d, "fairness", { concurrency: 64 });
    printFairness(10 * n, hops, await small.fairness(10 * n, hops), hopMs);
    await small.close();
  }
  await Promise.all(connections.map((nc) => nc.close()));
  await server.stop();
  return results.every((ok) => ok);
}

const ok = await main();
// Only complete measurements judge: a quick run shows that it works.
process.exit(ok || quick ? 0 : 1);
