/**
 * A TCP connection's way through here, which can be broken: cut, refused, held (as if packets were
 * lost for a while, in one direction or both), made slow. What is held may be delivered late or
 * never. Understands nothing of what it carries, and never changes its order.
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

export type Way = "out" | "in" | "both";

/** Bytes that wait in one direction: beyond it the sender is made to wait too. */
const MOST_WAITING = 4_000_000;

export class Line {
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #wires = new Set<Wire>();
  #isRefused = false;
  #held = { out: false, in: false };
  #delayMs = 0;

  private constructor(server: Server, targetPort: number) {
    this.#server = server;
    this.#targetPort = targetPort;
    server.on("connection", (near) => this.#onConnection(near));
  }

  /** A line from a free port of this machine to another port of it. */
  static async to(targetPort: number): Promise<Line> {
    const server = createServer({ noDelay: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    // It must not keep a process alive that is done.
    server.unref();
    return new Line(server, targetPort);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends what is connected, and refuses anew until `heal`. */
  cut(): void {
    this.#isRefused = true;
    this.reset();
  }

  /** Ends what is connected. */
  reset(): void {
    for (const wire of [...this.#wires]) wire.cut();
  }

  /** Nothing comes through, and nobody is told. */
  hold(way: Way): void {
    this.#held = { out: way !== "in", in: way !== "out" };
    this.#tellWires();
  }

  slow(delayMs: number): void {
    this.#delayMs = delayMs;
    this.#tellWires();
  }

  /** What was held is delivered now. */
  heal(): void {
    this.#isRefused = false;
    this.#held = { out: false, in: false };
    this.slow(0);
  }

  close(): void {
    this.#server.close();
    this.cut();
  }

  #onConnection(near: Socket): void {
    if (this.#isRefused) {
      near.on("error", () => {});
      return void near.destroy();
    }
    const far = connect({ host: "127.0.0.1", port: this.#targetPort, noDelay: true });
    const wire: Wire = new Wire(near, far, () => this.#wires.delete(wire));
    this.#wires.add(wire);
    wire.set(this.#held, this.#delayMs);
  }

  #tellWires(): void {
    for (const wire of this.#wires) wire.set(this.#held, this.#delayMs);
  }
}

/** One connection, and its continuation. */
class Wire {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #out: Flow;
  readonly #in: Flow;

  constructor(near: Socket, far: Socket, onEnd: () => void) {
    this.#near = near;
    this.#far = far;
    this.#out = new Flow(near, far);
    this.#in = new Flow(far, near);
    far.once("close", onEnd);
  }

  set(held: { readonly out: boolean; readonly in: boolean }, delayMs: number): void {
    this.#out.set(held.out, delayMs);
    this.#in.set(held.in, delayMs);
  }

  cut(): void {
    this.#near.destroy();
    this.#far.destroy();
  }
}

/** One direction of it. */
class Flow {
  readonly #from: Socket;
  readonly #to: Socket;
  /** In order; no chunk: the end. */
  readonly #waiting: { readonly dueAt: number; readonly chunk: Uint8Array | undefined }[] = [];
  #waitingBytes = 0;
  #isHeld = false;
  #delayMs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(from: Socket, to: Socket) {
    this.#from = from;
    this.#to = to;
    from.on("data", (chunk: Uint8Array) => this.#onData(chunk));
    from.on("error", () => {});
    from.once("close", () => this.#queue(undefined));
  }

  set(isHeld: boolean, delayMs: number): void {
    this.#isHeld = isHeld;
    this.#delayMs = delayMs;
    this.#forward();
  }

  #onData(chunk: Uint8Array): void {
    if (!this.#isHeld && this.#delayMs === 0 && this.#waiting.length === 0) {
      return void this.#to.write(chunk);
    }
    this.#waitingBytes += chunk.length;
    if (this.#waitingBytes > MOST_WAITING) this.#from.pause();
    this.#queue(chunk);
  }

  /** Never earlier than what came before it. */
  #queue(chunk: Uint8Array | undefined): void {
    const before = this.#waiting.at(-1)?.dueAt ?? 0;
    this.#waiting.push({ dueAt: Math.max(before, performance.now() + this.#delayMs), chunk });
    this.#forward();
  }

  #forward(): void {
    clearTimeout(this.#timer);
    if (this.#isHeld) return;
    const now = performance.now();
    while (this.#waiting.length > 0 && this.#waiting[0]!.dueAt <= now) {
      const { chunk } = this.#waiting.shift()!;
      if (chunk === undefined) return void this.#to.end();
      this.#waitingBytes -= chunk.length;
      this.#to.write(chunk);
    }
    if (this.#waitingBytes <= MOST_WAITING && this.#from.isPaused()) this.#from.resume();
    const next = this.#waiting[0];
    if (next !== undefined) this.#timer = setTimeout(() => this.#forward(), next.dueAt - now);
  }
}
