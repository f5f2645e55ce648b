/** The log of facts in memory. Tells listeners of each fact, once it is written. */
import { isBehind, type LogCondition } from "../core/log_condition.ts";
import type { TraceContext } from "../core/trace_context.ts";
import type { Clock, Facts, Stored } from "../ports.ts";
import { filterOf } from "./filter.ts";

export class MemoryFacts implements Facts {
  readonly #clock: Clock;
  readonly #tell: (stored: Stored) => void;
  /** In the order of the log. */
  readonly #log = new Map<string, Stored>();
  #seq = 0;

  constructor(clock: Clock, tell: (stored: Stored) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  create(
    key: string,
    data: Uint8Array,
    note?: string,
    trace?: TraceContext,
  ): Promise<"created" | "exists"> {
    if (this.#log.has(key)) return Promise.resolve("exists");
    const stored: Stored = {
      key,
      seq: ++this.#seq,
      at: this.#clock.now(),
      ...(note === undefined ? {} : { note }),
      ...(trace === undefined ? {} : { trace }),
      data: data.slice(),
    };
    this.#log.set(key, stored);
    this.#tell(stored);
    return Promise.resolve("created");
  }

  async createIf(
    key: string,
    data: Uint8Array,
    condition: LogCondition,
    note?: string,
  ): Promise<"created" | "exists" | "behind"> {
    if (this.#log.has(key)) return "exists";
    if (isBehind(condition, this.#lastOf(condition.filter)?.seq ?? 0)) return "behind";
    return await this.create(key, data, note);
  }

  read(key: string): Promise<Stored | undefined> {
    return Promise.resolve(this.#log.get(key));
  }

  readRecorded(key: string): Promise<Stored | undefined> {
    return this.read(key);
  }

  next(filter: string, seq: number): Promise<Stored | undefined> {
    const matches = filterOf(filter);
    for (const stored of this.#log.values()) {
      if (stored.seq >= seq && matches(stored.key)) return Promise.resolve(stored);
    }
    return Promise.resolve(undefined);
  }

  last(filter: string): Promise<Stored | undefined> {
    return Promise.resolve(this.#lastOf(filter));
  }

  #lastOf(filter: string): Stored | undefined {
    const matches = filterOf(filter);
    let last: Stored | undefined;
    for (const stored of this.#log.values()) if (matches(stored.key)) last = stored;
    return last;
  }

  scan(filter: string, { bodies = false }: { bodies?: boolean } = {}): Promise<Stored[]> {
    const matches = filterOf(filter);
    const found = [...this.#log.values()].filter(({ key }) => matches(key));
    return Promise.resolve(
      bodies ? found : found.map((stored) => ({ ...stored, data: new Uint8Array() })),
    );
  }

  keys(filter: string): Promise<string[]> {
    return Promise.resolve([...this.#log.keys()].filter(filterOf(filter)));
  }

  recordedFrom(seq: number): Promise<{ workflows: ReadonlySet<string>; next: number }> {
    const later = [...this.#log.values()].filter((stored) => stored.seq >= seq);
    const facts = later.map(({ key }) => key.split(".")).filter(([, kind]) => kind !== "def");
    const workflows = new Set(facts.map(([workflow]) => workflow!));
    return Promise.resolve({ workflows, next: this.#seq + 1 });
  }

  purge(filter: string, before: number = Infinity): Promise<void> {
    const matches = filterOf(filter);
    for (const { key, seq } of [...this.#log.values()]) {
      if (seq < before && matches(key)) this.#log.delete(key);
    }
    return Promise.resolve();
  }
}
