/** What was sent, and what waits to be sent. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { InFlight } from "../../src/processor/in_flight.ts";
import { Ready } from "../../src/processor/ready.ts";

const sent = (attempt: number, confirmedAt?: number) => ({
  attempt,
  at: 0,
  confirmedAt,
  lane: "p5",
  expiresAt: undefined,
});

test("a message is known by its attempt: an outcome of another one does not take it off", () => {
  const inFlight = new InFlight();
  inFlight.add(7, sent(2));
  assert.is(inFlight.take(7, 1), undefined);
  assert.is(inFlight.get(7, 3), undefined);
  assert.equal([inFlight.size, inFlight.take(7, 2)?.attempt], [1, 2]);
  assert.equal([inFlight.size, inFlight.take(7, 2)], [0, undefined]);
});

test("the message of a retry takes the place of the one before", () => {
  const inFlight = new InFlight();
  inFlight.add(7, sent(1));
  inFlight.add(7, sent(2));
  assert.equal([inFlight.size, inFlight.get(7, 1)], [1, undefined]);
});

test("what may not run any more is forgotten", () => {
  const inFlight = new InFlight();
  for (const node of [1, 2, 3]) inFlight.add(node, sent(node));
  const published = Promise.resolve();
  inFlight.add(4, { ...sent(1), published });
  inFlight.add(5, { ...sent(1, 100), published });
  const onTheirWay = inFlight.keep((node, attempt) => node === 2 && attempt === 2);
  assert.equal([inFlight.size, inFlight.get(2, 2)?.attempt], [1, 2]);
  assert.equal(onTheirWay, [{ node: 4, attempt: 1, published }]);
});

test("those that the server had up to a moment are told apart from later ones, and from those on their way", () => {
  const inFlight = new InFlight();
  inFlight.add(4, sent(1));
  for (const node of [1, 2, 3]) inFlight.add(node, sent(1, node * 100));
  assert.equal([...inFlight.confirmedBy(200)].map(({ node }) => node), [1, 2]);
});

test("what is ready is taken in the order it became so, also while more comes", () => {
  const ready = new Ready<string>();
  assert.equal([ready.isEmpty, ready.shift()], [true, undefined]);
  ready.push("a");
  ready.push("b");
  assert.is(ready.shift(), "a");
  ready.push("c");
  assert.equal([ready.shift(), ready.isEmpty], ["b", false]);
  assert.equal([ready.shift(), ready.isEmpty], ["c", true]);
  ready.push("d");
  ready.clear();
  assert.equal([ready.isEmpty, ready.shift()], [true, undefined]);
});

test.run();
