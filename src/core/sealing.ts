/**
 * What users own, made unreadable for whoever lacks their codec: a JSON value becomes `{"~sealed":"<base64>"}`, which is a
 * JSON value too and travels wherever the value would have. What a record is made of around it stays readable, so that
 * processors conduct what they cannot read. Without a codec nothing in here changes a byte.
 */
import { fromBase64, toBase64 } from "./base64.ts";
import { CodecError } from "./errors.ts";

/** Turns bytes into others and back: encryption, compression. Every process that runs tasks or reads results needs one that decodes. */
export interface Codec {
  /** What is stored in place of `data`. May give another answer each time. */
  encode(data: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** The inverse. Throws for what it cannot decode: a task is then left to other workers, a client gets a `CodecError`. */
  decode(data: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** A value that a codec has encoded. */
export interface Sealed {
  readonly "~sealed": string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const START = '{"~sealed":"';

/** Whether `value` is an object with the one key `~sealed`, and text. */
export function isSealed(value: unknown): value is Sealed {
  return typeof value === "object" && value !== null &&
    typeof (value as Partial<Sealed>)["~sealed"] === "string" && Object.keys(value).length === 1;
}

/** The JSON text of a value that may be sealed. @throws {CodecError} */
export async function unsealBytes(codec: Codec | undefined, json: Uint8Array): Promise<string> {
  const text = decoder.decode(json);
  if (!mayBeSealed(json)) return text;
  const value = JSON.parse(text);
  if (!isSealed(value)) return text;
  const unsealed = await unsealJson(codec, value);
  parseUnsealed(unsealed);
  return unsealed;
}

/** Whether this JSON begins as sealed values, written here, do. */
function mayBeSealed(json: Uint8Array): boolean {
  for (let i = 0; i < START.length; i++) if (json[i] !== START.charCodeAt(i)) return false;
  return true;
}

/** @param json the value's JSON. @returns the sealed value's. @throws {CodecError} */
export async function sealJson(codec: Codec, json: string | Uint8Array): Promise<string> {
  const data = typeof json === "string" ? encoder.encode(json) : json;
  let encoded: Uint8Array;
  try {
    encoded = await codec.encode(data);
  } catch (cause) {
    throw new CodecError(`Cannot seal a value: the codec's encode failed: ${String(cause)}`, {
      cause,
      hint: "See why the codec cannot encode: a key that is missing?",
    });
  }
  return `${START}${toBase64(encoded)}"}`;
}

/** The JSON that was sealed. @throws {CodecError} without a codec, or when it cannot decode this. */
export async function unsealJson(codec: Codec | undefined, sealed: Sealed): Promise<string> {
  if (codec === undefined) {
    throw new CodecError("Cannot read a sealed value: this process has no codec", {
      hint: "Open with the codec of the process that sealed it: Dyrygent.open(nc, { codec }).",
    });
  }
  try {
    return decoder.decode(await codec.decode(fromBase64(sealed["~sealed"])));
  } catch (cause) {
    throw new CodecError(
      `Cannot read a sealed value: the codec's decode failed: ${String(cause)}`,
      {
        cause,
        hint:
          "Give the codec the key that the value was sealed with, or see whether it was damaged.",
      },
    );
  }
}

/** The value itself, whether it was sealed or not. @throws {CodecError} */
export async function unseal(codec: Codec | undefined, value: unknown): Promise<unknown> {
  return isSealed(value) ? parseUnsealed(await unsealJson(codec, value)) : value;
}

function parseUnsealed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new CodecError("Cannot read a sealed value: what the codec decodes is not JSON", {
      cause,
      hint: "It was sealed with another codec or key.",
    });
  }
}

/** Something with a payload for people to see. One that cannot be read stays sealed: what they look at must not fail by it. */
export async function withReadablePayload<T extends { readonly payload?: unknown }>(
  codec: Codec | undefined,
  shown: T,
): Promise<T> {
  if (codec === undefined || !isSealed(shown.payload)) return shown;
  return { ...shown, payload: await unseal(codec, shown.payload).catch(() => shown.payload) };
}
