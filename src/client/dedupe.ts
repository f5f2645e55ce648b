/**
 * Submits with a key: the first one within the window makes the run, the others are given it. The key is claimed by
 * compare-and-set before the run is written, and marked afterwards: whoever finds a claim without a run makes it.
 */
import { type Claim, dedupeView, readClaim, writeClaim } from "../core/dedupe.ts";
import { type Duration, durationMs } from "../core/duration.ts";
import { ConflictError, InvalidOptionError, UnavailableError } from "../core/errors.ts";
import { quote } from "../core/ids.ts";
import { definitionKey } from "../core/keys.ts";
import { refuseUnknown } from "../core/options.ts";
import type { Ports } from "../ports.ts";
import { sleep } from "../runs/time.ts";

/** When a submit gives back the run of an earlier one. */
export interface DedupeOptions {
  /** What makes two submits the same: any text of 1 to 256 characters. */
  key: string;
  /** How long the first submit counts. @default "1d" */
  window?: Duration;
}

const LONGEST_KEY = 256;
/** A second one nearly always finds the claim of whoever was faster. */
const TRIES = 10;
const TRY_AGAIN_MS = 50;

export class Dedupe {
  readonly #ports: Ports;
  readonly #view: string;
  readonly #key: string;
  readonly #windowMs: number;

  private constructor(ports: Ports, view: string, key: string, windowMs: number) {
    this.#ports = ports;
    this.#view = view;
    this.#key = key;
    this.#windowMs = windowMs;
  }

  /** @throws {InvalidOptionError} */
  static async of(ports: Ports, options: DedupeOptions): Promise<Dedupe> {
    refuseUnknown("dedupe option", options, ["key", "window"]);
    const { key, window = "1d" } = options;
    if (typeof key !== "string" || key.length < 1 || key.length > LONGEST_KEY) {
      throw new InvalidOptionError(
        "dedupe.key",
        `dedupe.key = ${quote(key)} is not a text of 1 to ${LONGEST_KEY} characters`,
        { hint: "For something longer, use a hash of it." },
      );
    }
    const windowMs = durationMs("dedupe.window", window, { least: 1 });
    return new Dedupe(ports, await dedupeView(key), key, windowMs);
  }

  /** The run that the key stands for, if it is durable. */
  async find(): Promise<string | undefined> {
    const claim = (await this.#claim()).live;
    if (claim === undefined) return undefined;
    if (claim.made) return claim.run;
    if (await this.#ports.facts.read(definitionKey(claim.run)) === undefined) return undefined;
    // Its submitter may have died between the definition and the tick.
    await this.#ports.ticks.ensure(claim.run);
    await this.made(claim.run);
    return claim.run;
  }

  /** The id to submit as: `id`, or what an earlier submitter, who may have died since, has chosen. */
  async claim(id: string): Promise<string> {
    const { views, clock, random } = this.#ports;
    for (let tries = 0; tries < TRIES; tries++) {
      const { live, revision } = await this.#claim();
      if (live !== undefined) return live.run;
      const claim = { run: id, until: clock.now() + this.#windowMs, made: false };
      if (await views.swap(this.#view, revision, writeClaim(claim))) return id;
      // Somebody was faster, and their claim is there; but a copy that is read may lag behind what was written.
      if (tries > 0) await sleep(clock, TRY_AGAIN_MS * random.chance());
    }
    throw new UnavailableError(`Cannot claim dedupe.key ${quote(this.#key)}: others are faster`, {
      hint: "Try again.",
    });
  }

  /** The run is durable: from now on it is given back without a look, also when it was removed after its retention. */
  async made(run: string): Promise<void> {
    try {
      const { live, revision } = await this.#claim();
      if (live === undefined || live.run !== run || live.made) return;
      await this.#ports.views.swap(this.#view, revision, writeClaim({ ...live, made: true }));
    } catch (error) {
      // The run is durable all the same, and the next submit looks.
      this.#ports.log("debug", `the dedupe key of ${run} was not marked`, {
        event: "dedupe-not-marked",
        run,
        error,
      });
    }
  }

  async #claim(): Promise<{ live: Claim | undefined; revision: number }> {
    const view = await this.#ports.views.get(this.#view);
    if (view === undefined) return { live: undefined, revision: 0 };
    const claim = readClaim(view.data);
    if (claim === undefined) {
      throw new ConflictError(`The record of dedupe.key ${quote(this.#key)} cannot be read`, {
        hint: "A newer version may have written it: upgrade this one, or use another key.",
      });
    }
    const isLive = this.#ports.clock.now() < claim.until;
    return { live: isLive ? claim : undefined, revision: view.revision };
  }
}
