/** Any value that JSON can carry, and this library takes. */
import fc from "fast-check";

/** The key `__proto__` is refused everywhere: it would change the object where it is read. */
export const anyJson: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 20, arbitrary: fc.jsonValue() },
  { weight: 1, arbitrary: fc.constant(-0) },
).filter((value) => !JSON.stringify(value).includes('"__proto__":'));
