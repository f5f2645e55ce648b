/** Ports that can die: what a process that was killed still asks for is never answered, and nothing reaches it any more. */
import type { Intake, Ports } from "../../src/ports.ts";

export interface Mortal {
  readonly ports: Ports;
  kill(): void;
}

export function mortal(ports: Ports): Mortal {
  const life: Life = { ended: false, intakes: [] };
  const wrapped = Object.fromEntries(
    Object.entries(ports).map(([name, port]) => [
      name,
      typeof port === "object" && port !== null ? wrap(port, life) : port,
    ]),
  );
  const kill = () => {
    life.ended = true;
    // The server notices that the connection is gone: it hands out nothing more, what it has handed out comes back later.
    for (const intake of life.intakes) void intake.close();
  };
  return { ports: wrapped as unknown as Ports, kill };
}

interface Life {
  ended: boolean;
  readonly intakes: Intake[];
}

const NEVER = new Promise<never>(() => {});

function wrap<T extends object>(target: T, life: Life): T {
  return new Proxy(target, {
    get(_, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (life.ended) return isAsking(String(name)) ? NEVER : () => {};
        const given = args.map((arg) => typeof arg === "function" ? heard(arg as Call, life) : arg);
        return answered(value.apply(target, given), life);
      };
    },
  });
}

/** What only tells, subscribes, or reads the time. */
const atOnce: ReadonlySet<string> = new Set([
  "now",
  "monotonic",
  "after",
  "tell",
  "onTold",
  "onAsked",
  "onFact",
  "onGap",
  "chance",
  "id",
]);

/** What does not return at once. */
function isAsking(name: string): boolean {
  return !atOnce.has(name);
}

type Call = (...args: unknown[]) => unknown;

function heard(call: Call, life: Life): Call {
  return (...args) => {
    if (life.ended) return NEVER;
    return call(...args.map((arg) => isDelivery(arg) ? wrap(arg, life) : arg));
  };
}

function isDelivery(value: unknown): value is object {
  return typeof value === "object" && value !== null && "giveBack" in value;
}

function answered(result: unknown, life: Life): unknown {
  if (!(result instanceof Promise)) return result;
  return new Promise((resolve, reject) => {
    const ifAlive = (settle: (value: unknown) => void) => (value: unknown) =>
      void (life.ended || settle(isIntake(value) ? wrap(value, life) : value));
    result.then((value) => {
      if (isIntake(value)) life.intakes.push(value);
      ifAlive(resolve)(value);
    }, ifAlive(reject));
  });
}

function isIntake(value: unknown): value is Intake {
  return typeof value === "object" && value !== null && "want" in value;
}
