/** Sealed values, definitions and failures: what is hidden, what is not, and that all of it comes back to the letter. */
import fc from "fast-check";
import { chain, type Codec, CodecError, group, task, Workflow } from "nats-dyrygent";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { fromBase64, toBase64 } from "../../src/core/base64.ts";
import { decodeDefinition, decodeHead, encodeDefinition } from "../../src/core/definition_codec.ts";
import { readFailure } from "../../src/core/records.ts";
import { sealDefinition, unsealDefinition } from "../../src/core/sealed_definition.ts";
import { sealFailure, shownFailure, unsealFailure } from "../../src/core/sealed_failure.ts";
import { sealJson, unseal } from "../../src/core/sealing.ts";
import { anyJson } from "../core/any_json.ts";
import { anySketch, workflowOf } from "../core/random_workflow.ts";
import { flipping, mixing } from "./codecs.ts";

const MAX = 1_000_000;

test("base64 is the platform's, for any number of bytes", async () => {
  await fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.uint8Array({ minLength: 24_500, maxLength: 24_700, size: "max" }),
      ),
      (bytes) => {
        const text = toBase64(bytes);
        assert.is(text, btoa([...bytes].map((byte) => String.fromCharCode(byte)).join("")));
        assert.equal(fromBase64(text), bytes);
      },
    ),
    { numRuns: 50 },
  );
});

test("any value comes back from being sealed, and its text is not in what is stored", async () => {
  await fc.assert(fc.asyncProperty(anyJson, async (value) => {
    const text = Object.is(value, -0) ? "-0" : JSON.stringify({ secret: "MARK", value });
    const sealed = await sealJson(mixing(3), text);
    assert.match(sealed, /^\{"~sealed":"[A-Za-z0-9+/]+={0,2}"\}$/);
    assert.equal(await unseal(mixing(3), JSON.parse(sealed)), JSON.parse(text));
  }));
});

test("a definition comes back from being sealed and stored to the letter, whatever is in it", async () => {
  await fc.assert(
    fc.asyncProperty(anySketch, async (sketch) => {
      const plain = workflowOf(sketch).build();
      const stored = await encodeDefinition(await sealDefinition(mixing(3), plain), MAX);
      const read = decodeDefinition(decodeHead(stored.head), [stored.head, ...stored.chunks]);
      const [before, after] = await Promise.all([
        encodeDefinition(plain, MAX),
        encodeDefinition(await unsealDefinition(mixing(3), read), MAX),
      ]);
      assert.equal(after, before);
    }),
    { numRuns: 60 },
  );
});

test("numbers, keys and options that JSON could bend come back to the letter, too", async () => {
  const odd = task("odd", { ignoreResult: true, timeout: "1s" }, (_: unknown) => 1);
  const wf = new Workflow("odd", { payload: { "": -0, "10": [1e21] } });
  const a = wf.call(odd, { b: -0, "1": 1e-7, a: "\u2028\ud83d\ude00" }).set({ payload: [null] });
  wf.output({ of: a, named: "text in the output" });
  const plain = { ...wf.build(), input: '{"b":-0,"a":"text in the input"}' };
  const sealed = await sealDefinition(mixing(3), plain);
  const text = new TextDecoder().decode((await encodeDefinition(sealed, MAX)).head);
  assert.ok(!text.includes("text in the"));
  assert.equal(
    (await encodeDefinition(await unsealDefinition(mixing(3), sealed), MAX)).head,
    (await encodeDefinition(plain, MAX)).head,
  );
});

test("who waits for whom, names, tasks and policies of a sealed definition stay as they are", async () => {
  const add = task("add", (a: number, b: number) => a + b);
  const plain = Workflow.of(
    chain(group([add.s(1, 2), add.s(3, 4)]), task("sum", (_: number[]) => 1).s()),
  )
    .build();
  const sealed = await sealDefinition(flipping, plain);
  assert.is(sealed.graph, plain.graph);
  assert.is(sealed.policies, plain.policies);
  assert.equal(sealed.output, plain.output, "holes only: there is nothing to hide");
  const signature = JSON.parse(sealed.signatures.text(2));
  assert.equal(Object.keys(signature), ["inputs", "task", "args"]);
  assert.equal(Object.keys(signature.args), ["~sealed"]);
});

test("what is not sealed stays as it is, with a codec and without", async () => {
  for (const codec of [undefined, flipping]) {
    for (const value of [1, "~sealed", null, { "~sealed": 1 }, { "~sealed": "x", more: 1 }]) {
      assert.is(await unseal(codec, value), value);
    }
  }
});

test("a failure's name and fatality are readable without the codec, its message and stack are not", async () => {
  const failure = { name: "OddError", message: "MARK", stack: "MARK at a.ts", fatal: true };
  const data = await sealFailure(mixing(1), failure);
  assert.ok(!new TextDecoder().decode(data).includes("MARK"));
  assert.equal(await unsealFailure(mixing(1), data), failure);
  const { name, fatal, message } = readFailure(data);
  assert.equal([name, fatal, message], ["OddError", true, "its message is sealed"]);
  assert.instance(await unsealFailure(mixing(2), data).catch((error) => error), CodecError);
  const unread = await shownFailure(mixing(2), data);
  assert.is(unread.name, "OddError");
  assert.match(unread.message, /^its message is sealed: .*key 1 is unknown/);
});

const hopeless: [what: string, codec: Codec | undefined, message: RegExp][] = [
  ["no codec", undefined, /this process has no codec/],
  ["a codec without the key", mixing(9), /decode failed: Error: key 1 is unknown/],
  ["a codec that gives something else", flipping, /decode failed|is not JSON/],
];

for (const [what, codec, message] of hopeless) {
  test(`${what} cannot read a sealed value, and says so`, async () => {
    const sealed = JSON.parse(await sealJson(mixing(1), '{"a":1}'));
    const error = await unseal(codec, sealed).catch((error) => error) as Error;
    assert.instance(error, CodecError);
    assert.match(error.message, message);
  });
}

test.run();
