/**
 * Changes valid records into ones nobody meant, by a seed. Knows what records look like (lines of JSON, lines of words,
 * bytes) and nothing of what they mean. The same rolls give the same record.
 */
import type { Rolls } from "../mixed/plans.ts";
import { HOSTILE_JSON, HOSTILE_WORDS, HUGE, KEYS } from "./hostile.ts";

/** What a reader is given: one or several records, each as bytes. */
export type Pieces = readonly Uint8Array[];

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const LONGEST_WORDS = 400;
/** Records do not grow without end, however often they are mutated. */
const LONGEST = 200_000;

/** @param others what `pieces` may be mixed with. */
export function mutate(pieces: Pieces, others: readonly Pieces[], rolls: Rolls): Pieces {
  let changed = pieces;
  for (let times = 1 + rolls.roll(3); times > 0; times--) {
    changed = mutateOnce(changed, rolls.pick(others), rolls);
  }
  return changed;
}

function mutateOnce(pieces: Pieces, other: Pieces, rolls: Rolls): Pieces {
  const at = rolls.roll(pieces.length);
  const piece = pieces[at] ?? new Uint8Array();
  const replace = (by: Uint8Array) => pieces.map((same, i) => i === at ? by : same);
  const kind = rolls.roll(100);
  if (kind < 4) return replace(rolls.pick(other.length === 0 ? pieces : other));
  if (kind < 6 && pieces.length > 1) {
    return pieces.toSpliced(at, 1, ...rolls.often(50) ? [] : [piece, piece]);
  }
  if (piece.length > LONGEST) return replace(piece.slice(0, LONGEST));
  if (kind < 30) {
    return replace(bytes(piece, rolls.pick(other.length === 0 ? pieces : other), rolls));
  }
  return replace(structure(piece, rolls) ?? bytes(piece, piece, rolls));
}

/** Flips, inserts, deletes, repeats, splices, without knowing what they are. */
function bytes(piece: Uint8Array, other: Uint8Array, rolls: Rolls): Uint8Array {
  const at = rolls.roll(piece.length + 1);
  const length = 1 + rolls.roll(rolls.often(80) ? 4 : 200);
  const end = Math.min(piece.length, at + length);
  switch (rolls.roll(rolls.often(1) ? 10 : 8)) {
    case 0: {
      const flipped = piece.slice();
      if (at < flipped.length) flipped[at]! ^= 1 << rolls.roll(8);
      return flipped;
    }
    case 1:
      return join(piece.subarray(0, at), Uint8Array.of(rolls.roll(256)), piece.subarray(at));
    case 2:
      return join(piece.subarray(0, at), piece.subarray(end));
    case 3:
      return join(piece.subarray(0, end), piece.subarray(at));
    case 4:
      return join(piece.subarray(0, at), other.subarray(rolls.roll(other.length + 1)));
    case 5:
      return piece.slice(0, at);
    case 6:
      return join(Uint8Array.of(0xef, 0xbb, 0xbf), piece);
    case 7:
      return join(piece.subarray(0, at), Uint8Array.of(0xff, 0xc0, 0x80), piece.subarray(end));
    default:
      return encoder.encode(rolls.pick(HUGE));
  }
}

function join(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Changes what the record says, not how it is spelled. Undefined: it is not text. */
function structure(piece: Uint8Array, rolls: Rolls): Uint8Array | undefined {
  let text: string;
  try {
    text = strict.decode(piece);
  } catch {
    return undefined;
  }
  const lines = text.split("\n");
  const at = rolls.roll(lines.length);
  const line = lines[at]!;
  const first = line.trimStart()[0];
  const changed = first === "{" || first === "["
    ? json(line, rolls)
    : line.length <= LONGEST_WORDS
    ? words(line, rolls)
    : undefined;
  if (changed === undefined) return undefined;
  lines[at] = changed;
  return encoder.encode(lines.join("\n"));
}

function words(line: string, rolls: Rolls): string {
  const parts = line.split(/([ .:=-])/);
  const at = rolls.roll(parts.length);
  switch (rolls.roll(5)) {
    case 0:
      return parts.toSpliced(at, 1).join("");
    case 1:
      return parts.toSpliced(at, 0, parts[at]!, rolls.pick([".", " ", ":"])).join("");
    case 2:
      return line + rolls.pick([".", " ", ":", ""]) + rolls.pick(HOSTILE_WORDS);
    default:
      parts[at] = rolls.pick(HOSTILE_WORDS);
      return parts.join("");
  }
}

type Holder = Record<string | number, unknown>;

/** Where a text is to stand that JSON.stringify would not write: it writes this instead. */
const PLACE = "@fuzz@";

function json(line: string, rolls: Rolls): string | undefined {
  let root: { value: unknown };
  try {
    root = { value: JSON.parse(line) };
  } catch {
    return undefined;
  }
  try {
    const text = change(root, rolls);
    return JSON.stringify(root.value)?.replace(JSON.stringify(PLACE), () => text);
  } catch {
    return undefined; // Deeper than can be written.
  }
}

/** Changes something in the value. @returns what is to stand in the place that was marked. */
function change(root: { value: unknown }, rolls: Rolls): string {
  const { holder, key } = somewhere(root, rolls);
  const hostile: string = rolls.pick(HOSTILE_JSON);
  switch (rolls.roll(8)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
      return hostile;
    case 1: {
      // A key twice, or one that nobody expects.
      const name = JSON.stringify(rolls.often(50) ? String(key) : rolls.pick(KEYS));
      const same = JSON.stringify(holder[key]) ?? "null";
      holder[key] = PLACE;
      return Array.isArray(holder) ? `${same},${hostile}` : `${same},${name}:${hostile}`;
    }
    case 2: {
      const from = somewhere(root, rolls);
      const other = JSON.stringify(from.holder[from.key]) ?? "null";
      holder[key] = PLACE;
      return other;
    }
    case 3: {
      const value = holder[key];
      if (typeof value === "number") holder[key] = value + rolls.pick([-1, 1, 0.5, 1e6, -1e15]);
      else if (typeof value === "string") holder[key] = words(value, rolls);
      else holder[key] = [value];
      return hostile;
    }
    default:
      holder[key] = PLACE;
      return hostile;
  }
}

const MOST_STEPS = 12;

/** Any place in the value; the whole of it, too. */
function somewhere(
  root: { value: unknown },
  rolls: Rolls,
): { holder: Holder; key: string | number } {
  let holder: Holder = root;
  let key: string | number = "value";
  for (let step = 0; step < MOST_STEPS; step++) {
    const value: unknown = holder[key];
    if (typeof value !== "object" || value === null) break;
    const keys: string[] = Object.keys(value);
    if (keys.length === 0 || (step > 0 && rolls.often(35))) break;
    holder = value as Holder;
    key = rolls.pick(keys);
  }
  return { holder, key };
}

/** Smaller pieces that a failing one may be shrunk to, the smallest first. */
export function* smaller(pieces: Pieces): Generator<Pieces> {
  for (const [i, piece] of pieces.entries()) {
    const replace = (by: Uint8Array) => pieces.map((same, k) => k === i ? by : same);
    for (let size = piece.length; size >= 1; size = Math.floor(size / 2)) {
      for (let at = 0; at < piece.length; at += size) {
        yield replace(join(piece.subarray(0, at), piece.subarray(at + size)));
        if (piece.length / size > 256) break;
      }
    }
  }
}

/** As a test can have it: text where it is text. */
export function written(pieces: Pieces): string {
  return JSON.stringify(pieces.map((piece) => {
    const text = decoder.decode(piece);
    const isText = encoder.encode(text).length === piece.length;
    return isText
      ? text
      : { base64: btoa(Array.from(piece, (b) => String.fromCharCode(b)).join("")) };
  }));
}
