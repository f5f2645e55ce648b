/** A short look with every reader: `npm run fuzz` looks longer. A failure prints its seed and what it found, made small. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import process from "node:process";
import { hunt } from "./hunt.ts";
import { READERS } from "./readers.ts";

const INPUTS = Number(process.env["FUZZ"] ?? 20_000);
const SEED = Number(process.env["FUZZ_SEED"] ?? Math.floor(Math.random() * 1e6));
const shares = READERS.reduce((sum, { share }) => sum + share, 0);

for (const reader of READERS) {
  test(`${reader.name}: whatever is read, nothing but what is documented comes of it`, async () => {
    const inputs = Math.ceil(INPUTS * reader.share / shares);
    const { findings, answers } = await hunt({ reader, inputs, seed: SEED });
    assert.equal(findings, [], `FUZZ_SEED=${SEED}`);
    assert.ok(answers > 1, "all inputs looked the same to it");
  });
}

test("the same seed finds the same", async () => {
  const reader = READERS.find(({ name }) => name === "definition")!;
  const hunts = [7, 7, 8].map((seed) => hunt({ reader, inputs: 200, seed }));
  const [one, same, other] = (await Promise.all(hunts)).map(({ answers }) => answers);
  assert.is(one, same);
  assert.is.not(one, other);
});

const careless: [what: string, read: () => string, found: RegExp][] = [
  ["throws what it does not document", () => {
    throw new TypeError("not this one");
  }, /TypeError: not this one/],
  ["changes a prototype", () => {
    Object.assign(Object.prototype, { polluted: true });
    return "";
  }, /a prototype was changed/],
  ["takes too long", () => {
    const before = process.cpuUsage();
    while (process.cpuUsage(before).user < 60_000) { /* works hard */ }
    return "";
  }, /it took \d+ ms/],
];

for (const [what, read, found] of careless) {
  test(`a reader that ${what} is found`, async () => {
    let calls = 0;
    const reader = {
      name: "careless",
      share: 1,
      samples: () => [[Uint8Array.of(1)]],
      read: () => calls++ === 0 ? "" : read(),
    };
    const { findings } = await hunt({ reader, inputs: 1, seed: 1, longestMs: 50 });
    assert.is(findings.length, 1);
    assert.match(findings[0]!.what, found);
  });
}

test.run();
