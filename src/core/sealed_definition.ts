/**
 * A definition with everything in it that users own sealed: payloads, arguments, the run's input, what is written into the
 * output. Who waits for whom and takes what, task names and policies stay as they are: it is conducted without the codec.
 */
import { type Definition, TextSignatures } from "./definition.ts";
import { exactJson } from "./json.ts";
import { type Codec, isSealed, sealJson, unsealJson } from "./sealing.ts";
import type { Template } from "./template.ts";

/** Signatures being worked on at once: a workflow may have a million. */
const BATCH = 1_024;
/** The fields of a signature that users own. */
const OWNED = ["args", "payload"];

/** Does to a piece of JSON what is to be done with all that users own. */
type Change = (json: string) => Promise<string>;

/** @throws {CodecError} */
export function sealDefinition(codec: Codec, definition: Definition): Promise<Definition> {
  return changed(definition, (json) => sealJson(codec, json));
}

/** The inverse, to the letter; what is not sealed stays. @throws {CodecError} */
export function unsealDefinition(codec: Codec, definition: Definition): Promise<Definition> {
  return changed(definition, async (json) => {
    const value = JSON.parse(json);
    return isSealed(value) ? await unsealJson(codec, value) : json;
  });
}

async function changed(definition: Definition, change: Change): Promise<Definition> {
  const { graph: { size }, signatures, payload, input, output } = definition;
  const texts: string[] = [];
  while (texts.length < size) {
    const first = texts.length;
    const batch = Array.from(
      { length: Math.min(BATCH, size - first) },
      (_, i) => changedSignature(signatures.text(first + i), change),
    );
    for (const text of await Promise.all(batch)) texts.push(text);
  }
  return {
    ...definition,
    payload: payload === undefined ? undefined : await change(payload),
    ...(input === undefined ? {} : { input: await change(input) }),
    signatures: new TextSignatures(texts),
    output: await changedOutput(output, change),
  };
}

/** The same fields in the same order. A join has the empty text. */
async function changedSignature(text: string, change: Change): Promise<string> {
  if (text === "") return text;
  const fields = Object.entries(JSON.parse(text)).map(async ([name, value]) => {
    const json = exactJson(value, name);
    return `${JSON.stringify(name)}:${OWNED.includes(name) ? await change(json) : json}`;
  });
  return `{${(await Promise.all(fields)).join(",")}}`;
}

/** Most outputs are nothing but holes, and say nothing. */
async function changedOutput({ json, inputs }: Template, change: Change): Promise<Template> {
  return /^[[\],nul]*$/.test(json) ? { json, inputs } : { json: await change(json), inputs };
}
