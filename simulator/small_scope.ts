/**
 * Small scope, exhaustively: every shape of up to four nodes; for each, a fault at every single call of every process (it
 * dies before, it dies after, the reply is lost), alone and together with a hand-over between processors. Each must end soon:
 * a crash costs no more than a lease, a safety tick and a sweep.
 */
import type { Call, Fault, Injected } from "./faults.ts";
import type { EdgePlan, NodePlan, Plan } from "./plan.ts";
import { type Report, runSchedule } from "./schedule.ts";
import { exactly } from "./shrink.ts";

/** The upstreams of each node, which are earlier ones. */
export type Shape = readonly (readonly number[])[];

export const SHAPES: readonly Shape[] = [1, 2, 3, 4].flatMap(shapesOf);

/** Every way in which each node may have earlier ones before it. */
function shapesOf(size: number): Shape[] {
  const pairs = Array.from({ length: size }, (_, to) => to)
    .flatMap((to) => Array.from({ length: to }, (_, from) => [from, to] as const));
  return Array.from(
    { length: 2 ** pairs.length },
    (_, mask) =>
      Array.from(
        { length: size },
        (_, node) =>
          pairs.filter(([, to], bit) => to === node && (mask >> bit) % 2 === 1).map(([from]) =>
            from
          ),
      ),
  );
}

/** Tried at every call that they can happen to. */
const TRIED: readonly Fault[] = ["crash before", "crash after", "lose reply", "lose"];
/** What a fault may cost: the lease of a task, a safety tick, a sweep, and a pause. */
const FAULT_COSTS_MS = 100_000;
const SEED = 1;
/** For larger shapes a few hand-overs are enough: in the beginning, in the middle, at the end. */
const ALL_HANDOVERS_UP_TO = 3;

/**
 * @param take is told of each; returns false when it has seen enough.
 * @param options.handovers whether each is tried together with hand-overs too, which takes twenty times as long.
 */
export async function runSmallScope(
  shapes: readonly Shape[],
  take: (name: string, report: Report) => boolean,
  { handovers = true }: { handovers?: boolean } = {},
): Promise<void> {
  for (const shape of shapes) {
    for (const handover of [[], ...handovers ? await handoversOf(shape) : []]) {
      if (!await tryEverywhere(shape, handover, take)) return;
    }
  }
}

/** A processor stands still for longer than its lease, or nearly: another one takes over, and the first goes on. */
async function handoversOf(shape: Shape): Promise<Injected[][]> {
  const calls = (await callsOf(shape, [])).filter(({ at, kinds }) =>
    at.startsWith("processor") && kinds.includes("pause before")
  );
  const step = shape.length <= ALL_HANDOVERS_UP_TO ? 1 : Math.ceil(calls.length / 3);
  return calls.filter((_, i) => i % step === 0).map(({ at }) => [{ at, fault: "pause before" }]);
}

async function tryEverywhere(
  shape: Shape,
  handover: readonly Injected[],
  take: (name: string, report: Report) => boolean,
): Promise<boolean> {
  const calls = await callsOf(shape, handover);
  for (const { at, kinds } of calls) {
    for (const fault of TRIED.filter((fault) => kinds.includes(fault))) {
      const injected = [...handover.filter((other) => other.at !== at), { at, fault }];
      const report = await runWith(shape, injected);
      const name = [JSON.stringify(shape), ...injected.map(({ at, fault }) => `${fault}: ${at}`)];
      if (!take(name.join(" | "), inTime(report, injected.length))) return false;
    }
  }
  return true;
}

function runWith(shape: Shape, injected: readonly Injected[]): Promise<Report> {
  return runSchedule({ seed: SEED, plan: planOf(shape), faults: exactly(SEED, injected) });
}

/** Where something can go wrong, in the order in which it is called. */
async function callsOf(shape: Shape, injected: readonly Injected[]): Promise<readonly Call[]> {
  return (await runWith(shape, injected)).calls;
}

/** L3 */
function inTime(report: Report, faults: number): Report {
  if (report.tookMs <= FAULT_COSTS_MS * faults) return report;
  const line = `L3: ${faults} faults cost ${Math.round(report.tookMs)} ms`;
  return { ...report, broken: [...report.broken, line] };
}

function planOf(shape: Shape): Plan {
  return {
    nodes: shape.map((froms): NodePlan => ({
      edges: froms.map((from): EdgePlan => ({ from, on: "data" })),
      ms: 0,
      fails: 0,
      retries: 0,
    })),
    actions: [],
    processors: 2,
    workers: 1,
    finally: false,
    skewMs: 0,
    spreads: false,
    maxRecord: 1_048_576,
  };
}
