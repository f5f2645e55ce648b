/** Ports of this machine that nobody listens to. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { promisify } from "node:util";

/** Different ports that were free a moment ago, for what cannot use port -1. */
export async function findFreePorts(count: number): Promise<number[]> {
  // All are held until all are known, or one could be given out twice.
  const listeners = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(listeners.map((listener) => once(listener, "listening")));
  const ports = listeners.map((listener) => (listener.address() as AddressInfo).port);
  await Promise.all(listeners.map((listener) => promisify(listener.close.bind(listener))()));
  return ports;
}

/** Whether it is free now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const listener = createServer();
    listener.once("error", () => resolve(false));
    listener.listen(port, "127.0.0.1", () => listener.close(() => resolve(true)));
  });
}
