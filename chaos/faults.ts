/**
 * Carries faults out, on real processes, servers and lines, each to its end: what was broken is
 * whole again when it resolves. Every fault is noted with the time that it took. It decides
 * nothing: which faults, and when, is in the plan.
 */
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import process from "node:process";
import type { NatsServer } from "../scripts/nats_server.ts";
import type { Fleet, Member } from "./fleet.ts";
import { type Journal, trueNow } from "./history.ts";
import type { Line } from "./line.ts";
import { sleep } from "./member.ts";
import { type Fault, kindOf } from "./plan.ts";
import type { Stage } from "./stage.ts";

export interface Battlefield {
  readonly stage: Stage;
  readonly fleet: Fleet;
  readonly journal: Journal;
  readonly namespace: string;
}

const FILLER = "FILLER";
const FILLER_BYTES = 500_000;

/** @returns false when there was nobody, or no way, to do it. */
export async function carryOut(fault: Fault, field: Battlefield): Promise<boolean> {
  const from = trueNow();
  const of = await broken(fault, field);
  if (of === undefined) return false;
  field.journal.write({ is: "fault", kind: kindOf(fault), of, from, until: trueNow() });
  return true;
}

/** @returns whom it befell. */
function broken(fault: Fault, field: Battlefield): Promise<string | undefined> {
  switch (fault.is) {
    case "kill":
    case "stop":
    case "pause":
    case "jump":
    case "cut":
    case "hold":
    case "slow": {
      const there = field.fleet.of(fault.role);
      const member = there[fault.number % there.length];
      return member === undefined ? Promise.resolve(undefined) : befall(member, fault, field);
    }
    case "server":
      return breakServer(fault, field);
    case "isolate":
      return isolate(fault, field);
    case "delete consumer":
      return deleteConsumer(fault, field);
    case "purge":
      return purge(fault.what, field);
    case "fill":
      return fault.what === "disk" ? fillDisk(fault.forMs, field) : fillStore(fault.forMs, field);
  }
  return fault satisfies never;
}

async function befall(
  member: Member,
  fault: Fault & { is: "kill" | "stop" | "pause" | "jump" | "cut" | "hold" | "slow" },
  { fleet, stage }: Battlefield,
): Promise<string> {
  const { name, place, role } = member;
  switch (fault.is) {
    case "kill":
    case "stop":
      await member.end(fault.is === "kill" ? "SIGKILL" : "SIGTERM");
      // Nobody waits for the next one to be at work.
      void sleep(fault.awayMs).then(() => fleet.start(role, place));
      break;
    case "pause":
      member.signal("SIGSTOP");
      await sleep(fault.forMs);
      member.signal("SIGCONT");
      break;
    case "jump":
      member.tell({ is: "jump", byMs: fault.byMs });
      break;
    case "cut":
    case "hold":
    case "slow":
      await breakLines(await stage.lines.ofMember(place), fault);
      break;
    default:
      fault satisfies never;
  }
  return name;
}

type Break =
  | { readonly is: "cut"; readonly forMs: number }
  | Fault & { is: "hold" }
  | Fault & { is: "slow" };

async function breakLines(lines: readonly Line[], fault: Break): Promise<void> {
  for (const line of lines) {
    if (fault.is === "cut") line.cut();
    else if (fault.is === "hold") line.hold(fault.way);
    else line.slow(fault.byMs);
  }
  await sleep(fault.forMs);
  for (const line of lines) {
    if (fault.is === "hold" && !fault.comesLate) line.reset();
    line.heal();
  }
}

async function breakServer(
  { how, which, forMs }: Fault & { is: "server" },
  { stage, namespace }: Battlefield,
): Promise<string> {
  const at = await stage.find(which, namespace);
  const server = stage.servers[at]!;
  switch (how) {
    case "kill":
      await server.kill();
      await sleep(forMs);
      await server.restart();
      break;
    case "stop":
      await server.stop({ keepStore: true });
      await sleep(forMs);
      await server.restart();
      break;
    case "pause":
      await standStill(server, forMs);
      break;
    default:
      how satisfies never;
  }
  return `server ${at}`;
}

async function standStill({ pid }: NatsServer, forMs: number): Promise<void> {
  if (pid === undefined) return;
  process.kill(pid, "SIGSTOP");
  await sleep(forMs);
  process.kill(pid, "SIGCONT");
}

async function isolate(
  { how, which, fromAll, forMs }: Fault & { is: "isolate" },
  { stage, namespace }: Battlefield,
): Promise<string> {
  const at = await stage.find(which, namespace);
  const lines = stage.lines.around(at, { fromAll });
  for (const line of lines) {
    if (how === "cut") line.cut();
    else line.hold("both");
  }
  await sleep(forMs);
  for (const line of lines) line.heal();
  return `server ${at}`;
}

async function deleteConsumer(
  { of, number }: Fault & { is: "delete consumer" },
  { stage, namespace }: Battlefield,
): Promise<string | undefined> {
  const stream = `${namespace}_${of}`;
  return await orNothing(async () => {
    const { consumers } = await jetstreamManager(stage.control);
    const names: string[] = [];
    for await (const { name } of consumers.list(stream)) names.push(name);
    const name = names[number % names.length];
    if (name === undefined) return undefined;
    await consumers.delete(stream, name);
    return `${stream} ${name}`;
  });
}

async function purge(
  what: "TASKS" | "TICKS",
  { stage, namespace }: Battlefield,
): Promise<string | undefined> {
  const stream = `${namespace}_${what}`;
  return await orNothing(async () => {
    const { streams } = await jetstreamManager(stage.control);
    await streams.purge(stream);
    return stream;
  });
}

/** While the servers are broken too, meddling with them fails: that is no finding. */
async function orNothing<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch {
    return undefined;
  }
}

/** What JetStream was writing stays broken until it is started again. */
async function fillDisk(forMs: number, { stage }: Battlefield): Promise<string | undefined> {
  const { disk, servers: [server] } = stage;
  if (disk === undefined) return undefined;
  await disk.fill();
  await sleep(forMs);
  await disk.free();
  await server!.restart();
  return "server 0";
}

/** Somebody else's stream takes all that JetStream may keep. */
async function fillStore(forMs: number, { stage }: Battlefield): Promise<string | undefined> {
  const { streams } = await jetstreamManager(stage.control);
  await streams.add({ name: FILLER, subjects: ["filler"] });
  const js = jetstream(stage.control);
  const payload = new Uint8Array(FILLER_BYTES);
  for (let isFull = false; !isFull;) {
    isFull = await js.publish("filler", payload).then(() => false, () => true);
  }
  await sleep(forMs);
  await streams.delete(FILLER);
  return "server 0";
}
