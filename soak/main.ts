/**
 * Load without leaks: many workflows of all shapes through a real server, a processor, workers and a client, each a process of
 * its own. Now and then everything comes to rest and retention removes what has ended; then nothing may be left in
 * the streams, and what each process takes is noted: a mark. Over the second half of the marks nothing may grow.
 *
 *     npm run soak -- [--tasks 1000000] [--workflows 10000] [--marks 40] [--minutes 0] [--workers 2] [--under-way 100]
 *     npm run soak -- --quick     20,000 tasks in 500 workflows: whether it works, and whether something is left behind
 *
 * It goes on until tasks, workflows and minutes are reached. Linux only: it reads /proc.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { connect } from "@nats-io/transport-node";
import { startNatsServer } from "../scripts/nats_server.ts";
import { Crew } from "./crew.ts";
import { FULL, judge, line, type Mark, QUICK, titles } from "./marks.ts";
import { beMember, type MemberOptions, type Role } from "./member.ts";
import { Store } from "./store.ts";
import { countTimers } from "./timers.ts";
import { later } from "./workload.ts";

/** How long it may take until nothing is left. */
const REST_MS = 60_000;
/** What is left after this came after its run was removed. */
const LATE_MS = 20_000;
const LOOK_MS = 500;
/** Workflows turn out so much larger than their size. */
const SHARE = 0.78;
/** Requests' own timers and idle pulls are over after this. */
const SETTLE_MS = 1_500;

interface Load {
  readonly quick: boolean;
  readonly tasks: number;
  readonly workflows: number;
  readonly marks: number;
  readonly minutes: number;
  readonly workers: number;
  readonly underWay: number;
  readonly seed: number;
}

function loadFrom(args: string[]): Load {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: "boolean", default: false },
      tasks: { type: "string" },
      workflows: { type: "string" },
      marks: { type: "string" },
      minutes: { type: "string" },
      workers: { type: "string" },
      "under-way": { type: "string" },
      seed: { type: "string" },
    },
  });
  const { quick } = values;
  const number = (text: string | undefined, otherwise: number) => {
    const value = text === undefined ? otherwise : Number(text);
    if (Number.isFinite(value) && value >= 0) return value;
    throw new Error(`"${text}" is not a number from 0`);
  };
  return {
    quick,
    tasks: number(values.tasks, quick ? 20_000 : 1_000_000),
    workflows: number(values.workflows, quick ? 500 : 10_000),
    marks: number(values.marks, quick ? 4 : 40),
    minutes: number(values.minutes, 0),
    workers: number(values.workers, 2),
    underWay: number(values["under-way"], 100),
    seed: number(values.seed, 1),
  };
}

async function soak(load: Load): Promise<boolean> {
  await using server = await startNatsServer({ syncInterval: "2m", httpPort: -1 });
  await using crew = new Crew();
  const options = {
    url: server.url,
    retention: "5000ms",
    underWay: load.underWay,
    size: SHARE * load.tasks / load.workflows,
    seed: load.seed,
  } as const satisfies Omit<MemberOptions, "role">;
  const roles: Role[] = ["processor", ...Array(load.workers).fill("worker"), "client"];
  for (const role of roles) await crew.start({ ...options, role });
  const client = crew.members.at(-1)!;
  const nc = await connect({ servers: server.url });
  const store = await Store.open(server, nc);

  console.log(
    `nats-server ${server.version}, Node ${process.version}; a mark every ${
      Math.ceil(load.workflows / load.marks)
    } workflows; MB, after a collection`,
  );
  console.log(line(titles(roles)));
  const marks: Mark[] = [];
  const start = performance.now();
  for (let workflows = 0;;) {
    const count = Math.ceil(load.workflows / load.marks);
    await client.submit(count);
    workflows += count;
    const leftovers = await rest(store);
    const samples = await crew.samples();
    const minutes = (performance.now() - start) / 60_000;
    const mark: Mark = {
      workflows,
      minutes,
      leftovers,
      roles,
      samples,
      store: await store.sample(samples.map(({ connection }) => connection)),
    };
    marks.push(mark);
    console.log(line(mark));
    const tasks = samples.reduce((sum, { executed }) => sum + executed, 0);
    const isEnough = tasks >= load.tasks && workflows >= load.workflows &&
      minutes >= load.minutes;
    if (isEnough || leftovers.length > 0) break;
  }
  await nc.close();
  const verdicts = judge(marks, load.quick ? QUICK : FULL);
  for (const { text } of verdicts) console.log(text);
  return verdicts.every(({ isFine }) => isFine);
}

/** Waits until nothing is left. @returns what is left all the same. */
async function rest(store: Store): Promise<string[]> {
  const begun = performance.now();
  const until = begun + REST_MS;
  for (;;) {
    await store.tidyLanes();
    if (performance.now() > begun + LATE_MS) await store.removeLate();
    const leftovers = await store.leftovers();
    if (leftovers.length === 0) {
      await later(SETTLE_MS);
      return [];
    }
    if (performance.now() > until) return leftovers;
    await later(LOOK_MS);
  }
}

const [first, ...others] = process.argv.slice(2);
if (first === "member") {
  await beMember(JSON.parse(others[0]!) as MemberOptions, countTimers());
} else {
  const isFine = await soak(loadFrom(process.argv.slice(2)));
  console.log(isFine ? "the soak found nothing that grows and nothing left behind" : "FAILED");
  process.exitCode = isFine ? 0 : 1;
}
