/**
 * What happened, told by those to whom it happened: each process appends lines to a file of its
 * own, before it goes on. What was written survives any end of its writer. Knows nothing of the
 * engine, and never writes into a file of somebody else.
 */
import { createHash } from "node:crypto";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

export type Note =
  /** A call of the library by a client. */
  | {
    readonly is: "invoked";
    readonly call: number;
    readonly run: string;
    readonly what: string;
    readonly args?: unknown;
  }
  | { readonly is: "answered"; readonly call: number; readonly answer: unknown }
  | {
    readonly is: "failed";
    readonly call: number;
    readonly code: string;
    readonly message: string;
  }
  /** A task that runs; `given` is the digest of its arguments. */
  | {
    readonly is: "began";
    readonly execution: number;
    readonly run: string;
    readonly node: number;
    readonly attempt: number;
    readonly given: string;
  }
  /** `gave` is the digest of its result; what throws, or becomes a run, gives none. */
  | {
    readonly is: "ended";
    readonly execution: number;
    readonly gave?: string;
    readonly size?: number;
  }
  /** It got no processor time. */
  | { readonly is: "stood still"; readonly from: number; readonly until: number }
  | FaultNote;

/** Something was broken, from one moment to another. */
export interface FaultNote {
  readonly is: "fault";
  readonly kind: string;
  /** The process, or the server. */
  readonly of: string;
  readonly from: number;
  readonly until: number;
}

/**
 * A note, with who wrote it and when: milliseconds since 1970 by the machine's clock, whatever the
 * process believes.
 */
export type Entry = Note & { readonly at: number; readonly by: string };

const machineNow = Date.now.bind(Date);

/** The machine's time, also where the process was given another one. */
export const trueNow = (): number => machineNow();

export class Journal {
  readonly #by: string;
  readonly #file: number;

  constructor(folder: string, by: string) {
    mkdirSync(folder, { recursive: true });
    this.#by = by;
    this.#file = openSync(join(folder, `${by}.jsonl`), "a");
  }

  write(note: Note): void {
    writeSync(this.#file, `${JSON.stringify({ ...note, at: trueNow(), by: this.#by })}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/**
 * All notes in a folder, in the order of time. A line that its writer did not live to finish is
 * none.
 */
export function readHistory(folder: string): Entry[] {
  const files = readdirSync(folder).filter((name) => name.endsWith(".jsonl"));
  const entries = files.flatMap((name) => {
    const lines = readFileSync(join(folder, name), "utf8").split("\n");
    return lines.slice(0, -1).map((line) => JSON.parse(line) as Entry);
  });
  return entries.sort((a, b) => a.at - b.at);
}

/** What stands for a JSON value in notes. */
export function digestOf(value: unknown): string {
  return digestOfText(JSON.stringify(value ?? null));
}

export function digestOfText(text: string | Uint8Array): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 24);
}
