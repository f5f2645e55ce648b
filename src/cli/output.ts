/** What commands print: tables and lines for people, JSON for programs. Colours only on a terminal, and not with NO_COLOR. */
import process from "node:process";
import type { NodeState } from "../core/node_state.ts";
import type { WorkflowState } from "../core/fact.ts";

export class Output {
  readonly isJson: boolean;
  readonly #write: (text: string) => void;
  readonly #hasColour: boolean;

  constructor(
    { isJson, hasColour, write }: {
      isJson: boolean;
      hasColour: boolean;
      write: (text: string) => void;
    },
  ) {
    this.isJson = isJson;
    this.#hasColour = hasColour;
    this.#write = write;
  }

  static ofProcess(isJson: boolean): Output {
    const { stdout, env } = process;
    const hasColour = stdout.isTTY === true && !env["NO_COLOR"] && env["TERM"] !== "dumb";
    return new Output({ isJson, hasColour, write: (text) => void stdout.write(text) });
  }

  line(text = ""): void {
    this.#write(`${text}\n`);
  }

  /** One value, as JSON on a line of its own. */
  json(value: unknown): void {
    this.line(JSON.stringify(value));
  }

  /** JSON for programs, else what `show` prints. */
  give(value: unknown, show: () => void): void {
    if (this.isJson) this.json(value);
    else show();
  }

  /** Each as JSON on a line of its own, or all as a table; `none` says that there are none. */
  list<T>(
    all: readonly T[],
    { none, head, row }: {
      none: string;
      head: readonly string[];
      row: (one: T) => readonly string[];
    },
  ): void {
    if (this.isJson) { for (const one of all) this.json(one); }
    else if (all.length === 0) this.line(none);
    else this.table(head, all.map(row));
  }

  table(head: readonly string[], rows: readonly (readonly string[])[]): void {
    const all = [head, ...rows];
    const widths = head.map((_, i) => Math.max(...all.map((row) => lengthOf(row[i] ?? ""))));
    for (const [at, row] of all.entries()) {
      const cells = row.map((cell, i) =>
        i === row.length - 1 ? cell : cell + " ".repeat(widths[i]! - lengthOf(cell))
      );
      const text = cells.join("  ").trimEnd();
      this.line(at === 0 ? this.faint(text) : text);
    }
  }

  state(state: NodeState | WorkflowState): string {
    return this.#coloured(COLOURS[state] ?? 0, state);
  }

  faint(text: string): string {
    return this.#coloured(2, text);
  }

  warning(text: string): string {
    return this.#coloured(33, text);
  }

  error(text: string): string {
    return this.#coloured(31, text);
  }

  #coloured(code: number, text: string): string {
    return this.#hasColour && code !== 0 ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}

const COLOURS: Partial<Record<NodeState | WorkflowState, number>> = {
  SUCCESS: 32,
  FAILURE: 31,
  ERROR: 31,
  UPSTREAM_FAILED: 31,
  CANCELLED: 33,
  PAUSED: 33,
  RETRY: 33,
  RUNNING: 36,
  STARTED: 36,
  SCHEDULED: 36,
  SKIPPED: 2,
  PENDING: 2,
};

// deno-lint-ignore no-control-regex
const ESCAPES = /\u001b\[\d+m/g;

/** As it is seen. */
function lengthOf(text: string): number {
  return [...text.replace(ESCAPES, "")].length;
}

/** `1d 4h`, `3.2 s`, `12 ms`. */
export function spanText(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes}m ${Math.floor(ms / 1_000) % 60}s`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours}h ${minutes % 60}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

/** Local time, to the second. */
export function timeText(at: number): string {
  const date = new Date(at);
  const two = (n: number) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
