/** Waiting for something to be recorded: told by the server, checked again when the telling may have failed. */
import type { Cancel, Hint, Ports } from "../ports.ts";

/** A told fact that never arrived costs at most this. While all is well it costs two reads a minute. */
const LOOK_AGAIN_MS = 30_000;
/** Where subscriptions take a while to spread, the first look may come too early to be told. */
const SPREAD_MS = 100;

/**
 * @param filters facts that make it worth looking.
 * @param look reads; undefined: not yet. It is given the fact that was told last since it looked.
 */
export async function waitFor<T>(
  ports: Ports,
  filters: readonly string[],
  look: (told?: Hint) => Promise<T | undefined>,
): Promise<T> {
  const { hints, clock } = ports;
  let told: Hint | "a gap" | undefined;
  let wake = () => {};
  const tell = (what: Hint | "a gap") => {
    told = what;
    wake();
  };
  const cancels: Cancel[] = [
    ...filters.map((filter) => hints.onFact(filter, tell)),
    hints.onGap(() => tell("a gap")),
  ];
  try {
    // Subscribed before the first look, and on one connection: what is recorded in between is told.
    for (let delayMs = hints.spreads ? SPREAD_MS : LOOK_AGAIN_MS;; delayMs = LOOK_AGAIN_MS) {
      const latest = told === "a gap" ? undefined : told;
      told = undefined;
      const found = await look(latest);
      if (found !== undefined) return found;
      if (told !== undefined) continue;
      await new Promise<void>((resolve) => {
        const cancel = clock.after(delayMs, resolve);
        wake = () => {
          cancel();
          resolve();
        };
      });
    }
  } finally {
    for (const cancel of cancels) cancel();
  }
}
