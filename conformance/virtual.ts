/** The systems in virtual time: the memory adapter as it is, and the simulator's model of a server behind a network. */
import { Faults } from "../simulator/faults.ts";
import { SimulatedProcess, type Surroundings } from "../simulator/simulated_process.ts";
import { SimulatedServer } from "../simulator/simulated_server.ts";
import { Story } from "../simulator/story.ts";
import { BEGINNING, settled, VirtualWorld } from "../simulator/virtual_world.ts";
import { memoryPorts } from "../src/memory/open.ts";
import type { Ports } from "../src/ports.ts";
import type { System } from "./play.ts";

/** Longer than anything takes that is not a lease: a taker that had no room leaves a message to others for a second. */
const SETTLE_MS = 1_200;
/** More than the longest way of a message over the model's network. */
const ARRIVE_MS = 3;
/** More than the longest lease. */
const LAPSE_MS = 32_000;
const BEAT_MS = 2_000;
const MAX_RECORD = 1_048_576;

export function memorySystem(): System {
  const world = new VirtualWorld();
  const ports = memoryPorts({ ...surface(world), maxRecord: MAX_RECORD });
  return virtualSystem("memory", world, [ports, ports], () => {});
}

/** @param seed of the latencies. */
export function modelSystem(seed: number): System {
  const world = new VirtualWorld();
  const server = new SimulatedServer(world, () => {}, MAX_RECORD);
  const faults = new Faults({ seed, perMille: 0, without: new Set(), most: 0 });
  const story = new Story(() => world.now, false);
  const around: Surroundings = { seed, world, server, faults, story };
  const [a, b] = ["a", "b"].map((name) => new SimulatedProcess(name, around, () => {}).ports);
  return virtualSystem("model", world, [a!, b!], () => server.restart());
}

function surface(world: VirtualWorld): Pick<Ports, "clock" | "random" | "log"> {
  return {
    clock: {
      now: () => BEGINNING + Math.floor(world.now),
      monotonic: () => world.now,
      after: (ms, call) => world.after(ms, call),
    },
    random: { chance: () => 0.5, id: () => "never" },
    log: () => {},
  };
}

function virtualSystem(
  name: string,
  world: VirtualWorld,
  ports: readonly [Ports, Ports],
  restart: () => void,
): System {
  /** Time passes only as far as something happens. */
  const pass = async (ms: number) => {
    await settled();
    const end = world.now + ms;
    while ((world.nextAt ?? Infinity) <= end) await world.step();
  };
  return {
    name,
    ports,
    answer: async (call) => {
      let isAnswered = false;
      const answered = () => void (isAnswered = true);
      call.then(answered, answered);
      for (await settled(); !isAnswered;) {
        if (!await world.step()) throw new Error("it is never answered");
      }
      return await call;
    },
    arrive: () => pass(ARRIVE_MS),
    observe: async (_expected, read) => {
      await pass(SETTLE_MS);
      return await read();
    },
    quiet: () => pass(SETTLE_MS),
    // In virtual time no lease runs out by itself.
    beat: () => () => {},
    lapse: async (extend) => {
      for (let passed = 0; passed < LAPSE_MS; passed += BEAT_MS) {
        extend();
        let isOver = false;
        world.after(BEAT_MS, () => void (isOver = true));
        while (!isOver) await world.step();
      }
    },
    restart: async () => restart(),
    close: () => Promise.resolve(),
  };
}
