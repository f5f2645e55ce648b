/** A failure's record when there is a codec: message and stack are sealed; name and `fatal`, which decide whether it is retried, are not. */
import type { RecordedFailure } from "./errors.ts";
import { quote } from "./ids.ts";
import { parseRecord, readFailure } from "./records.ts";
import { type Codec, isSealed, sealJson, unseal } from "./sealing.ts";

const encoder = new TextEncoder();

/** @throws {CodecError} */
export async function sealFailure(
  codec: Codec,
  { name, message, stack, fatal }: RecordedFailure,
): Promise<Uint8Array> {
  const [sealedMessage, sealedStack] = await Promise.all([
    sealJson(codec, JSON.stringify(message)),
    stack === undefined ? undefined : sealJson(codec, JSON.stringify(stack)),
  ]);
  return encoder.encode(
    `{"name":${JSON.stringify(name)},"message":${sealedMessage}` +
      (sealedStack === undefined ? "" : `,"stack":${sealedStack}`) +
      (fatal === true ? ',"fatal":true' : "") + "}",
  );
}

/** What the record says, sealed or not. @throws {CodecError} */
export async function unsealFailure(
  codec: Codec | undefined,
  data: Uint8Array,
): Promise<RecordedFailure> {
  const { message, stack } = parseRecord(data) ?? {};
  const known = readFailure(data);
  if (!isSealed(message)) return known;
  const text = await unseal(codec, message);
  const lines = await unseal(codec, stack);
  return {
    ...known,
    message: typeof text === "string" ? text : quote(text),
    ...(typeof lines === "string" ? { stack: lines } : {}),
  };
}

/** The same. Where it cannot be read the message says so: that it failed is known all the same. */
export async function shownFailure(
  codec: Codec | undefined,
  data: Uint8Array,
): Promise<RecordedFailure> {
  try {
    return await unsealFailure(codec, data);
  } catch (error) {
    const why = (error as Error).message;
    return { ...readFailure(data), message: `its message is sealed: ${why}` };
  }
}
