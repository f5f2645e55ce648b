/**
 * Plays a scenario once: starts its stage and its fleet, lets clients submit while things break,
 * mends everything, waits for the end of all that was begun, and has it checked. Whatever it
 * started has ended when it returns.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { jetstreamManager } from "@nats-io/jetstream";
import { Dyrygent } from "nats-dyrygent";
import type { Stored } from "../src/ports.ts";
import { Rolls } from "../test/mixed/plans.ts";
import { check, type Findings } from "./checker.ts";
import { readFacts, readLeft, type Submitted } from "./evidence.ts";
import { carryOut } from "./faults.ts";
import { Fleet, type Member } from "./fleet.ts";
import { Journal, readHistory } from "./history.ts";
import { openOptions, openPatiently, sleep } from "./member.ts";
import { type Role, type Scenario, stepsOf } from "./plan.ts";
import { openStage, type Stage } from "./stage.ts";
import { encodedWorkload, workloadOf, type WorkloadOptions } from "./workload.ts";

export interface PlayOptions {
  readonly seed: number;
  /** How long things are broken, milliseconds. */
  readonly windowMs: number;
}

export interface Played extends Findings {
  readonly faults: ReadonlyMap<string, number>;
  readonly workflows: number;
  /** How long it took from the last fault to the end of all, milliseconds. */
  readonly settledMs: number;
  /** It wanted a small disk, and this system does not let it have one. */
  readonly isMissingDisk: boolean;
  /** Where histories and logs are, if something is to be looked into. */
  readonly folder: string | undefined;
}

const NAMESPACE = "chaos";
const CREW: readonly (readonly [Role, number])[] = [["worker", 3], ["processor", 2], ["client", 2]];
const SUBMIT_EVERY_MS = 120;
/** More are not under way: a broken server must not make a backlog that outlasts the run. */
const MOST_UNDER_WAY = 60;
/** What has not ended by then, with nothing broken any more, never will. */
const SETTLE_MS = 120_000;
const MOST_SHOWN_BYTES = 2_000;
const REST_MS = 30_000;
/** A disk that was full leaves messages that never go: see the checker. */
const REST_ON_DISK_MS = 8_000;
/** The library's, for the server's default max_payload. */
const MAX_RECORD = 1_048_576 - 4_096;

export async function play(scenario: Scenario, options: PlayOptions): Promise<Played> {
  const folder = mkdtempSync(join(tmpdir(), `chaos-${scenario.name}-`));
  const workload = { seed: options.seed, mayBeBig: scenario.stage !== "small disk" };
  const journal = new Journal(folder, "main");
  const discard = () => rmSync(folder, { recursive: true, force: true });
  // Whoever interrupts it does not want to look into it.
  process.once("exit", discard);
  try {
    const { findings, ...disturbed } = await disturb(scenario, options, workload, folder, journal);
    const { workflows, settledMs, isMissingDisk, facts, left } = disturbed;
    const workloads = await Promise.all(
      Array.from({ length: workflows }, (_, index) => submitted(index, workload)),
    );
    const history = readHistory(folder);
    const checked = await check({ history, facts, left, workloads });
    const faults = new Map<string, number>();
    for (const entry of history) {
      if (entry.is === "fault") faults.set(entry.kind, (faults.get(entry.kind) ?? 0) + 1);
    }
    const all = [...findings, ...checked.violations];
    if (all.length === 0) discard();
    else keepFacts(facts, folder);
    return {
      ...checked,
      faults,
      workflows,
      violations: all,
      settledMs,
      isMissingDisk,
      folder: all.length === 0 ? undefined : folder,
    };
  } catch (error) {
    console.error(`histories and logs: ${folder}`);
    throw error;
  } finally {
    process.off("exit", discard);
    journal.close();
  }
}

async function submitted(index: number, options: WorkloadOptions): Promise<Submitted> {
  const workload = workloadOf(index, options);
  const { id } = workload;
  const { head, chunks, digest } = await encodedWorkload(workload, MAX_RECORD);
  return {
    id,
    definition: new Map([
      [`${id}.def.0`, head],
      ...chunks.map((chunk, i) => [`${id}.def.${digest.slice(0, 32)}-${i + 1}`, chunk] as const),
    ]),
    expected: workload.is === "proof" ? workload.expected : undefined,
  };
}

interface Disturbed {
  readonly workflows: number;
  readonly settledMs: number;
  readonly isMissingDisk: boolean;
  readonly findings: readonly string[];
  readonly facts: Awaited<ReturnType<typeof readFacts>>;
  readonly left: Awaited<ReturnType<typeof readLeft>>;
}

async function disturb(
  scenario: Scenario,
  { seed, windowMs }: PlayOptions,
  workload: WorkloadOptions,
  folder: string,
  journal: Journal,
): Promise<Disturbed> {
  await using stage = await openStage(scenario.stage);
  const { replicas, lines, control } = stage;
  await openPatiently(() => Dyrygent.open(control, openOptions(NAMESPACE, replicas)));
  await using fleet = new Fleet({
    folder,
    namespace: NAMESPACE,
    replicas,
    workload,
    serversFor: async (place) =>
      (await lines.ofMember(place)).map(({ port }) => `nats://127.0.0.1:${port}`),
  });
  await Promise.all(
    CREW.flatMap(([role, count]) =>
      Array.from({ length: count }, (_, i) => fleet.start(role, `${role}-${i}`))
    ),
  );
  const desk = new Desk(fleet);
  const until = performance.now() + windowMs;
  const submitting = desk.submitUntil(until);
  await Promise.all(scenario.lanes.map(async (lane, i) => {
    for (const { afterMs, fault } of stepsOf(lane, new Rolls(seed * 100 + i))) {
      if (performance.now() + afterMs > until) break;
      await sleep(afterMs);
      await carryOut(fault, { stage, fleet, journal, namespace: NAMESPACE });
    }
  }));
  await submitting;
  lines.heal();
  const mended = performance.now();
  const findings = await settle(desk, stage);
  const settledMs = performance.now() - mended;
  const facts = await patiently(() => readFacts(control, NAMESPACE));
  const left = await patiently(() => readLeft(control, NAMESPACE));
  await keepServerState(stage, folder);
  return {
    workflows: desk.submitted,
    settledMs,
    isMissingDisk: scenario.stage === "small disk" && stage.disk === undefined,
    findings: [...fleet.findings, ...findings],
    facts,
    left,
  };
}

/** Until every client has its answers, and no task and no tick is left. */
async function settle(desk: Desk, { control, disk }: Stage): Promise<string[]> {
  const until = performance.now() + SETTLE_MS;
  while (desk.underWay.size > 0 && performance.now() < until) {
    desk.assignWaiting();
    await sleep(100);
  }
  if (desk.underWay.size > 0) {
    const some = [...desk.underWay.keys()].slice(0, 10).join(", ");
    return [`L1: ${desk.underWay.size} workloads were not seen to their end: ${some}`];
  }
  const atRest = performance.now() + (disk === undefined ? REST_MS : REST_ON_DISK_MS);
  for (;;) {
    const { tasks, ticks } = await patiently(() => readLeft(control, NAMESPACE));
    if (tasks.length + ticks.length === 0 || performance.now() > atRest) return [];
    await sleep(100);
  }
}

/** For those who look into what was found. */
function keepFacts(facts: readonly Stored[], folder: string): void {
  const lines = [...facts].sort((a, b) => a.seq - b.seq).map(({ data, ...fact }) => {
    const text = new TextDecoder().decode(data.subarray(0, MOST_SHOWN_BYTES));
    return JSON.stringify({ ...fact, text });
  });
  writeFileSync(join(folder, "facts.jsonl"), lines.join("\n"));
}

/** The same. */
async function keepServerState({ servers, control }: Stage, folder: string): Promise<void> {
  for (const [i, server] of servers.entries()) {
    writeFileSync(join(folder, `server-${i}.log`), server.logs());
  }
  const { streams, consumers } = await jetstreamManager(control);
  const state: unknown[] = [];
  for await (const info of streams.list()) {
    const { state: { subjects: _, ...counts } } = info;
    state.push({ stream: info.config.name, ...counts, cluster: info.cluster });
    for await (const { config: _, ...consumer } of consumers.list(info.config.name)) {
      state.push(consumer);
    }
  }
  writeFileSync(join(folder, "server-state.json"), JSON.stringify(state, undefined, 1));
}

/** A cluster may still be electing. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await act();
    } catch (error) {
      if (attempt === 60) throw error;
      await sleep(500);
    }
  }
}

const NOBODY = "";

/** Hands workloads to clients, and to others when a client is gone. */
class Desk {
  readonly #fleet: Fleet;
  /** By number: the client that follows it. */
  readonly underWay = new Map<number, string>();
  submitted = 0;

  constructor(fleet: Fleet) {
    this.#fleet = fleet;
    fleet.onDone = (index) => this.underWay.delete(index);
    fleet.onGone = ({ name }) => this.#onGone(name);
  }

  async submitUntil(until: number): Promise<void> {
    while (performance.now() < until) {
      if (this.underWay.size < MOST_UNDER_WAY) this.#assign(this.submitted++);
      await sleep(SUBMIT_EVERY_MS);
      this.assignWaiting();
    }
  }

  #onGone(name: string): void {
    const left = [...this.underWay].filter(([, client]) => client === name);
    for (const [index] of left) this.#assign(index);
  }

  /** Those for which there was no client: to be called now and then. */
  assignWaiting(): void {
    this.#onGone(NOBODY);
  }

  #assign(index: number): void {
    const clients = this.#fleet.of("client");
    const client: Member | undefined = clients[index % clients.length];
    this.underWay.set(index, client?.name ?? NOBODY);
    client?.tell({ is: "follow", index });
  }
}
