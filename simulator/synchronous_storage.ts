/**
 * What a running task can ask about itself is kept, by Node.js, for every promise that is made while it runs: a tenth of a
 * simulation's time. The tasks of a plan ask in their first moment only. Where this is imported, a value is there for as
 * long as the call that it is given to, and no promise carries it.
 */
import { AsyncLocalStorage } from "node:async_hooks";

const values = new WeakMap<object, unknown>();

Object.defineProperties(AsyncLocalStorage.prototype, {
  run: {
    value<T>(this: object, value: unknown, call: () => T): T {
      const before = values.get(this);
      values.set(this, value);
      try {
        return call();
      } finally {
        values.set(this, before);
      }
    },
  },
  getStore: {
    value(this: object): unknown {
      return values.get(this);
    },
  },
});
