/** Codecs for tests: one that tells keys apart and never gives the same bytes twice, and one without a turn of the event loop. */
import type { Codec } from "nats-dyrygent";

/** Not secret, but unreadable: a key, a random byte, and the data mixed with both. Decodes what was made with `keys`, encodes with the last. */
export function mixing(...keys: number[]): Codec {
  return {
    encode: async (data) => {
      const salt = Math.floor(Math.random() * 256);
      const key = keys.at(-1)!;
      const whole = new Uint8Array(data.length + 2);
      whole.set([key, salt]);
      whole.set(mixed(data, key, salt), 2);
      return whole;
    },
    decode: async (data) => {
      const [key, salt] = data;
      if (!keys.includes(key!)) throw new Error(`key ${key} is unknown`);
      return mixed(data.subarray(2), key!, salt!);
    },
  };
}

function mixed(data: Uint8Array, key: number, salt: number): Uint8Array {
  return data.map((byte, i) => byte ^ ((key * 31 + salt * 7 + i * 13 + 85) & 0xff));
}

export const flipping: Codec = {
  encode: (data) => data.map((byte) => byte ^ 0xff),
  decode: (data) => data.map((byte) => byte ^ 0xff),
};
